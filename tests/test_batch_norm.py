"""Batch norm: three frameworks agree with each other, with torch's and Keras' own, as images and as populations."""

import numpy as np
import pytest
from batch_norm_cases import assert_close, call, gradients, precise, problem, running_of

from dlbook import frameworks
from dlbook.batch_norm import Cache, Running

# float64 agrees to rounding; float32 carries seven digits, and the sums over the batch cost one or two of them.
TOLERANCE = {"float64": {"rtol": 1e-10, "atol": 1e-10}, "float32": {"rtol": 2e-5, "atol": 2e-5}}
IMAGES = {"NCHW": (0, 2, 3), "NHWC": (0, 1, 2)}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_every_function_equals_numpys(other_framework, dtype, leading, rng):
    x, gamma, beta, dy = problem(rng, *leading, dtype=dtype)
    running = running_of(gamma, rng)
    W, b = rng.normal(size=(*leading, 5, 4)).astype(dtype), rng.normal(size=gamma.shape).astype(dtype)

    def everything(framework):
        return (
            call(framework, "batch_norm_train", x, gamma, beta)[:2],
            call(framework, "batch_norm_train", x, gamma, beta, running, decay=0.7, eps=1e-3)[:2],
            call(framework, "batch_norm_test", x, gamma, beta, running, eps=1e-3),
            gradients(framework, dy, x, gamma, beta, eps=1e-3),
            call(framework, "fold", W, b, gamma, beta, running, eps=1e-3),
            call(framework, "fold", W, None, gamma, beta, running),
            precise(framework, [x, 3 * x[..., :5, :], x[..., :0, :]]),
        )

    assert_close(everything(other_framework), everything("numpy"), **TOLERANCE[dtype])


def test_numbers_by_hand(framework):
    x = np.array([[1.0], [2.0], [3.0], [4.0]])
    running = Running(np.array([10.0]), np.array([100.0]))
    y, running, _ = call(framework, "batch_norm_train", x, np.array([2.0]), np.array([1.0]), running, eps=0.0)
    s = 1.25**0.5
    np.testing.assert_allclose(y[:, 0], [1 - 3 / s, 1 - 1 / s, 1 + 1 / s, 1 + 3 / s], rtol=1e-14)
    assert_close(running, ([0.9 * 10 + 0.1 * 2.5], [0.9 * 100 + 0.1 * 1.25]), rtol=1e-14)


def test_the_caches_and_running_statistics_are_the_same_tuples_in_every_framework(framework, rng):
    x, gamma, beta, _ = problem(rng)
    _, running, cache = call(framework, "batch_norm_train", x, gamma, beta)
    assert isinstance(running, Running)
    assert isinstance(cache, Cache)
    assert cache.axis == (0,)
    module = frameworks.load("batch_norm", framework)
    assert (module.Running, module.Cache) == (Running, Cache)
    np.testing.assert_allclose(running.mean, x.mean(0, keepdims=True), rtol=1e-14)
    np.testing.assert_allclose(running.var, x.var(0, keepdims=True), rtol=1e-14)


def test_training_equals_torchs_batch_norm(framework, rng):
    """PyTorch stores m / (m - 1) times the biased variance, and calls `1 - decay` momentum."""
    torch = pytest.importorskip("torch")
    x, gamma, beta, dy = problem(rng)
    running, m, decay = running_of(gamma, rng), len(x), 0.8
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, gamma, beta)]
    mean, var = (torch.tensor(a) for a in running)
    theirs = torch.nn.functional.batch_norm(
        leaves[0], mean, var, *leaves[1:], training=True, momentum=1 - decay, eps=1e-4
    )
    theirs.backward(torch.tensor(dy))
    y, new, _ = call(framework, "batch_norm_train", x, gamma, beta, running, decay=decay, eps=1e-4)
    assert_close(
        (y, new.mean, *gradients(framework, dy, x, gamma, beta, eps=1e-4)),
        (theirs.detach(), mean, *(leaf.grad for leaf in leaves)),
        rtol=1e-10,
        atol=1e-12,
    )
    moved, moved_theirs = new.var - decay * running.var, var.numpy() - decay * running.var
    np.testing.assert_allclose(moved * m / (m - 1), moved_theirs, rtol=1e-10)


def test_testing_equals_torchs_and_keras_batch_norm(framework, rng):
    torch, keras = pytest.importorskip("torch"), pytest.importorskip("keras")
    x, gamma, beta, _ = problem(rng)
    running = running_of(gamma, rng)
    y = call(framework, "batch_norm_test", x, gamma, beta, running, eps=1e-3)
    theirs = torch.nn.functional.batch_norm(*map(torch.tensor, (x, *running, gamma, beta)), eps=1e-3)
    np.testing.assert_allclose(y, theirs, rtol=1e-12)
    layer = keras.layers.BatchNormalization(dtype="float64")
    layer.build(x.shape)
    layer.set_weights([gamma, beta, *running])
    np.testing.assert_allclose(y, layer(x), rtol=1e-12)


def test_training_equals_keras_batch_norm(framework, rng):
    """Keras stores the biased variance as we do, calls `decay` momentum, and its eps is 1e-3."""
    keras = pytest.importorskip("keras")
    x, gamma, beta, _ = problem(rng)
    running = running_of(gamma, rng)
    layer = keras.layers.BatchNormalization(momentum=0.8, dtype="float64")
    layer.build(x.shape)
    layer.set_weights([gamma, beta, *running])
    theirs = layer(x, training=True).numpy()
    y, new, _ = call(framework, "batch_norm_train", x, gamma, beta, running, decay=0.8, eps=1e-3)
    # Keras subtracts mean(x)**2 from mean(x**2), which costs it digits.
    np.testing.assert_allclose(y, theirs, rtol=1e-9, atol=1e-12)
    assert_close(new, layer.get_weights()[2:], rtol=1e-9)


@pytest.mark.parametrize("order", IMAGES)
def test_images_equal_torchs_batch_norm_2d(framework, order, rng):
    torch = pytest.importorskip("torch")
    x, dy = rng.normal(3, 2, (2, 4, 3, 5, 6))
    gamma, beta = rng.normal(size=(2, 3))
    layer = torch.nn.BatchNorm2d(3, momentum=0.25, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(gamma))
        layer.bias.copy_(torch.tensor(beta))
    leaf = torch.tensor(x, requires_grad=True)
    theirs = layer(leaf)
    theirs.backward(torch.tensor(dy))

    def ours(a):
        return a if order == "NCHW" else a.transpose(0, 2, 3, 1)

    shape = (1, 3, 1, 1) if order == "NCHW" else (3,)
    gamma, beta, mean, var = (a.reshape(shape) for a in (gamma, beta, np.zeros(3), np.ones(3)))
    options = {"axis": IMAGES[order]}
    y, new, _ = call(
        framework, "batch_norm_train", ours(x), gamma, beta, Running(mean, var), decay=0.75, **options
    )
    np.testing.assert_allclose(y, ours(theirs.detach().numpy()), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(new.mean, layer.running_mean.reshape(shape), rtol=1e-12)
    m = x.size / 3
    moved = (new.var - 0.75) * m / (m - 1)
    np.testing.assert_allclose(moved, layer.running_var.reshape(shape) - 0.75, rtol=1e-10)
    dx, dgamma, dbeta = gradients(framework, ours(dy), ours(x), gamma, beta, **options)
    np.testing.assert_allclose(dx, ours(leaf.grad.numpy()), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(dgamma, layer.weight.grad.reshape(shape), rtol=1e-10)
    np.testing.assert_allclose(dbeta, layer.bias.grad.reshape(shape), rtol=1e-10)
    layer.eval()
    tested = call(framework, "batch_norm_test", ours(x), gamma, beta, Running(new.mean, new.var * 0 + 2))
    layer.running_var.fill_(2)
    np.testing.assert_allclose(tested, ours(layer(leaf).detach().numpy()), rtol=1e-10, atol=1e-12)


def test_one_image_has_a_mean_over_its_pixels(framework, rng):
    x = rng.normal(size=(1, 3, 4, 5))
    y, _, _ = call(framework, "batch_norm_train", x, *np.ones((2, 3, 1, 1)), axis=(0, 2, 3), eps=0.0)
    np.testing.assert_allclose(y.mean(axis=(0, 2, 3)), 1, rtol=1e-12)
    np.testing.assert_allclose(y.std(axis=(0, 2, 3)), 1, rtol=1e-12)


@pytest.mark.parametrize("shared", [False, True])
def test_a_population_is_each_model_alone(framework, shared, rng):
    x, gamma, beta, dy = problem(rng, 3)
    running = running_of(gamma, rng)
    if shared:
        gamma, beta = gamma[0, 0], beta[0, 0]
    together = call(framework, "batch_norm_train", x, gamma, beta, running)[:2]
    tested = call(framework, "batch_norm_test", x, gamma, beta, running)
    dx, dgamma, dbeta = gradients(framework, dy, x, gamma, beta)
    alone = []
    for k in range(3):
        own = (gamma, beta) if shared else (gamma[k], beta[k])
        here = Running(running.mean[k], running.var[k])
        y, new, _ = call(framework, "batch_norm_train", x[k], *own, here)
        alone.append((y, new, call(framework, "batch_norm_test", x[k], *own, here)))
        alone[-1] += gradients(framework, dy[k], x[k], *own)
        pairs = [(together[0][k], y), *((a[k], b) for a, b in zip(together[1], new, strict=True))]
        for a, b in [*pairs, (tested[k], alone[k][2]), (dx[k], alone[k][3])]:
            same(framework, a, b)
    for got, parts in ((dgamma, [a[4] for a in alone]), (dbeta, [a[5] for a in alone])):
        same(framework, got, sum(parts) if shared else np.stack(parts))


def same(framework, a, b):
    """NumPy bit for bit; the others choose another order of summation for another shape."""
    if framework == "numpy":
        np.testing.assert_array_equal(a, b)
    else:
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_a_model_of_nan_leaves_its_neighbours_untouched(framework, rng):
    x, gamma, beta, dy = problem(rng, 3)
    running = running_of(gamma, rng)
    spoilt = x.copy()
    spoilt[1] = np.nan
    good = [0, 2]

    def everything(x):
        trained = call(framework, "batch_norm_train", x, gamma, beta, running)[:2]
        return (trained[0], *trained[1], *gradients(framework, dy, x, gamma, beta))

    for a, b in zip(everything(x), everything(spoilt), strict=True):
        np.testing.assert_array_equal(a[good], b[good])
    assert np.isnan(everything(spoilt)[0][1]).all()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("leading", [(), (3,)])
def test_fold_is_the_layer_and_its_batch_norm(framework, leading, bias, rng):
    x, gamma, beta, _ = problem(rng, *leading)
    W = rng.normal(size=(*leading, 4, 4))
    b = rng.normal(size=gamma.shape) if bias else None
    running = running_of(gamma, rng)
    two_layers = call(framework, "batch_norm_test", x @ W + (b if bias else 0), gamma, beta, running)
    folded_W, folded_b = call(framework, "fold", W, b, gamma, beta, running)
    np.testing.assert_allclose(x @ folded_W + folded_b, two_layers, rtol=1e-12, atol=1e-12)


def test_fold_equals_torchs_fuse_linear_bn_eval(framework, rng):
    torch = pytest.importorskip("torch")
    linear = torch.nn.Linear(5, 4, dtype=torch.float64)
    norm = torch.nn.BatchNorm1d(4, dtype=torch.float64)
    norm(linear(torch.tensor(rng.normal(size=(8, 5)))))
    fused = torch.nn.utils.fusion.fuse_linear_bn_eval(linear.eval(), norm.eval())
    arrays = (linear.weight.T, linear.bias, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    W, b, gamma, beta, mean, var = (a.detach().numpy() for a in arrays)
    folded = call(framework, "fold", W, b, gamma, beta, Running(mean, var))
    assert_close(folded, (fused.weight.detach().T, fused.bias.detach()), rtol=1e-12, atol=1e-14)
