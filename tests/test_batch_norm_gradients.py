"""The gradients of batch norm: central differences, autograd, the tape, and what must hold for every batch."""

import numpy as np
import pytest
from batch_norm_cases import assert_close, back, call, convert, gradients, problem, running_of
from hypothesis import given
from hypothesis import strategies as st

from dlbook import frameworks
from dlbook.batch_norm import Cache, Running


def central_differences(f, x, h=1e-5):
    slope = np.empty_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        slope[i] = (f(x + step) - f(x - step)) / (2 * h)
    return slope


@pytest.mark.parametrize(
    ("shape", "parameters", "axis"),
    [
        ((6, 3), (3,), -2),
        ((2, 5, 3), (2, 1, 3), -2),
        ((2, 5, 3), (3,), -2),
        ((2, 3, 2, 2), (3, 1, 1), (0, 2, 3)),
    ],
)
def test_the_gradients_are_central_differences(shape, parameters, axis, rng):
    x, dy = rng.normal(size=(2, *shape))
    arrays = [x, *rng.normal(size=(2, *parameters))]
    ours = gradients("numpy", dy, *arrays, axis=axis, eps=1e-3)
    for i in range(3):

        def loss(a, i=i):
            moved = [*arrays[:i], a, *arrays[i + 1 :]]
            return np.sum(dy * call("numpy", "batch_norm_train", *moved, axis=axis, eps=1e-3)[0])

        numeric = central_differences(loss, arrays[i])
        np.testing.assert_allclose(ours[i], numeric, rtol=1e-7, atol=1e-8 * np.abs(numeric).max())


def test_the_numpy_pair_passes_torchs_gradcheck(rng):
    torch = pytest.importorskip("torch")
    module = frameworks.load("batch_norm", "numpy")

    class Pair(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *arrays):
            y, _, ctx.cache = module.batch_norm_train(*(a.detach().numpy() for a in arrays))
            return torch.from_numpy(y)

        @staticmethod
        def backward(ctx, dy):
            return tuple(map(torch.from_numpy, module.batch_norm_backward(dy.numpy(), ctx.cache)))

    arrays = [torch.tensor(a, requires_grad=True) for a in problem(rng)[:3]]
    assert torch.autograd.gradcheck(Pair.apply, arrays)


def test_autograd_agrees_twice_with_the_functions_and_the_backward_by_hand(rng):
    torch = pytest.importorskip("torch")
    module = frameworks.load("batch_norm", "torch")
    arrays = [torch.tensor(a, requires_grad=True) for a in problem(rng, batch=4, features=2)[:3]]
    dy = torch.tensor(rng.normal(size=(4, 2)), requires_grad=True)

    def forward(*arrays):
        return module.batch_norm_train(*arrays)[0]

    def by_hand(dy, *arrays):
        return module.batch_norm_backward(dy, module.batch_norm_train(*arrays)[2])

    assert torch.autograd.gradcheck(forward, arrays)
    assert torch.autograd.gradgradcheck(forward, arrays)
    assert torch.autograd.gradcheck(by_hand, (dy, *arrays))


AXES = [
    ((8, 4), (4,), -2),
    ((3, 8, 4), (3, 1, 4), -2),
    ((3, 8, 4), (4,), -2),
    ((5, 3, 2, 2), (1, 3, 1, 1), (0, 2, 3)),
]


@pytest.mark.parametrize(("shape", "parameters", "axis"), AXES)
def test_torchs_autograd_equals_the_backward_by_hand(shape, parameters, axis, rng):
    torch = pytest.importorskip("torch")
    x, dy = rng.normal(size=(2, *shape))
    arrays = (x, *rng.normal(size=(2, *parameters)))
    leaves = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = frameworks.load("batch_norm", "torch").batch_norm_train(*leaves, axis=axis)[0]
    theirs = torch.autograd.grad(y, leaves, torch.tensor(dy))
    assert_close(gradients("torch", dy, *arrays, axis=axis), theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize(("shape", "parameters", "axis"), AXES)
def test_the_tape_equals_the_backward_by_hand(shape, parameters, axis, graph, rng):
    tf = pytest.importorskip("tensorflow")
    x, dy = rng.normal(size=(2, *shape))
    arrays = (x, *rng.normal(size=(2, *parameters)))
    variables = [tf.Variable(a) for a in arrays]

    def gradient():
        with tf.GradientTape() as tape:
            y = frameworks.load("batch_norm", "tensorflow").batch_norm_train(*variables, axis=axis)[0]
        return tape.gradient(y, variables, tf.constant(dy))

    theirs = back((tf.function(gradient) if graph else gradient)())
    assert_close(gradients("tensorflow", dy, *arrays, axis=axis), theirs, rtol=1e-10, atol=1e-12)


def test_the_tapes_second_derivatives_are_right(rng):
    """With tf.nn.moments, which stops the gradient at the mean, they would not be."""
    tf, torch = pytest.importorskip("tensorflow"), pytest.importorskip("torch")
    x, gamma, beta, dy = problem(rng, batch=4, features=1)

    def ours(x):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                module = frameworks.load("batch_norm", "tensorflow")
                y = module.batch_norm_train(x, tf.constant(gamma), tf.constant(beta))[0]
            slope = inner.gradient(y, x, tf.constant(dy))
        return outer.jacobian(slope, x)

    def loss(x):
        y = torch.nn.functional.batch_norm(x, None, None, *map(torch.tensor, (gamma, beta)), training=True)
        return (y * torch.tensor(dy)).sum()

    theirs = torch.autograd.functional.hessian(loss, torch.tensor(x))
    np.testing.assert_allclose(ours(tf.constant(x)), theirs, rtol=1e-9, atol=1e-12)


def test_the_test_time_gradient_is_that_of_a_straight_line(rng):
    torch, tf = pytest.importorskip("torch"), pytest.importorskip("tensorflow")
    x, gamma, beta, dy = problem(rng)
    running = running_of(gamma, rng)
    slope = dy * gamma / np.sqrt(running.var + 1e-5)
    leaf = torch.tensor(x, requires_grad=True)
    arguments = [convert(a, "torch") for a in (gamma, beta, running)]
    frameworks.load("batch_norm", "torch").batch_norm_test(leaf, *arguments).backward(torch.tensor(dy))
    np.testing.assert_allclose(leaf.grad, slope, rtol=1e-12)
    with tf.GradientTape() as tape:
        variable = tf.Variable(x)
        arguments = [convert(a, "tensorflow") for a in (gamma, beta, running)]
        y = frameworks.load("batch_norm", "tensorflow").batch_norm_test(variable, *arguments)
    np.testing.assert_allclose(tape.gradient(y, variable, tf.constant(dy)), slope, rtol=1e-12)


def test_no_gradient_flows_through_the_running_statistics(rng):
    torch, tf = pytest.importorskip("torch"), pytest.importorskip("tensorflow")
    x = rng.normal(size=(4, 3))
    leaf = torch.tensor(x, requires_grad=True)
    for old in (None, Running(torch.zeros(3), torch.ones(3))):
        _, running, _ = frameworks.load("batch_norm", "torch").batch_norm_train(
            leaf, torch.ones(3), torch.zeros(3), old
        )
        assert not running.mean.requires_grad
        assert not running.var.requires_grad
    assert not frameworks.load("batch_norm", "torch").precise_statistics([leaf]).mean.requires_grad
    module, variable = frameworks.load("batch_norm", "tensorflow"), tf.Variable(x)
    with tf.GradientTape() as tape:
        _, running, _ = module.batch_norm_train(variable, tf.ones(3), tf.zeros(3))
        total = tf.add_n([*running, *module.precise_statistics([variable])])
    assert tape.gradient(total, variable) is None


batches = st.tuples(st.integers(2, 12), st.integers(1, 5), st.integers(0, 2**32 - 1))


@given(batches)
def test_dx_sums_to_zero_and_is_orthogonal_to_x_hat(batch):
    """Adding a constant to a feature, or (at eps = 0) stretching it, changes nothing after normalisation."""
    rows, features, seed = batch
    x, gamma, beta, dy = problem(np.random.default_rng(seed), batch=rows, features=features)
    dx, _, _ = gradients("numpy", dy, x, gamma, beta, eps=0.0)
    cache = call("numpy", "batch_norm_train", x, gamma, beta, eps=0.0)[2]
    size = np.abs(dx).max() + np.abs(dy * gamma / cache.std).max()
    np.testing.assert_allclose(dx.sum(0), 0, atol=1e-12 * size)
    np.testing.assert_allclose((dx * cache.x_hat).sum(0), 0, atol=1e-12 * size)


@pytest.mark.parametrize("shape", [(8, 4), (3, 8, 4)])
def test_dx_sums_to_zero_in_every_framework(framework, shape, rng):
    x, dy = rng.normal(size=(2, *shape))
    dx, dgamma, dbeta = gradients(framework, dy, x, np.ones(4), np.zeros(4))
    np.testing.assert_allclose(dx.sum(-2), 0, atol=1e-13)
    np.testing.assert_allclose(dbeta, dy.reshape(-1, 4).sum(0), rtol=1e-12)
    assert dgamma.shape == (4,)


def test_the_gradient_of_a_constant_feature_is_finite(framework, rng):
    x, dy = np.full((5, 3), 7.5), rng.normal(size=(5, 3))
    dx, dgamma, _ = gradients(framework, dy, x, np.ones(3), np.zeros(3))
    np.testing.assert_allclose(dx, (dy - dy.mean(0)) / 1e-5**0.5, rtol=1e-12)
    np.testing.assert_array_equal(dgamma, 0)


def test_one_row_learns_only_beta(framework, rng):
    x, gamma, beta, dy = problem(rng, batch=1)
    dx, dgamma, dbeta = gradients(framework, dy, x, gamma, beta)
    np.testing.assert_array_equal(dx, 0)
    np.testing.assert_array_equal(dgamma, 0)
    np.testing.assert_array_equal(dbeta, dy[0])


def test_the_gradients_come_in_float32_where_the_batch_is_half_precision(framework, rng):
    x, gamma, beta, dy = problem(rng, dtype="float32")
    halves = [a.astype("float16") for a in (dy, x)]
    dx, dgamma, dbeta = gradients(framework, *halves, gamma, beta)
    assert [a.dtype.name for a in (dx, dgamma, dbeta)] == ["float16", "float32", "float32"]
    wanted = gradients("numpy", *(a.astype("float64") for a in halves), gamma, beta)
    np.testing.assert_allclose(dx, wanted[0], rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(dgamma, wanted[1], rtol=1e-5, atol=1e-5)


def test_a_gradient_of_another_shape_or_of_whole_numbers_is_refused(framework, rng):
    x, gamma, beta, dy = problem(rng)
    with pytest.raises(ValueError, match=r"dy must have the shape of y, \(8, 4\), got \(7, 4\)"):
        gradients(framework, dy[:7], x, gamma, beta)
    with pytest.raises(TypeError, match="dy must hold floating-point numbers, got int64"):
        gradients(framework, np.ones((8, 4), np.int64), x, gamma, beta)


def test_the_cache_is_a_plain_tuple_that_the_reader_can_fill(rng):
    x_hat, dy = rng.normal(size=(2, 5, 3))
    cache = Cache(x_hat, np.ones((1, 3)), np.ones(3), (0,))
    dx, _, _ = frameworks.load("batch_norm", "numpy").batch_norm_backward(dy, cache)
    np.testing.assert_allclose(dx, dy - dy.mean(0) - x_hat * (dy * x_hat).mean(0), rtol=1e-12)
