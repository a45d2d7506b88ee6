"""The chapter on frameworks: one network three times, its port, its speed, its files, the memo and the exercises."""

import importlib
import importlib.util
import json
import re
from itertools import product
from pathlib import Path

import torch  # before TensorFlow
import matplotlib.pyplot as plt
import numpy as np
import pytest

from dlbook import data
from dlbook.framework_choice import checks, defaults, export, figures, governance, lines, memo, port, speed
from dlbook.framework_choice import numpy as choice_numpy
from dlbook.framework_choice import torch as choice_torch
from dlbook.frameworks import from_numpy, load, to_numpy
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy

ROOT = Path(__file__).resolve().parent.parent
SIZES = (64, 16, 8, 10)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def batch():
    split = data.digits(0, dtype="float64")
    params = mlp_numpy.init(SIZES, np.random.default_rng(0), dtype="float64")
    return params, split.x_train[:32], split.y_train[:32]


# --- the network three times -----------------------------------------------------------------------------------


def test_the_gradients_are_those_of_the_books_own_network(framework, batch):
    params, x, y = batch
    module = load("framework_choice", framework)
    arrays = [from_numpy(a, framework, device="cpu") for a in (x, y)]
    loss, grads = module.loss_and_gradients(module.network(params), *arrays)
    right, expected, _ = mlp_numpy.loss_and_gradients(params, x, y)
    assert to_numpy(loss) == pytest.approx(right, rel=1e-12)
    assert set(grads) == set(expected)
    for name, grad in grads.items():
        np.testing.assert_allclose(to_numpy(grad), expected[name], rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_is_one_of_gradient_descent_and_returns_the_loss_before_it(other_framework, batch, compiled):
    if compiled and other_framework == "torch":
        pytest.skip("compiling needs a C++ compiler and half a minute")
    params, x, y = batch
    module = load("framework_choice", other_framework)
    theirs = module.sgd_step(
        module.network(params), 0.125, compiled=compiled
    )  # a rate that float32 holds exactly
    ours = choice_numpy.sgd_step(choice_numpy.network(params), 0.125)
    arrays = [from_numpy(a, other_framework, device="cpu") for a in (x, y)]
    for _ in range(5):
        assert to_numpy(theirs(*arrays)) == pytest.approx(ours(x, y), rel=1e-12)


def test_the_network_keeps_its_own_copy_of_the_parameters(framework, batch):
    params, x, y = batch
    before = {name: array.copy() for name, array in params.items()}
    module = load("framework_choice", framework)
    step = module.sgd_step(module.network(params), 1.0)
    step(*(from_numpy(a, framework, device="cpu") for a in (x, y)))
    assert all(np.array_equal(params[name], before[name]) for name in params)


def test_numpy_has_no_compiler_and_says_so(batch):
    with pytest.raises(ValueError, match="compiled must be False for NumPy"):
        choice_numpy.sgd_step(choice_numpy.network(batch[0]), 0.1, compiled=True)


def test_torch_compiles_when_asked_to(batch, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda net: asked.append(net) or net)
    net = choice_torch.network(batch[0])
    step = choice_torch.sgd_step(net, 0.125, compiled=True)
    ours = choice_numpy.sgd_step(choice_numpy.network(batch[0]), 0.125)
    arrays = [torch.from_numpy(a) for a in batch[1:]]
    assert step(*arrays).item() == pytest.approx(ours(*batch[1:]), rel=1e-12)
    assert asked == [net]


# --- lines -----------------------------------------------------------------------------------------------------

COUNTED = '''
"""A module
of two lines."""

import os  # a comment


def f(x):
    """Free."""
    # free

    y = (
        x
        + 1
    )
    text = """this
    counts"""
    return y, text
'''


def test_comments_docstrings_and_blank_lines_are_free():
    assert lines.count(COUNTED) == 1 + 1 + 4 + 2 + 1


def test_functions_methods_and_modules_are_counted_by_their_source():
    assert lines.count(choice_numpy.network) == 2
    parts = ("network", "loss_and_gradients", "sgd_step", "_forward", "_backward")
    together = sum(lines.count(getattr(choice_numpy, name)) for name in parts)
    assert lines.count(choice_numpy) == together + 1  # the import
    assert lines.count(Counted.method) == 2


class Counted:
    def method(self):
        """Indented source has to be moved to the left first."""
        return 1


def test_text_that_is_not_python_is_an_error():
    with pytest.raises(SyntaxError):
        lines.count("def f(:\n    pass\n")


# --- the port --------------------------------------------------------------------------------------------------

EXACT = port.Settings(lr=2**-10, beta1=0.875, beta2=1 - 2**-10, adam_eps=1e-30)


def test_pytorch_takes_the_same_steps_and_ends_at_the_same_test_loss():
    task = port.job(0, 30, init="torch")
    ours, theirs = port.numpy_run(task, port.TORCH), port.torch_run(task, port.TORCH)
    np.testing.assert_allclose(theirs.losses, ours.losses, atol=1e-13)
    assert theirs.test_loss == pytest.approx(ours.test_loss, rel=1e-12)


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_keras_takes_the_same_steps_where_float32_holds_the_settings_and_epsilon_is_nothing():
    task = port.job(0, 20)
    ours, theirs = port.numpy_run(task, EXACT), port.keras_run(task, EXACT)
    np.testing.assert_allclose(theirs.losses, ours.losses, atol=1e-13)
    assert theirs.test_loss == pytest.approx(ours.test_loss, rel=1e-12)
    assert np.array_equal(port.keras_run(task, EXACT).losses, theirs.losses)  # it starts afresh each time
    as_called = np.abs(
        port.keras_run(task, port.Settings()).losses - port.numpy_run(task, port.Settings()).losses
    )
    assert as_called[0] < 1e-14 < 1e-7 < as_called[1:].max()


def test_settings_in_single_precision_are_those_that_float32_holds():
    rounded = port.in_single_precision(port.Settings())
    assert port.in_single_precision(rounded) == rounded
    assert port.in_single_precision(EXACT) == EXACT
    assert rounded.beta2 == pytest.approx(0.999, abs=1e-7)
    assert rounded.beta2 != 0.999
    assert rounded.adam_eps == port.Settings().adam_eps


@pytest.mark.parametrize(("init", "limit"), [("torch", 1 / 8), ("keras", (6 / 128) ** 0.5)])
def test_first_weights_follow_the_frameworks_rule(init, limit):
    params = port.job(3, 1, init=init).params
    assert np.abs(params["W1"]).max() == pytest.approx(limit, rel=2e-3)
    assert np.std(params["W1"]) == pytest.approx(limit / 3**0.5, rel=0.03)
    assert (params["b3"] == 0).all() == (init == "keras")
    layer = torch.nn.Linear(64, 64)
    assert layer.weight.abs().max().item() <= 1 / 8  # the rule is PyTorch's own


def test_a_job_is_the_same_for_a_seed_and_another_for_another_draw():
    one, again, other = port.job(1, 4), port.job(1, 4), port.job(1, 4, draw=1)
    assert np.array_equal(one.x, again.x)
    assert np.array_equal(one.x_test, other.x_test)
    assert not np.array_equal(one.params["W1"], other.params["W1"])
    assert port.job(0, 20).x.shape == (20, 64, 64)  # more steps than an epoch has whole batches


def test_jobs_trained_together_are_those_trained_alone():
    jobs = [port.job(seed, 5, init="torch") for seed in range(2)]
    together = port.numpy_run(port.together(jobs), port.TORCH)
    for k, task in enumerate(jobs):
        alone = port.numpy_run(task, port.TORCH)
        np.testing.assert_allclose(together.losses[:, k], alone.losses, atol=1e-12)
        assert together.test_loss[k] == pytest.approx(alone.test_loss, abs=1e-12)


def test_every_default_that_changes_has_an_effect_and_all_together_are_keras():
    effects = port.effects(range(2), steps=20)
    assert [*effects] == [*port.CHANGES, "another draw"]
    assert all(moved.shape == (2,) and (moved != 0).all() for moved in effects.values())
    change, init = port.CHANGES["all of them"]
    assert port.TORCH._replace(**change) == port.KERAS
    assert init == "keras"
    single = {key for name, (change, _) in port.CHANGES.items() if name != "all of them" for key in change}
    differing = {key for key in port.Settings._fields if getattr(port.TORCH, key) != getattr(port.KERAS, key)}
    assert single == differing


def test_the_first_flip_is_where_a_relu_decides_differently():
    task = port.job(0, 12)
    assert port.first_flip(task, port.TORCH, port.TORCH) is None
    later = port.first_flip(task, port.Settings(), port.Settings(lr=1.01e-3))
    sooner = port.first_flip(task, port.Settings(), port.Settings(lr=0.1))
    assert 0 < sooner <= later


def test_one_relu_in_one_layer_is_enough_for_a_flip(monkeypatch):
    seen = {"one": [[np.array([True]), np.array([True])]] * 2, "other": []}
    seen["other"] = [seen["one"][0], [np.array([True]), np.array([False])]]
    monkeypatch.setattr(port, "_passed", lambda task, settings: seen[settings])
    assert port.first_flip(None, "one", "other") == 1


# --- speed -----------------------------------------------------------------------------------------------------


class Clock:
    """A clock that moves by what the steps say they take."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def way(name, clock, takes, *, at_wait=0.0, first=0.0):
    """A way whose step takes `takes` seconds, of which `at_wait` pass only when it is waited for."""
    calls = []

    def make(params, x, y):
        def step():
            calls.append(name)
            clock.now += takes - at_wait + (first if len(calls) == 1 else 0)

        return step

    def wait():
        clock.now += at_wait

    return speed.Way(name, make, wait, lambda: None), calls


def test_the_first_step_is_kept_apart_and_the_rest_is_timed_until_the_device_is_done():
    clock = Clock()
    slow, calls = way("slow", clock, 0.5, at_wait=0.25, first=7.0)
    quick, _ = way("quick", clock, 0.125)
    point = speed.measure([slow, quick], 8, 4, rounds=3, seconds=1.0, clock=clock)
    assert (point.width, point.batch) == (8, 4)
    assert point.first["slow"] == pytest.approx(7.5)
    assert point.seconds == {"slow": [0.5] * 3, "quick": [0.125] * 3}
    assert len(calls) == 3 + 3 * 2  # unmeasured, then as many as fill a second
    np.testing.assert_allclose(speed.ratios(point, "quick")["slow"], [4, 4, 4])


def test_a_round_is_the_median_of_its_steps():
    clock, takes = Clock(), iter([1, 1, 0.25, 1, 2, 9, 1])

    def step():
        clock.now += next(takes)

    one = speed.Way("one", lambda *arguments: step, lambda: None, lambda: None)
    assert speed.measure([one], 8, 4, rounds=1, seconds=1.0, clock=clock).seconds == {"one": [1.5]}


def test_the_ways_take_turns():
    clock, order = Clock(), []
    ways = [
        speed.Way(name, lambda *a, name=name: lambda: order.append(name), lambda: None, lambda: None)
        for name in "ab"
    ]
    speed.measure(ways, 8, 4, rounds=2, seconds=0.0, clock=clock)
    assert order == [*"aaabbb", *"abab"]


def test_a_way_that_fails_is_left_out_and_named_or_raises():
    clock = Clock()

    def make(*arguments):
        raise RuntimeError("no compiler")

    broken = speed.Way("broken", make, lambda: None, lambda: None)
    good, _ = way("good", clock, 0.1)
    failed = {}
    point = speed.measure([broken, good], 8, 4, rounds=1, failed=failed, clock=clock)
    assert set(point.seconds) == set(point.first) == {"good"}
    assert failed == {"broken": "RuntimeError: no compiler"}
    with pytest.raises(RuntimeError, match="no compiler"):
        speed.measure([broken], 8, 4, clock=clock)


def test_the_cpu_ways_run_the_same_network():
    names = [one.name for one in speed.cpu_ways()]
    assert names[0] == "NumPy"
    point = speed.measure(speed.cpu_ways(), 8, 4, rounds=2, seconds=0.0)
    assert list(point.seconds) == names
    assert all(len(times) == 2 and min(times) > 0 for times in point.seconds.values())


def test_without_frameworks_numpy_is_what_remains(monkeypatch):
    monkeypatch.setattr(speed.importlib.util, "find_spec", lambda name: None)
    assert [one.name for one in speed.cpu_ways()] == ["NumPy"]


def test_the_work_of_a_step_is_three_matrix_products_per_weight():
    params, x, y = speed.problem(16, 4)
    weights = sum(array.size for name, array in params.items() if name.startswith("W"))
    assert speed.work(16, 4) == 6 * 4 * weights
    assert x.shape == (4, 64)
    assert set(y) <= set(range(10))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (dict(), "PyTorch, eager"),
        (dict(compiled=True), "PyTorch, compiled"),
        (dict(device="cuda"), "PyTorch, eager"),
        (dict(device="cuda", waiting=False), "PyTorch, eager, not waited for"),
    ],
)
def test_only_a_gpu_is_waited_for_and_it_always_settles(kind, expected):
    one = speed.torch_way(**kind)
    assert one.name == expected
    gpu = kind.get("device") == "cuda"
    assert (one.settle is torch.cuda.synchronize) == gpu
    assert (one.wait is torch.cuda.synchronize) == (gpu and kind.get("waiting", True))


def test_cupy_arrays_would_run_through_numpys_lines(monkeypatch):
    stream = type("Stream", (), {"synchronize": lambda self: None})()
    fake = type("cupy", (), {"asarray": staticmethod(np.array)})
    fake.cuda = type("cuda", (), {"get_current_stream": staticmethod(lambda: stream)})
    monkeypatch.setitem(importlib.import_module("sys").modules, "cupy", fake)
    one = speed.cupy_way()
    step = one.make(*speed.problem(8, 4))
    assert one.name == "CuPy"
    assert step() > step()


def test_where_a_width_was_measured_twice_the_first_time_counts():
    points = [
        speed.Point(16, 4, {"a": [1.0]}, {"a": 9.0}),
        speed.Point(8, 4, {"a": [2.0]}, {"a": 8.0}),
        speed.Point(16, 4, {"a": [5.0], "b": [3.0]}, {"a": 7.0, "b": 6.0}),
    ]
    assert speed.merged(points) == [
        speed.Point(8, 4, {"a": [2.0]}, {"a": 8.0}),
        speed.Point(16, 4, {"a": [1.0], "b": [3.0]}, {"a": 9.0, "b": 6.0}),
    ]


def test_the_stored_times_are_those_that_the_benchmark_wrote():
    about, widths, batches = speed.stored("cuda")
    assert about["failed"] == {}
    assert [point.width for point in widths] == sorted({point.width for point in widths})
    assert all(len(times) == speed.ROUNDS for point in widths + batches for times in point.seconds.values())
    result = ROOT / "benchmarks" / "results" / "overhead-cuda.json"
    if result.exists():
        package = ROOT / "dlbook" / "framework_choice" / "overhead_cuda.json"
        assert json.loads(package.read_text()) == json.loads(result.read_text())


def test_the_benchmark_writes_what_the_chapter_reads(tmp_path, monkeypatch, capsys):
    overhead = importlib.import_module("benchmarks.overhead")
    monkeypatch.setattr(overhead, "has", lambda module: module == "torch")
    monkeypatch.setattr(overhead, "WIDTHS", (8, 8192))
    monkeypatch.setattr(overhead, "BATCHES", (1,))
    monkeypatch.setattr(overhead, "CPU_LIMIT", 1e8)
    monkeypatch.setattr(
        overhead.torch if hasattr(overhead, "torch") else torch, "set_num_threads", lambda n: None
    )
    target = tmp_path / "overhead.json"
    monkeypatch.setattr("sys.argv", ["overhead", "--quick", "--out", str(target)])
    overhead.main()
    content = json.loads(target.read_text())
    assert [(p["width"], p["batch"]) for p in content["widths"]] == [(8, 64)]
    assert list(content["batches"][0]["seconds"]) == ["NumPy, CPU", "PyTorch, eager, CPU"]
    assert speed.Point(**content["batches"][0]).width == overhead.WIDTH
    assert "nothing; wrote overhead.json" in capsys.readouterr().out


# --- files -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader():
    """A trained network with batch norm, its layers with batch norm folded, test digits and the right logits."""
    split = data.digits(0)
    params = mlp_numpy.init((64, 16, 16, 10), np.random.default_rng(0), batch_norm=True)
    fitted = mlp_numpy.fit(
        params, split.x_train, split.y_train, optimizer=opt_numpy.momentum(0.5), steps=40, batch_size=64,
        rng=np.random.default_rng(1),
    )  # fmt: skip
    running = mlp_numpy.precise_running(fitted.params, split.x_train)
    right, _, _ = mlp_numpy.forward(fitted.params, split.x_test, running)
    return export.folded(fitted.params, running), split.x_test, right


def test_the_folded_layers_compute_the_same_logits(reader):
    layers, x, right = reader
    assert [(W.shape, b.shape) for W, b in layers] == [
        ((64, 16), (16,)),
        ((16, 16), (16,)),
        ((16, 10), (10,)),
    ]
    np.testing.assert_allclose(export.logits(layers, x), right, atol=1e-5)
    np.testing.assert_allclose(export.logits(layers, x[0]), right[0], atol=1e-5)


def test_a_network_without_batch_norm_is_its_own_folding():
    params = mlp_numpy.init((4, 3, 2), np.random.default_rng(0))
    layers = export.folded(params, {})
    assert all(np.array_equal(W, params[f"W{i}"]) for i, (W, _) in enumerate(layers, 1))


@pytest.mark.parametrize("name", export.NEEDS)
def test_what_is_read_back_answers_as_what_was_written(reader, tmp_path, name):
    for module in export.NEEDS[name]:
        pytest.importorskip(module)
    layers, x, _ = reader
    answers = export.written_and_read(layers, x, tmp_path)
    np.testing.assert_allclose(answers[name], export.logits(layers, x), atol=1e-5)
    assert (tmp_path / f"reader.{name.lower()}").exists()


def test_safetensors_by_hand_reads_what_the_library_wrote(reader, tmp_path):
    pytest.importorskip("safetensors")
    layers, _, _ = reader
    export.write_safetensors(tmp_path / "x", layers)
    for ours, theirs in zip(
        export.read_safetensors_by_hand(tmp_path / "x"), export.read_safetensors(tmp_path / "x"), strict=True
    ):
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_onnx_graph_is_valid_for_onnxs_own_reference_too(reader, tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    layers, x, _ = reader
    export.write_onnx(tmp_path / "x", layers)
    model = onnx.load(tmp_path / "x")
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Relu", "Gemm", "Relu", "Gemm"]
    (answer,) = ReferenceEvaluator(model).run(None, {"x": x[:5]})
    np.testing.assert_allclose(answer, export.logits(layers, x[:5]), atol=1e-5)


def test_a_format_without_its_library_is_left_out_with_a_sentence(reader, tmp_path, monkeypatch, capsys):
    layers, x, _ = reader
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    assert list(export.written_and_read(layers, x, tmp_path)) == ["npz"]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "safetensors: left out; `pip install safetensors` and run this cell again"
    assert "pip install onnx onnxruntime" in said[1]


# --- the memo --------------------------------------------------------------------------------------------------

SCORES = {"a": {"p": 4, "q": 1}, "b": {"p": 2, "q": 4}, "c": {"p": 0, "q": 0}}


def test_totals_are_the_weighted_mean_best_first():
    assert memo.weighted(SCORES, {"p": 1, "q": 3}) == {"b": 3.5, "a": 1.75, "c": 0.0}
    assert list(memo.weighted(SCORES, {"p": 3, "q": 1})) == ["a", "b", "c"]
    assert memo.weighted({"x": {"p": 2, "unused": 9}}, {"p": 5}) == {"x": 2.0}


def test_flips_are_what_trying_every_change_finds(rng):
    for _ in range(30):
        scores = {name: dict(zip("pqr", rng.integers(0, 6, 3).tolist(), strict=True)) for name in "abc"}
        weights = dict(zip("pqr", rng.integers(1, 6, 3).tolist(), strict=True))
        one = memo.memo(scores, weights)
        for criterion, factor in product(weights, (0.5, 1.5)):
            totals = memo.weighted(scores, weights | {criterion: weights[criterion] * factor})
            beaten = max(totals.values()) > totals[one.winner] + 1e-9
            assert beaten == any(flip[:2] == (criterion, factor) for flip in one.flips)


def test_a_draw_does_not_take_the_win_away_and_one_option_wins_alone():
    level = {"a": {"p": 1, "q": 0}, "b": {"p": 0, "q": 1}}
    assert memo.memo(level, {"p": 2, "q": 1}).flips == []  # halving p makes a draw
    alone = memo.memo({"a": {"p": 3}}, {"p": 1})
    assert (alone.winner, alone.lead, alone.flips) == ("a", 3.0, [])


def test_at_the_tipping_factor_two_options_are_level():
    weights = {"p": 2, "q": 1}
    for criterion in weights:
        factor, rival = memo.tipping_factor(SCORES, weights, criterion)
        totals = memo.weighted(SCORES, weights | {criterion: weights[criterion] * factor})
        assert totals["a"] == pytest.approx(totals[rival])
    assert memo.tipping_factor({"a": {"p": 1}, "b": {"p": 0}}, {"p": 1}, "p") is None


@pytest.mark.parametrize(
    ("scores", "weights", "said"),
    [
        ({}, {"p": 1}, "scores must hold at least one option"),
        (SCORES, {"p": -1, "q": 1}, "weights must be at least 0"),
        (SCORES, {"p": 0, "q": 0}, "weights must be at least 0 and not all 0"),
        (SCORES, {"p": 1, "speed": 1}, r"scores\['a'\] must have every criterion; it lacks speed"),
    ],
)
def test_a_memo_that_cannot_be_computed_says_why(scores, weights, said):
    with pytest.raises(ValueError, match=said):
        memo.memo(scores, weights)


@pytest.mark.parametrize("change", [0, -0.5, 1.5])
def test_a_change_that_makes_no_sense_is_an_error(change):
    with pytest.raises(ValueError, match="change must be in"):
        memo.memo(SCORES, {"p": 1, "q": 1}, change=change)


# --- governance ------------------------------------------------------------------------------------------------


def test_who_is_alive_follows_from_the_dates():
    keras, torch7 = (next(p for p in governance.PROJECTS if p.name == name) for name in ("Keras", "Torch"))
    assert governance.months_since_release(keras) == 4
    assert governance.months_since_release(torch7) == np.inf
    assert governance.alive(keras)
    assert not governance.alive(keras, within=3)
    assert not governance.alive(torch7)
    counts = governance.survivors()
    assert sum(of for _, of in counts.values()) == len(governance.PROJECTS) == 10


def test_every_date_has_a_source_in_the_bibliography_and_the_table_of_the_page_says_the_same():
    bibliography = (ROOT / "references.bib").read_text()
    cells = json.loads((ROOT / "chapters" / "frameworks.ipynb").read_text())["cells"]
    page = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    months = "January February March April May June July August September October November December".split()
    for project in governance.PROJECTS:
        row = next(line for line in page.splitlines() if line.startswith(f"| {project.name} "))
        assert project.version in row
        assert project.licence in row
        if project.released is not None:
            assert f"{months[project.released[1] - 1]} {project.released[0]}" in row
        if project.source is not None:
            assert re.search(rf"^@misc{{{project.source},", bibliography, re.MULTILINE)
            assert project.source in row


# --- defaults --------------------------------------------------------------------------------------------------


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_the_defaults_asked_of_the_frameworks_are_those_that_the_port_assumes():
    of_keras, of_torch = defaults.of_keras(), defaults.of_torch()
    assert list(of_keras) == list(of_torch)
    for found, assumed in ((of_keras, port.KERAS), (of_torch, port.TORCH)):
        assert found["Adam: ε"] == assumed.adam_eps
        assert found["Adam: learning rate"] == assumed.lr
        assert found["batch norm: ε"] == assumed.bn_eps
        assert found["batch norm: weight of the old average"] == assumed.decay
    assert of_keras["dense: weights at the start"] == "GlorotUniform"
    assert (
        of_torch["dense: weights at the start"] == of_torch["dense: bias at the start"] == "uniform ± 1/√in"
    )
    assert of_keras["cross-entropy expects"] == "probabilities"


# --- figures ---------------------------------------------------------------------------------------------------


def axes():
    return plt.figure().subplots()


def test_code_lines_are_stacked_and_named():
    ax = figures.code_lines(axes(), {"A": {"network": 3, "backward": 2}, "B": {"network": 4}})
    assert [text.get_text() for text in ax.texts] == ["3", "4", "2"]
    assert max(patch.get_x() + patch.get_width() for patch in ax.patches) == 5


def test_differences_have_a_line_a_seed_and_zero_is_at_the_floor():
    ax = figures.differences(axes(), {"one": np.array([[0, 1e-3], [1e-5, 1e-4]]), "two": np.array([1e-6, 0])})
    assert len(ax.lines) == 3
    assert ax.lines[0].get_ydata()[0] == 1e-17
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["one", "two"]


def test_effects_have_a_row_a_default_and_a_dot_a_seed():
    ax = figures.default_effects(axes(), {"a": np.array([-1.0, 2.0]), "b": np.array([0.0, 1.0])})
    assert list(ax.lines[0].get_xdata()) == [1, 2]
    assert ax.lines[1].get_xdata() == [1.5]
    assert ax.lines[2].get_marker() == "X"


POINTS = [
    speed.Point(8, 64, {"a": [1.0, 2.0, 3.0], "b": [2.0, 6.0, 3.0]}, {}),
    speed.Point(16, 64, {"a": [2.0, 2.0, 2.0]}, {}),
]


def test_overhead_is_the_median_of_the_rounds_and_a_missing_point_is_left_out():
    ax = figures.overhead(axes(), POINTS, names=["a", "b", "never"])
    assert [list(line.get_ydata()) for line in ax.lines] == [[2e6, 2e6], [3e6]]
    assert len(figures.overhead(axes(), POINTS).lines) == 2


def test_ratios_are_paired_within_the_rounds():
    ax = figures.overhead_ratios(axes(), POINTS, "a")
    assert list(ax.lines[0].get_ydata()) == [2.0]
    assert sorted(ax.lines[1].get_ydata()) == [1.0, 2.0, 3.0]


def test_the_timeline_has_a_bar_for_each_later_release_and_a_cross_for_the_others():
    ax = figures.timeline(axes(), governance.PROJECTS)
    later = [p for p in governance.PROJECTS if p.released is not None and p.released > governance.LECTURE]
    assert len(ax.patches) == len(later) == 7
    assert len([line for line in ax.lines if line.get_marker() == "x"]) == 3


def test_winners_change_colour_at_the_tipping_factor():
    weights = {"p": 2, "q": 1}
    ax = figures.winners(axes(), SCORES, weights)
    edges = [patch.get_x() for patch in ax.patches if patch.get_x() > 0.26]
    tips = [memo.tipping_factor(SCORES, weights, name)[0] for name in weights]
    np.testing.assert_allclose(edges, tips, rtol=0.02)


# --- exercises -------------------------------------------------------------------------------------------------


def said(capsys, check, function):
    check(function)
    return capsys.readouterr().out.strip()


def porting(state, *, eps=1e-5, mode="right"):
    var = state["1.running_var"]
    scale = {
        "right": lambda: state["1.weight"] / np.sqrt(var + eps),
        "variance": lambda: state["1.weight"] / (var + eps),
        "outside": lambda: state["1.weight"] / (np.sqrt(var) + eps),
        "gamma": lambda: 1 / np.sqrt(var + eps),
        "none": lambda: np.ones(4),
    }[mode if mode in ("variance", "outside", "gamma", "none") else "right"]()
    b = state["1.bias"] - state["1.running_mean"] * scale
    if mode == "unscaled":
        b = state["1.bias"] - state["1.running_mean"]
    if mode == "beta":
        b = -state["1.running_mean"] * scale
    if mode == "none":
        b = np.zeros(4)
    return [(state["0.weight"].T * scale, b), (state["3.weight"].T, state["3.bias"])]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda state: ..., "not attempted yet"),
        (porting, "correct"),
        (lambda s: [(s["0.weight"], s["1.bias"]), (s["3.weight"], s["3.bias"])], "transpose it"),
        (lambda s: porting(s)[0], "return two pairs"),
        (lambda s: 3, "return two pairs"),
        (lambda s: [(np.ones((3, 4)), np.ones(3)), *porting(s)[1:]], "the shapes must be"),
        (lambda s: porting(s, mode="none"), "batch norm is missing"),
        (lambda s: porting(s, mode="variance"), "its root belongs there"),
        (lambda s: porting(s, eps=0), "ε is missing under the root"),
        (lambda s: porting(s, mode="outside"), "under the root, not beside it"),
        (lambda s: porting(s, eps=1e-3), "that ε is Keras's"),
        (lambda s: porting(s, mode="unscaled"), "the mean must be scaled too"),
        (lambda s: porting(s, mode="gamma"), "gamma is missing"),
        (lambda s: porting(s, mode="beta"), "beta is missing"),
        (lambda s: [(W + 1, b) for W, b in porting(s)], "is off by up to"),
    ],
)
def test_the_check_of_the_first_exercise_says_what_is_wrong(capsys, function, sentence):
    assert sentence in said(capsys, checks.ported, function)


def test_the_first_exercise_is_right_for_pytorch_itself():
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 4, bias=False), torch.nn.BatchNorm1d(4), torch.nn.ReLU(), torch.nn.Linear(4, 2)
    ).double()
    state = checks._state()
    net.load_state_dict({name: torch.from_numpy(a) for name, a in state.items()}, strict=False)
    x = np.random.default_rng(1).normal(size=(5, 3))
    with torch.no_grad():
        right = net.eval()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(export.logits(porting(state), x), right, rtol=1e-9)


def sensitive(scores, weights, factors=(0.5, 1.5)):
    return [name for name, factor, _ in memo.memo(scores, weights).flips if factor in factors]


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda scores, weights: None, "not attempted yet"),
        (sensitive, "correct"),
        (lambda s, w: sensitive(s, w, (1.5,)), "you only made weights larger"),
        (lambda s, w: sensitive(s, w, (0.5,)), "you only made weights smaller"),
        (lambda s, w: ["colour"], "return names of criteria, got 'colour'"),
        (lambda s, w: 3, "return the names of criteria"),
        (lambda s, w: list(w), "no weight of it can move the win"),
        (lambda s, w: [], "the answer is"),
    ],
)
def test_the_check_of_the_second_exercise_says_what_is_wrong(capsys, function, sentence):
    assert sentence in said(capsys, checks.sensitive, function)


@pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed")
@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (EXACT, "correct: 6 losses agree"),
        (port.in_single_precision(EXACT._replace(lr=1e-3)), "correct"),
        (port.Settings(), "ε is in the way"),
        (EXACT._replace(beta2=0.999), "a decay of Adam has no exact float32"),
        (EXACT._replace(lr=0.001), "the rate has no exact float32"),
        (..., "not attempted yet"),
        (3, "return a port.Settings, got int"),
    ],
)
def test_the_check_of_the_third_exercise_says_what_is_wrong(capsys, settings, sentence):
    checks.agreeing(lambda: settings, steps=6)
    assert sentence in capsys.readouterr().out


def test_settings_that_differ_for_no_listed_reason_are_said_to(capsys, monkeypatch):
    monkeypatch.setattr(port, "keras_run", lambda task, s: port.Run(np.ones(len(task.x)), np.array(1.0)))
    checks.agreeing(lambda: EXACT, steps=2)
    assert "compare the settings one by one" in capsys.readouterr().out
