"""Cross-entropy and its gradient: numbers by hand, torch's, Keras' and TensorFlow's own, autograd and the tape."""

import numpy as np
import pytest
import scipy.special
from batch_norm_cases import back, convert
from softmax_cases import CHOICES, LOSSES, REDUCTIONS, SHAPES, call, chosen, labels_shape, problem, same

from dlbook import frameworks

INF, NAN = np.inf, np.nan
TOLERANCE = {"float64": {"rtol": 1e-10, "atol": 1e-12}, "float32": {"rtol": 2e-5, "atol": 2e-6}}
# Two rows with published losses, 1.386294 and 3.440190.
Z, Y = np.array([[1.0, 1, 1, 1], [1, 2, 3, 4]]), np.array([3, 0])
SLOPES = np.array([[0.25, 0.25, 0.25, -0.75], [-0.967941, 0.087144, 0.236883, 0.643914]])


def both(framework, z, y, **options):
    """The loss and its gradient."""
    return [call(framework, name, z, y, **options) for name in LOSSES]


# --- the frameworks with each other and with torch ------------------------------------------------------------


@pytest.mark.parametrize("choice", CHOICES)
def test_every_framework_equals_numpy_and_torchs_own(framework, choice, rng):
    torch = pytest.importorskip("torch")
    for shape, axis in SHAPES.values():
        z, y, options = chosen(choice, rng, shape, axis)
        loss, slope = both(framework, z, y, **options)
        leaf = torch.tensor(z, requires_grad=True)
        theirs = torchs_own(torch, leaf, y, **options)
        theirs.sum().backward()
        np.testing.assert_allclose(loss, theirs.detach(), **TOLERANCE["float64"])
        np.testing.assert_allclose(slope, leaf.grad, **TOLERANCE["float64"])
        assert loss.shape == theirs.shape
        numpys = both("numpy", z, y, **options)
        for got, wanted in zip((loss, slope), numpys, strict=True):
            np.testing.assert_allclose(got, wanted, **TOLERANCE["float64"])


def torchs_own(torch, z, y, *, axis, weight=None, ignore_index=None, **options):
    """`torch.nn.functional.cross_entropy`, which wants its classes on axis 1, or 0 for one row."""
    at = min(1, z.ndim - 1)
    y = torch.tensor(y)
    if y.ndim == z.ndim:
        y = y.movedim(axis, at)
    weight = None if weight is None else torch.tensor(weight)
    ignore = {} if ignore_index is None else {"ignore_index": ignore_index}
    return torch.nn.functional.cross_entropy(z.movedim(axis, at), y, weight=weight, **ignore, **options)


@pytest.mark.parametrize("choice", CHOICES)
def test_float32_equals_numpys_float64(framework, choice, rng):
    z, y, options = chosen(choice, rng, dtype="float32")
    wide = {k: v.astype("float64") if isinstance(v, np.ndarray) else v for k, v in options.items()}
    wanted = both("numpy", z.astype("float64"), y.astype("float64") if y.ndim == 2 else y, **wide)
    for got, exact in zip(both(framework, z, y, **options), wanted, strict=True):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, exact, **TOLERANCE["float32"])


# --- numbers by hand -------------------------------------------------------------------------------------------


def test_published_numbers(framework):
    loss, slope = both(framework, Z, Y, reduction="none")
    np.testing.assert_allclose(loss, [1.386294, 3.440190], atol=1e-6)
    np.testing.assert_allclose(slope, SLOPES, atol=1e-6)
    mean, slope = both(framework, Z, Y)
    np.testing.assert_allclose(mean, (1.386294 + 3.440190) / 2, atol=1e-6)
    np.testing.assert_allclose(slope, SLOPES / 2, atol=1e-6)
    total, slope = both(framework, Z, Y, reduction="sum")
    np.testing.assert_allclose(total, 1.386294 + 3.440190, atol=1e-6)
    np.testing.assert_allclose(slope, SLOPES, atol=1e-6)


def test_published_numbers_of_soft_labels(framework):
    y = np.array([[0, 0, 0, 1], [0, 0.5, 0.5, 0]])
    loss, slope = both(framework, Z, y, reduction="none")
    np.testing.assert_allclose(loss, [1.386294, 1.940190], atol=1e-6)
    np.testing.assert_allclose(slope[1], [0.032059, -0.412856, -0.263117, 0.643914], atol=1e-6)


def test_an_example_of_the_chapter(framework):
    z = np.log([[0.3, 0.2, 0.1, 0.4]])
    loss, slope = both(framework, z, np.array([1]))
    np.testing.assert_allclose(loss, 1.609438, atol=1e-6)
    np.testing.assert_allclose(slope, [[0.3, -0.8, 0.1, 0.4]], atol=1e-12)


def test_one_example_without_a_batch(framework):
    for reduction in REDUCTIONS:
        loss, slope = both(framework, Z[1], Y[1, ...], reduction=reduction)
        np.testing.assert_allclose(loss, 3.440190, atol=1e-6)
        assert loss.shape == ()
        np.testing.assert_allclose(slope, SLOPES[1], atol=1e-6)


@pytest.mark.parametrize("ignored", [3, 0, 255, -100, -1])
def test_an_ignored_label_counts_for_nothing(framework, ignored):
    """The mean divides by the number of rows that are kept, and 255, -100 need not be classes."""
    kept = 1 if ignored != 0 else 0
    y = np.where(np.arange(2) == kept, Y, ignored)
    wanted = np.array([1.386294, 3.440190]) * (np.arange(2) == kept)
    for reduction in REDUCTIONS:
        loss, slope = both(framework, Z, y, ignore_index=ignored, reduction=reduction)
        np.testing.assert_allclose(loss, wanted if reduction == "none" else wanted.sum(), atol=1e-6)
        np.testing.assert_allclose(slope[kept], SLOPES[kept], atol=1e-6)
        np.testing.assert_array_equal(slope[1 - kept], 0)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"weight": np.array([1.0, 2, 3, 4])}])
def test_where_every_label_is_ignored_the_mean_is_nan_and_the_gradient_0(framework, options):
    y = np.array([255, 255])
    wanted = {"mean": NAN, "sum": 0, "none": [0, 0]}
    for reduction in REDUCTIONS:
        loss, slope = both(framework, Z, y, ignore_index=255, reduction=reduction, **options)
        np.testing.assert_array_equal(loss, wanted[reduction])
        np.testing.assert_array_equal(slope, 0)
        assert not np.signbit(loss).any()


def test_where_all_weights_are_0_the_mean_is_nan(framework):
    weight = np.array([0.0, 1, 1, 0])  # of both labels
    for reduction, wanted in {"mean": NAN, "sum": 0, "none": [0, 0]}.items():
        loss, slope = both(framework, Z, Y, weight=weight, reduction=reduction)
        np.testing.assert_array_equal(loss, wanted)
        np.testing.assert_array_equal(slope, 0)


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_an_empty_batch_has_the_mean_nan_and_the_sum_0(framework, shape):
    z = np.empty(shape)
    for y in (np.empty(shape[:-1], np.int64), np.empty(shape)):
        for reduction, wanted in {"mean": NAN, "sum": 0, "none": np.empty(shape[:-1])}.items():
            loss, slope = both(framework, z, y, reduction=reduction)
            np.testing.assert_array_equal(loss, wanted)
            assert loss.shape == np.shape(wanted)
            assert slope.shape == shape


def test_the_weighted_mean_divides_by_the_weights_and_keras_by_the_rows(framework):
    keras = pytest.importorskip("keras")
    weight = np.array([2.0, 1, 1, 1])
    loss = call(framework, "cross_entropy", Z, Y, weight=weight)
    np.testing.assert_allclose(loss, (1 * 1.386294 + 2 * 3.440190) / (1 + 2), atol=1e-6)
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")
    np.testing.assert_allclose(loss, 2.755558, atol=1e-6)
    np.testing.assert_allclose(theirs(Y, Z, sample_weight=weight[Y]), 4.133337, atol=1e-6)
    np.testing.assert_allclose(theirs(Y, Z, sample_weight=weight[Y]) * 2 / weight[Y].sum(), loss, rtol=1e-7)


def test_the_weighted_mean_over_probabilities_divides_by_the_rows(framework):
    weight = np.array([2.0, 1, 1, 1])
    loss = call(framework, "cross_entropy", Z, np.eye(4)[Y], weight=weight)
    np.testing.assert_allclose(loss, (1 * 1.386294 + 2 * 3.440190) / 2, atol=1e-6)


def test_weights_of_1_change_nothing(framework, rng):
    for probabilities in (False, True):
        z, y = problem(rng, probabilities=probabilities)
        for reduction in REDUCTIONS:
            plain = both(framework, z, y, reduction=reduction)
            ones = both(framework, z, y, reduction=reduction, weight=np.ones(4))
            for a, b in zip(plain, ones, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 1.0])
def test_label_smoothing_is_a_soft_target(framework, smoothing, rng):
    z, y = problem(rng)
    soft = (1 - smoothing) * np.eye(4)[y] + smoothing / 4
    for reduction in REDUCTIONS:
        hard = both(framework, z, y, reduction=reduction, label_smoothing=smoothing)
        other = both(framework, z, soft, reduction=reduction)
        again = both(framework, z, np.eye(4)[y], reduction=reduction, label_smoothing=smoothing)
        for a, b, c in zip(hard, other, again, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)
            np.testing.assert_allclose(c, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_that_are_wrong_by_20000_cost_20000(framework, dtype):
    z = np.array([[1e4, -1e4], [-1e4, 1e4]], dtype)
    loss, slope = both(framework, z, np.array([1, 1]), reduction="none")
    np.testing.assert_array_equal(loss, [20_000, 0])
    np.testing.assert_array_equal(slope, [[1, -1], [0, 0]])


def test_softmax_twice_has_a_floor(framework):
    """A perfect prediction of one of C classes still costs log(e + C - 1) - 1."""
    for classes in (2, 10):
        p = call(framework, "softmax", 1000 * np.eye(classes))
        loss = call(framework, "cross_entropy", p, np.arange(classes))
        np.testing.assert_allclose(loss, np.log(np.e + classes - 1) - 1, rtol=1e-12)


def test_probabilities_are_taken_as_they_come(framework):
    """Twice the target costs twice as much: nothing rescales it to 1."""
    y = 2 * np.eye(4)[Y]
    loss, slope = both(framework, Z, y, reduction="none")
    np.testing.assert_allclose(loss, [2 * 1.386294, 2 * 3.440190], atol=1e-5)
    np.testing.assert_allclose(slope, 2 * SLOPES, atol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "uint32"])
def test_labels_of_any_width(framework, dtype):
    loss = call(framework, "cross_entropy", Z, Y.astype(dtype), ignore_index=-253)  # 3 - 256
    np.testing.assert_allclose(loss, 2.413242, atol=1e-6)


# --- infinity and NaN ------------------------------------------------------------------------------------------


def test_a_class_that_is_ruled_out_costs_nothing_where_it_is_not_the_target(framework):
    z = np.array([[0.0, -INF, 1.0]])
    p = np.array([[0.268941, 0, 0.731059]])
    for y in (np.array([2]), np.array([[0.0, 0, 1]])):
        loss, slope = both(framework, z, y)
        np.testing.assert_allclose(loss, 0.313262, atol=1e-6)
        np.testing.assert_allclose(slope, p - [[0, 0, 1]], atol=1e-6)
        assert slope[0, 1] == 0
    weight = np.array([1.0, 3, 2])
    for y in (np.array([2]), np.array([[0.0, 0, 1]])):
        loss, slope = both(framework, z, y, weight=weight, reduction="sum")
        np.testing.assert_allclose(loss, 2 * 0.313262, atol=1e-5)
        np.testing.assert_allclose(slope, 2 * p - [[0, 0, 2]], atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}])
def test_the_right_class_ruled_out_costs_infinity_with_a_finite_gradient(framework, options):
    z, right = np.array([[0.0, -INF], [1.0, 1.0]]), np.array([1, 1])
    loss, slope = both(framework, z, right, reduction="none", **options)
    assert loss[0] == INF
    assert np.isfinite(loss[1])
    assert np.isfinite(slope).all()
    smoothing = options.get("label_smoothing", 0)
    np.testing.assert_allclose(slope[0], [1 - smoothing / 2, -(1 - smoothing / 2)], atol=1e-12)


@pytest.mark.parametrize("row", [[NAN, 0, 0], [INF, 0, 0], [-INF, -INF, -INF], [NAN, -INF, 1]])
@pytest.mark.parametrize("label", [0, 1])
def test_nan_stays_in_its_row(framework, row, label):
    z, y = np.array([[0, 1, 2], row, [3, 2, 1]], np.float64), np.array([1, label, 2])
    for target in (y, np.eye(3)[y]):
        loss, slope = both(framework, z, target, reduction="none")
        np.testing.assert_array_equal(np.isnan(loss), [False, True, False])
        np.testing.assert_array_equal(np.isnan(slope), np.isnan(loss)[:, None].repeat(3, 1))
        good = both(framework, z[[0, 2]], target[[0, 2]], reduction="none")
        np.testing.assert_allclose(loss[[0, 2]], good[0], rtol=1e-14)
        np.testing.assert_allclose(slope[[0, 2]], good[1], rtol=1e-14)
        assert np.isnan(call(framework, "cross_entropy", z, target))


def test_a_class_of_weight_0_does_not_hide_nan(framework):
    """As in torch: 0 times NaN is NaN. To leave a row out there is `ignore_index`."""
    z, y, weight = np.array([[NAN, 0, 0], [1, 2, 3]]), np.array([0, 1]), np.array([0.0, 1, 1])
    loss, slope = both(framework, z, y, weight=weight, reduction="none")
    np.testing.assert_array_equal(np.isnan(loss), [True, False])
    np.testing.assert_array_equal(np.isnan(slope), [[True] * 3, [False] * 3])


@pytest.mark.parametrize("row", [[NAN, 0, 0], [INF, 0, 0], [-INF, -INF, -INF]])
def test_nan_in_an_ignored_row_does_no_harm(framework, row):
    z, y = np.array([[0, 1, 2], row], np.float64), np.array([1, 255])
    alone = both(framework, z[:1], y[:1])
    loss, slope = both(framework, z, y, ignore_index=255)
    np.testing.assert_allclose(loss, alone[0], rtol=1e-14)
    np.testing.assert_allclose(slope, [alone[1][0], [0, 0, 0]], rtol=1e-14)


@pytest.mark.parametrize("labels", [[1, 255, 2], [255, 255, 255]])
def test_autograd_and_the_tape_pass_infinity_and_ignored_rows_as_the_gradient_by_hand_does(labels):
    torch, tf = pytest.importorskip("torch"), pytest.importorskip("tensorflow")
    z, y = np.array([[0, 1, -INF], [NAN, INF, 0], [-INF, 1, 2]], np.float64), np.array(labels)
    wanted = call("numpy", "cross_entropy_backward", z, y, ignore_index=255)
    assert np.isfinite(wanted).all()
    leaf, variable = torch.tensor(z, requires_grad=True), tf.Variable(z)
    frameworks.load("softmax", "torch").cross_entropy(leaf, torch.tensor(y), ignore_index=255).backward()
    with tf.GradientTape() as tape:
        loss = frameworks.load("softmax", "tensorflow").cross_entropy(
            variable, tf.constant(y), ignore_index=255
        )
    np.testing.assert_allclose(leaf.grad, wanted, atol=1e-15)
    np.testing.assert_allclose(tape.gradient(loss, variable), wanted, atol=1e-15)


# --- gradients -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", CHOICES)
def test_the_gradient_is_central_differences(choice, rng):
    z, y, options = chosen(choice, rng, (3, 4))
    numeric, h = np.empty_like(z), 1e-5
    for i in np.ndindex(z.shape):
        step = np.zeros_like(z)
        step[i] = h
        up, down = (np.sum(call("numpy", "cross_entropy", z + s, y, **options)) for s in (step, -step))
        numeric[i] = (up - down) / (2 * h)
    slope = call("numpy", "cross_entropy_backward", z, y, **options)
    np.testing.assert_allclose(slope, numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("choice", CHOICES)
def test_autograd_and_the_tape_are_the_gradient_by_hand(other_framework, choice, rng):
    z, y, options = chosen(choice, rng, (3, 4, 2), 1)
    slope = call(other_framework, "cross_entropy_backward", z, y, **options)
    module = frameworks.load("softmax", other_framework)
    z, y = convert(z, other_framework), convert(y, other_framework)
    options = {key: convert(value, other_framework) for key, value in options.items()}
    if other_framework == "torch":
        z.requires_grad_()
        module.cross_entropy(z, y, **options).sum().backward()
        theirs = z.grad
    else:
        tf = pytest.importorskip("tensorflow")
        with tf.GradientTape() as tape:
            tape.watch(z)
            loss = module.cross_entropy(z, y, **options)
        theirs = tape.gradient(loss, z)
    np.testing.assert_allclose(back(theirs), slope, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("choice", [name for name in CHOICES if "smoothing 0.1" in name])
def test_autograd_passes_gradcheck_twice(choice, rng):
    torch = pytest.importorskip("torch")
    module = frameworks.load("softmax", "torch")
    z, y, options = chosen(choice, rng, (3, 4))
    z, y, weight = torch.tensor(z, requires_grad=True), torch.tensor(y), options.pop("weight", None)
    arguments = [z]
    if weight is not None:
        arguments.append(torch.tensor(weight, requires_grad=True))
    if y.is_floating_point():
        y.requires_grad_()

    def loss(z, weight=None):
        return module.cross_entropy(z, y, weight=weight, **options)

    def by_hand(z, weight=None):
        return module.cross_entropy_backward(z, y, weight=weight, **options)

    assert torch.autograd.gradcheck(loss, arguments)
    assert torch.autograd.gradgradcheck(loss, arguments)
    assert torch.autograd.gradcheck(by_hand, arguments)


def test_the_tapes_second_derivatives_are_torchs(rng):
    tf, torch = pytest.importorskip("tensorflow"), pytest.importorskip("torch")
    z, y = problem(rng, (3, 4))
    theirs = torch.autograd.functional.hessian(
        lambda z: torch.nn.functional.cross_entropy(z, torch.tensor(y)), torch.tensor(z)
    )
    variable = tf.Variable(z)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            loss = frameworks.load("softmax", "tensorflow").cross_entropy(variable, tf.constant(y))
        slope = inner.gradient(loss, variable)
    np.testing.assert_allclose(outer.jacobian(slope, variable), theirs, rtol=1e-9, atol=1e-14)


def test_the_torch_loss_trains_through_a_mask_of_minus_infinity(rng):
    """What a masked classifier does: the logits of forbidden classes are filled with -inf."""
    torch = pytest.importorskip("torch")
    module = frameworks.load("softmax", "torch")
    W = torch.tensor(rng.normal(size=(3, 4)), requires_grad=True)
    x, forbidden = torch.tensor(rng.normal(size=(5, 3))), torch.tensor([False, True, False, False])
    z = (x @ W).masked_fill(forbidden, -INF)
    module.cross_entropy(z, torch.tensor([0, 2, 3, 0, 2])).backward()
    assert W.grad.isfinite().all()
    np.testing.assert_array_equal(W.grad[:, 1], 0)
    assert W.grad[:, [0, 2, 3]].abs().min() > 0


# --- Keras' and TensorFlow's own -------------------------------------------------------------------------------

KERAS = {"mean": "sum_over_batch_size", "sum": "sum", "none": None}


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_class_indices_equal_keras_sparse_loss(framework, reduction, rng):
    keras = pytest.importorskip("keras")
    z, y = problem(rng)
    theirs = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction=KERAS[reduction], dtype="float64"
    )
    loss = call(framework, "cross_entropy", z, y, reduction=reduction)
    np.testing.assert_allclose(loss, theirs(y, z), rtol=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_probabilities_equal_keras_categorical_loss(framework, reduction, smoothing, rng):
    """Over the last axis only where there is smoothing: Keras divides it by the length of the last axis, always."""
    keras = pytest.importorskip("keras")
    axis = -1 if smoothing else 1
    z, y = problem(rng, (3, 4, 2), axis, probabilities=True)
    theirs = keras.losses.CategoricalCrossentropy(
        from_logits=True, label_smoothing=smoothing, reduction=KERAS[reduction], axis=axis, dtype="float64"
    )
    options = {"axis": axis, "reduction": reduction, "label_smoothing": smoothing}
    loss = call(framework, "cross_entropy", z, y, **options)
    np.testing.assert_allclose(loss, theirs(y, z), rtol=1e-7)


def test_keras_leaves_ignored_rows_out_of_its_mean_as_we_do_but_calls_an_empty_mean_0(framework):
    keras = pytest.importorskip("keras")
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=0, dtype="float64")
    np.testing.assert_allclose(theirs(Y, Z), 1.386294, atol=1e-6)
    np.testing.assert_allclose(call(framework, "cross_entropy", Z, Y, ignore_index=0), 1.386294, atol=1e-6)
    nothing = np.zeros(2, np.int64)
    assert float(theirs(nothing, Z)) == 0
    assert np.isnan(call(framework, "cross_entropy", Z, nothing, ignore_index=0))


def test_none_equals_tensorflows_functions(framework, rng):
    tf = pytest.importorskip("tensorflow")
    z, y = problem(rng, (2, 5, 4))
    loss = call(framework, "cross_entropy", z, y, reduction="none")
    theirs = tf.nn.sparse_softmax_cross_entropy_with_logits(y, z)
    np.testing.assert_allclose(loss, theirs, rtol=1e-12)
    _, p = problem(rng, (2, 5, 4), probabilities=True)
    loss = call(framework, "cross_entropy", z, p, reduction="none")
    np.testing.assert_allclose(loss, tf.nn.softmax_cross_entropy_with_logits(p, z), rtol=1e-12)


def test_the_loss_is_scikit_learns_log_loss(framework, rng):
    from sklearn.metrics import log_loss

    z, y = problem(rng, (20, 4))
    p = scipy.special.softmax(z, axis=1)
    np.testing.assert_allclose(
        call(framework, "cross_entropy", z, y), log_loss(y, p, labels=range(4)), rtol=1e-10
    )


# --- graphs ----------------------------------------------------------------------------------------------------


def graph_of(name, tf, signature, *, autograph=True, **options):
    function = getattr(frameworks.load("softmax", "tensorflow"), name)

    def traced(z, y, weight=None):
        return function(z, y, weight=weight, **options)

    return tf.function(traced, input_signature=signature, autograph=autograph)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("choice", [name for name in CHOICES if "mean" in name and "smoothing 0.1" in name])
def test_a_graph_takes_batches_of_any_size(name, choice, rng):
    tf = pytest.importorskip("tensorflow")
    z, y, options = chosen(choice, rng)
    known = options.pop("weight", None)
    specs = [tf.TensorSpec((None,) * a.ndim, a.dtype) for a in (z, y)]
    specs += [tf.TensorSpec((None,), tf.float64)] if known is not None else []
    graph = graph_of(name, tf, specs, **options)
    for n in (6, 2, 1):
        arguments = (z[:n], y[:n], *([] if known is None else [known]))
        wanted = call("numpy", name, z[:n], y[:n], weight=known, **options)
        np.testing.assert_allclose(graph(*arguments), wanted, rtol=1e-12)
    assert graph.experimental_get_tracing_count() == 1


BAD = {
    "too high": (Z, np.array([3, 4]), None, "y must lie in"),
    "negative": (Z, np.array([3, -1]), None, "y must lie in"),
    "too few labels": (Z, np.array([3]), None, "y must have the shape that z asks for"),
    "too few weights": (Z, Y, np.ones(1), "weight must have the shape that z asks for"),
    "a negative weight": (Z, Y, np.array([1.0, 1, 1, -1]), "weight must hold finite numbers of at least 0"),
    "an infinite weight": (Z, Y, np.array([1.0, 1, 1, INF]), "weight must hold finite numbers of at least 0"),
    "a weight of NaN": (Z, Y, np.array([1.0, 1, 1, NAN]), "weight must hold finite numbers of at least 0"),
}


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("case", BAD)
def test_what_is_only_known_when_a_graph_runs_is_refused_then(name, case):
    tf = pytest.importorskip("tensorflow")
    *arguments, message = BAD[case]
    specs = [tf.TensorSpec((None,) * a.ndim, a.dtype) for a in (Z, Y, np.ones(4))]
    graph = graph_of(name, tf, specs, autograph=False)
    arguments = [np.ones(4) if a is None else a for a in arguments]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        graph(*arguments)
    with pytest.raises(tf.errors.InvalidArgumentError, match="y must have the shape that z asks for"):
        graph_of(name, tf, [specs[0], tf.TensorSpec((None, None), tf.float64)])(Z, np.ones((1, 4)) / 4)


def test_a_bad_label_that_xla_lets_pass_is_nan():
    """XLA leaves assertions out of what it compiles; a loss of 0 would be a wrong number without a word."""
    tf = pytest.importorskip("tensorflow")
    module = frameworks.load("softmax", "tensorflow")
    compiled = tf.function(lambda z, y: module.cross_entropy(z, y, reduction="none"), jit_compile=True)
    np.testing.assert_allclose(compiled(Z, Y), [1.386294, 3.440190], atol=1e-6)
    np.testing.assert_allclose(compiled(Z, np.array([3, 4])), [1.386294, NAN], atol=1e-6)
    np.testing.assert_allclose(compiled(Z, np.array([-1, 0])), [NAN, 3.440190], atol=1e-6)


# --- populations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", [name for name in CHOICES if name.startswith("none")])
def test_a_population_is_each_model_alone(framework, choice, rng):
    z, y, options = chosen(choice, rng, (3, 5, 4))
    loss, slope = both(framework, z, y, **options)
    assert loss.shape == labels_shape(z.shape, -1)
    for k in range(3):
        alone = both(framework, z[k], y[k], **options)
        same(framework, loss[k], alone[0])
        same(framework, slope[k], alone[1])
