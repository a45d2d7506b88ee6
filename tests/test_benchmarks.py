"""The benchmarks: they run, their arms do the same work, and what they write is what README.md shows.

No time is asserted: how fast a machine is, is not for a test to say.
"""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import require

from benchmarks import engines, gpu, memory, report, studies, timing, trials, work
from dlbook.tuning import run

TINY = work.Network(8, 256, epochs=1)


def row(seconds, trials=1, **about):
    return {**about, "trials": trials, "seconds": seconds}


def test_the_arms_take_turns_and_every_second_round_goes_backwards(monkeypatch):
    clock, calls = SimpleNamespace(now=0.0), []
    monkeypatch.setattr(timing, "perf_counter", lambda: clock.now)

    def arm(name, seconds):
        def call():
            calls.append(name)
            clock.now += seconds

        return timing.Arm(call, 5, {"engine": name})

    rows = timing.race([arm("a", 1.0), arm("b", 2.0), arm("c", 3.0)], 3)
    assert "".join(calls) == "abccbaabc"
    assert rows == [row([s, s, s], 5, engine=name) for name, s in (("a", 1.0), ("b", 2.0), ("c", 3.0))]
    assert [len(one["seconds"]) for one in timing.race([arm("a", 1.0)], 9, until=clock.now + 1.5)] == [2]
    assert [len(one["seconds"]) for one in timing.race([arm("a", 1.0)], 9, until=0)] == [1]


def test_rates_and_ratios_are_taken_round_by_round():
    ours, theirs = row([1.0, 2.0, 4.0], 8), row([1.0, 1.0, 8.0], 4)
    assert timing.per_second(ours) == (4, 2, 8)
    assert timing.faster(ours, theirs) == (
        2,
        1,
        4,
    )  # 2, 1 and 4: the median of ratios, not the ratio of medians
    with pytest.raises(ValueError, match="at least one number"):
        timing.Spread.of([])


def test_numbers_are_shown_with_two_digits():
    shown = {
        0.0: "0",
        1.0: "1",
        0.01234: "0.012",
        1.26: "1.3",
        12.6: "13",
        12345.6: "12,346",
        float("inf"): "inf",
    }
    assert {value: timing.digits(value) for value in shown} == shown
    assert str(timing.Spread(2, 1, 4)) == "2.0 (1 to 4.0)"
    assert str(timing.Spread(1, 1, 1)) == "1"


def test_a_table_is_markdown():
    lines = timing.table(("a", "long"), [("x", 1), ("yyy", 20)]).splitlines()
    assert lines == ["| a   | long |", "|-----|------|", "| x   | 1    |", "| yyy | 20   |"]


def test_a_row_is_found_by_its_columns():
    rows = [row([1], engine="a", models=1), row([1], engine="a", models=2)]
    assert timing.pick(rows, engine="a", models=2) is rows[1]
    assert timing.pick(rows, engine="b") is None
    with pytest.raises(ValueError, match="must name one row, got 2"):
        timing.pick(rows, engine="a")


def test_results_say_when_on_what_and_with_which_versions(tmp_path):
    rows = [row([0.5, 0.25], engine="a"), row([1.5], engine="b")]
    path = timing.write("trials", rows, {"rounds": 2}, tmp_path / "new")
    result = json.loads(path.read_text())
    assert path.name == "trials.json"
    assert list(result) == ["benchmark", "date", "machine", "versions", "settings", "rows"]
    assert (result["benchmark"], result["settings"], result["rows"]) == ("trials", {"rounds": 2}, rows)
    assert {"processor", "cores", "OMP_NUM_THREADS", "system"} <= result["machine"].keys()
    assert result["versions"]["numpy"] == np.__version__
    assert timing.read("trials", tmp_path / "new") == result
    assert timing.read("gpu", tmp_path) is None


def test_the_loop_by_hand_computes_what_the_book_does(framework):
    train = work.plain(TINY, framework)
    n = 1 if framework == "tensorflow" else 3  # tracing takes a second
    study = run(work.objective(TINY, framework), work.SPACE, work.SAMPLER, n=n)
    np.testing.assert_allclose([train(config) for config in work.configs(n)], work.losses(study), rtol=1e-5)
    reference = run(work.objective(TINY, "numpy"), work.SPACE, work.SAMPLER, n=n)
    np.testing.assert_allclose(work.losses(study), work.losses(reference), rtol=1e-5)


def test_arms_that_disagree_are_not_timed():
    work.check({"a": [1.0, 2.0], "b": [1.0], "c": [1.0001, 2.0]}, exact=["a", "b"])
    for wrong in ([1.0, 2.1], [], [float("nan"), 2.0]):
        with pytest.raises(ValueError, match="b must compute what a computes"):
            work.check({"a": [1.0, 2.0], "b": wrong})
    with pytest.raises(ValueError, match="b must compute what a computes"):
        work.check({"a": [1.0], "b": [1.0 + 1e-15]}, exact=["a", "b"])


def test_a_loop_that_computes_something_else_stops_the_benchmark(monkeypatch, tmp_path):
    monkeypatch.setattr(work, "plain", lambda network, framework: lambda config: 1.0)
    with pytest.raises(ValueError, match="plain loop, 2 trials must compute what"):
        trials.main(["--quick", "--frameworks", "numpy", "--out", str(tmp_path)])


def ran(module, tmp_path, *arguments):
    """The rows of a quick run, and the table that the report makes of them."""
    path = module.main(["--quick", "--out", str(tmp_path), *arguments])
    result = json.loads(path.read_text())
    name = module.__name__.rpartition(".")[2]
    assert (path.name, result["benchmark"], result["settings"]["quick"]) == (f"{name}.json", name, True)
    for one in result["rows"]:
        numbers = one.get("seconds") or one.get("megabytes")
        assert numbers
        assert all(number > 0 for number in numbers)
    return result["rows"], report.TABLES[name](result["rows"])


def test_trials_runs(tmp_path):
    require("torch")
    pytest.importorskip("optuna")
    rows, tables = ran(trials, tmp_path, "--frameworks", "numpy", "torch")
    assert [(one["engine"], one["models"]) for one in rows if one["framework"] == "torch"][:5] == [
        ("plain loop", 2),
        ("Optuna", 2),
        ("local", 2),
        ("vectorised", 1),
        ("vectorised", 4),
    ]
    assert tables.count("| plain loop") == 4  # two frameworks, two networks
    assert tables.count("| vectorised, 2 threads, K = 4") == 2  # NumPy's alone


def test_engines_runs(tmp_path):
    pytest.importorskip("optuna")
    rows, table = ran(engines, tmp_path)
    assert all(f"| {one['engine']}" in table for one in rows)
    assert "optuna, on a journal" in table


def test_memory_runs(tmp_path):
    pytest.importorskip("psutil")
    rows, table = ran(memory, tmp_path, "--frameworks", "numpy")
    assert [one["engine"] for one in rows] == ["imports only", "vectorised"]
    assert "| vectorised, K = 1" in table


def test_the_start_of_worker_processes_is_shown():
    about = {"framework": "numpy", "network": "64-8-10"}
    rows = [row([1.0], 10, **about, engine="plain loop"), row([1.0], 10, **about, engine="local")]
    rows += [row([4.0, 5.0], 2, **about, engine="2 workers, start", models=2)]
    rows += [row([6.0, 9.0], 42, **about, engine="2 workers", models=42)]
    words = "| 2 workers, 42 trials, of it 4.5 (4.0 to 5.0) s to start | 5.8 (4.7 to 7.0) "
    assert words in trials.show(*about.values(), rows)
    nothing = [row([1.0], 2, engine=engines.ITSELF), row([3.0], 2, engine="2 workers, start")]
    table = engines.show([*nothing, row([5.0], 6, engine="2 workers")])
    assert ["2 workers", "500", "1"] == [cell.strip() for cell in table.splitlines()[-1].split("|")[1:-1]]


def test_studies_runs(tmp_path):
    pytest.importorskip("optuna")
    rows, table = ran(studies, tmp_path)
    assert {one["models"] for one in rows} == {20, 200}
    assert "| read the store" in table


def test_gpu_runs_on_a_cpu(tmp_path):
    rows, tables = ran(gpu, tmp_path, "--device", "cpu", "--frameworks", "numpy")
    assert [(one["device"], one["models"]) for one in rows] == [("cpu", 1), ("cpu", 4)]
    assert "K = 4" in tables


def test_without_that_device_gpu_says_what_to_do(capsys, monkeypatch):
    monkeypatch.setattr("dlbook.device.available", lambda framework: ("cpu",))
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cuda"])
    assert "no framework sees the device cuda here: try --device cpu" in capsys.readouterr().err


def test_a_gpu_is_saturated_where_more_models_add_little():
    rates = {1: 1, 4: 4, 16: 14, 64: 18, 256: 19}
    rows = [row([1.0], rate, models=models) for models, rate in rates.items()]
    assert gpu.saturation(rows) == 64  # 18 of 19 are nine tenths, 14 are not
    assert gpu.saturation(rows[:3]) is None


def test_the_report_says_which_aims_were_reached(tmp_path):
    about = {"framework": "numpy", "network": report.SMALL}
    rows = [
        row([1.0], 10, **about, engine="plain loop", models=10),
        row([2.0], 10, **about, engine="local", models=10),
        row([1.0], 30, **about, engine="vectorised", models=report.AIM_K),
        row([1.0], 50, **about, engine=trials.TWO_THREADS, models=report.AIM_K),
    ]
    overhead = [row([1.4], engine="optuna, on a journal"), row([1.0], engine=engines.ITSELF)]
    lines = report.aims({"trials": rows, "engines": overhead}).splitlines()[2:]
    assert [line.split("|")[3].strip() + " " + line.split("|")[4].strip() for line in lines] == [
        "3.0 missed",
        "6.0 reached",
        "5.0 missed",
        "10 reached",
        "1.4 reached",
    ]
    assert report.aims({}) == "Not measured yet."


def test_the_readme_is_what_the_report_makes_of_the_results(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(report.README.read_text(encoding="utf-8"), encoding="utf-8")
    report.main(readme)
    assert readme.read_text(encoding="utf-8") == report.README.read_text(encoding="utf-8")
    report.main(readme, tmp_path)
    assert readme.read_text(encoding="utf-8").count("Not measured yet.") == len(report.TABLES) + 1


def test_the_report_replaces_only_what_stands_between_its_markers():
    text = "a\n<!-- begin x -->\nold\n<!-- end x -->\nb\n"
    assert report.replaced(text, "x", "new") == text.replace("old", "new")
    for broken in ("", "<!-- begin x -->", text + text, "<!-- end x --> <!-- begin x -->"):
        with pytest.raises(ValueError, match="once each"):
            report.replaced(broken, "x", "new")
