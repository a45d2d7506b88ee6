"""The optimisers in TensorFlow, as functions on tensors. See `dlbook.optimizers` for the formulas and conventions.

A Keras optimiser owns variables and assigns to them. Here tensors go in and new ones come out, which is what
`tf.function` likes best: `step` can be traced, and the count of steps is a tensor, so it is traced once. The
optimiser itself is made outside the traced function.
"""

from typing import Any

import tensorflow as tf

from dlbook.optimizers import Optimizer, arguments
from dlbook.optimizers.arguments import check_step


def sgd(learning_rate: Any) -> Optimizer:
    """Gradient descent: w - learning_rate * g, as `keras.optimizers.SGD(learning_rate)`. The state is empty."""
    lr = arguments.learning_rate(learning_rate)

    def init(params):
        return {}

    def step(params, grads, state):
        check_step(params, grads, lr)
        return {name: w - _like(w, lr) * grads[name] for name, w in params.items()}, {}

    return Optimizer(init, step)


def momentum(learning_rate: Any, beta: Any = 0.9) -> Optimizer:
    """Step along an average of the gradients, in which a step ago counts `beta` times as much.

    The lecture's form: `keras.optimizers.SGD((1 - beta) * learning_rate, momentum=beta)` takes the same steps while
    the learning rate is constant.
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

    `keras.optimizers.RMSprop(learning_rate, rho=beta)` has its epsilon inside: the two agree where it is negligible.
    """
    lr, beta, eps = arguments.learning_rate(learning_rate), arguments.beta("beta", beta), arguments.eps(eps)

    def init(params):
        return {"s": _zeros(params)}

    def step(params, grads, state):
        check_step(params, grads, lr, beta, eps)
        s = {name: _average(old, tf.square(grads[name]), beta) for name, old in state["s"].items()}
        new = {name: w - _scaled(grads[name], s[name], lr, eps) for name, w in params.items()}
        return new, {"s": s}

    return Optimizer(init, step)


def adam(learning_rate: Any, beta1: Any = 0.9, beta2: Any = 0.999, eps: Any = 1e-8) -> Optimizer:
    """Momentum over RMSprop, both corrected for their start at 0. Kingma and Ba (2015), Algorithm 1.

    Step t of `keras.optimizers.Adam`, which leaves its epsilon out of the correction, is ours with
    `eps = epsilon / sqrt(1 - beta2 ** t)`.
    """
    lr, eps = arguments.learning_rate(learning_rate), arguments.eps(eps)
    beta1, beta2 = arguments.beta("beta1", beta1), arguments.beta("beta2", beta2)

    def init(params):
        return {"v": _zeros(params), "s": _zeros(params), "t": tf.constant(0, tf.int64)}

    def step(params, grads, state):
        check_step(params, grads, lr, beta1, beta2, eps)
        t = state["t"] + 1
        v = {name: _average(old, grads[name], beta1) for name, old in state["v"].items()}
        s = {name: _average(old, tf.square(grads[name]), beta2) for name, old in state["s"].items()}
        # v / c1 over sqrt(s / c2) + eps, with c1 and c2 moved to the small arrays: fewer passes over the large ones
        power = tf.cast(t, tf.float64)
        c1, root = 1 - beta1**power, tf.sqrt(1 - beta2**power)
        new = {name: w - _scaled(v[name], s[name], lr * root / c1, eps * root) for name, w in params.items()}
        return new, {"v": v, "s": s, "t": t}

    return Optimizer(init, step)


def _zeros(params: dict) -> dict:
    return {name: tf.zeros_like(w) for name, w in params.items()}


def _like(w: tf.Tensor, hyper: Any) -> tf.Tensor:
    """In the dtype of `w`. Not by `tf.cast` alone, which takes a Python number for a float32."""
    return tf.cast(tf.convert_to_tensor(hyper, tf.float64), w.dtype)


def _average(old: tf.Tensor, new: tf.Tensor, beta: arguments.Hyper) -> tf.Tensor:
    return _like(old, beta) * old + _like(old, 1 - beta) * new


def _scaled(v: tf.Tensor, s: tf.Tensor, lr: Any, eps: Any) -> tf.Tensor:
    return _like(v, lr) * v / (tf.sqrt(s) + _like(s, eps))
