"""A port with proof: one network with batch norm, trained by Adam in NumPy, PyTorch and Keras, step for step.

All get the same first weights and the same batches. What is left is what the frameworks do differently, and
`Settings` is the list of it. Then one default after the other is changed from PyTorch's to Keras's.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dlbook import data
from dlbook.batch_norm import Running
from dlbook.mlp import Params
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy

SIZES, BATCH = (64, 64, 64, 10), 64


class Settings(NamedTuple):
    """Every number that Adam and batch norm take, and whether the stored variance is the unbiased one."""

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    adam_eps: float = 1e-8
    bn_eps: float = 1e-5
    decay: float = 0.9
    unbiased: bool = False


TORCH = Settings(unbiased=True)
KERAS = Settings(adam_eps=1e-7, bn_eps=1e-3, decay=0.99)
# Changed one at a time from PyTorch's default to Keras's: words for the figure, fields of Settings, first weights.
CHANGES = {
    "Adam's ε: 1e-8 → 1e-7": ({"adam_eps": KERAS.adam_eps}, "torch"),
    "stored variance: m/(m − 1) → 1": ({"unbiased": False}, "torch"),
    "batch norm's ε: 1e-5 → 1e-3": ({"bn_eps": KERAS.bn_eps}, "torch"),
    "first weights: PyTorch's → Glorot's": ({}, "keras"),
    "running averages keep: 0.9 → 0.99": ({"decay": KERAS.decay}, "torch"),
    "all of them": (KERAS._asdict(), "keras"),
}


class Job(NamedTuple):
    """What the frameworks are given: parameters, the batches x (steps, batch, 64), y (steps, batch), test data."""

    params: Params
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


class Run(NamedTuple):
    """The loss before each step, and the loss on the test digits afterwards, with batch norm as at test time."""

    losses: np.ndarray
    test_loss: np.ndarray


def job(seed: int, steps: int, *, init: str = "he", draw: int = 0, dtype: str = "float64") -> Job:
    """Digits split by `seed`; weights and the order of the batches from `seed` and `draw`.

    `init` is "he", or "torch" or "keras" for the rule that this framework uses when nobody says otherwise: uniform
    within 1 / sqrt(in) for weights and bias, or Glorot's sqrt(6 / (in + out)) and a bias of 0. Both stretch the same
    random numbers.
    """
    rng = np.random.default_rng([seed, draw])
    split = data.digits(seed, dtype=dtype)
    params = mlp_numpy.init(SIZES, rng, batch_norm=True, dtype=dtype)
    if init != "he":
        for i, (n, m) in enumerate(pairwise(SIZES), start=1):
            limit = {"torch": n**-0.5, "keras": (6 / (n + m)) ** 0.5}[init]
            params[f"W{i}"] = rng.uniform(-limit, limit, (n, m)).astype(dtype)
        bias = rng.uniform(-(n**-0.5), n**-0.5, (1, m)).astype(dtype)
        params["b3"] = bias if init == "torch" else 0 * bias
    rows = []
    while len(rows) < steps:
        rows += data.minibatches(len(split.x_train), BATCH, rng, drop_last=True)
    rows = np.stack(rows[:steps])
    return Job(params, split.x_train[rows], split.y_train[rows], split.x_test, split.y_test)


def together(jobs: Sequence[Job]) -> Job:
    """Several jobs as one, with an axis of models: the book's NumPy network trains them all at once."""
    params = {name: np.stack([one.params[name] for one in jobs]) for name in jobs[0].params}
    axes = {"x": 1, "y": 1, "x_test": 0, "y_test": 0}
    stacked = {name: np.stack([getattr(one, name) for one in jobs], axis) for name, axis in axes.items()}
    return Job(params, **stacked)


def in_single_precision(settings: Settings) -> Settings:
    """Adam's rate and decays rounded to float32, as Keras 3 on TensorFlow does whatever dtype the weights have."""
    rounded = {name: float(np.float32(getattr(settings, name))) for name in ("lr", "beta1", "beta2")}
    return settings._replace(**rounded)


def numpy_run(task: Job, settings: Settings) -> Run:
    """The book's own network and optimiser; a `Job` of several models gives losses (steps, models)."""
    params, running, losses = task.params, mlp_numpy.init_running(task.params), []
    adam = opt_numpy.adam(settings.lr, settings.beta1, settings.beta2, settings.adam_eps)
    state, own = adam.init(params), {"decay": settings.decay, "eps": settings.bn_eps}
    for x, y in zip(task.x, task.y, strict=True):
        loss, grads, running = mlp_numpy.loss_and_gradients(params, x, y, running, **own)
        params, state = adam.step(params, grads, state)
        losses.append(loss)
    if settings.unbiased:
        start = settings.decay ** len(task.x)  # what is left of the 1 that the average began with
        factor = task.y.shape[-1] / (task.y.shape[-1] - 1)
        running = {i: Running(r.mean, start + (r.var - start) * factor) for i, r in running.items()}
    test_loss, _ = mlp_numpy.evaluate(params, task.x_test, task.y_test, running, eps=settings.bn_eps)
    return Run(np.array(losses), test_loss)


def torch_run(task: Job, settings: Settings) -> Run:
    """torch.nn and torch.optim.Adam. PyTorch always stores the unbiased variance."""
    import torch
    from torch import nn

    dtype, blocks = torch.from_numpy(task.params["W1"]).dtype, []
    for i in (1, 2, 3):
        W = torch.from_numpy(task.params[f"W{i}"])
        blocks.append(nn.Linear(*W.shape, bias=i == 3, dtype=dtype))
        blocks[-1].weight.data.copy_(W.T)
        if i < 3:
            norm = nn.BatchNorm1d(W.shape[1], settings.bn_eps, 1 - settings.decay, dtype=dtype)
            blocks += [norm, nn.ReLU()]
    blocks[-1].bias.data.copy_(torch.from_numpy(task.params["b3"][0]))
    net = nn.Sequential(*blocks)
    betas = (settings.beta1, settings.beta2)
    adam = torch.optim.Adam(net.parameters(), settings.lr, betas, settings.adam_eps)
    losses = []
    for x, y in zip(torch.from_numpy(task.x), torch.from_numpy(task.y), strict=True):
        adam.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        adam.step()
        losses.append(loss.item())
    with torch.no_grad():
        logits = net.eval()(torch.from_numpy(task.x_test))
        test_loss = nn.functional.cross_entropy(logits, torch.from_numpy(task.y_test))
    return Run(np.array(losses), test_loss.numpy())


def keras_run(task: Job, settings: Settings) -> Run:
    """keras.layers and keras.optimizers.Adam, all steps in one graph. Keras always stores the biased variance."""
    train, loss_of, fresh = _keras_program(settings, task.params["W1"].dtype.name)
    fresh(task.params)
    losses = train(task.x, task.y).numpy()
    return Run(losses, loss_of(task.x_test, task.y_test, training=False).numpy())


@cache
def _keras_program(settings: Settings, dtype: str):
    """The training of a network, its loss, and what puts everything back to the start: traced once for all seeds."""
    import keras
    import tensorflow as tf

    own = {"momentum": settings.decay, "epsilon": settings.bn_eps, "dtype": dtype}
    net = keras.Sequential([keras.Input((SIZES[0],), dtype=dtype)])
    for i, width in enumerate(SIZES[1:], start=1):
        net.add(keras.layers.Dense(width, use_bias=i == 3, dtype=dtype))
        if i < 3:
            net.add(keras.layers.BatchNormalization(**own))
            net.add(keras.layers.ReLU(dtype=dtype))
    adam = keras.optimizers.Adam(settings.lr, settings.beta1, settings.beta2, settings.adam_eps)
    adam.build(net.trainable_variables)
    start = [(variable, variable.numpy()) for variable in [*net.variables, *adam.variables]]

    def fresh(params):
        for variable, value in start:
            variable.assign(value)
        for layer, i in zip(net.layers[::3], (1, 2, 3), strict=True):
            layer.set_weights([params[f"W{i}"], params["b3"][0]] if i == 3 else [params[f"W{i}"]])

    def loss_of(x, y, training):
        each = keras.losses.sparse_categorical_crossentropy(y, net(x, training=training), from_logits=True)
        return tf.reduce_mean(each)

    def step(batch):
        with tf.GradientTape() as tape:
            loss = loss_of(*batch, training=True)
        adam.apply(tape.gradient(loss, net.trainable_variables), net.trainable_variables)
        return loss

    def train(x, y):
        return tf.map_fn(step, (x, y), fn_output_signature=dtype, parallel_iterations=1)

    # There is no Python control flow on tensors, so AutoGraph would rewrite the source for nothing.
    train = tf.function(train, autograph=False)
    return train, loss_of, fresh


def first_flip(task: Job, one: Settings, other: Settings) -> int | None:
    """The first step at which a ReLU lets an example through under `one` and not under `other`; None without any."""
    for step, (here, there) in enumerate(zip(_passed(task, one), _passed(task, other), strict=True)):
        if any((a != b).any() for a, b in zip(here, there, strict=True)):
            return step
    return None


def _passed(task: Job, settings: Settings) -> Iterator[list[np.ndarray]]:
    """Before each step of the book's own network: which inputs of its ReLUs are positive, layer by layer."""
    params = task.params
    adam = opt_numpy.adam(settings.lr, settings.beta1, settings.beta2, settings.adam_eps)
    state = adam.init(params)
    for x, y in zip(task.x, task.y, strict=True):
        _, _, layers = mlp_numpy.forward(params, x, training=True, eps=settings.bn_eps)
        yield [layer.h > 0 for layer in layers[1:]]
        _, grads, _ = mlp_numpy.loss_and_gradients(params, x, y, eps=settings.bn_eps)
        params, state = adam.step(params, grads, state)


def effects(
    seeds: Sequence[int] = range(5), steps: int = 100, *, dtype: str = "float32"
) -> dict[str, np.ndarray]:
    """How far the test loss (nats) moves, per seed, when defaults change from PyTorch's to Keras's.

    One entry for each of `CHANGES`, and "another draw": PyTorch's defaults again, other weights and order.
    """
    tasks = {
        init: together([job(s, steps, init=init, dtype=dtype) for s in seeds]) for init in ("torch", "keras")
    }
    base = numpy_run(tasks["torch"], TORCH).test_loss
    moved = {
        name: numpy_run(tasks[init], TORCH._replace(**change)).test_loss - base
        for name, (change, init) in CHANGES.items()
    }
    other = together([job(s, steps, init="torch", draw=1, dtype=dtype) for s in seeds])
    return moved | {"another draw": numpy_run(other, TORCH).test_loss - base}
