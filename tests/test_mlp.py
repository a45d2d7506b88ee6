"""The multi-layer perceptron: gradients, populations, training, bad arguments; every framework against NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from dlbook import data, frameworks
from dlbook.mlp import draws
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy

TOLERANCE = {"float64": dict(rtol=1e-10, atol=1e-10), "float32": dict(rtol=1e-4, atol=2e-5)}


def generators(seeds):
    return [np.random.default_rng(seed) for seed in seeds]


def batch(rng, rows=6, features=4, classes=3, leading=(), dtype="float64"):
    x = rng.standard_normal((*leading, rows, features)).astype(dtype)
    return x, rng.integers(0, classes, (*leading, rows))


def warm(params, rng):
    """The same parameters with gamma, beta and b away from 1 and 0, where a forgotten term would hide."""
    shifts = {n: 0.3 * rng.standard_normal(a.shape) for n, a in params.items() if n[0] != "W"}
    return {n: (a + shifts.get(n, 0)).astype(a.dtype) for n, a in params.items()}


def convert(tree, framework):
    """Any nest of dicts, tuples and arrays as arrays of the framework."""
    return mapped(lambda a: frameworks.from_numpy(a, framework), tree)


def plain(tree):
    return mapped(lambda a: np.array(frameworks.to_numpy(a)), tree)


def mapped(function, tree):
    if isinstance(tree, dict):
        return {key: mapped(function, branch) for key, branch in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(function, branch) for branch in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(mapped(function, branch) for branch in tree)
    return None if tree is None else function(tree)


def assert_close(got, want, **tolerance):
    """Equal nests of arrays; without a tolerance, equal to the last bit."""
    if isinstance(want, dict):
        assert list(got) == list(want)
        for key in want:
            assert_close(got[key], want[key], **tolerance)
    elif isinstance(want, list | tuple):
        for one, other in zip(got, want, strict=True):
            assert_close(one, other, **tolerance)
    elif want is None:
        assert got is None
    else:
        assert got.dtype == want.dtype
        np.testing.assert_allclose(got, want, **{"rtol": 0, "atol": 0} | tolerance)


def member(tree, k):
    return mapped(lambda a: a[k], tree)


@pytest.fixture(scope="module")
def digits():
    return data.digits(0)


# the first parameters


def test_the_parameters_are_named_and_shaped_layer_by_layer(rng):
    params = mlp_numpy.init((4, 5, 3), rng)
    assert {n: a.shape for n, a in params.items()} == {"W1": (4, 5), "b1": (1, 5), "W2": (5, 3), "b2": (1, 3)}
    assert {a.dtype.name for a in params.values()} == {"float32"}
    params = mlp_numpy.init((4, 5, 3), rng, models=2, batch_norm=True, dtype="float64")
    assert {n: a.shape for n, a in params.items()} == {
        "W1": (2, 4, 5),
        "gamma1": (2, 1, 5),
        "beta1": (2, 1, 5),
        "W2": (2, 5, 3),
        "b2": (2, 1, 3),
    }
    assert {a.dtype.name for a in params.values()} == {"float64"}
    assert np.all(params["gamma1"] == 1)
    assert not params["beta1"].any()
    assert not params["b2"].any()


def test_the_first_weights_have_the_standard_deviation_of_he(rng):
    params = mlp_numpy.init((200, 300, 100), rng, dtype="float64")
    assert params["W1"].std() == pytest.approx(np.sqrt(2 / 200), rel=0.02)
    assert params["W2"].std() == pytest.approx(np.sqrt(2 / 300), rel=0.02)
    assert abs(params["W1"].mean()) < 0.002


def test_scale_multiplies_the_first_weights_of_all_or_of_each_model():
    one = mlp_numpy.init((4, 5, 3), np.random.default_rng(0), models=2, dtype="float64")
    scaled = mlp_numpy.init(
        (4, 5, 3),
        np.random.default_rng(0),
        models=2,
        dtype="float64",
        scale=np.array([0.5, 0.0])[:, None, None],
    )
    np.testing.assert_allclose(scaled["W1"][0], one["W1"][0] / 2)
    assert not scaled["W1"][1].any()


def test_all_frameworks_start_from_the_same_numbers(other_framework):
    arguments = dict(models=3, batch_norm=True, scale=0.7)
    expected = mlp_numpy.init((4, 5, 5, 3), np.random.default_rng(3), **arguments)
    module = frameworks.load("mlp", other_framework)
    got = module.init((4, 5, 5, 3), np.random.default_rng(3), **arguments)
    assert {frameworks.framework_of(a) for a in got.values()} == {other_framework}
    assert_close(plain(got), expected)
    assert_close(plain(module.init_running(got)), mlp_numpy.init_running(expected))


def test_a_member_of_a_population_is_the_same_whatever_the_size_of_the_population():
    few = mlp_numpy.init((4, 5, 3), np.random.default_rng(3), models=2)
    many = mlp_numpy.init((4, 5, 3), np.random.default_rng(3), models=5)
    alone = mlp_numpy.init((4, 5, 3), np.random.default_rng(3).spawn(2)[1])
    assert_close(member(many, 1), member(few, 1))
    assert_close(member(many, 1), alone)
    assert np.abs(many["W1"][0] - many["W1"][1]).max() > 0.1


def test_a_list_of_generators_makes_one_model_from_each():
    together = mlp_numpy.init((4, 5, 3), generators([7, 8, 7]))
    assert_close(member(together, 1), mlp_numpy.init((4, 5, 3), np.random.default_rng(8)))
    assert_close(member(together, 0), member(together, 2))


def test_running_statistics_start_at_mean_0_and_variance_1(framework):
    module = frameworks.load("mlp", framework)
    running = plain(module.init_running(module.init((4, 5, 6, 3), np.random.default_rng(0), batch_norm=True)))
    assert list(running) == [1, 2]
    np.testing.assert_array_equal(running[2].mean, np.zeros((1, 6), "float32"))
    np.testing.assert_array_equal(running[2].var, np.ones((1, 6), "float32"))
    assert module.init_running(module.init((4, 5, 3), np.random.default_rng(0))) == {}


# the network


def test_a_forward_pass_by_hand(framework):
    params = {
        "W1": np.array([[1.0, -1.0]]),
        "b1": np.array([[0.0, 1.0]]),
        "W2": np.array([[1.0, 0.0], [2.0, 1.0]]),
        "b2": np.array([[0.5, 0.0]]),
    }
    module = frameworks.load("mlp", framework)
    logits, running, layers = module.forward(
        convert(params, framework), convert(np.array([[3.0], [-2.0]]), framework)
    )
    # hidden: relu(3, -2) = (3, 0) and relu(-2, 3) = (0, 3)
    np.testing.assert_allclose(frameworks.to_numpy(logits), [[3.5, 0.0], [6.5, 3.0]])
    assert running == {}
    np.testing.assert_allclose(frameworks.to_numpy(layers[0].z), [[3.0, -2.0], [-2.0, 3.0]])
    np.testing.assert_allclose(frameworks.to_numpy(layers[1].h), [[3.0, 0.0], [0.0, 3.0]])


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("hidden", [(), (5,), (5, 4), (5, 4, 6)])
@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_gradients_are_those_of_central_differences(hidden, batch_norm, leading, rng):
    single = mlp_numpy.init((4, *hidden, 3), rng, batch_norm=batch_norm, dtype="float64")
    params = warm({n: np.broadcast_to(a, (*leading, *a.shape)).copy() for n, a in single.items()}, rng)
    params = {n: a + 0.1 * rng.standard_normal(a.shape) for n, a in params.items()}
    x, y = batch(rng)
    loss, grads, _ = mlp_numpy.loss_and_gradients(params, x, y)
    assert loss.shape == leading
    assert list(grads) == list(params)
    for name, w in params.items():
        assert grads[name].shape == w.shape
        for index in np.ndindex(w.shape[-2:]):
            difference = slope(params, name, index, x, y)  # all models at once: each loss has its own slice
            np.testing.assert_allclose(grads[name][(..., *index)], difference, rtol=2e-5, atol=1e-7)


def slope(params, name, index, x, y, step=1e-6):
    up, down = params[name].copy(), params[name].copy()
    up[(..., *index)] += step
    down[(..., *index)] -= step
    high, low = (mlp_numpy.loss_and_gradients(params | {name: w}, x, y)[0] for w in (up, down))
    return (high - low) / (2 * step)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("models", [None, 3])
@pytest.mark.parametrize("own_rows", [False, True])
def test_every_function_gives_what_numpy_gives(other_framework, dtype, batch_norm, models, own_rows, rng):
    if own_rows and models is None:
        models = 1
    params = warm(mlp_numpy.init((4, 6, 5, 3), rng, models=models, batch_norm=batch_norm, dtype=dtype), rng)
    x, y = batch(rng, rows=16, leading=(models,) if own_rows else (), dtype=dtype)
    running = mlp_numpy.init_running(params)
    module, tolerance = frameworks.load("mlp", other_framework), TOLERANCE[dtype]
    p, a, b, r = convert((params, x, y, running), other_framework)

    for before, theirs in ((running, r), (None, None)):
        expected = mlp_numpy.forward(params, x, before, training=True, decay=0.8, eps=1e-3)
        got = module.forward(p, a, theirs, training=True, decay=0.8, eps=1e-3)
        assert_close(plain(got[:2]), expected[:2], **tolerance)
        assert_close(plain([(e.h, e.z) for e in got[2]]), [(e.h, e.z) for e in expected[2]], **tolerance)
        expected = mlp_numpy.loss_and_gradients(params, x, y, before, decay=0.8, eps=1e-3)
        assert_close(
            plain(module.loss_and_gradients(p, a, b, theirs, decay=0.8, eps=1e-3)), expected, **tolerance
        )

    moved = mlp_numpy.precise_running(params, x, eps=1e-3)
    assert_close(plain(module.precise_running(p, a, eps=1e-3)), moved, **tolerance)
    moved_there = convert(moved, other_framework)
    expected = mlp_numpy.forward(params, x, moved, eps=1e-3)
    assert_close(plain(module.forward(p, a, moved_there, eps=1e-3)[:2]), expected[:2], **tolerance)
    expected = tuple(np.asarray(e) for e in mlp_numpy.evaluate(params, x, y, moved, eps=1e-3))
    assert_close(plain(module.evaluate(p, a, b, moved_there, eps=1e-3)), expected, **tolerance)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("name", ["sgd", "momentum", "rmsprop", "adam"])
@pytest.mark.parametrize("models", [None, 3])
def test_twenty_training_steps_agree_between_the_frameworks(other_framework, batch_norm, name, models, rng):
    x, y = batch(rng, rows=50)
    lr = 0.03 if models is None else np.array([0.01, 0.03, 0.1])[:, None, None]

    def train(framework):
        module = frameworks.load("mlp", framework)
        params = module.init(
            (4, 8, 3), np.random.default_rng(1), models=models, batch_norm=batch_norm, dtype="float64"
        )
        inputs, labels = convert((x, y), framework)
        order = np.random.default_rng(2) if models is None else generators(range(models))
        optimizer = getattr(frameworks.load("optimizers", framework), name)(lr)
        return module.fit(
            params,
            inputs,
            labels,
            optimizer=optimizer,
            steps=20,
            batch_size=16,
            rng=order,
            validation=(inputs[:20], labels[:20]),
            record_every=8,
        )

    got, expected = train(other_framework), train("numpy")
    assert_close(plain(got.params), expected.params, rtol=1e-8, atol=1e-8)
    assert_close(plain(got.running), expected.running, rtol=1e-8, atol=1e-8)
    assert_close(tuple(got.history), tuple(expected.history), rtol=1e-8, atol=1e-8)


# populations, bit for bit


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("models", [1, 3, 64])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("orders", ["shared", "own"])
def test_a_population_trains_as_each_model_alone_bit_for_bit(digits, batch_norm, models, dtype, orders):
    x, y = digits.x_train[:70].astype(dtype), digits.y_train[:70]
    lr = np.geomspace(1e-3, 1, models)

    def train(params, lr, rng):
        adam = opt_numpy.adam(lr)
        settings = dict(steps=12, batch_size=32, validation=(x[:9], y[:9]), record_every=5)
        return mlp_numpy.fit(params, x, y, optimizer=adam, rng=rng, **settings)

    params = mlp_numpy.init(
        (64, 13, 7, 10), np.random.default_rng(0), models=models, batch_norm=batch_norm, dtype=dtype
    )
    order = np.random.default_rng(5) if orders == "shared" else generators(range(models))
    together = train(params, lr[:, None, None], order)
    for k in sorted({0, 1 % models, models // 2, models - 1}):
        order = np.random.default_rng(5 if orders == "shared" else k)
        alone = train(member(params, k), float(lr[k]), order)
        assert_close(member(together.params, k), alone.params)
        assert_close(member(together.running, k), alone.running)
        for word in ("loss", "val_loss", "val_accuracy"):
            np.testing.assert_array_equal(getattr(together.history, word)[:, k], getattr(alone.history, word))


def test_a_model_that_diverges_leaves_its_neighbours_untouched(framework, rng, capfd):
    module, optimizers = frameworks.load("mlp", framework), frameworks.load("optimizers", framework)
    x, y = convert(batch(rng, rows=30, dtype="float32"), framework)

    def train(rates):
        params = module.init((4, 8, 8, 3), generators([0] * 3))
        optimizer = optimizers.sgd(np.array(rates)[:, None, None])
        settings = dict(steps=15, validation=(x, y), record_every=5)
        return plain(tuple(module.fit(params, x, y, optimizer=optimizer, **settings)))

    healthy, sick = train([0.1, 0.1, 0.3]), train([0.1, 1e30, 0.3])
    assert np.isnan(sick[0]["W1"][1]).any()
    assert np.isnan(sick[2].loss[-1, 1])
    assert sick[2].val_accuracy[-1, 1] == 0
    for k in (0, 2):
        assert_close(member(sick[0], k), member(healthy[0], k))
        np.testing.assert_array_equal(sick[2].loss[:, k], healthy[2].loss[:, k])
        np.testing.assert_array_equal(sick[2].val_loss[:, k], healthy[2].val_loss[:, k])
    assert capfd.readouterr() == ("", "")


def test_a_model_that_is_nan_in_batch_norm_leaves_its_neighbours_untouched(framework, rng):
    params = mlp_numpy.init((4, 5, 3), rng, models=3, batch_norm=True, dtype="float64")
    x, y = batch(rng)
    module = frameworks.load("mlp", framework)

    def measure(params):
        p, a, b = convert((params, x, y), framework)
        running = module.precise_running(p, a)
        return plain((module.loss_and_gradients(p, a, b), running, module.evaluate(p, a, b, running)))

    healthy = measure(params)
    params["W1"][1] = np.nan
    sick = measure(params)
    assert np.isnan(sick[0][0][1])
    for k in (0, 2):
        assert_close(member(sick, k), member(healthy, k))


# training


@given(
    hidden=st.lists(st.integers(1, 5), max_size=3),
    rows=st.integers(1, 9),
    batch_size=st.one_of(st.none(), st.integers(1, 12)),
    models=st.one_of(st.none(), st.integers(1, 3)),
    batch_norm=st.booleans(),
)
def test_any_sizes_and_batch_sizes_train(hidden, rows, batch_size, models, batch_norm):
    rng = np.random.default_rng(0)
    params = mlp_numpy.init((3, *hidden, 2), rng, models=models, batch_norm=batch_norm)
    x, y = batch(rng, rows, features=3, classes=2, dtype="float32")
    optimizer = opt_numpy.momentum(0.1)
    trained = mlp_numpy.fit(
        params,
        x,
        y,
        optimizer=optimizer,
        steps=5,
        batch_size=batch_size,
        rng=rng,
        validation=(x, y),
        record_every=2,
    )
    leading = () if models is None else (models,)
    assert trained.history.loss.shape == (5, *leading)
    assert trained.history.recorded.tolist() == [2, 4, 5]
    assert trained.history.val_loss.shape == trained.history.val_accuracy.shape == (3, *leading)
    assert np.isfinite(trained.history.val_loss).all()
    assert {n: a.shape for n, a in trained.params.items()} == {n: a.shape for n, a in params.items()}
    assert {a.dtype.name for a in trained.params.values()} == {"float32"}


def test_a_batch_of_one_row_gives_beta_under_batch_norm(framework, rng):
    params = warm(mlp_numpy.init((4, 5, 3), rng, batch_norm=True, dtype="float64"), rng)
    x, _ = batch(rng, rows=1)
    logits = frameworks.load("mlp", framework).forward(*convert((params, x), framework), training=True)[0]
    expected = np.maximum(params["beta1"], 0) @ params["W2"] + params["b2"]
    np.testing.assert_allclose(frameworks.to_numpy(logits), expected)


def test_each_epoch_takes_every_row_once_and_the_last_batch_may_be_short():
    rows = list(draws.batches(10, 4, np.random.default_rng(0), 7))
    assert [len(one) for one in rows] == [4, 4, 2, 4, 4, 2, 4]
    for epoch in (rows[:3], rows[3:6]):
        assert sorted(np.concatenate(epoch)) == list(range(10))
    assert rows[0].tolist() != rows[3].tolist()
    own = list(draws.batches(10, 4, generators([0, 1]), 7))
    assert [one.shape for one in own] == [(2, 4), (2, 4), (2, 2), (2, 4), (2, 4), (2, 2), (2, 4)]
    for mine, alone in zip(own, rows, strict=True):
        np.testing.assert_array_equal(mine[0], alone)
    assert [one.tolist() for one in draws.batches(3, None, None, 2)] == [[0, 1, 2], [0, 1, 2]]


def test_the_loss_before_training_is_near_that_of_guessing(framework, digits):
    module = frameworks.load("mlp", framework)
    x, y = convert((digits.x_train[:200], digits.y_train[:200]), framework)
    params = module.init((64, 32, 10), np.random.default_rng(0), models=20)
    loss, accuracy = plain(module.evaluate(params, x, y))
    assert np.log(10) < loss.mean() < np.log(10) + 0.5
    assert accuracy.mean() == pytest.approx(0.1, abs=0.05)
    params = module.init((64, 32, 10), np.random.default_rng(0), scale=0)
    np.testing.assert_allclose(plain(module.evaluate(params, x, y)[0]), np.log(10), rtol=1e-6)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_digits_are_learned(framework, digits, batch_norm):
    module, optimizers = frameworks.load("mlp", framework), frameworks.load("optimizers", framework)
    x, y, x_val, y_val = convert(tuple(digits)[:4], framework)
    params = module.init((64, 32, 10), np.random.default_rng(0), batch_norm=batch_norm)
    trained = module.fit(
        params,
        x,
        y,
        optimizer=optimizers.adam(0.01),
        steps=150,
        batch_size=64,
        rng=np.random.default_rng(1),
        validation=(x_val, y_val),
    )
    assert trained.history.val_accuracy[-1] > 0.9
    assert trained.history.loss[-10:].mean() < 0.3 < 2 < trained.history.loss[0]


def test_twenty_images_can_be_learned_by_heart(digits):
    x, y = digits.x_train[:20], digits.y_train[:20]
    params = mlp_numpy.init((64, 32, 10), np.random.default_rng(0))
    trained = mlp_numpy.fit(params, x, y, optimizer=opt_numpy.adam(0.01), steps=300)
    loss, accuracy = mlp_numpy.evaluate(trained.params, x, y)
    assert accuracy == 1
    assert loss < 1e-3


def test_without_a_hidden_layer_it_is_the_logistic_regression_of_scikit_learn():
    x, y = data.blobs(0, spread=1.5)
    theirs = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(x, y)
    probability = theirs.predict_proba(x)[np.arange(len(y)), y]
    params = mlp_numpy.init((2, 3), np.random.default_rng(0), dtype="float64")
    ours = mlp_numpy.fit(params, x, y, optimizer=opt_numpy.sgd(1.0), steps=2000).params
    loss, accuracy = mlp_numpy.evaluate(ours, x, y)
    assert loss == pytest.approx(-np.log(probability).mean(), rel=1e-8)
    assert accuracy == theirs.score(x, y)


def test_the_same_seed_gives_the_same_bits(framework, digits):
    module, optimizers = frameworks.load("mlp", framework), frameworks.load("optimizers", framework)
    x, y = convert((digits.x_train[:100], digits.y_train[:100]), framework)

    def train(seed):
        params = module.init((64, 16, 10), np.random.default_rng(seed), batch_norm=True)
        rng = np.random.default_rng(seed)
        return plain(
            tuple(module.fit(params, x, y, optimizer=optimizers.adam(0.01), steps=8, batch_size=32, rng=rng))
        )

    first = train(0)
    assert_close(train(0), first)
    assert np.abs(train(1)[0]["W1"] - first[0]["W1"]).max() > 0.01


def test_training_goes_on_where_it_stopped(framework, rng):
    module, optimizers = frameworks.load("mlp", framework), frameworks.load("optimizers", framework)
    params = module.init((4, 5, 3), rng, batch_norm=True, dtype="float64")
    x, y = convert(batch(rng, rows=12), framework)
    optimizer = optimizers.adam(0.05)
    whole = module.fit(params, x, y, optimizer=optimizer, steps=10)
    first = module.fit(params, x, y, optimizer=optimizer, steps=4)
    second = module.fit(
        first.params, x, y, optimizer=optimizer, steps=6, running=first.running, state=first.state
    )
    assert_close(plain(second.params), plain(whole.params), rtol=1e-12, atol=1e-12)
    assert_close(plain(second.running), plain(whole.running), rtol=1e-12, atol=1e-12)


def test_models_with_their_own_data_train_as_each_alone_on_its_own(framework, rng):
    module, optimizers = frameworks.load("mlp", framework), frameworks.load("optimizers", framework)
    params = module.init((4, 5, 3), generators([0, 1]), dtype="float64")
    x, y = batch(rng, rows=10, leading=(2,))

    def train(params, x, y, rng):
        x, y = convert((x, y), framework)
        settings = dict(steps=6, batch_size=4, validation=(x, y))
        return module.fit(params, x, y, optimizer=optimizers.sgd(0.1), rng=rng, **settings)

    own, shared = train(params, x, y, generators([5, 6])), train(params, x, y, np.random.default_rng(5))
    for together, seeds in ((own, (5, 6)), (shared, (5, 5))):
        for k, seed in enumerate(seeds):
            alone = train(member(params, k), x[k], y[k], np.random.default_rng(seed))
            np.testing.assert_allclose(together.history.loss[:, k], alone.history.loss, rtol=1e-12)
            np.testing.assert_allclose(together.history.val_loss[:, k], alone.history.val_loss, rtol=1e-12)


def test_without_validation_only_the_losses_are_kept(framework, rng):
    module, optimizers = frameworks.load("mlp", framework), frameworks.load("optimizers", framework)
    params = module.init((4, 3), rng, models=2, dtype="float64")
    x, y = convert(batch(rng), framework)
    history = module.fit(params, x, y, optimizer=optimizers.sgd(0.1), steps=3).history
    assert history.loss.shape == (3, 2)
    assert history.recorded.shape == (0,)
    assert history.val_loss.shape == history.val_accuracy.shape == (0, 2)


def test_validation_uses_precise_statistics_or_the_running_averages(framework, rng):
    module, optimizers = frameworks.load("mlp", framework), frameworks.load("optimizers", framework)
    params = module.init((4, 5, 3), rng, batch_norm=True, dtype="float64")
    x, y = convert(batch(rng, rows=40), framework)

    def train(precise):
        settings = dict(steps=5, batch_size=8, validation=(x, y), precise=precise)
        return module.fit(
            params, x, y, optimizer=optimizers.sgd(0.1), rng=np.random.default_rng(0), **settings
        )

    for precise in (True, False):
        trained = train(precise)
        running = module.precise_running(trained.params, x) if precise else trained.running
        loss, accuracy = plain(module.evaluate(trained.params, x, y, running))
        np.testing.assert_allclose(trained.history.val_loss[-1], loss, rtol=1e-12)
        np.testing.assert_allclose(trained.history.val_accuracy[-1], accuracy)
    assert train(True).history.val_loss[-1] != train(False).history.val_loss[-1]


def test_precise_statistics_normalise_the_training_rows_exactly(rng):
    params = mlp_numpy.init((4, 6, 5, 3), rng, models=2, batch_norm=True, dtype="float64")
    x, _ = batch(rng, rows=30)
    running = mlp_numpy.precise_running(params, x)
    as_one_batch = mlp_numpy.forward(params, x, training=True)[0]
    np.testing.assert_allclose(mlp_numpy.forward(params, x, running)[0], as_one_batch, rtol=1e-12, atol=1e-12)
    assert mlp_numpy.precise_running(mlp_numpy.init((4, 3), rng, dtype="float64"), x) == {}


@pytest.mark.parametrize("normalised", [(1, 3), (2,), (3,)])
def test_precise_statistics_of_a_mixed_network_are_those_of_one_batch_of_all_rows(framework, normalised, rng):
    x, _ = batch(rng, rows=20)
    params = {}
    for i, (both, plain_one) in enumerate(
        zip(
            *(
                _layers_of(mlp_numpy.init((4, 6, 5, 4, 3), rng, batch_norm=bn, dtype="float64"))
                for bn in (1, 0)
            ),
            strict=True,
        ),
        start=1,
    ):
        params |= both if i in normalised else plain_one
    mlp = frameworks.load("mlp", framework)
    params, x = convert(params, framework), convert(x, framework)
    _, whole, _ = mlp.forward(params, x, training=True)
    precise = mlp.precise_running(params, x)
    assert sorted(precise) == sorted(whole) == list(normalised)
    assert_close(plain(precise), plain(whole), rtol=1e-9, atol=1e-12)


def _layers_of(params):
    """The parameters of each layer as a dictionary of their own."""
    return [{n: a for n, a in params.items() if n[-1] == str(i)} for i in range(1, 5)]


def test_accuracy_counts_a_nan_logit_as_wrong(framework):
    params = {"W1": np.full((2, 3, 2), np.nan), "b1": np.zeros((2, 1, 2))}
    params["W1"][1] = [[1.0, 0.0]] * 3
    x, y = np.ones((4, 3)), np.zeros(4, int)
    loss, accuracy = plain(frameworks.load("mlp", framework).evaluate(*convert((params, x, y), framework)))
    np.testing.assert_array_equal(np.isnan(loss), [True, False])
    np.testing.assert_array_equal(accuracy, [0, 1])


@pytest.mark.parametrize("batch_norm", [False, True])
def test_inputs_are_never_modified(framework, batch_norm, rng):
    module, optimizers = frameworks.load("mlp", framework), frameworks.load("optimizers", framework)
    params = mlp_numpy.init((4, 5, 3), rng, models=2, batch_norm=batch_norm, dtype="float64")
    x, y = batch(rng, rows=10)
    running = mlp_numpy.init_running(params)
    given = convert((params, x, y, running), framework)
    if framework == "numpy":
        mapped(lambda a: a.setflags(write=False), given)
    p, a, b, r = given
    module.forward(p, a, r, training=True)
    module.loss_and_gradients(p, a, b, r)
    module.evaluate(p, a, b, r)
    module.precise_running(p, a)
    module.fit(
        p, a, b, optimizer=optimizers.adam(0.1), steps=3, batch_size=4, rng=rng, running=r, validation=(a, b)
    )
    assert_close(plain(given), (params, x, y, running))


def test_strided_inputs_give_the_same(rng):
    params = mlp_numpy.init((4, 5, 3), rng, batch_norm=True, dtype="float64")
    x, y = batch(rng)
    expected = mlp_numpy.loss_and_gradients(params, x, y)
    wide = np.repeat(x, 2, axis=-1)[..., ::2]
    got = mlp_numpy.loss_and_gradients(params, wide, np.asfortranarray(y))
    assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_the_numpy_file_needs_no_more_than_the_array_api(rng):
    xp = pytest.importorskip("array_api_strict")
    params = mlp_numpy.init((4, 5, 3), rng, models=2, batch_norm=True, dtype="float64")
    x, y = batch(rng, rows=10)
    p, a, b = mapped(xp.asarray, (params, x, y))
    assert_close(plain(mlp_numpy.loss_and_gradients(p, a, b)), mlp_numpy.loss_and_gradients(params, x, y))
    adam = opt_numpy.adam(np.array([0.01, 0.1])[:, None, None])
    settings = dict(optimizer=adam, steps=4, batch_size=4)
    got = mlp_numpy.fit(p, a, b, rng=np.random.default_rng(0), validation=(a, b), **settings)
    expected = mlp_numpy.fit(params, x, y, rng=np.random.default_rng(0), validation=(x, y), **settings)
    assert_close(plain(got.params), expected.params)
    assert_close(tuple(got.history), tuple(expected.history))


# bad arguments


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(sizes=(4,)), ValueError, "sizes must be at least two whole numbers"),
        (dict(sizes=(4, 0, 3)), ValueError, r"sizes must .* got \(4, 0, 3\)"),
        (dict(sizes=(4, 2.5, 3)), ValueError, "sizes must"),
        (dict(rng=0), TypeError, "rng must be a NumPy generator or a list of them, one per model, got int"),
        (dict(rng=[1, 2]), TypeError, "rng must be a NumPy generator"),
        (dict(rng=[]), TypeError, "rng must be a NumPy generator"),
        (dict(models=0), ValueError, "models must be None or a whole number of at least 1, got 0"),
        (dict(rng=generators([0, 1]), models=3), ValueError, "rng has 2 generators but models is 3"),
        (dict(scale=-1.0), ValueError, "scale must lie in"),
        (dict(scale=float("nan")), ValueError, "scale must lie in"),
        (dict(scale=np.array([1.0, -1.0])[:, None, None]), ValueError, "scale must lie in"),
        (dict(scale=np.ones(3)), ValueError, r"scale must be a number or have shape \(K, 1, 1\)"),
        (dict(dtype="int32"), TypeError, "dtype must be a floating type"),
    ],
)
def test_bad_arguments_of_init_are_named(framework, change, error, message):
    arguments = dict(sizes=(4, 5, 3), rng=np.random.default_rng(0)) | change
    with pytest.raises(error, match=message):
        frameworks.load("mlp", framework).init(**arguments)


def test_inputs_that_do_not_fit_are_named(framework, rng):
    module = frameworks.load("mlp", framework)
    params = convert(mlp_numpy.init((4, 5, 3), rng, models=2, dtype="float64"), framework)
    x, y = batch(rng, rows=6)

    def attempt(x, y):
        module.loss_and_gradients(params, *convert((x, y), framework))

    with pytest.raises(ValueError, match=r"x must be .* with 4 features, as W1 has, got shape \(6, 3\)"):
        attempt(x[:, :3], y)
    with pytest.raises(ValueError, match=r"x must be .* got shape \(4,\)"):
        attempt(x[0], y)
    with pytest.raises(ValueError, match=r"x must hold at least one row, got shape \(0, 4\)"):
        attempt(x[:0], y[:0])
    with pytest.raises(
        ValueError, match=r"x of shape \(3, 6, 4\) has leading axes that W1 of shape \(2, 4, 5\) lacks"
    ):
        attempt(np.stack([x] * 3), y)
    with pytest.raises(TypeError, match="x must have the dtype of the weights, float64, got float32"):
        attempt(x.astype("float32"), y)
    with pytest.raises(TypeError, match="x must hold floating-point numbers, got int64"):
        attempt(x.astype("int64"), y)
    with pytest.raises(ValueError, match=r"y must have one label per row of x, 6, got shape \(5,\)"):
        attempt(x, y[:5])
    with pytest.raises(ValueError, match=r"y of shape \(3, 6\) has leading axes"):
        attempt(x, np.stack([y] * 3))
    with pytest.raises(ValueError, match="y"):
        attempt(x, y + 1)
    with pytest.raises(ValueError, match=r"x must be .* with 4 features"):
        module.evaluate(params, *convert((x[:, :3], y), framework))


def test_bad_arguments_of_fit_are_named_before_training_starts(framework, rng):
    module, optimizers = frameworks.load("mlp", framework), frameworks.load("optimizers", framework)
    params = convert(mlp_numpy.init((4, 5, 3), rng, dtype="float64"), framework)
    x, y = batch(rng, rows=6)

    def attempt(x=x, y=y, **change):
        settings = (
            dict(optimizer=optimizers.sgd(0.1), steps=2, batch_size=3, rng=np.random.default_rng(0)) | change
        )
        module.fit(params, *convert((x, y), framework), **settings)

    with pytest.raises(
        ValueError, match=r"y must lie in \[0, 3\), the classes of the last layer, got 0 to 3"
    ):
        attempt(y=np.array([0, 1, 2, 3, 0, 0]))
    with pytest.raises(ValueError, match=r"y must lie in \[0, 3\).*got -1 to 2"):
        attempt(y=np.array([0, 1, 2, -1, 0, 0]))
    with pytest.raises(TypeError, match="y must hold whole numbers, got float64"):
        attempt(y=y.astype("float64"))
    with pytest.raises(ValueError, match="x must hold at least one row"):
        attempt(x=x[:0], y=y[:0])
    with pytest.raises(ValueError, match="steps must be a whole number of at least 1, got 0"):
        attempt(steps=0)
    with pytest.raises(ValueError, match=r"record_every must be a whole number of at least 1, got 0\.5"):
        attempt(record_every=0.5)
    with pytest.raises(
        ValueError, match="batch_size must be a whole number of at least 1, or None for all rows, got 0"
    ):
        attempt(batch_size=0)
    with pytest.raises(TypeError, match="rng must be a NumPy generator"):
        attempt(rng=None)


def test_batch_norm_at_test_time_needs_statistics(framework, rng):
    module = frameworks.load("mlp", framework)
    params = module.init((4, 5, 3), rng, batch_norm=True, dtype="float64")
    x, y = convert(batch(rng), framework)
    with pytest.raises(ValueError, match=r"running must hold the statistics .*precise_running"):
        module.forward(params, x)
    with pytest.raises(ValueError, match="running must hold the statistics"):
        module.evaluate(params, x, y)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_loss_of_a_step_is_that_of_softmax_to_the_last_bit(framework, dtype, smoothing, rng):
    """A step computes it in fewer operations; also where a logit is infinite or none is a number."""
    mlp, softmax = frameworks.load("mlp", framework), frameworks.load("softmax", framework)
    params = warm(mlp_numpy.init((4, 3), rng, models=5, dtype=dtype), rng)
    for model, extreme in ((1, np.inf), (2, -np.inf), (3, np.nan), (4, 1e5)):
        params["b1"][model, 0, 1] = extreme
    x, y = batch(rng, rows=8, dtype=dtype)
    params, x, y = convert((params, x, y), framework)
    loss, grads, _ = mlp.loss_and_gradients(params, x, y, label_smoothing=smoothing)
    z, _, _ = mlp.forward(params, x)
    labels, smooth = convert(np.broadcast_to(plain(y), (5, 8)), framework), {"label_smoothing": smoothing}
    wanted = plain(softmax.cross_entropy(z, labels, reduction="none", **smooth)).mean(axis=-1)
    if framework == "numpy":
        assert_close(loss, wanted)
        slopes = softmax.cross_entropy_backward(z, labels, reduction="sum", **smooth) / 8
        assert_close(grads["b1"], slopes.sum(axis=-2, keepdims=True))
    assert_close(plain(loss), wanted, rtol=1e-6)
