"""The work that every arm does: train a network on the digits, and say how large its loss is on the validation part.

All arms get the same configurations, draw the same first weights and see the same mini-batches, so they must come
back with the same losses. `check` says so before anything is timed.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlbook.data import Split, digits, minibatches
from dlbook.tuning import MLP, Log, OneMinusLog, Sobol, Space

SPACE = Space(lr=Log(0.01, 1), momentum=OneMinusLog(0.5, 0.95))  # where training is stable: nothing diverges
SAMPLER = Sobol(SPACE)
SEED = 0


class Network(NamedTuple):
    """The inner sizes and the rows of a mini-batch."""

    hidden: int
    batch_size: int
    epochs: int = 10

    @property
    def name(self) -> str:
        return f"64-{self.hidden}-10, batch {self.batch_size}"


NETWORKS = (Network(32, 64), Network(128, 128))


def data() -> Split:
    """The digits: 1078 rows to train on, 359 to validate."""
    return digits(seed=0)


def objective(network: Network, framework: str) -> MLP:
    """The objective that the book's engines train."""
    hidden, batch_size, epochs = network
    return MLP(data(), epochs, hidden, batch_size, seed=SEED, framework=framework)


def configs(n: int) -> list[dict[str, float]]:
    """The first `n` configurations."""
    return [SAMPLER.config(i) for i in range(n)]


def losses(study: Any) -> list[float]:
    """The validation losses of a `Study`, in the order of its trials."""
    return list(study.losses.values())


def check(losses: dict[str, Sequence[float]], *, exact: Sequence[str] = (), rtol: float = 1e-3) -> None:
    """ValueError unless all arms have the same losses, those in `exact` to the last bit.

    They are single-precision sums in different orders, over a hundred steps; so `rtol` is not smaller. The arms may
    have trained different numbers of trials: the first ones are compared, as many as both have.
    """
    (first, wanted), *others = losses.items()
    for name, got in others:
        n = min(len(got), len(wanted))
        tolerance = 0 if name in exact and first in exact else rtol
        if n == 0 or not np.allclose(got[:n], wanted[:n], rtol=tolerance, atol=0):
            raise ValueError(f"{name} must compute what {first} computes, {wanted[:n]}, got {got[:n]}")


def plain(network: Network, framework: str) -> Callable[[dict[str, float]], float]:
    """A loop as one would write it by hand, without this package: from a configuration to a validation loss."""
    return {"numpy": _numpy, "torch": _torch, "tensorflow": _tensorflow}[framework](network)


def _first_weights(network: Network) -> list[np.ndarray]:
    rng, hidden = np.random.default_rng([SEED, 0]), network.hidden
    W1 = (rng.standard_normal((64, hidden)) * np.sqrt(2 / 64)).astype("float32")
    W2 = (rng.standard_normal((hidden, 10)) * np.sqrt(2 / hidden)).astype("float32")
    return [W1, np.zeros(hidden, "float32"), W2, np.zeros(10, "float32")]


def _numpy(network: Network) -> Callable:
    x_train, y_train, x_val, y_val, *_ = data()
    eye = np.eye(10, dtype="float32")

    def softmax(z):
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return e / e.sum(axis=1, keepdims=True)

    def train(config):
        lr, beta = config["lr"], config["momentum"]
        params, rng = _first_weights(network), np.random.default_rng([SEED, 1])
        velocity = [np.zeros_like(w) for w in params]
        for _ in range(network.epochs):
            for rows in minibatches(len(x_train), network.batch_size, rng):
                W1, b1, W2, b2 = params
                x = x_train[rows]
                h = np.maximum(x @ W1 + b1, 0)
                dz = (softmax(h @ W2 + b2) - eye[y_train[rows]]) / len(rows)
                dh = dz @ W2.T * (h > 0)
                grads = x.T @ dh, dh.sum(axis=0), h.T @ dz, dz.sum(axis=0)
                for k, g in enumerate(grads):
                    velocity[k] = beta * velocity[k] + (1 - beta) * g
                    params[k] = params[k] - lr * velocity[k]
        W1, b1, W2, b2 = params
        p = softmax(np.maximum(x_val @ W1 + b1, 0) @ W2 + b2)
        return float(-np.log(p[np.arange(len(y_val)), y_val]).mean())

    return train


def _torch(network: Network) -> Callable:
    import torch
    from torch.nn.functional import cross_entropy

    x_train, y_train, x_val, y_val, *_ = map(torch.from_numpy, data())

    def train(config):
        W1, b1, W2, b2 = map(torch.from_numpy, _first_weights(network))
        model = torch.nn.Sequential(
            torch.nn.Linear(64, network.hidden), torch.nn.ReLU(), torch.nn.Linear(network.hidden, 10)
        )
        with torch.no_grad():
            for parameter, first in zip(model.parameters(), (W1.T, b1, W2.T, b2), strict=True):
                parameter.copy_(first)
        beta, rng = config["momentum"], np.random.default_rng([SEED, 1])
        # PyTorch's momentum has no 1 - beta in front of the gradient
        optimizer = torch.optim.SGD(model.parameters(), lr=(1 - beta) * config["lr"], momentum=beta)
        for _ in range(network.epochs):
            for rows in minibatches(len(x_train), network.batch_size, rng):
                rows = torch.from_numpy(rows)
                optimizer.zero_grad()
                cross_entropy(model(x_train[rows]), y_train[rows]).backward()
                optimizer.step()
        with torch.no_grad():
            return float(cross_entropy(model(x_val), y_val))

    return train


def _tensorflow(network: Network) -> Callable:
    import tensorflow as tf

    x_train, y_train, x_val, y_val, *_ = map(tf.constant, data())
    params = [tf.Variable(w) for w in _first_weights(network)]
    velocity = [tf.Variable(tf.zeros_like(w)) for w in params]

    def loss(x, y):
        W1, b1, W2, b2 = params
        z = tf.nn.relu(x @ W1 + b1) @ W2 + b2
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, z))

    @tf.function(reduce_retracing=True)  # once for all trials: the hyperparameters go in as tensors
    def step(rows, lr, beta):
        with tf.GradientTape() as tape:
            value = loss(tf.gather(x_train, rows), tf.gather(y_train, rows))
        for w, v, g in zip(params, velocity, tape.gradient(value, params), strict=True):
            v.assign(beta * v + (1 - beta) * g)
            w.assign_sub(lr * v)

    def train(config):
        lr, beta = tf.constant(config["lr"], "float32"), tf.constant(config["momentum"], "float32")
        for w, first, v in zip(params, _first_weights(network), velocity, strict=True):
            w.assign(first)
            v.assign(tf.zeros_like(v))
        rng = np.random.default_rng([SEED, 1])
        for _ in range(network.epochs):
            for rows in minibatches(len(x_train), network.batch_size, rng):
                step(tf.constant(rows), lr, beta)
        return float(loss(x_val, y_val))

    return train
