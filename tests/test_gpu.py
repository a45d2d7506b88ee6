"""Every function gives on a GPU what it gives on the CPU, and its results stay there. Skipped where there is no GPU.

CUDA with PyTorch, TensorFlow and CuPy (the NumPy files), and Apple's MPS with PyTorch.
"""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import require

from dlbook import device
from dlbook.batch_norm import Running
from dlbook.frameworks import FRAMEWORKS, from_numpy, load, to_numpy

pytestmark = pytest.mark.gpu

PACKAGE = Path(__file__).resolve().parent.parent / "dlbook"
GPUS = [("numpy", "cuda"), ("tensorflow", "cuda"), ("torch", "cuda"), ("torch", "mps")]


@pytest.fixture(params=GPUS, ids=" ".join)
def gpu(request):
    """(framework, device) for every GPU that a framework sees."""
    framework, where = request.param
    if os.environ.get("DLBOOK_DEVICE") == "cpu":
        pytest.skip("DLBOOK_DEVICE says cpu")
    if where not in device.available(require(framework)):
        pytest.skip(f"{framework} sees no {where} device here")
    if framework == "tensorflow":
        share_the_memory()
    return framework, where


def share_the_memory():
    """TensorFlow would take all of it at its first use."""
    import tensorflow as tf

    for one in tf.config.list_physical_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(one, True)
        except RuntimeError:
            return  # it is in use already


def on_the_cpu(framework):
    """TensorFlow would compute on the GPU, wherever its inputs lie."""
    if framework != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.device("CPU:0")


def change(function, tree):
    """`tree` with `function` applied to every array in its tuples, lists and dictionaries."""
    if isinstance(tree, dict):
        return {name: change(function, branch) for name, branch in tree.items()}
    if isinstance(tree, tuple | list):
        branches = [change(function, branch) for branch in tree]
        return type(tree)(*branches) if hasattr(tree, "_fields") else type(tree)(branches)
    return function(tree) if hasattr(tree, "dtype") else tree


def arrays(tree) -> list:
    found = []
    change(found.append, tree)
    return found


def put(tree, framework, where):
    return change(lambda x: from_numpy(x, framework, device=where), tree)


def place(x) -> str:
    """Where an array lies, in the words of `dlbook.device`."""
    if type(x).__module__.startswith("cupy"):
        return "cuda"
    where = getattr(x, "device", "cpu")
    return "cuda" if "GPU" in str(where) else getattr(where, "type", "cpu")


RNG = np.random.default_rng(0)
X = RNG.normal(2, 3, (2, 8, 4)).astype("float32")
DY = RNG.normal(size=X.shape).astype("float32")
GAMMA, BETA, MEAN = RNG.normal(size=(3, 4)).astype("float32")
RUNNING = Running(MEAN, RNG.uniform(0.5, 2, 4).astype("float32"))
PER_MODEL = Running(*(np.stack([a, 2 * a])[:, None] for a in RUNNING))
W = RNG.normal(size=(3, 4)).astype("float32")
Y = RNG.integers(0, 4, (2, 8))
SOFT = np.abs(DY) / np.abs(DY).sum(axis=-1, keepdims=True)
WEIGHT = np.array([1.0, 2.0, 0.5, 1.0], "float32")


def backward(m, dy, *inputs):
    return m.batch_norm_backward(dy, m.batch_norm_train(*inputs)[2])


def steps(name, *settings):
    def run(m, params, grads):
        optimizer = getattr(m, name)(*settings)
        state = optimizer.init(params)
        for _ in range(3):
            params, state = optimizer.step(params, grads, state)
        return params, state

    return run


def fit(m, params, x, y, framework):
    optimizer = load("optimizers", framework).adam(0.01)
    options = dict(
        optimizer=optimizer, steps=3, batch_size=4, rng=np.random.default_rng(1), validation=(x, y)
    )
    return m.fit(params, x, y, **options)


def program(m, params, x, y):
    """A network of one's own is made of NumPy's parameters, and PyTorch's is then moved to where the images are."""
    if not m.__name__.endswith("numpy"):
        params = {name: to_numpy(a) for name, a in params.items()}
    net = m.network(params)
    return m.loss_and_gradients(net.to(x.device) if hasattr(net, "to") else net, x, y)


PARAMS = {"W": W, "b": BETA[None]}
PLAIN = load("mlp", "numpy").init((4, 5, 4), np.random.default_rng(2))
NET = load("mlp", "numpy").init((4, 5, 4), np.random.default_rng(0), models=2, batch_norm=True)
RATES = np.array([0.1, 0.01], "float64").reshape(2, 1, 1)
CASES = {
    "batch norm, training": ("batch_norm", lambda m, *a: m.batch_norm_train(*a), X, GAMMA, BETA, PER_MODEL),
    "batch norm, images": (
        "batch_norm", lambda m, *a: m.batch_norm_train(*a, axis=(0, 1)), X, GAMMA, BETA),
    "batch norm, test": ("batch_norm", lambda m, *a: m.batch_norm_test(*a), X, GAMMA, BETA, RUNNING),
    "batch norm, backward": ("batch_norm", backward, DY, X, GAMMA, BETA),
    "precise statistics": ("batch_norm", lambda m, *a: m.precise_statistics(a), X[0], X[1, :3]),
    "fold": ("batch_norm", lambda m, *a: m.fold(*a), W, BETA, GAMMA, BETA, RUNNING),
    "softmax": ("softmax", lambda m, z: m.softmax(z, temperature=2.0), X),
    "log-softmax": ("softmax", lambda m, z: m.log_softmax(z), X),
    "hardmax": ("softmax", lambda m, z: m.hardmax(z, axis=1), X),
    "log-sum-exp": ("softmax", lambda m, z: m.logsumexp(z), X),
    "cross-entropy": ("softmax", lambda m, z, y: m.cross_entropy(z, y, label_smoothing=0.1), X, Y),
    "cross-entropy, soft": ("softmax", lambda m, z, y: m.cross_entropy(z, y, reduction="none"), X, SOFT),
    "cross-entropy, weighted": (
        "softmax", lambda m, z, y, w: m.cross_entropy(z, y, weight=w, ignore_index=1), X, Y, WEIGHT),
    "cross-entropy, backward": (
        "softmax", lambda m, z, y, w: m.cross_entropy_backward(z, y, weight=w), X, Y, WEIGHT),
    "sgd": ("optimizers", steps("sgd", 0.1), PARAMS, PARAMS),
    "momentum": ("optimizers", steps("momentum", 0.1), PARAMS, PARAMS),
    "rmsprop": ("optimizers", steps("rmsprop", 0.1), PARAMS, PARAMS),
    "adam": ("optimizers", steps("adam", 0.1), PARAMS, PARAMS),
    "adam, a population": ("optimizers", steps("adam", RATES), NET, NET),
    "network, forward": ("mlp", lambda m, *a: m.forward(*a, training=True)[:2], NET, X),
    "network, gradients": ("mlp", lambda m, *a: m.loss_and_gradients(*a), NET, X, Y),
    "network, shared rows": ("mlp", lambda m, *a: m.loss_and_gradients(*a), NET, X[0], Y[0]),
    "network, written out": ("framework_choice", program, PLAIN, X[0], Y[0]),
    "network, statistics": ("mlp", lambda m, *a: m.precise_running(*a), NET, X),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_gpu_computes_what_the_cpu_computes_and_keeps_the_result(gpu, case):
    framework, where = gpu
    topic, call, *inputs = CASES[case]
    module = load(topic, framework)
    with on_the_cpu(framework):
        wanted = call(module, *put(inputs, framework, "cpu"))
    got = call(module, *put(inputs, framework, where))
    assert {place(x) for x in arrays(wanted)} == {"cpu"}
    assert {place(x) for x in arrays(got)} == {where}
    compare(got, wanted, rtol=1e-4, atol=1e-5)


def compare(got, wanted, **tolerance):
    pairs = list(zip(arrays(got), arrays(wanted), strict=True))
    assert pairs
    for one, other in pairs:
        assert str(one.dtype) == str(other.dtype)
        np.testing.assert_allclose(to_numpy(one), to_numpy(other), **tolerance)


def test_training_a_population_on_a_gpu_gives_the_same_networks(gpu):
    framework, where = gpu
    module = load("mlp", framework)
    with on_the_cpu(framework):
        wanted = fit(module, *put((NET, X, Y), framework, "cpu"), framework)
    got = fit(module, *put((NET, X, Y), framework, where), framework)
    assert {place(x) for x in arrays(got._replace(history=None))} == {where}  # the history is NumPy's
    compare(got, wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_gpu_keeps_the_dtype(gpu, dtype):
    framework, where = gpu
    x, gamma, beta = put([a.astype(dtype) for a in (X, GAMMA, BETA)], framework, where)
    y, _, _ = load("batch_norm", framework).batch_norm_train(x, gamma, beta)
    p = load("softmax", framework).softmax(x)
    assert x.dtype == y.dtype == p.dtype
    np.testing.assert_allclose(to_numpy(p).sum(axis=-1), 1, atol=2e-3)


def test_nan_stays_in_its_own_feature_on_a_gpu(gpu):
    framework, where = gpu
    x = X.copy()
    x[0, 0, 1] = np.nan
    y, _, _ = load("batch_norm", framework).batch_norm_train(*put((x, GAMMA, BETA), framework, where))
    assert np.argwhere(np.isnan(to_numpy(y)).all(axis=1)).tolist() == [[0, 1]]
    assert np.isnan(to_numpy(y)).sum() == x.shape[1]


@pytest.mark.parametrize("label", [4, -1, 2**40])
def test_a_label_out_of_range_is_an_error_on_a_gpu_and_not_nan(gpu, label):
    framework, where = gpu
    y = Y.copy()
    y[0, 0] = label
    for name in ("cross_entropy", "cross_entropy_backward"):
        with pytest.raises(ValueError, match="y must"):
            getattr(load("softmax", framework), name)(*put((X, y), framework, where))


def test_float32_products_are_whole_on_a_gpu(gpu):
    framework, where = gpu
    a, b = RNG.normal(size=(2, 64, 64)).astype("float32")
    product = to_numpy(put(a, framework, where) @ put(b, framework, where))
    np.testing.assert_allclose(product, a.astype("float64") @ b, atol=1e-4)


def test_new_arrays_go_to_the_gpu_without_being_told(gpu, monkeypatch):
    framework, where = gpu
    monkeypatch.delenv("DLBOOK_DEVICE", raising=False)
    assert place(from_numpy(X, framework)) == where
    monkeypatch.setenv("DLBOOK_DEVICE", "cpu")
    assert place(from_numpy(X, framework)) == "cpu"


def test_every_topic_has_a_case_here():
    topics = {path.parent.name for name in FRAMEWORKS for path in PACKAGE.glob(f"*/{name}.py")}
    assert topics <= {topic for topic, *_ in CASES.values()}
