"""The optimisers in NumPy, written out. See `dlbook.optimizers` for the formulas and the conventions.

Written against the array API standard, so CuPy arrays run through the same lines on a GPU.
"""

from typing import Any

import numpy as np
from array_api_compat import device

from dlbook.frameworks import array_namespace
from dlbook.optimizers import Optimizer, arguments
from dlbook.optimizers.arguments import check_step, corrections


def sgd(learning_rate: Any) -> Optimizer:
    """Gradient descent: w - learning_rate * g. The state is empty."""
    lr = arguments.learning_rate(learning_rate)

    def init(params):
        return {}

    def step(params, grads, state):
        check_step(params, grads, lr)
        return {name: w - _like(w, lr) * grads[name] for name, w in params.items()}, {}

    return Optimizer(init, step)


def momentum(learning_rate: Any, beta: Any = 0.9) -> Optimizer:
    """Step along an average of the gradients, in which a step ago counts `beta` times as much.

    The lecture's form, with 1 - beta before g: `torch.optim.SGD(lr, momentum=beta)` takes the same steps at
    `lr = (1 - beta) * learning_rate`.
    """
    lr, beta = arguments.learning_rate(learning_rate), arguments.beta("beta", beta)

    def init(params):
        return {"v": _zeros(params)}

    def step(params, grads, state):
        check_step(params, grads, lr, beta)
        v = {name: _average(old, grads[name], beta) for name, old in state["v"].items()}
        return {name: w - _like(w, lr) * v[name] for name, w in params.items()}, {"v": v}

    return Optimizer(init, step)


def rmsprop(learning_rate: Any, beta: Any = 0.9, eps: Any = 1e-8) -> Optimizer:
    """Divide each gradient by the root of an average of its squares; `eps` is outside the root.

    No bias correction: the first step is 1 / sqrt(1 - beta) times the learning rate, about 3 at beta = 0.9.
    """
    lr, beta, eps = arguments.learning_rate(learning_rate), arguments.beta("beta", beta), arguments.eps(eps)

    def init(params):
        return {"s": _zeros(params)}

    def step(params, grads, state):
        check_step(params, grads, lr, beta, eps)
        s = {name: _average(old, grads[name] ** 2, beta) for name, old in state["s"].items()}
        new = {name: w - _scaled(grads[name], s[name], lr, eps) for name, w in params.items()}
        return new, {"s": s}

    return Optimizer(init, step)


def adam(learning_rate: Any, beta1: Any = 0.9, beta2: Any = 0.999, eps: Any = 1e-8) -> Optimizer:
    """Momentum over RMSprop, both corrected for their start at 0. Kingma and Ba (2015), Algorithm 1."""
    lr, eps = arguments.learning_rate(learning_rate), arguments.eps(eps)
    beta1, beta2 = arguments.beta("beta1", beta1), arguments.beta("beta2", beta2)

    def init(params):
        return {"v": _zeros(params), "s": _zeros(params), "t": 0}

    def step(params, grads, state):
        check_step(params, grads, lr, beta1, beta2, eps)
        t = state["t"] + 1
        v = {name: _average(old, grads[name], beta1) for name, old in state["v"].items()}
        s = {name: _average(old, grads[name] ** 2, beta2) for name, old in state["s"].items()}
        # v / c1 over sqrt(s / c2) + eps, with c1 and c2 moved to the small arrays: fewer passes over the large ones
        c1, root = corrections(beta1, beta2, t)
        new = {name: w - _scaled(v[name], s[name], lr * root / c1, eps * root) for name, w in params.items()}
        return new, {"v": v, "s": s, "t": t}

    return Optimizer(init, step)


def _zeros(params: dict) -> dict:
    return {name: array_namespace(w).zeros_like(w) for name, w in params.items()}


def _like(w: Any, hyper: arguments.Hyper) -> Any:
    """A number as it is, since it takes on any dtype; an array in the dtype and on the device of `w`."""
    if isinstance(hyper, float):
        return hyper
    if type(w) is np.ndarray:
        return hyper.astype(w.dtype)
    return array_namespace(w).asarray(hyper, dtype=w.dtype, device=device(w))


def _average(old: Any, new: Any, beta: arguments.Hyper) -> Any:
    return _like(old, beta) * old + _like(old, 1 - beta) * new


def _scaled(v: Any, s: Any, lr: arguments.Hyper, eps: arguments.Hyper) -> Any:
    return _like(v, lr) * v / (array_namespace(s).sqrt(s) + _like(s, eps))
