"""Ghost batch norm, layer norm and group norm, against the frameworks' own layers and against loops."""

import numpy as np
import pytest
from conftest import require

from dlbook.batch_norm import variants
from dlbook.batch_norm.numpy import batch_norm_backward, batch_norm_train

IMAGES = {"axis": 1, "positions": (2, 3)}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def arrays(rng, shape, parameters, dtype="float64"):
    """x, gamma, beta and the gradient at the output."""
    return [rng.standard_normal(s).astype(dtype) for s in (shape, parameters, parameters, shape)]


def in_torch(layer, x, gamma, beta, dy):
    """y, dx, dgamma, dbeta of a PyTorch layer."""
    require("torch")
    import torch

    layer = layer.to(torch.float64)
    shape = layer.weight.shape
    layer.load_state_dict(
        {"weight": torch.tensor(gamma).reshape(shape), "bias": torch.tensor(beta).reshape(shape)}
    )
    given = torch.tensor(x, requires_grad=True)
    y = layer(given)
    y.backward(torch.tensor(dy))
    return [a.numpy() for a in (y.detach(), given.grad, layer.weight.grad, layer.bias.grad)]


def in_keras(layer, x, gamma, beta, dy):
    require("tensorflow")
    import tensorflow as tf

    layer.build(x.shape)
    layer.set_weights([gamma.reshape(layer.gamma.shape), beta.reshape(layer.gamma.shape)])
    given = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(given)
        y = layer(given)
    wanted = [given, layer.gamma.value, layer.beta.value]
    return [y.numpy(), *(g.numpy() for g in tape.gradient(y, wanted, output_gradients=tf.constant(dy)))]


def ours(function, x, gamma, beta, dy, **options):
    y, cache = function(x, gamma, beta, **options)
    return [y, *variants.backward(dy, cache)]


def assert_same(got, expected, rtol=1e-9):
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other.reshape(one.shape), rtol=rtol, atol=rtol)


@pytest.mark.parametrize(
    ("shape", "axis", "parameters"), [((6, 8), -1, (8,)), ((3, 4, 5, 2), (1, 2, 3), (4, 5, 2))]
)
def test_layer_norm_is_that_of_torch(rng, shape, axis, parameters):
    require("torch")
    import torch

    given = arrays(rng, shape, parameters)
    assert_same(
        ours(variants.layer_norm, *given, axis=axis), in_torch(torch.nn.LayerNorm(parameters), *given)
    )


@pytest.mark.parametrize("groups", [1, 2, 4, 8])
def test_group_norm_is_that_of_torch(rng, groups):
    require("torch")
    import torch

    given = arrays(rng, (6, 8), (8,))
    assert_same(
        ours(variants.group_norm, *given, groups=groups, eps=0.1),
        in_torch(torch.nn.GroupNorm(groups, 8, eps=0.1), *given),
    )
    given = arrays(rng, (3, 8, 4, 5), (8, 1, 1))
    assert_same(
        ours(variants.group_norm, *given, groups=groups, **IMAGES),
        in_torch(torch.nn.GroupNorm(groups, 8), *given),
    )


def test_layer_norm_is_that_of_keras(rng):
    require("tensorflow")
    import tensorflow as tf

    given = arrays(rng, (6, 8), (8,))
    layer = tf.keras.layers.LayerNormalization(epsilon=1e-5, dtype="float64")
    assert_same(ours(variants.layer_norm, *given), in_keras(layer, *given), rtol=1e-6)


@pytest.mark.parametrize(("shape", "options"), [((6, 8), {}), ((3, 4, 5, 8), {"positions": (1, 2)})])
def test_group_norm_is_that_of_keras(rng, shape, options):
    require("tensorflow")
    import tensorflow as tf

    given = arrays(rng, shape, (8,))
    layer = tf.keras.layers.GroupNormalization(groups=2, epsilon=1e-5, dtype="float64")
    assert_same(ours(variants.group_norm, *given, groups=2, **options), in_keras(layer, *given), rtol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 4, 12])
def test_ghost_batch_norm_is_batch_norm_of_each_group(rng, size):
    x, gamma, beta, dy = arrays(rng, (12, 5), (5,))
    ys, dxs, dgammas, dbetas = [], [], [], []
    for start in range(0, 12, size):
        group = slice(start, start + size)
        y, _, cache = batch_norm_train(x[group], gamma, beta)
        dx, dgamma, dbeta = batch_norm_backward(dy[group], cache)
        for several, one in zip((ys, dxs, dgammas, dbetas), (y, dx, dgamma, dbeta), strict=True):
            several.append(one)
    expected = [np.concatenate(ys), np.concatenate(dxs), sum(dgammas), sum(dbetas)]
    assert_same(ours(variants.ghost_batch_norm, x, gamma, beta, dy, group_size=size), expected)


def test_a_population_is_each_model_alone(rng):
    x, dy = rng.standard_normal((2, 3, 8, 4))
    gamma, beta = rng.standard_normal((2, 3, 1, 4))
    for function, options in (
        (variants.ghost_batch_norm, {"group_size": 4}),
        (variants.layer_norm, {}),
        (variants.group_norm, {"groups": 2}),
    ):
        together = ours(function, x, gamma, beta, dy, **options)
        for k in range(3):
            assert_same([a[k] for a in together], ours(function, x[k], gamma[k], beta[k], dy[k], **options))


def test_the_backward_pass_is_the_slope(rng):
    x, gamma, beta, dy = arrays(rng, (8, 6), (6,))
    _, cache = variants.group_norm(x, gamma, beta, groups=3)
    dx, _, _ = variants.backward(dy, cache)
    towards, h = rng.standard_normal(x.shape), 1e-6
    ends = [(variants.group_norm(x + s * h * towards, gamma, beta, groups=3)[0] * dy).sum() for s in (1, -1)]
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * h), (dx * towards).sum(), rtol=1e-6)


def test_one_group_is_layer_norm_and_the_dtype_stays(rng):
    x, gamma, beta, dy = arrays(rng, (4, 6), (6,), "float32")
    one, other = (
        ours(variants.group_norm, x, gamma, beta, dy, groups=1),
        ours(variants.layer_norm, x, gamma, beta, dy),
    )
    for a, b in zip(one, other, strict=True):
        assert a.dtype == "float32"
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [0, -4, 5, 24, 4.0])
def test_groups_must_divide(rng, size):
    x, gamma, beta, _ = arrays(rng, (12, 12), (12,))
    with pytest.raises(ValueError, match="group_size must be a whole number that divides the 12 examples"):
        variants.ghost_batch_norm(x, gamma, beta, group_size=size)
    with pytest.raises(ValueError, match="groups must be a whole number that divides the 12 features"):
        variants.group_norm(x, gamma, beta, groups=size)


def test_other_mistakes_are_named(rng):
    x, gamma, beta, _ = arrays(rng, (6, 8), (8,))
    with pytest.raises(ValueError, match="gamma must broadcast against x"):
        variants.layer_norm(x, gamma[:7], beta[:7])
    with pytest.raises(ValueError, match="gamma must broadcast against x"):
        variants.layer_norm(x, gamma[None, None], beta[None, None])
    with pytest.raises(ValueError, match="beta must have the shape of gamma"):
        variants.layer_norm(x, gamma, beta[:1])
    with pytest.raises(ValueError, match="positions must not hold the axis of the features"):
        variants.group_norm(x, gamma, beta, groups=2, positions=(1,))
    with pytest.raises(ValueError, match="axis must lie in"):
        variants.layer_norm(x, gamma, beta, axis=2)
    with pytest.raises(TypeError, match="floating"):
        variants.layer_norm(x.astype(int), gamma, beta)
