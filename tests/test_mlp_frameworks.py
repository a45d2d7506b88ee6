"""The perceptron beside networks built from torch.nn and Keras layers, and what is particular to each framework."""

import numpy as np
import pytest

from dlbook import device, frameworks
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy

ROWS, STEPS, SIZES = 24, 20, (4, 6, 5, 3)


@pytest.fixture
def task(rng):
    """Rows, labels and first parameters; every gamma, beta and b off its usual start."""
    x, y = rng.standard_normal((ROWS, SIZES[0])), rng.integers(0, SIZES[-1], ROWS)

    def make(batch_norm):
        params = mlp_numpy.init(SIZES, rng, batch_norm=batch_norm, dtype="float64")
        return {n: a + 0.1 * rng.standard_normal(a.shape) for n, a in params.items()}

    return x, y, make


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_training_is_that_of_torch_modules(task, batch_norm, name):
    torch = pytest.importorskip("torch")
    x, y, make = task
    params = make(batch_norm)
    ours_optimizer = {"momentum": opt_numpy.momentum(0.5, 0.8), "adam": opt_numpy.adam(0.02)}[name]
    ours = mlp_numpy.fit(
        params, x, y, optimizer=ours_optimizer, steps=STEPS, running=mlp_numpy.init_running(params)
    )

    net = torch_network(torch, params, batch_norm)
    theirs = {
        "momentum": lambda p: torch.optim.SGD(p, lr=0.5 * (1 - 0.8), momentum=0.8),
        "adam": lambda p: torch.optim.Adam(p, lr=0.02),
    }[name](net.parameters())
    losses = []
    for _ in range(STEPS):
        theirs.zero_grad()
        loss = torch.nn.CrossEntropyLoss()(net(torch.tensor(x)), torch.tensor(y))
        loss.backward()
        theirs.step()
        losses.append(loss.item())
    np.testing.assert_allclose(ours.history.loss, losses, rtol=1e-9)

    linear = [layer for layer in net if isinstance(layer, torch.nn.Linear)]
    for i, layer in enumerate(linear, start=1):
        np.testing.assert_allclose(
            ours.params[f"W{i}"], layer.weight.detach().numpy().T, rtol=1e-7, atol=1e-9
        )
    norms = [layer for layer in net if isinstance(layer, torch.nn.BatchNorm1d)]
    for i, layer in enumerate(norms, start=1):
        np.testing.assert_allclose(ours.running[i].mean[0], layer.running_mean.numpy(), rtol=1e-7, atol=1e-9)
        # PyTorch stores the unbiased variance; what remains of the first 1 is the same in both.
        start = 0.9**STEPS
        unbiased = start + (ours.running[i].var[0] - start) * ROWS / (ROWS - 1)
        np.testing.assert_allclose(unbiased, layer.running_var.numpy(), rtol=1e-7)
        np.testing.assert_allclose(ours.params[f"gamma{i}"][0], layer.weight.detach().numpy(), rtol=1e-7)


def torch_network(torch, params, batch_norm):
    layers = []
    for i in range(1, len(SIZES)):
        linear = torch.nn.Linear(*SIZES[i - 1 : i + 1], bias=f"b{i}" in params, dtype=torch.float64)
        fill(torch, linear.weight, params[f"W{i}"].T)
        layers.append(linear)
        if f"b{i}" in params:
            fill(torch, linear.bias, params[f"b{i}"][0])
        if f"gamma{i}" in params:
            layers.append(torch.nn.BatchNorm1d(SIZES[i], dtype=torch.float64))
            fill(torch, layers[-1].weight, params[f"gamma{i}"][0])
            fill(torch, layers[-1].bias, params[f"beta{i}"][0])
        if i < len(SIZES) - 1:
            layers.append(torch.nn.ReLU())
    return torch.nn.Sequential(*layers)


def fill(torch, parameter, array):
    with torch.no_grad():
        parameter.copy_(torch.tensor(array))


@pytest.mark.parametrize("batch_norm", [False, True])
def test_training_is_that_of_a_keras_sequential(task, batch_norm):
    keras = pytest.importorskip("keras")
    x, y, make = task
    params = make(batch_norm)
    # Keras keeps its hyperparameters in float32: these are exact in it.
    ours = mlp_numpy.fit(
        params,
        x,
        y,
        optimizer=opt_numpy.momentum(0.5, 0.5),
        steps=STEPS,
        running=mlp_numpy.init_running(params),
        decay=0.75,
        eps=2**-10,
    )
    net = keras_network(keras, params)
    net.compile(
        optimizer=keras.optimizers.SGD(0.25, momentum=0.5),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64"),
    )
    losses = [float(net.train_on_batch(x, y)) for _ in range(STEPS)]
    np.testing.assert_allclose(losses[0], ours.history.loss[0], rtol=1e-6)

    loss, _ = mlp_numpy.evaluate(ours.params, x, y, ours.running, eps=2**-10)
    np.testing.assert_allclose(net.evaluate(x, y, batch_size=ROWS, verbose=0), loss, rtol=1e-5)
    dense = [layer for layer in net.layers if isinstance(layer, keras.layers.Dense)]
    for i, layer in enumerate(dense, start=1):
        np.testing.assert_allclose(ours.params[f"W{i}"], layer.kernel.numpy(), rtol=1e-9, atol=1e-10)
    norms = [layer for layer in net.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for i, layer in enumerate(norms, start=1):
        np.testing.assert_allclose(ours.running[i].mean[0], layer.moving_mean.numpy(), rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(ours.running[i].var[0], layer.moving_variance.numpy(), rtol=1e-7)


def keras_network(keras, params):
    net = keras.Sequential([keras.Input((SIZES[0],), dtype="float64")])
    for i in range(1, len(SIZES)):
        net.add(keras.layers.Dense(SIZES[i], use_bias=f"b{i}" in params, dtype="float64"))
        net.layers[-1].set_weights([params[f"W{i}"], *([params[f"b{i}"][0]] if f"b{i}" in params else [])])
        if f"gamma{i}" in params:
            net.add(keras.layers.BatchNormalization(momentum=0.75, epsilon=2**-10, dtype="float64"))
            start = np.zeros(SIZES[i]), np.ones(SIZES[i])
            net.layers[-1].set_weights([params[f"gamma{i}"][0], params[f"beta{i}"][0], *start])
        if i < len(SIZES) - 1:
            net.add(keras.layers.ReLU(dtype="float64"))
    return net


def test_what_torch_gives_back_carries_no_graph_and_parameters_with_one_are_welcome(task):
    pytest.importorskip("torch")
    from dlbook.mlp import torch as mlp_torch
    from dlbook.optimizers import torch as opt_torch

    x, y, make = task
    params = {n: frameworks.from_numpy(a, "torch").requires_grad_() for n, a in make(True).items()}
    x, y = frameworks.from_numpy(x, "torch"), frameworks.from_numpy(y, "torch")
    loss, grads, running = mlp_torch.loss_and_gradients(params, x, y)
    trained = mlp_torch.fit(params, x, y, optimizer=opt_torch.adam(0.1), steps=2)
    arrays = [loss, *grads.values(), *running[1], *trained.params.values(), *trained.running[2]]
    arrays += [*mlp_torch.precise_running(params, x)[1], *mlp_torch.evaluate(params, x, y, running)]
    assert not any(a.requires_grad for a in arrays)
    assert all(p.grad is None for p in params.values())

    mlp_torch.forward(params, x, training=True)[0].sum().backward()
    assert all(p.grad is not None for p in params.values())


def test_torch_gradients_are_found_under_no_grad_too(task):
    torch = pytest.importorskip("torch")
    from dlbook.mlp import torch as mlp_torch

    x, y, make = task
    arguments = [frameworks.from_numpy(a, "torch") for a in (x, y)]
    params = {n: frameworks.from_numpy(a, "torch") for n, a in make(False).items()}
    with torch.no_grad():
        _, grads, _ = mlp_torch.loss_and_gradients(params, *arguments)
    np.testing.assert_allclose(
        grads["W1"].numpy(), mlp_torch.loss_and_gradients(params, *arguments)[1]["W1"].numpy()
    )


@pytest.mark.parametrize("models", [None, 2])
def test_tf_function_traces_the_gradients_for_a_batch_of_any_size(rng, models):
    tf = pytest.importorskip("tensorflow")
    from dlbook.mlp import tensorflow as mlp_tensorflow

    params = mlp_numpy.init(SIZES, rng, models=models, batch_norm=True)
    there = {n: frameworks.from_numpy(a, "tensorflow") for n, a in params.items()}
    rows = tf.TensorSpec((None, SIZES[0]), tf.float32), tf.TensorSpec((None,), tf.int64)

    @tf.function(input_signature=rows)
    def gradients(x, y):
        return mlp_tensorflow.loss_and_gradients(there, x, y)

    for n in (5, 8):
        x, y = rng.standard_normal((n, SIZES[0])).astype("float32"), rng.integers(0, SIZES[-1], n)
        loss, grads, running = gradients(tf.constant(x), tf.constant(y))
        expected = mlp_numpy.loss_and_gradients(params, x, y)
        np.testing.assert_allclose(loss.numpy(), expected[0], rtol=1e-4)
        np.testing.assert_allclose(grads["W1"].numpy(), expected[1]["W1"], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(running[1].mean.numpy(), expected[2][1].mean, rtol=1e-3, atol=1e-5)
    assert gradients.experimental_get_tracing_count() == 1


@pytest.mark.gpu
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("models", [None, 3])
def test_training_on_a_gpu_is_that_of_the_cpu(framework, task, batch_norm, models, rng):
    if "cuda" not in device.available(framework):
        pytest.skip(f"{framework} sees no GPU here")
    x, y, _ = task
    module, optimizers = frameworks.load("mlp", framework), frameworks.load("optimizers", framework)
    params = mlp_numpy.init(SIZES, rng, models=models, batch_norm=batch_norm, dtype="float64")

    def train(module, optimizers, put):
        a, b = put(x), put(y)
        settings = dict(steps=STEPS, batch_size=10, rng=np.random.default_rng(0), validation=(a, b))
        return module.fit(
            {n: put(w) for n, w in params.items()}, a, b, optimizer=optimizers.adam(0.02), **settings
        )

    def put(a):
        return frameworks.from_numpy(a, framework, device="cuda")

    expected = train(mlp_numpy, opt_numpy, np.asarray)
    got = train(module, optimizers, put)
    for word in ("loss", "val_loss", "val_accuracy"):
        np.testing.assert_allclose(getattr(got.history, word), getattr(expected.history, word), rtol=1e-8)
    for n in params:
        np.testing.assert_allclose(
            frameworks.to_numpy(got.params[n]), expected.params[n], rtol=1e-7, atol=1e-8
        )


@pytest.mark.parametrize("framework", frameworks.FRAMEWORKS)
def test_label_smoothing_is_that_of_torchs_loss_in_the_gradients_and_in_fit(task, framework):
    torch = pytest.importorskip("torch")
    pytest.importorskip(framework)
    x, y, make = task
    params = make(batch_norm=False)
    net = torch_network(torch, params, batch_norm=False)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=0.2)(net(torch.tensor(x)), torch.tensor(y))
    loss.backward()
    first = next(layer for layer in net if isinstance(layer, torch.nn.Linear))

    mlp, optimizers = frameworks.load("mlp", framework), frameworks.load("optimizers", framework)
    ours = {name: frameworks.from_numpy(a, framework, device="cpu") for name, a in params.items()}
    xs, ys = (frameworks.from_numpy(a, framework, device="cpu") for a in (x, y))
    got, grads, _ = mlp.loss_and_gradients(ours, xs, ys, label_smoothing=0.2)
    assert float(frameworks.to_numpy(got)) == pytest.approx(loss.item(), rel=1e-12)
    np.testing.assert_allclose(frameworks.to_numpy(grads["W1"]), first.weight.grad.numpy().T, rtol=1e-9)

    stepped = mlp.fit(ours, xs, ys, optimizer=optimizers.sgd(0.5), steps=1, label_smoothing=0.2)
    expected = params["W1"] - 0.5 * first.weight.grad.numpy().T
    np.testing.assert_allclose(frameworks.to_numpy(stepped.params["W1"]), expected, rtol=1e-9)
