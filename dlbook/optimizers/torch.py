"""The optimisers in PyTorch, as functions on tensors. See `dlbook.optimizers` for the formulas and conventions.

`torch.optim` holds its parameters and overwrites them. Here parameters go in and new ones come out, without a
gradient of their own, so a step can be repeated, compared, or taken by a whole population.
"""

from typing import Any

import torch

from dlbook.optimizers import Optimizer, arguments
from dlbook.optimizers.arguments import check_step, corrections


def sgd(learning_rate: Any) -> Optimizer:
    """Gradient descent: w - learning_rate * g, as `torch.optim.SGD(lr=learning_rate)`. The state is empty."""
    lr = arguments.learning_rate(learning_rate)

    def init(params):
        return {}

    @torch.no_grad()
    def step(params, grads, state):
        check_step(params, grads, lr)
        return {name: w - _like(w, lr) * grads[name] for name, w in params.items()}, {}

    return Optimizer(init, step)


def momentum(learning_rate: Any, beta: Any = 0.9) -> Optimizer:
    """Step along an average of the gradients, in which a step ago counts `beta` times as much.

    The lecture's form: `torch.optim.SGD(lr, momentum=beta)` takes the same steps at
    `lr = (1 - beta) * learning_rate`.
    """
    lr, beta = arguments.learning_rate(learning_rate), arguments.beta("beta", beta)

    def init(params):
        return {"v": _zeros(params)}

    @torch.no_grad()
    def step(params, grads, state):
        check_step(params, grads, lr, beta)
        v = {name: _average(old, grads[name], beta) for name, old in state["v"].items()}
        return {name: w - _like(w, lr) * v[name] for name, w in params.items()}, {"v": v}

    return Optimizer(init, step)


def rmsprop(learning_rate: Any, beta: Any = 0.9, eps: Any = 1e-8) -> Optimizer:
    """Divide each gradient by the root of an average of its squares; `eps` is outside the root.

    As `torch.optim.RMSprop(lr=learning_rate, alpha=beta)`, whose own default of alpha is 0.99.
    """
    lr, beta, eps = arguments.learning_rate(learning_rate), arguments.beta("beta", beta), arguments.eps(eps)

    def init(params):
        return {"s": _zeros(params)}

    @torch.no_grad()
    def step(params, grads, state):
        check_step(params, grads, lr, beta, eps)
        s = {name: _average(old, grads[name].square(), beta) for name, old in state["s"].items()}
        new = {name: w - _scaled(grads[name], s[name], lr, eps) for name, w in params.items()}
        return new, {"s": s}

    return Optimizer(init, step)


def adam(learning_rate: Any, beta1: Any = 0.9, beta2: Any = 0.999, eps: Any = 1e-8) -> Optimizer:
    """Momentum over RMSprop, both corrected for their start at 0. Kingma and Ba (2015), Algorithm 1.

    As `torch.optim.Adam(lr=learning_rate, betas=(beta1, beta2), eps=eps)`.
    """
    lr, eps = arguments.learning_rate(learning_rate), arguments.eps(eps)
    beta1, beta2 = arguments.beta("beta1", beta1), arguments.beta("beta2", beta2)

    def init(params):
        return {"v": _zeros(params), "s": _zeros(params), "t": 0}

    @torch.no_grad()
    def step(params, grads, state):
        check_step(params, grads, lr, beta1, beta2, eps)
        t = state["t"] + 1
        v = {name: _average(old, grads[name], beta1) for name, old in state["v"].items()}
        s = {name: _average(old, grads[name].square(), beta2) for name, old in state["s"].items()}
        # v / c1 over sqrt(s / c2) + eps, with c1 and c2 moved to the small arrays: fewer passes over the large ones
        c1, root = corrections(beta1, beta2, t)
        new = {name: w - _scaled(v[name], s[name], lr * root / c1, eps * root) for name, w in params.items()}
        return new, {"v": v, "s": s, "t": t}

    return Optimizer(init, step)


def _zeros(params: dict) -> dict:
    return {name: torch.zeros_like(w) for name, w in params.items()}


def _like(w: torch.Tensor, hyper: arguments.Hyper) -> Any:
    """A number as it is, since it takes on any dtype; an array in the dtype and on the device of `w`."""
    if isinstance(hyper, float):
        return hyper
    return torch.from_numpy(hyper).to(w.dtype).to(w.device)


def _average(old: torch.Tensor, new: torch.Tensor, beta: arguments.Hyper) -> torch.Tensor:
    return _like(old, beta) * old + _like(old, 1 - beta) * new


def _scaled(v: torch.Tensor, s: torch.Tensor, lr: arguments.Hyper, eps: arguments.Hyper) -> torch.Tensor:
    return _like(v, lr) * v / (s.sqrt() + _like(s, eps))
