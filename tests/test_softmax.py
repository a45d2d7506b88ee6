"""Softmax, its log, hardmax and log-sum-exp: numbers by hand, three frameworks, SciPy's; and the linear model."""

import numpy as np
import pytest
import scipy.special
from batch_norm_cases import back, convert
from softmax_cases import FUNCTIONS, SHAPES, call, same

from dlbook import data, frameworks

TOLERANCE = {"float64": {"rtol": 1e-10, "atol": 1e-12}, "float32": {"rtol": 2e-5, "atol": 2e-6}}
INF, NAN = np.inf, np.nan
BIG = np.finfo(np.float32).max


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_function_equals_numpys(other_framework, shape, dtype, rng):
    (shape, axis) = SHAPES[shape]
    z = rng.normal(0, 3, shape).astype(dtype)

    def everything(framework):
        results = [call(framework, name, z, axis=axis) for name in FUNCTIONS]
        return results + [
            call(framework, n, z, axis=axis, temperature=2.5) for n in ("softmax", "log_softmax")
        ]

    for got, wanted in zip(everything(other_framework), everything("numpy"), strict=True):
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        np.testing.assert_allclose(got, wanted, **TOLERANCE[dtype])


@pytest.mark.parametrize("shape", SHAPES)
def test_every_function_equals_scipys(framework, shape, rng):
    (shape, axis) = SHAPES[shape]
    z = rng.normal(0, 3, shape)
    for name in ("softmax", "log_softmax", "logsumexp"):
        theirs = getattr(scipy.special, name)(z, axis=axis)
        np.testing.assert_allclose(call(framework, name, z, axis=axis), theirs, rtol=1e-12, atol=1e-14)
    theirs = scipy.special.softmax(z / 0.3, axis=axis)
    np.testing.assert_allclose(
        call(framework, "softmax", z, axis=axis, temperature=0.3), theirs, rtol=1e-12, atol=1e-14
    )


def test_the_numbers_of_the_lecture(framework):
    z = np.array([5.0, 2.0, -1.0, 3.0])
    np.testing.assert_allclose(call(framework, "softmax", z), [0.842, 0.042, 0.002, 0.114], atol=5e-4)
    np.testing.assert_array_equal(call(framework, "hardmax", z), [1, 0, 0, 0])
    total = np.exp(5) + np.exp(2) + np.exp(-1) + np.exp(3)
    np.testing.assert_allclose(call(framework, "softmax", z), np.exp(z) / total, rtol=1e-14)
    np.testing.assert_allclose(call(framework, "logsumexp", z), np.log(total), rtol=1e-14)


@pytest.mark.parametrize(
    ("temperature", "wanted"),
    [
        (0.1, [1, 0, 0, 0]),
        (0.5, [0.980, 0.002, 0.000, 0.018]),
        (2, [0.609, 0.136, 0.030, 0.224]),
        (10, [0.322, 0.238, 0.177, 0.263]),
    ],
)
def test_a_high_temperature_flattens(framework, temperature, wanted):
    z = np.array([5.0, 2.0, -1.0, 3.0])
    np.testing.assert_allclose(call(framework, "softmax", z, temperature=temperature), wanted, atol=6e-4)
    log_p = call(framework, "log_softmax", z, temperature=temperature)
    np.testing.assert_allclose(log_p, scipy.special.log_softmax(z / temperature), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("temperature", [1e-300, 1e-39, 1e-20])
def test_a_temperature_near_0_gives_hardmax_and_not_nan(framework, temperature, dtype):
    z = np.array([[5.0, 2.0, -1.0, 3.0], [0.0, -1.0, -INF, -2.0]], dtype)
    np.testing.assert_array_equal(
        call(framework, "softmax", z, temperature=temperature), call(framework, "hardmax", z)
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("temperature", [1e20, 1e300])
def test_a_huge_temperature_makes_all_classes_equal_but_those_ruled_out(framework, temperature, dtype):
    z = np.array([[5.0, 2.0, -1.0, 3.0], [0.0, -1.0, -INF, -2.0]], dtype)
    wanted = [[1 / 4] * 4, [1 / 3, 1 / 3, 0, 1 / 3]]
    np.testing.assert_allclose(call(framework, "softmax", z, temperature=temperature), wanted, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_logits_do_not_overflow(framework, dtype):
    z = np.array(
        [[0, 1, 2, 3], [10_000, 10_001, 10_002, 10_003], [-10_003, -10_002, -10_001, -10_000]], dtype
    )
    np.testing.assert_allclose(
        call(framework, "softmax", z), [[0.032059, 0.087144, 0.236883, 0.643914]] * 3, atol=1e-6
    )
    np.testing.assert_allclose(
        call(framework, "logsumexp", z), [3.440190, 10_003.44019, -9_999.55981], rtol=1e-6
    )


def test_the_log_of_a_probability_that_rounds_to_0_is_right(framework):
    z = np.array([[0.0, 1000.0], [0.0, 110.0]], np.float32)
    np.testing.assert_array_equal(call(framework, "softmax", z)[0], [0, 1])
    np.testing.assert_array_equal(call(framework, "log_softmax", z), [[-1000, 0], [-110, 0]])


def test_the_largest_float_is_a_logit_like_any_other(framework):
    z = np.array([[BIG, 1, 2, 3], [1, 1, 1, 1]], np.float32)
    log_p = call(framework, "log_softmax", z)
    np.testing.assert_array_equal(log_p[0], np.array([0, -BIG, -BIG, -BIG], np.float32))
    np.testing.assert_array_equal(call(framework, "logsumexp", z)[0], BIG)


def test_float16_is_reduced_in_float32(framework):
    """Logits in the thousands, and a sum of 70,000 ones, which float16 cannot hold."""
    p = call(framework, "softmax", np.array([[1000, 1001, -1000]], np.float16))
    assert p.dtype == np.float16
    np.testing.assert_allclose(p, [[0.269, 0.731, 0]], atol=1e-3)
    flat = np.zeros(70_000, np.float16)
    np.testing.assert_allclose(call(framework, "logsumexp", flat), np.log(70_000), rtol=1e-3)
    np.testing.assert_allclose(call(framework, "log_softmax", flat)[0], -np.log(70_000), rtol=1e-3)
    assert call(framework, "softmax", flat).astype(np.float64).sum() == pytest.approx(1, rel=0.02)


def test_the_gradient_keeps_the_small_component():
    """d softmax_0 / dz_1 = -p0 p1 at z = [37.43, 0], which 1 - p0 would lose."""
    torch, tf = pytest.importorskip("torch"), pytest.importorskip("tensorflow")
    small = np.exp(-37.43)
    leaf = torch.tensor([37.43, 0.0], dtype=torch.float64, requires_grad=True)
    frameworks.load("softmax", "torch").softmax(leaf)[0].backward()
    variable = tf.Variable([37.43, 0.0], dtype=tf.float64)
    with tf.GradientTape() as tape:
        first = frameworks.load("softmax", "tensorflow").softmax(variable)[0]
    for slope in (leaf.grad.numpy(), tape.gradient(first, variable).numpy()):
        np.testing.assert_allclose(slope[1], -small, rtol=1e-14)
        np.testing.assert_allclose(slope[0], small, atol=1e-16)


def test_a_logit_of_minus_infinity_is_a_class_ruled_out(framework):
    z = np.array([[0.0, -INF, 1.0]])
    np.testing.assert_allclose(call(framework, "softmax", z), [[0.268941, 0, 0.731059]], atol=1e-6)
    assert call(framework, "softmax", z)[0, 1] == 0
    np.testing.assert_allclose(call(framework, "log_softmax", z), [[-1.313262, -INF, -0.313262]], atol=1e-6)
    np.testing.assert_allclose(call(framework, "logsumexp", z), np.log1p(np.e), rtol=1e-14)
    np.testing.assert_array_equal(call(framework, "hardmax", z), [[0, 0, 1]])


HARD = {
    "all -inf": ([-INF, -INF, -INF], [NAN, NAN, NAN], -INF, [1, 0, 0]),
    "+inf": ([0, INF, 1], [NAN, NAN, NAN], INF, [0, 1, 0]),
    "both": ([-INF, INF, 1], [NAN, NAN, NAN], INF, [0, 1, 0]),
    "two +inf": ([0, INF, INF], [NAN, NAN, NAN], INF, [0, 1, 0]),
    "NaN": ([0, NAN, 1], [NAN, NAN, NAN], NAN, [NAN, NAN, NAN]),
    "NaN and +inf": ([INF, NAN, 1], [NAN, NAN, NAN], NAN, [NAN, NAN, NAN]),
    "NaN and -inf": ([-INF, NAN, -INF], [NAN, NAN, NAN], NAN, [NAN, NAN, NAN]),
}


@pytest.mark.parametrize("case", HARD)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_infinity_and_nan_stay_in_their_row(framework, case, dtype):
    row, p, total, hard = HARD[case]
    z = np.array([[0, 1, 2], row, [3, 2, 1]], dtype)
    good = z[[0, 2]]
    for name, wanted in (("softmax", p), ("log_softmax", p), ("logsumexp", total), ("hardmax", hard)):
        got = call(framework, name, z)
        np.testing.assert_array_equal(got[1], np.array(wanted, dtype))
        good_rows = call(framework, name, good)
        assert np.isfinite(good_rows).all()
        np.testing.assert_allclose(got[[0, 2]], good_rows, rtol=np.finfo(dtype).eps)


@pytest.mark.parametrize("row", [[-INF, -INF], [0, INF], [INF, -INF], [NAN, 0], [INF, NAN], [0, -INF]])
def test_log_sum_exp_of_infinity_is_scipys(framework, row):
    z = np.array([row, [1.0, 2.0]], np.float64)
    np.testing.assert_allclose(
        call(framework, "logsumexp", z), [scipy.special.logsumexp(row) for row in z], rtol=1e-14
    )


def test_ties_go_to_the_first(framework):
    z = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [-0.0, 0.0, -1.0]])
    np.testing.assert_array_equal(call(framework, "hardmax", z), [[0, 1, 0], [1, 0, 0], [1, 0, 0]])
    np.testing.assert_array_equal(call(framework, "hardmax", z, axis=0), [[0, 1, 1], [1, 0, 0], [0, 0, 0]])


def test_no_gradient_flows_through_hardmax():
    torch, tf = pytest.importorskip("torch"), pytest.importorskip("tensorflow")
    leaf = torch.ones(3, requires_grad=True)
    assert not frameworks.load("softmax", "torch").hardmax(leaf).requires_grad
    variable = tf.Variable([1.0, 2.0])
    with tf.GradientTape() as tape:
        y = frameworks.load("softmax", "tensorflow").hardmax(variable)
    assert tape.gradient(y, variable) is None


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_empty_batch_is_empty(framework, shape, dtype):
    for name in FUNCTIONS:
        got = call(framework, name, np.empty(shape, dtype))
        assert (got.shape, got.dtype) == (shape[:-1] if name == "logsumexp" else shape, dtype)


def test_one_class_is_certain(framework):
    z = np.array([[3.0], [-1000.0]])
    for name, wanted in (("softmax", 1), ("log_softmax", 0), ("hardmax", 1)):
        np.testing.assert_array_equal(call(framework, name, z), np.full((2, 1), wanted))
    np.testing.assert_array_equal(call(framework, "logsumexp", z), z[:, 0])


def test_the_numpy_file_runs_on_any_array_api_library(rng):
    xp = pytest.importorskip("array_api_strict")
    module = frameworks.load("softmax", "numpy")
    z, y, weight = rng.normal(size=(5, 4)), rng.integers(0, 4, 5), rng.uniform(size=4)
    p = scipy.special.softmax(z, axis=1)
    strict = {id(a): xp.asarray(a) for a in (z, y, weight, p)}
    calls = [(name, (z,), {"axis": axis}) for name in FUNCTIONS for axis in (0, 1)]
    for name in ("cross_entropy", "cross_entropy_backward"):
        options = {"weight": weight, "ignore_index": 2, "label_smoothing": 0.1}
        calls += [(name, (z, y), {**options, "reduction": reduction}) for reduction in ("mean", "none")]
        calls.append((name, (z, p), {}))
    for name, arguments, options in calls:
        wanted = getattr(module, name)(*arguments, **options)
        got = getattr(module, name)(
            *(strict[id(a)] for a in arguments), **{k: strict.get(id(v), v) for k, v in options.items()}
        )
        assert type(got).__module__.startswith("array_api_strict")
        np.testing.assert_array_equal(np.asarray(got), wanted)
    model, ours = module.SoftmaxRegression(4, 4, xp=xp), module.SoftmaxRegression(4, 4)
    np.testing.assert_array_equal(
        np.asarray(model.fit(strict[id(z)], strict[id(y)], steps=3)), ours.fit(z, y, steps=3)
    )


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("order", ["graph", "autograph"])
def test_a_graph_takes_batches_of_any_size(name, order, rng):
    tf = pytest.importorskip("tensorflow")
    function = getattr(frameworks.load("softmax", "tensorflow"), name)
    traces = []

    def traced(z):
        traces.append(z.shape)
        return function(z, axis=1)

    spec = [tf.TensorSpec((None, None, 3), tf.float64)]
    graph = tf.function(traced, input_signature=spec, autograph=order == "autograph")
    for n in (0, 1, 7):
        z = rng.normal(size=(n, 4, 3))
        np.testing.assert_allclose(graph(z), call("numpy", name, z, axis=1), rtol=1e-12)
    assert len(traces) == 1


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_autograd_passes_gradcheck_twice(name, rng):
    torch = pytest.importorskip("torch")
    module = frameworks.load("softmax", "torch")
    z = torch.tensor(rng.normal(size=(3, 4, 2)), requires_grad=True)
    for options in ({}, {"temperature": 0.7}) if name != "logsumexp" else ({},):

        def function(z, options=options):
            return getattr(module, name)(z, axis=1, **options)

        assert torch.autograd.gradcheck(function, z)
        assert torch.autograd.gradgradcheck(function, z)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_tape_and_autograd_agree(name, rng):
    torch, tf = pytest.importorskip("torch"), pytest.importorskip("tensorflow")
    z = rng.normal(size=(3, 4))
    dy = rng.normal(size=(3,) if name == "logsumexp" else (3, 4))
    leaf, variable = torch.tensor(z, requires_grad=True), tf.Variable(z)
    getattr(frameworks.load("softmax", "torch"), name)(leaf).backward(torch.tensor(dy))
    with tf.GradientTape() as tape:
        y = getattr(frameworks.load("softmax", "tensorflow"), name)(variable)
    slope = tape.gradient(y, variable, tf.constant(dy))
    np.testing.assert_allclose(slope, leaf.grad, rtol=1e-12, atol=1e-14)
    p = scipy.special.softmax(z, axis=1)
    by_hand = {
        "softmax": lambda: p * (dy - (dy * p).sum(-1, keepdims=True)),
        "log_softmax": lambda: dy - p * dy.sum(-1, keepdims=True),
        "logsumexp": lambda: p * dy[:, None],
    }[name]
    np.testing.assert_allclose(slope, by_hand(), rtol=1e-12, atol=1e-14)


# --- softmax regression ----------------------------------------------------------------------------------------


@pytest.fixture
def blobs():
    x, y = data.blobs(0, classes=3, per_class=30)
    return x.astype("float64"), y


def loss_of(module, model, x, y, l2):
    return module.cross_entropy(model(x), y) + l2 / 2 * (model.W**2).sum()


def train_torch(x, y, *, learning_rate, steps, l2):
    torch = pytest.importorskip("torch")
    module = frameworks.load("softmax", "torch")
    model = module.SoftmaxRegression(x.shape[1], 3, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate)
    x, y = convert(x, "torch"), convert(y, "torch")
    for _ in range(steps):
        optimizer.zero_grad()
        loss = module.cross_entropy(model(x), y) + l2 / 2 * model.W.square().sum()
        loss.backward()
        optimizer.step()
    return model


def train_tensorflow(x, y, *, learning_rate, steps, l2):
    tf = pytest.importorskip("tensorflow")
    module = frameworks.load("softmax", "tensorflow")
    model = module.SoftmaxRegression(x.shape[1], 3, dtype="float64")
    x, y = convert(x, "tensorflow"), convert(y, "tensorflow")

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = module.cross_entropy(model(x), y) + l2 / 2 * tf.reduce_sum(tf.square(model.W))
        for variable, slope in zip(model.variables, tape.gradient(loss, model.variables), strict=True):
            variable.assign_sub(learning_rate * slope)

    for _ in range(steps):
        step()
    return model


def train_numpy(x, y, *, learning_rate, steps, l2):
    model = frameworks.load("softmax", "numpy").SoftmaxRegression(x.shape[1], 3)
    model.fit(x, y, learning_rate=learning_rate, steps=steps, l2=l2)
    return model


TRAIN = {"numpy": train_numpy, "tensorflow": train_tensorflow, "torch": train_torch}


def test_softmax_regression_is_scikit_learns_logistic_regression(framework, blobs):
    from sklearn.linear_model import LogisticRegression

    x, y = blobs
    model = TRAIN[framework](x, y, learning_rate=0.4, steps=1500, l2=0.05)
    theirs = LogisticRegression(C=1 / (0.05 * len(x)), tol=1e-12, max_iter=10_000).fit(x, y)
    W, b = (back(a.value if framework == "tensorflow" else a) for a in (model.W, model.b))
    np.testing.assert_allclose(W, theirs.coef_.T, atol=1e-6)
    np.testing.assert_allclose(b - b.mean(), theirs.intercept_ - theirs.intercept_.mean(), atol=1e-5)
    here = convert(x, framework)
    np.testing.assert_allclose(back(model.predict_proba(here)), theirs.predict_proba(x), atol=1e-6)
    np.testing.assert_array_equal(back(model.predict_classes(here)), theirs.predict(x))


def test_an_untrained_model_gives_all_classes_the_same_probability(framework):
    module = frameworks.load("softmax", framework)
    model, x = module.SoftmaxRegression(2, 5), convert(np.ones((3, 2), np.float32), framework)
    np.testing.assert_allclose(back(model.predict_proba(x)), 0.2, rtol=1e-6)
    y = convert(np.array([0, 3, 4]), framework)
    np.testing.assert_allclose(back(module.cross_entropy(model(x), y)), np.log(5), rtol=1e-6)


def test_fit_lowers_the_loss_goes_on_and_takes_probabilities(blobs):
    x, y = blobs
    module = frameworks.load("softmax", "numpy")
    model, again, soft = (module.SoftmaxRegression(2, 3) for _ in range(3))
    losses = model.fit(x, y, steps=40, l2=0.1)
    assert losses.shape == (40,)
    assert (np.diff(losses) < 0).all()
    assert losses[0] == pytest.approx(np.log(3))
    first = again.fit(x, y, steps=25, l2=0.1)
    np.testing.assert_array_equal(np.concatenate([first, again.fit(x, y, steps=15, l2=0.1)]), losses)
    np.testing.assert_allclose(soft.fit(x, np.eye(3)[y], steps=40, l2=0.1), losses, rtol=1e-12)
    assert losses[-1] > module.cross_entropy(model(x), y)  # the penalty is in it


def test_fit_moves_no_array_that_it_was_given(blobs):
    x, y = blobs
    model = frameworks.load("softmax", "numpy").SoftmaxRegression(2, 3)
    W, before = model.W, x.copy()
    model.fit(x, y, steps=2)
    np.testing.assert_array_equal(W, 0)
    np.testing.assert_array_equal(x, before)


def test_a_population_of_rows_goes_through_the_model_as_each_alone(framework, rng):
    module, x = frameworks.load("softmax", framework), rng.normal(size=(2, 5, 3))
    options = {"numpy": {}, "torch": {}, "tensorflow": {"dtype": "float64"}}[framework]
    model = module.SoftmaxRegression(3, 4, **options)
    W, b = rng.normal(size=(3, 4)), rng.normal(size=4)
    if framework == "numpy":
        model.W, model.b = W, b
    elif framework == "torch":
        model.double().load_state_dict({"W": convert(W, "torch"), "b": convert(b, "torch")})
    else:
        model.set_weights([W, b])
    together = back(model.predict_proba(convert(x, framework)))
    np.testing.assert_allclose(together, scipy.special.softmax(x @ W + b, axis=-1), rtol=1e-12)
    for k in range(2):
        same(framework, together[k], back(model.predict_proba(convert(x[k], framework))))


def test_the_torch_model_is_a_linear_layer_and_remembers_itself(rng):
    torch = pytest.importorskip("torch")
    module = frameworks.load("softmax", "torch")
    model, linear = module.SoftmaxRegression(3, 4), torch.nn.Linear(3, 4)
    model.load_state_dict({"W": linear.weight.T, "b": linear.bias})
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(x), linear(x))
    assert model(x).requires_grad
    assert not model.predict_proba(x).requires_grad
    assert repr(model) == "SoftmaxRegression(3, 4)"
    assert model.state_dict().keys() == {"W", "b"}


def test_the_keras_model_is_a_dense_layer_and_learns_with_fit(blobs):
    keras = pytest.importorskip("keras")
    x, y = blobs
    module, ours = frameworks.load("softmax", "tensorflow"), frameworks.load("softmax", "numpy")
    model = module.SoftmaxRegression(2, 3)
    model.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(x, y, batch_size=len(x), epochs=5, shuffle=False, verbose=0)
    by_hand = ours.SoftmaxRegression(2, 3)
    np.testing.assert_allclose(history.history["loss"], by_hand.fit(x, y, steps=5), rtol=1e-5)
    np.testing.assert_allclose(model.W.numpy(), by_hand.W, rtol=1e-4, atol=1e-6)
    dense = keras.layers.Dense(3)
    dense.build((None, 2))
    dense.set_weights(model.get_weights())
    np.testing.assert_allclose(model.predict(x, verbose=0), dense(x), rtol=1e-5, atol=1e-6)


def test_the_keras_model_is_saved_and_loaded(tmp_path, rng):
    keras = pytest.importorskip("keras")
    model = frameworks.load("softmax", "tensorflow").SoftmaxRegression(2, 3, name="reader")
    model.set_weights([rng.normal(size=(2, 3)), rng.normal(size=3)])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert (loaded.features, loaded.classes, loaded.name) == (2, 3, "reader")
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
