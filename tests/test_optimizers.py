"""The four optimisers: against their formulas, torch.optim and Keras, as populations, and with bad arguments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dlbook import frameworks
from dlbook.optimizers import numpy as opt_numpy

NAMES = ("sgd", "momentum", "rmsprop", "adam")
BETAS = {"momentum": ("beta",), "rmsprop": ("beta",), "adam": ("beta1", "beta2")}
STEPS = 20


def problem(rng, models=(), dtype="float64"):
    """First parameters and a gradient for each of 20 steps; one gradient is zero and one is large."""
    shapes = {"W1": (*models, 4, 3), "b1": (*models, 1, 3)}
    params = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    sizes = np.concatenate([[1.0, 0.0, 100.0], np.ones(STEPS - 3)])
    grads = [{n: (k * rng.standard_normal(shapes[n])).astype(dtype) for n in shapes} for k in sizes]
    return params, grads


def run(optimizer, params, grads, framework="numpy"):
    """All parameters after each of the steps, as NumPy arrays."""
    params, path = convert(params, framework), []
    state = optimizer.init(params)
    for g in grads:
        params, state = optimizer.step(params, convert(g, framework), state)
        path.append({name: frameworks.to_numpy(array) for name, array in params.items()})
    return path


def convert(arrays, framework):
    return {name: frameworks.from_numpy(array, framework) for name, array in arrays.items()}


def compare(path, expected, **tolerance):
    assert len(path) == len(expected)
    for got, want in zip(path, expected, strict=True):
        for name in want:
            np.testing.assert_allclose(got[name], want[name], **tolerance)


def torch_path(make, params, grads, rates=None):
    torch = pytest.importorskip("torch")
    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in params.items()}
    optimizer, path = make(torch.optim, leaves.values()), []
    for i, g in enumerate(grads):
        if rates is not None:
            optimizer.param_groups[0]["lr"] = rates[i]
        for name, leaf in leaves.items():
            leaf.grad = torch.tensor(g[name])
        optimizer.step()
        path.append({name: leaf.detach().numpy().copy() for name, leaf in leaves.items()})
    return path


def keras_path(optimizer, params, grads, rates=None):
    keras = pytest.importorskip("keras")
    variables = {name: keras.Variable(array, dtype="float64") for name, array in params.items()}
    path = []
    for i, g in enumerate(grads):
        if rates is not None:
            optimizer.learning_rate = rates[i]
        pairs = [(keras.ops.convert_to_tensor(g[n]), variable) for n, variable in variables.items()]
        optimizer.apply_gradients(pairs)
        path.append(
            {name: frameworks.to_numpy(variable.value).copy() for name, variable in variables.items()}
        )
    return path


def scheduled(optimizers, params, grads):
    """Another optimiser at each step, the state handed on."""
    path, state = [], optimizers[0].init(params)
    for optimizer, g in zip(optimizers, grads, strict=True):
        params, state = optimizer.step(params, g, state)
        path.append(params)
    return path


# the formulas


def test_one_step_of_each_by_hand():
    w, g = {"w": np.array([1.0])}, {"w": np.array([2.0])}
    after = {name: run(getattr(opt_numpy, name)(0.1), w, [g])[0]["w"][0] for name in NAMES}
    assert after["sgd"] == pytest.approx(1 - 0.1 * 2)
    assert after["momentum"] == pytest.approx(1 - 0.1 * (0.1 * 2))
    assert after["rmsprop"] == pytest.approx(1 - 0.1 * 2 / (0.1 * 2**2) ** 0.5)
    assert after["adam"] == pytest.approx(1 - 0.1)


def test_two_steps_of_momentum_and_adam_by_hand():
    w, grads = {"w": np.array([1.0])}, [{"w": np.array([2.0])}, {"w": np.array([-1.0])}]
    first = 0.1 * 2
    second = 0.9 * first + 0.1 * -1
    path = run(opt_numpy.momentum(0.5), w, grads)
    assert path[1]["w"][0] == pytest.approx(1 - 0.5 * (first + second))

    v, s = second / (1 - 0.9**2), (0.999 * 0.001 * 4 + 0.001 * 1) / (1 - 0.999**2)
    path = run(opt_numpy.adam(0.5), w, grads)
    assert path[1]["w"][0] == pytest.approx(1 - 0.5 - 0.5 * v / s**0.5)


@given(scale=st.floats(1e-3, 1e6), lr=st.floats(1e-4, 1.0))
def test_the_first_step_of_adam_is_the_learning_rate_whatever_the_size_of_the_gradient(scale, lr):
    w = {"w": np.zeros(4)}
    g = {"w": scale * np.array([1.0, -6.0, 7.0, -2.0])}
    after = run(opt_numpy.adam(lr), w, [g])[0]["w"]
    np.testing.assert_allclose(after, lr * np.array([-1, 1, -1, 1]), rtol=1e-4)


def test_momentum_with_beta_0_is_gradient_descent(framework, rng):
    params, grads = problem(rng)
    module = frameworks.load("optimizers", framework)
    compare(
        run(module.momentum(0.1, beta=0.0), params, grads, framework),
        run(module.sgd(0.1), params, grads, framework),
        rtol=1e-14,
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_of_zero_from_the_start_moves_nothing(framework, name):
    params = {"w": np.array([[1.0, -2.0]])}
    optimizer = getattr(frameworks.load("optimizers", framework), name)(0.1)
    after = run(optimizer, params, [{"w": np.zeros((1, 2))}] * 3, framework)[-1]
    np.testing.assert_array_equal(after["w"], params["w"])


# against torch.optim and Keras

TORCH = {
    "sgd": (lambda o: o.sgd(0.3), lambda t, p: t.SGD(p, lr=0.3)),
    "momentum": (lambda o: o.momentum(0.3, 0.8), lambda t, p: t.SGD(p, lr=(1 - 0.8) * 0.3, momentum=0.8)),
    "rmsprop": (
        lambda o: o.rmsprop(0.03, 0.8, 1e-4),
        lambda t, p: t.RMSprop(p, lr=0.03, alpha=0.8, eps=1e-4),
    ),
    "adam": (
        lambda o: o.adam(0.03, 0.8, 0.95, 1e-4),
        lambda t, p: t.Adam(p, lr=0.03, betas=(0.8, 0.95), eps=1e-4),
    ),
    "adam by default": (lambda o: o.adam(0.001), lambda t, p: t.Adam(p)),
}


@pytest.mark.parametrize("name", TORCH)
def test_twenty_steps_are_those_of_torch_optim(framework, name, rng):
    ours, theirs = TORCH[name]
    params, grads = problem(rng)
    expected = torch_path(theirs, params, grads)
    optimizer = ours(frameworks.load("optimizers", framework))
    compare(run(optimizer, params, grads, framework), expected, rtol=1e-10, atol=1e-10)


def test_the_default_of_rmsprop_is_not_that_of_torch(rng):
    params, grads = problem(rng)
    expected = torch_path(lambda t, p: t.RMSprop(p), params, grads)
    compare(run(opt_numpy.rmsprop(0.01, beta=0.99), params, grads), expected, rtol=1e-10, atol=1e-10)
    with pytest.raises(AssertionError):
        compare(run(opt_numpy.rmsprop(0.01), params, grads), expected, rtol=0.1)


# Keras keeps its hyperparameters in float32: those below are exact in it.


def test_twenty_steps_of_sgd_and_momentum_are_those_of_keras(framework, rng):
    keras = pytest.importorskip("keras")
    params, grads = problem(rng)
    module = frameworks.load("optimizers", framework)
    plain = keras_path(keras.optimizers.SGD(0.25), params, grads)
    compare(run(module.sgd(0.25), params, grads, framework), plain, rtol=1e-10, atol=1e-10)
    heavy = keras_path(keras.optimizers.SGD(0.25, momentum=0.5), params, grads)
    compare(
        run(module.momentum(0.25 / (1 - 0.5), 0.5), params, grads, framework), heavy, rtol=1e-10, atol=1e-10
    )


def test_the_three_forms_of_momentum_part_when_the_learning_rate_changes(rng):
    keras = pytest.importorskip("keras")
    params, grads = problem(rng)
    rates = [0.25] * 10 + [0.0625] * 10
    ours = scheduled([opt_numpy.momentum(2 * rate, 0.5) for rate in rates], params, grads)
    torch = torch_path(lambda t, p: t.SGD(p, lr=0.25, momentum=0.5), params, grads, rates)
    compare(ours, torch, rtol=1e-10, atol=1e-10)

    # Keras multiplies by the rate before it averages, so old gradients keep the old rate.
    theirs = keras_path(keras.optimizers.SGD(0.25, momentum=0.5), params, grads, rates)
    m = dict.fromkeys(params, 0.0)
    for i, (rate, g) in enumerate(zip(rates, grads, strict=True)):
        before = params if i == 0 else theirs[i - 1]
        m = {n: 0.5 * m[n] - rate * g[n] for n in m}
        for n in m:
            np.testing.assert_allclose(theirs[i][n], before[n] + m[n], rtol=1e-10, atol=1e-10)
    assert np.abs(theirs[10]["W1"] - ours[10]["W1"]).max() > 0.01


def test_twenty_steps_of_adam_are_those_of_keras_with_eps_corrected_at_each_step(framework, rng):
    keras = pytest.importorskip("keras")
    params, grads = problem(rng)
    kwargs = dict(beta_1=0.75, beta_2=0.96875, epsilon=0.001)
    expected = keras_path(keras.optimizers.Adam(0.03125, **kwargs), params, grads)
    module = frameworks.load("optimizers", framework)
    state, ours, path = None, convert(params, framework), []
    for t, g in enumerate(grads, start=1):
        adam = module.adam(0.03125, 0.75, 0.96875, 0.001 / np.sqrt(1 - 0.96875**t))
        state = adam.init(ours) if state is None else state
        ours, state = adam.step(ours, convert(g, framework), state)
        path.append({name: frameworks.to_numpy(array) for name, array in ours.items()})
    compare(path, expected, rtol=1e-10, atol=1e-10)
    plain = run(module.adam(0.03125, 0.75, 0.96875, 0.001), params, grads, framework)
    assert 1e-6 < np.abs(plain[-1]["W1"] - expected[-1]["W1"]).max() < 0.01


def test_keras_rmsprop_agrees_where_eps_is_negligible_and_otherwise_has_it_inside_the_root(framework, rng):
    keras = pytest.importorskip("keras")
    params, grads = problem(rng)
    grads[1] = grads[0]  # no zero gradient: where s is 0, eps decides
    module = frameworks.load("optimizers", framework)
    tiny = keras_path(keras.optimizers.RMSprop(0.03125, rho=0.75, epsilon=1e-20), params, grads)
    compare(run(module.rmsprop(0.03125, 0.75, 1e-20), params, grads, framework), tiny, rtol=1e-10, atol=1e-10)

    inside = keras_path(keras.optimizers.RMSprop(0.03125, rho=0.75, epsilon=0.5), params, grads[:1] * STEPS)
    s, w = 0.0, params["W1"]
    for step in inside:
        s = 0.75 * s + 0.25 * grads[0]["W1"] ** 2
        w = w - 0.03125 * grads[0]["W1"] / np.sqrt(s + 0.5)
        np.testing.assert_allclose(step["W1"], w, rtol=1e-6)


# the frameworks against NumPy


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 2e-5)])
@pytest.mark.parametrize("models", [None, 3])
def test_every_framework_takes_the_steps_of_numpy(other_framework, name, dtype, tolerance, models, rng):
    lr = 0.03 if models is None else np.array([0.01, 0.03, 0.1])[:, None, None]
    params, grads = problem(rng, () if models is None else (models,), dtype)
    expected = run(getattr(opt_numpy, name)(lr), params, grads)
    got = run(
        getattr(frameworks.load("optimizers", other_framework), name)(lr), params, grads, other_framework
    )
    assert all(array.dtype == dtype for array in got[-1].values())
    compare(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_is_traced_once_by_tf_function_and_takes_the_same_steps(name, rng):
    tf = pytest.importorskip("tensorflow")
    from dlbook.optimizers import tensorflow as opt_tensorflow

    params, grads = problem(rng)
    optimizer = getattr(opt_tensorflow, name)(0.03)
    traced = tf.function(optimizer.step)
    compare(
        run(optimizer._replace(step=traced), params, grads, "tensorflow"),
        run(getattr(opt_numpy, name)(0.03), params, grads),
        rtol=1e-10,
        atol=1e-10,
    )
    assert traced.experimental_get_tracing_count() == 1


def test_a_torch_step_carries_no_graph(rng):
    torch = pytest.importorskip("torch")
    from dlbook.optimizers import torch as opt_torch

    params = {"w": torch.ones(2, requires_grad=True)}
    optimizer = opt_torch.adam(0.1)
    after, state = optimizer.step(params, {"w": torch.ones(2)}, optimizer.init(params))
    assert not after["w"].requires_grad
    assert not state["v"]["w"].requires_grad


# populations


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("models", [1, 3, 64])
def test_a_population_takes_the_steps_of_each_model_alone_bit_for_bit(name, dtype, models, rng):
    params, grads = problem(rng, (models,), dtype)
    lr = 10 ** rng.uniform(-3, 0, (models, 1, 1))
    betas = {word: rng.uniform(0.5, 0.999, (models, 1, 1)) for word in BETAS.get(name, ())}
    together = run(getattr(opt_numpy, name)(lr, **betas), params, grads)
    for k in range(0, models, 7):
        own = {word: beta[k].item() for word, beta in betas.items()}
        optimizer = getattr(opt_numpy, name)(lr[k].item(), **own)
        alone = run(
            optimizer, {n: a[k] for n, a in params.items()}, [{n: a[k] for n, a in g.items()} for g in grads]
        )
        for got, want in zip(together, alone, strict=True):
            for n in want:
                np.testing.assert_array_equal(got[n][k], want[n])


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_is_nan_leaves_its_neighbours_untouched(framework, name, rng):
    params, grads = problem(rng, (3,))
    optimizer = getattr(frameworks.load("optimizers", framework), name)(0.1)
    healthy = run(optimizer, params, grads, framework)[-1]
    for g in grads:
        g["W1"][1] = np.nan
    sick = run(optimizer, params, grads, framework)[-1]
    assert np.isnan(sick["W1"][1]).all()
    for n in params:
        np.testing.assert_array_equal(sick[n][[0, 2]], healthy[n][[0, 2]])


# purity, dtypes and arguments


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_changed_in_place_and_a_step_can_be_repeated(framework, name, rng):
    params, grads = problem(rng)
    params, g = convert(params, framework), convert(grads[0], framework)
    optimizer = getattr(frameworks.load("optimizers", framework), name)(0.1)
    _, state = optimizer.step(params, g, optimizer.init(params))
    kept = copies(params), copies(g), copies(state)
    first, first_state = optimizer.step(params, g, state)
    second, second_state = optimizer.step(params, g, state)
    assert_same((copies(params), copies(g), copies(state)), kept)
    assert_same((copies(first), copies(first_state)), (copies(second), copies(second_state)))


def copies(tree):
    if isinstance(tree, dict):
        return {name: copies(branch) for name, branch in tree.items()}
    return np.array(frameworks.to_numpy(tree))


def assert_same(a, b):
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for name in a:
            assert_same(a[name], b[name])
    elif isinstance(a, tuple):
        for one, other in zip(a, b, strict=True):
            assert_same(one, other)
    else:
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_parameters_keep_their_dtype_whatever_the_learning_rate_is_made_of(framework, name, dtype):
    params = {"W1": np.ones((2, 3, 4), dtype)}
    for lr in (
        0.5,
        np.float64(0.5),
        np.float32(0.5),
        np.full((2, 1, 1), 0.5),
        np.full((2, 1, 1), 0.5, "float32"),
    ):
        optimizer = getattr(frameworks.load("optimizers", framework), name)(lr)
        assert run(optimizer, params, [params], framework)[-1]["W1"].dtype == dtype


@pytest.mark.parametrize("name", NAMES)
def test_read_only_and_strided_arrays_are_fine(name, rng):
    params, grads = problem(rng)
    strided = {n: np.repeat(a, 2, axis=-1)[..., ::2] for n, a in params.items()}
    for array in strided.values():
        array.flags.writeable = False
    optimizer = getattr(opt_numpy, name)(0.1)
    assert_same(tuple(run(optimizer, strided, grads)), tuple(run(optimizer, params, grads)))


def test_a_hyperparameter_may_be_an_array_of_the_framework(framework, rng):
    params, grads = problem(rng, (3,))
    lr = np.array([0.1, 0.2, 0.3])[:, None, None]
    module = frameworks.load("optimizers", framework)
    own = run(module.sgd(frameworks.from_numpy(lr, framework)), params, grads, framework)
    compare(own, run(module.sgd(lr), params, grads, framework), rtol=0)


BAD = [
    (name, word, value)
    for name in NAMES
    for word, values in {
        "learning_rate": (-0.1, float("nan"), float("inf")),
        **{beta: (-0.1, 1.0, 1.5, float("nan")) for beta in BETAS.get(name, ())},
        **({"eps": (0.0, -1e-8, float("nan"))} if name in ("rmsprop", "adam") else {}),
    }.items()
    for value in values
]


@pytest.mark.parametrize(("name", "word", "value"), BAD)
def test_a_hyperparameter_out_of_range_is_named(framework, name, word, value):
    make = getattr(frameworks.load("optimizers", framework), name)
    hyper = {"learning_rate": 0.1} | {word: value}
    with pytest.raises(ValueError, match=f"{word} must .*{value}"):
        make(**hyper)
    good = {"learning_rate": 0.1, "eps": 1e-8}.get(word, 0.5)
    with pytest.raises(ValueError, match=f"{word} must .*{value}"):
        make(**hyper | {word: np.array([good, value, good])[:, None, None]})


def test_a_learning_rate_that_is_no_number_or_of_the_wrong_shape_is_named(framework):
    module = frameworks.load("optimizers", framework)
    with pytest.raises(TypeError, match="learning_rate must be a number or an array of numbers, got str"):
        module.sgd("fast")
    for value in (np.ones(3), np.ones((3, 1)), np.ones((3, 1, 4))):
        with pytest.raises(ValueError, match=r"learning_rate must be a number, or one per model .*reshape"):
            module.sgd(value)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_and_hyperparameters_that_do_not_fit_the_parameters_are_errors(framework, name):
    make = getattr(frameworks.load("optimizers", framework), name)
    params = convert({"W1": np.ones((3, 4, 5))}, framework)
    optimizer = make(0.1)
    state = optimizer.init(params)
    with pytest.raises(ValueError, match=r"grads must have the names of params, \['W1'\], got \['W2'\]"):
        optimizer.step(params, {"W2": params["W1"]}, state)
    with pytest.raises(ValueError, match=r"grads\['W1'\] must have shape \(3, 4, 5\), got \(4, 5\)"):
        optimizer.step(params, {"W1": params["W1"][0]}, state)
    with pytest.raises(ValueError, match=r"hyperparameter of shape \(2, 1, 1\) does not fit params\['W1'\]"):
        make(np.full((2, 1, 1), 0.1)).step(params, params, state)
    alone = {"W1": params["W1"][0]}
    with pytest.raises(
        ValueError, match=r"of shape \(3, 1, 1\) does not fit params\['W1'\] of shape \(4, 5\)"
    ):
        make(np.full((3, 1, 1), 0.1)).step(alone, alone, make(0.1).init(alone))


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_steps_on_a_gpu_are_those_of_the_cpu(framework, name, rng):
    from dlbook import device

    if "cuda" not in device.available(framework):
        pytest.skip(f"{framework} sees no GPU here")
    params, grads = problem(rng, (3,))
    lr = np.array([0.01, 0.03, 0.1])[:, None, None]
    expected = run(getattr(opt_numpy, name)(lr), params, grads)
    optimizer = getattr(frameworks.load("optimizers", framework), name)(lr)
    on_gpu = {n: frameworks.from_numpy(a, framework, device="cuda") for n, a in params.items()}
    state = optimizer.init(on_gpu)
    for g in grads:
        g = {n: frameworks.from_numpy(a, framework, device="cuda") for n, a in g.items()}
        on_gpu, state = optimizer.step(on_gpu, g, state)
    for n in params:
        np.testing.assert_allclose(frameworks.to_numpy(on_gpu[n]), expected[-1][n], rtol=1e-9, atol=1e-9)
