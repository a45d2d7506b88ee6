"""The networks of the chapter on fitting batch norm into a network, in Keras and in PyTorch, from the same weights.

A function imports the framework it needs. Parameters are those of `dlbook.mlp`; training is SGD with momentum in the
form that both frameworks share, v = beta v + g.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlbook import data
from dlbook.batch_norm.network_experiments import BATCH, CLASSES, FEATURES, STEPS, WIDTH, Grid, digits, grid
from dlbook.mlp import Fit, Params, draws
from dlbook.mlp import numpy as mlp_numpy
from dlbook.mlp.arguments import layers
from dlbook.optimizers import numpy as opt_numpy
from dlbook.parallel import parallel
from dlbook.softmax.numpy import cross_entropy


def keras_network(params: Params, *, decay: float = 0.9, eps: float = 1e-5) -> Any:
    """The network of `params` in Keras: Dense without bias, BatchNormalization, ReLU; a Dense with bias last."""
    import keras

    last, net = layers(params), keras.Sequential([keras.Input((params["W1"].shape[0],))])
    for i in range(1, last):
        net.add(keras.layers.Dense(params[f"W{i}"].shape[1], use_bias=False))
        net.layers[-1].set_weights([params[f"W{i}"]])
        net.add(keras.layers.BatchNormalization(momentum=decay, epsilon=eps))
        net.add(keras.layers.ReLU())
    net.add(keras.layers.Dense(params[f"W{last}"].shape[1]))
    net.layers[-1].set_weights([params[f"W{last}"], params[f"b{last}"][0]])
    return net


def torch_network(params: Params, *, decay: float = 0.9, eps: float = 1e-5) -> Any:
    """The network of `params` in PyTorch: Linear without bias, BatchNorm1d, ReLU; a Linear with bias last."""
    import torch
    from torch import nn

    last, blocks = layers(params), []
    for i in range(1, last + 1):
        linear = nn.Linear(*params[f"W{i}"].shape, bias=i == last)
        linear.weight.data = torch.tensor(params[f"W{i}"].T)
        blocks.append(linear)
        if i < last:
            blocks += [nn.BatchNorm1d(linear.out_features, momentum=1 - decay, eps=eps), nn.ReLU()]
    linear.bias.data = torch.tensor(params[f"b{last}"][0])
    return nn.Sequential(*blocks)


def keras_train(
    net: Any, x: np.ndarray, y: np.ndarray, batches: Iterable, *, lr: float = 0.1, beta: float = 0.9
) -> np.ndarray:
    """Train on the rows of each batch with SGD and momentum; the losses, each before its step."""
    import keras
    import tensorflow as tf

    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(lr, momentum=beta)
    optimizer.build(net.trainable_variables)

    @tf.function(autograph=False)
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = loss_of(y, net(x, training=True))
        grads = tape.gradient(loss, net.trainable_variables)
        optimizer.apply_gradients(zip(grads, net.trainable_variables, strict=True))
        return loss

    return np.array([step(tf.constant(x[rows]), tf.constant(y[rows])).numpy() for rows in batches])


def torch_train(
    net: Any, x: np.ndarray, y: np.ndarray, batches: Iterable, *, lr: float = 0.1, beta: float = 0.9
) -> np.ndarray:
    """Train on the rows of each batch with SGD and momentum; the losses, each before its step."""
    import torch

    optimizer, losses = torch.optim.SGD(net.parameters(), lr=lr, momentum=beta), []
    net.train()
    for rows in batches:
        loss = torch.nn.functional.cross_entropy(net(torch.tensor(x[rows])), torch.tensor(y[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    net.eval()
    return np.array(losses)


def keras_logits(net: Any, x: np.ndarray) -> np.ndarray:
    """What the network says at test time."""
    return net(x, training=False).numpy()


def torch_logits(net: Any, x: np.ndarray) -> np.ndarray:
    """What the network says at test time; its mode is left as it was."""
    import torch

    was_training = net.training
    with torch.no_grad():
        logits = net.eval()(torch.tensor(x)).numpy()
    net.train(was_training)
    return logits


class Port(NamedTuple):
    """How far a network in a framework is from the same network in NumPy."""

    training: np.ndarray  # (steps,), nats, between the losses of each mini-batch
    test: float  # nats, between the losses on the validation part after training


PORT_SIZES, PORT_STEPS, PORT_BATCH = (
    (FEATURES, 32, 32, CLASSES),
    20,
    49,
)  # 1078 training rows are 22 batches of 49


def port_batches() -> list[np.ndarray]:
    """The rows of twenty mini-batches, all of the same size."""
    return list(draws.batches(22 * PORT_BATCH, PORT_BATCH, np.random.default_rng(0), PORT_STEPS))


def reference(part: data.Split, params: Params) -> Fit:
    """NumPy's twenty steps. The lecture's momentum averages the gradients: 1.0 here is a rate of 0.1 there."""
    return mlp_numpy.fit(
        params,
        part.x_train,
        part.y_train,
        optimizer=opt_numpy.momentum(1.0, 0.9),
        steps=PORT_STEPS,
        batch_size=PORT_BATCH,
        rng=np.random.default_rng(0),
        running=mlp_numpy.init_running(params),
    )


def ports() -> dict[str, Port]:
    """The same network with every setting matched, and with one of them forgotten at a time."""
    part = digits(0)
    params = mlp_numpy.init(PORT_SIZES, np.random.default_rng(0), batch_norm=True)
    turned = {**params, "W2": params["W2"].T.copy()}
    fit, rows = reference(part, params), port_batches()
    expected, _ = mlp_numpy.evaluate(fit.params, part.x_val, part.y_val, fit.running)

    def port(train, net, *, convert=True, **settings):
        losses = train(net, part.x_train, part.y_train, rows, **settings)
        if train is keras_train:
            logits = keras_logits(net, part.x_val)
        else:
            if convert:
                convert_variances(net)
            logits = torch_logits(net, part.x_val)
        test = abs(float(cross_entropy(logits, part.y_val)) - float(expected))
        return Port(np.abs(losses - fit.history.loss), test)

    return {
        "Keras, all matched": port(keras_train, keras_network(params)),
        "PyTorch, all matched": port(torch_train, torch_network(params)),
        "kernel not transposed": port(torch_train, torch_network(turned)),
        "ε left at 0.001": port(keras_train, keras_network(params, eps=1e-3)),
        "learning rate not converted": port(torch_train, torch_network(params), lr=1.0),
        "decay taken for momentum": port(torch_train, torch_network(params, decay=0.1)),
        "variance not converted": port(torch_train, torch_network(params), convert=False),
    }


def convert_variances(net: Any) -> None:
    """Turn the running variances that PyTorch stored in twenty steps into NumPy's: m - 1 becomes m.

    The 1 that the average started from is no variance of a batch, and stays as it is.
    """
    for layer in net:
        if hasattr(layer, "running_var"):
            start = (1 - layer.momentum) ** PORT_STEPS
            layer.running_var.sub_(start).mul_((PORT_BATCH - 1) / PORT_BATCH).add_(start)


def conv_weights(rng: np.random.Generator) -> Params:
    """First weights of a small convolutional network, He's scale: kernels (height, width, in, out) and a dense W."""
    shapes = {"K1": (3, 3, 1, 8), "K2": (3, 3, 8, 16), "W3": (2 * 2 * 16, CLASSES)}
    return {
        name: (rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))).astype("float32")
        for name, shape in shapes.items()
    }


def keras_convnet(params: Params, *, batch_norm: bool = True) -> Any:
    """Two blocks of convolution, batch norm over the channels (the last axis), ReLU and pooling; then Dense."""
    import keras

    net = keras.Sequential([keras.Input((8, 8, 1))])
    for name in ("K1", "K2"):
        net.add(keras.layers.Conv2D(params[name].shape[-1], 3, padding="same", use_bias=not batch_norm))
        net.layers[-1].kernel.assign(params[name])
        if batch_norm:
            net.add(keras.layers.BatchNormalization(epsilon=1e-5, momentum=0.9))
        net.add(keras.layers.ReLU())
        net.add(keras.layers.MaxPooling2D())
    net.add(keras.layers.Flatten())
    net.add(keras.layers.Dense(CLASSES))
    net.layers[-1].kernel.assign(params["W3"])
    return net


def torch_convnet(params: Params, *, batch_norm: bool = True) -> Any:
    """Two blocks of convolution, batch norm over the channels (axis 1), ReLU and pooling; then Linear."""
    import torch
    from torch import nn

    blocks = []
    for name in ("K1", "K2"):
        *_, channels_in, channels = params[name].shape
        conv = nn.Conv2d(channels_in, channels, 3, padding=1, bias=not batch_norm)
        conv.weight.data = torch.tensor(params[name].transpose(3, 2, 0, 1).copy())
        blocks += [conv, *([nn.BatchNorm2d(channels)] if batch_norm else []), nn.ReLU(), nn.MaxPool2d(2)]
        if not batch_norm:
            nn.init.zeros_(conv.bias)
    linear = nn.Linear(2 * 2 * 16, CLASSES)
    W = (
        params["W3"].reshape(2, 2, 16, CLASSES).transpose(2, 0, 1, 3)
    )  # pixels are flattened channel by channel
    linear.weight.data = torch.tensor(W.reshape(-1, CLASSES).T.copy())
    nn.init.zeros_(linear.bias)
    return nn.Sequential(*blocks, nn.Flatten(), linear)


def images(x: np.ndarray, *, channels: str = "first") -> np.ndarray:
    """Rows of 64 pixels as pictures: NCHW with the channels first, NHWC with them last."""
    return x.reshape(-1, 1, 8, 8) if channels == "first" else x.reshape(-1, 8, 8, 1)


def convolutions(rates: Sequence[float], seeds: int = 3, *, epochs: int = 3) -> dict[str, Grid]:
    """The convolutional network in PyTorch with and without batch norm, at every learning rate."""

    def end(batch_norm: bool, rate: float, seed: int) -> tuple[float, float]:
        part, rng = digits(seed), np.random.default_rng(seed)
        net = torch_convnet(conv_weights(rng), batch_norm=batch_norm)
        rows = [rows for _ in range(epochs) for rows in data.minibatches(len(part.x_train), BATCH, rng)]
        torch_train(net, images(part.x_train), part.y_train, rows, lr=rate)
        return score(net, images(part.x_val), part.y_val)

    arms = {"plain": False, "batch norm": True}
    ends = parallel(end, *zip(*itertools.product(arms.values(), rates, range(seeds)), strict=True))
    shape = len(arms), len(rates), seeds
    losses, accuracies = (np.reshape(values, shape) for values in zip(*ends, strict=True))
    return {name: grid(losses[k], accuracies[k], shape[1:]) for k, name in enumerate(arms)}


def score(net: Any, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Loss and accuracy of a PyTorch network at test time; NaN is never right."""
    logits = torch_logits(net, x)
    with np.errstate(all="ignore"):
        right = (logits.argmax(axis=1) == y) & ~np.isnan(logits).any(axis=1)
        return float(cross_entropy(logits, y)), float(right.mean())


class Wired(NamedTuple):
    """A network in PyTorch after training, one number a seed."""

    training: np.ndarray  # nats, the mean over the last epoch's mini-batches
    test: np.ndarray  # nats, on the validation part with the running statistics
    accuracy: np.ndarray  # the same, in [0, 1]


def wirings(seeds: int = 3) -> dict[str, Wired]:
    """Two batch norm layers; one layer object used twice; and two of them with a third on the logits."""
    return {name: Wired(*np.transpose(parallel(_wired, [name] * seeds, range(seeds)))) for name in WIRINGS}


WIRINGS = ("a layer each", "one layer, used twice", "a third on the logits")


def _wired(name: str, seed: int) -> tuple[float, float, float]:
    from torch import nn

    part, rng = digits(seed), np.random.default_rng(seed)
    params = mlp_numpy.init((FEATURES, WIDTH, WIDTH, CLASSES), rng, batch_norm=True)
    net = torch_network(params)
    if name == WIRINGS[1]:
        net[4] = net[1]
    elif name == WIRINGS[2]:
        net.append(nn.BatchNorm1d(CLASSES))
    rows = draws.batches(len(part.x_train), BATCH, rng, STEPS)
    losses = torch_train(net, part.x_train, part.y_train, rows)
    return losses[-17:].mean(), *score(net, part.x_val, part.y_val)
