"""`recompute`: precise statistics for every batch norm layer of a model, in each framework's own kind of model."""

import numpy as np
import pytest
from conftest import require

from dlbook import frameworks
from dlbook.batch_norm import numpy as bn_numpy
from dlbook.mlp import numpy as mlp_numpy

SIZES = (6, 5, 4, 3)
EPS = 1e-5


@pytest.fixture
def problem(rng):
    """Random parameters of a network with two batch norm layers, and inputs far from mean 0 and variance 1."""
    params = mlp_numpy.init(SIZES, rng, batch_norm=True, dtype="float64")
    params = {name: value + 0.3 * rng.normal(size=value.shape) for name, value in params.items()}
    return params, rng.normal(1, 2, (50, SIZES[0]))


def rectify(x):
    return np.maximum(x, 0)


class Numpy:
    """The network as a list of layers."""

    def __init__(self, params, *, dropout=False):
        self.norms, self.model = [], []
        for i in (1, 2):
            norm = bn_numpy.BatchNorm(SIZES[i], eps=EPS)
            norm.gamma, norm.beta = params[f"gamma{i}"][0], params[f"beta{i}"][0]
            self.norms.append(norm)
            self.model += [lambda x, W=params[f"W{i}"]: x @ W, norm, rectify]
        self.model.append(lambda x: x @ params["W3"] + params["b3"])

    def kept(self):
        return [tuple(norm.running) for norm in self.norms]

    def put(self, x):
        return x

    @staticmethod
    def recompute(model, batches):
        bn_numpy.recompute(model, batches)


class Torch:
    """The network as a module; `own` takes PyTorch's layer, else the book's."""

    def __init__(self, params, *, own=True, dropout=False):
        import torch

        from dlbook.batch_norm import torch as bn_torch

        self.recompute, layers, self.norms = bn_torch.recompute, [], []
        for i in (1, 2):
            dense = torch.nn.Linear(*SIZES[i - 1 : i + 1], bias=False, dtype=torch.float64)
            kind = torch.nn.BatchNorm1d if own else bn_torch.BatchNorm
            norm = kind(SIZES[i], eps=EPS, dtype=torch.float64)
            with torch.no_grad():
                dense.weight.copy_(torch.from_numpy(params[f"W{i}"].T))
                scale, shift = (norm.weight, norm.bias) if own else (norm.gamma, norm.beta)
                scale.copy_(torch.from_numpy(params[f"gamma{i}"][0]))
                shift.copy_(torch.from_numpy(params[f"beta{i}"][0]))
            layers += [dense, norm, torch.nn.ReLU(), *[torch.nn.Dropout(0.5)] * dropout]
            self.norms.append(norm)
        self.model = torch.nn.Sequential(*layers, torch.nn.Linear(*SIZES[2:], dtype=torch.float64))

    def kept(self):
        return [(norm.running_mean.numpy(), norm.running_var.numpy()) for norm in self.norms]

    def put(self, x):
        return frameworks.from_numpy(x, "torch", device="cpu")


class Keras:
    """The network as a Keras model; `own` takes Keras' layer, else the book's."""

    def __init__(self, params, *, own=True, dropout=False):
        import keras

        from dlbook.batch_norm import tensorflow as bn_tensorflow

        self.recompute, layers, self.norms = bn_tensorflow.recompute, [], []
        for i in (1, 2):
            if own:
                norm = keras.layers.BatchNormalization(epsilon=EPS, dtype="float64")
            else:
                norm = bn_tensorflow.BatchNorm(SIZES[i], eps=EPS, dtype="float64")
            layers += [keras.layers.Dense(SIZES[i], use_bias=False, dtype="float64"), norm]
            layers += [
                keras.layers.ReLU(dtype="float64"),
                *[keras.layers.Dropout(0.5, dtype="float64")] * dropout,
            ]
            self.norms.append(norm)
        self.model = keras.Sequential([*layers, keras.layers.Dense(SIZES[3], dtype="float64")])
        self.model.build((None, SIZES[0]))
        for i, norm in enumerate(self.norms, start=1):
            self.model.layers[(3 + dropout) * (i - 1)].kernel.assign(params[f"W{i}"])
            norm.gamma.assign(params[f"gamma{i}"][0])
            norm.beta.assign(params[f"beta{i}"][0])

    def kept(self):
        names = ("moving_mean", "moving_variance"), ("running_mean", "running_var")
        pair = [names[not hasattr(norm, "moving_mean")] for norm in self.norms]
        return [
            tuple(np.asarray(getattr(norm, name)) for name in two)
            for norm, two in zip(self.norms, pair, strict=True)
        ]

    def put(self, x):
        return frameworks.from_numpy(x, "tensorflow", device="cpu")


NETWORKS = {
    "numpy": Numpy,
    "torch": Torch,
    "torch, the book's layer": lambda params, **options: Torch(params, own=False, **options),
    "tensorflow": Keras,
    "tensorflow, the book's layer": lambda params, **options: Keras(params, own=False, **options),
}


@pytest.fixture(params=NETWORKS)
def network(request):
    require(request.param.split(",")[0])
    return NETWORKS[request.param]


def assert_precise(net, params, x):
    """What the layers keep is what the perceptron's `precise_running` finds, all rows at once."""
    running = mlp_numpy.precise_running(params, x, eps=EPS)
    for kept, right in zip(net.kept(), running.values(), strict=True):
        for got, wanted in zip(kept, right, strict=True):
            np.testing.assert_allclose(got, wanted[0], rtol=1e-10)


@pytest.mark.parametrize("cuts", [[50], [50, 51], [7, 8, 30], [0, 25]])
def test_all_layers_get_the_statistics_of_all_rows_however_they_are_cut(network, problem, cuts):
    params, x = problem
    net = network(params)
    net.recompute(net.model, [net.put(part) for part in np.split(x, cuts)])
    assert_precise(net, params, x)


@pytest.mark.parametrize("kind", [tuple, list])
def test_of_a_pair_the_model_gets_the_first(network, problem, kind):
    params, x = problem
    net = network(params)
    net.recompute(net.model, [kind((net.put(part), None)) for part in np.split(x, 5)])
    assert_precise(net, params, x)


def test_dropout_is_off_whatever_the_mode(network, problem):
    params, x = problem
    net = network(params, dropout=True)
    if hasattr(net.model, "train"):
        net.model.train()
    net.recompute(net.model, [net.put(x)])
    assert_precise(net, params, x)


def test_a_second_time_changes_nothing(network, problem):
    params, x = problem
    net = network(params)
    net.recompute(net.model, [net.put(x)])
    first = [tuple(np.copy(a) for a in pair) for pair in net.kept()]
    net.recompute(net.model, [net.put(x)])
    for before, after in zip(first, net.kept(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_no_example_is_an_error(network, problem):
    params, x = problem
    net = network(params)
    for none in ([], [net.put(x[:0])]):
        with pytest.raises(ValueError, match="batches must hold at least one example, got none"):
            net.recompute(net.model, none)


def test_an_iterator_is_refused_where_it_would_be_empty_the_second_time(other_framework, problem):
    params, x = problem
    net = NETWORKS[other_framework](params)
    with pytest.raises(
        TypeError, match=r"batches must be .* read more than once.* got list_iterator: try list"
    ):
        net.recompute(net.model, iter([net.put(x)]))


def test_a_model_without_batch_norm_is_left_alone():
    require("torch")
    require("tensorflow")
    import torch
    import keras

    from dlbook.batch_norm import tensorflow as bn_tensorflow
    from dlbook.batch_norm import torch as bn_torch

    bn_torch.recompute(torch.nn.Linear(3, 2), [torch.ones(4, 3)])
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    bn_tensorflow.recompute(model, [np.ones((4, 3), "float32")])
    layers = [lambda x: 2 * x]
    bn_numpy.recompute(layers, [np.ones((4, 3))])


# --- PyTorch ---------------------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    require("torch")
    import torch

    return torch


def test_one_batch_gives_pytorch_what_its_cumulative_average_keeps(torch, problem):
    """With momentum=None and all rows in one batch; PyTorch keeps the unbiased variance."""
    params, x = problem
    ours, theirs = Torch(params), Torch(params)
    ours.recompute(ours.model, [ours.put(x)])
    torch.optim.swa_utils.update_bn([theirs.put(x)], theirs.model)
    assert theirs.norms[0].momentum == 0.1
    for (mean, var), (their_mean, their_var) in zip(ours.kept(), theirs.kept(), strict=True):
        np.testing.assert_allclose(mean, their_mean, rtol=1e-10)
        np.testing.assert_allclose(var * len(x) / (len(x) - 1), their_var, rtol=1e-10)


def test_equal_batches_give_pytorchs_average_of_the_means(torch, rng):
    """Of several batches PyTorch averages the variances inside them, and leaves out that between their means."""
    from dlbook.batch_norm import torch as bn_torch

    x = torch.from_numpy(rng.normal(2, 3, (6, 10, 4)))
    layer, theirs = (torch.nn.BatchNorm1d(4, momentum=None, dtype=torch.float64) for _ in range(2))
    bn_torch.recompute(layer, list(x))
    for batch in x:
        theirs(batch)
    np.testing.assert_allclose(layer.running_mean, theirs.running_mean, rtol=1e-12)
    between = x.mean(dim=1).var(dim=0, correction=0)
    np.testing.assert_allclose(layer.running_var, theirs.running_var * 9 / 10 + between, rtol=1e-12)


def test_every_module_keeps_its_mode_and_no_hook_stays(torch, problem):
    params, x = problem
    net = Torch(params, dropout=True)
    net.model.train()
    net.norms[1].eval()
    before = [module.training for module in net.model.modules()]
    net.recompute(net.model, [net.put(x)])
    assert [module.training for module in net.model.modules()] == before
    assert not any(module._forward_pre_hooks for module in net.model.modules())
    with pytest.raises(RuntimeError, match="shape"):
        net.recompute(net.model, [net.put(x[:, :2])])
    assert [module.training for module in net.model.modules()] == before
    assert not any(module._forward_pre_hooks for module in net.model.modules())


def test_images_and_sequences_are_averaged_over_all_positions(torch, rng):
    from dlbook.batch_norm import torch as bn_torch

    for norm, shape in ((torch.nn.BatchNorm2d, (8, 3, 4, 5)), (torch.nn.BatchNorm1d, (8, 3, 7))):
        x, layer = torch.from_numpy(rng.normal(1, 2, shape)), norm(3, dtype=torch.float64)
        bn_torch.recompute(layer, x.split(3))
        axes = (0, *range(2, x.ndim))
        np.testing.assert_allclose(layer.running_mean, x.mean(axes), rtol=1e-12)
        np.testing.assert_allclose(layer.running_var, x.var(axes, correction=0), rtol=1e-12)


def test_layers_without_statistics_and_layers_that_are_not_reached_stay(torch, rng):
    from dlbook.batch_norm import torch as bn_torch

    class Half(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
            self.untracked = torch.nn.BatchNorm1d(3, track_running_stats=False)

        def forward(self, x):
            return self.used(self.untracked(x))

    model = Half()
    bn_torch.recompute(model, [torch.randn(5, 3)])
    assert model.untracked.running_mean is None
    assert model.unused.running_mean.abs().sum() == 0
    assert model.used.running_var.sub(1).abs().sum() > 0


def test_a_layer_that_is_used_twice_is_measured_on_both_inputs(torch, rng):
    from dlbook.batch_norm import torch as bn_torch

    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(2, dtype=torch.float64)

        def forward(self, x):
            return self.norm(x), self.norm(x + 4)

    model, x = Twice(), torch.from_numpy(rng.normal(size=(9, 2)))
    bn_torch.recompute(model, [x])
    np.testing.assert_allclose(model.norm.running_mean, x.mean(0) + 2, rtol=1e-12)
    np.testing.assert_allclose(model.norm.running_var, x.var(0, correction=0) + 4, rtol=1e-12)


def test_no_gradient_is_kept(torch, problem):
    params, x = problem
    net = Torch(params)
    net.recompute(net.model, [net.put(x).requires_grad_()])
    assert not any(norm.running_var.requires_grad for norm in net.norms)


def test_a_data_loader_that_shuffles_will_do(torch, problem):
    params, x = problem
    net = Torch(params)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(net.put(x)), batch_size=8, shuffle=True
    )
    net.recompute(net.model, loader)
    assert_precise(net, params, x)


# --- Keras -----------------------------------------------------------------------------------------------------


@pytest.fixture
def keras():
    require("tensorflow")
    import keras

    return keras


def test_keras_own_moments_of_all_rows(keras, rng):
    """With momentum 0, Keras' layer keeps the moments of its last batch: here, of everything."""
    from dlbook.batch_norm import tensorflow as bn_tensorflow

    x = rng.normal(2, 3, (30, 4)).astype("float32")
    ours, theirs = keras.layers.BatchNormalization(), keras.layers.BatchNormalization(momentum=0.0)
    model = keras.Sequential([keras.Input((4,)), ours])
    bn_tensorflow.recompute(model, [x[:11], x[11:]])
    theirs(x, training=True)
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, rtol=1e-5)
    np.testing.assert_allclose(ours.moving_variance, theirs.moving_variance, rtol=1e-5)


def test_the_call_of_a_keras_layer_comes_back_even_after_an_error(keras, problem):
    params, x = problem
    net = Keras(params)
    net.recompute(net.model, [net.put(x)])
    with pytest.raises(Exception, match=r"[Ii]ncompatible|[Mm]atrix|shape"):
        net.recompute(net.model, [net.put(x[:, :2])])
    assert all("call" not in vars(norm) for norm in net.norms)
    import tensorflow as tf

    assert not tf.config.functions_run_eagerly()


@pytest.mark.parametrize("axis", [-1, 1])
def test_keras_images_with_the_features_first_or_last(keras, rng, axis):
    from dlbook.batch_norm import tensorflow as bn_tensorflow

    x, layer = rng.normal(1, 2, (8, 3, 4, 3)).astype("float32"), keras.layers.BatchNormalization(axis=axis)
    bn_tensorflow.recompute(keras.Sequential([keras.Input(x.shape[1:]), layer]), [x[:5], x[5:]])
    others = tuple(a for a in range(4) if a != axis % 4)
    np.testing.assert_allclose(layer.moving_mean, x.mean(others), rtol=1e-4)
    np.testing.assert_allclose(layer.moving_variance, x.var(others), rtol=1e-4)


def test_a_keras_model_inside_a_model_a_traced_call_and_a_data_set(keras, rng):
    import tensorflow as tf

    from dlbook.batch_norm import tensorflow as bn_tensorflow

    class Traced(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = keras.Sequential([keras.layers.BatchNormalization(), keras.layers.Dropout(0.9)])
            self.outer = keras.layers.BatchNormalization()

        @tf.function
        def call(self, x, training=False):
            return self.outer(2 * self.inner(x, training=training) + 1, training=training)

    x = rng.normal(3, 2, (40, 2)).astype("float32")
    model = Traced()
    model(x)  # traced before `recompute` sees it
    bn_tensorflow.recompute(model, tf.data.Dataset.from_tensor_slices((x, x)).batch(16))
    np.testing.assert_allclose(model.inner.layers[0].moving_mean, x.mean(0), rtol=1e-5)
    np.testing.assert_allclose(model.outer.moving_mean, [1, 1], atol=1e-4)
    np.testing.assert_allclose(model.outer.moving_variance, [4, 4], rtol=1e-2)


def test_a_frozen_keras_layer_is_measured_too(keras, rng):
    from dlbook.batch_norm import tensorflow as bn_tensorflow

    layer = keras.layers.BatchNormalization()
    model = keras.Sequential([keras.Input((2,)), layer])
    layer.trainable = False
    x = rng.normal(3, 2, (40, 2)).astype("float32")
    bn_tensorflow.recompute(model, [x])
    np.testing.assert_allclose(layer.moving_mean, x.mean(0), rtol=1e-5)
