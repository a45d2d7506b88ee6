"""Running a search: every engine gives the same table, and nothing that is finished is lost or done twice."""

import os
import pickle
import random
import signal
import subprocess
import sys
import threading
import time
from math import inf, isnan, nan
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import tuning_cases
from tuning_cases import SAMPLER, SAMPLERS, SCHEDULERS, SPACE, train

from dlbook.tuning import (
    ASHA,
    PBT,
    Grid,
    Hyperband,
    Interrupted,
    Job,
    Linear,
    Log,
    Random,
    Result,
    Space,
    Store,
    Study,
    SuccessiveHalving,
    engines,
    progress,
    read,
    run,
    states,
)
from dlbook.tuning.engines import Here, Processes, Vectorised

KILLS = int(os.environ.get("DLBOOK_KILLS", "6"))
HALVING = SCHEDULERS["successive halving"][0]
every_scheduler = pytest.mark.parametrize(("scheduler", "n"), SCHEDULERS.values(), ids=SCHEDULERS)
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)


@pytest.fixture
def quick(monkeypatch):
    """No waiting for the disk, in tests that run dozens of searches."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def rows(study):
    """The table as something that can be compared although it may hold NaN."""
    return [[(name, str(value)) for name, value in row.items()] for row in study.table]


class Counted:
    """An objective that counts its calls, and fails in one of them."""

    def __init__(self, at=None, error=None):
        self.calls, self.at, self.error = [], at, error or RuntimeError("power cut")

    def __call__(self, config, *rest):
        self.calls.append((config, *rest))
        if len(self.calls) - 1 == self.at:
            raise self.error
        return train(config, *rest)


class Together:
    """The same for a whole population: arrays and lists in, arrays out."""

    def __init__(self, chunk=None):
        self.chunk, self.sizes = chunk, []

    def __call__(self, config, state=None, start=0, resource=9):
        K = config.models
        self.sizes.append(K)
        assert config["lr"].shape == (K, 1, 1)
        assert len(config["act"]) == K
        assert config["k"] == 7
        lr = config["lr"].ravel()
        tanh = np.array([act == "tanh" for act in config["act"]])
        bad = np.array([(np.log10(float(one)) + 2) ** 2 for one in lr]) + config["layers"].ravel() + tanh
        bad = np.where(lr > 0.3, nan, bad)[:, None]
        past = np.zeros((K, 0)) if state is None else state["past"]
        assert past.shape == (K, start)
        assert state is None or (state["steps"] == start and state["label"] == "x")
        past = np.concatenate([past, np.repeat(bad, resource - start, axis=1)], axis=1)
        loss = np.array([sum(one / (k + 1) for k, one in enumerate(row)) for row in past.tolist()])
        state = {"past": past, "steps": resource, "label": "x"}
        return Result(loss[:, None, None], state, [(resource, loss)], {"momentary": past[:, -1]})


# every engine gives the same table


@every_scheduler
@every_sampler
def test_the_search_is_that_of_the_scheduler_with_the_configurations_of_the_sampler(scheduler, n, sampler):
    if isinstance(scheduler, PBT):
        sampler = scheduler.sampler
    study = run(train, SPACE, sampler, scheduler, n=n)
    expected, first, done = {}, {}, []
    if scheduler is None:
        jobs = iter([Job(i, 9) for i in range(n)])
        state = None
    else:
        state = scheduler.start(n)
    while True:
        if state is None:
            job = next(jobs, None)
        else:
            job, state = state.ask()
        if job is None:
            break
        config = job.config or sampler.config(job.trial, first)
        past = expected[job.trial if job.parent is None else job.parent, job.start] if job.start else None
        result = train(config, past, job.start, job.resource)
        expected[job.trial, job.resource] = result.state
        first.setdefault(job.trial, result.loss)
        done.append((job.trial, config, str(result.loss), job.start, job.parent))
        if state is not None:
            state = state.tell(job, result.loss)
    assert [(one.trial, one.config, str(one.loss), one.start, one.parent) for one in study.done] == done
    assert [one.resource for one in study.done] == [None] * n if scheduler is None else True
    assert all(one.seconds > 0 for one in study.done)


@pytest.mark.parametrize("name", ["none", "successive halving", "hyperband", "pbt"])
@every_sampler
@pytest.mark.parametrize(("chunk", "workers"), [(None, 1), (2, 1), (2, 2), (4, 3)])
def test_a_vectorised_search_has_the_table_of_a_local_one(name, sampler, chunk, workers):
    scheduler, n = SCHEDULERS[name]
    if isinstance(scheduler, PBT):
        sampler = scheduler.sampler
    objective = Together(chunk)
    study = run(objective, SPACE, sampler, scheduler, n=n, engine="vectorised", workers=workers)
    local = run(train, SPACE, sampler, scheduler, n=n)
    assert rows(study) == rows(local)
    assert len(study.done) == len(local.done) == sum(objective.sizes)
    assert chunk is None or max(objective.sizes) <= chunk
    assert chunk is None or workers > 1 or max(objective.sizes) == chunk


def test_vectorised_workers_train_at_the_same_time_and_share_alike():
    meeting = threading.Barrier(2, timeout=30)

    class Meeting(Together):
        def __call__(self, *given):
            meeting.wait()  # which a lone thread would do in vain
            return super().__call__(*given)

    objective = Meeting(chunk=4)
    study = run(objective, SPACE, SAMPLER, n=10, engine="vectorised", workers=2)
    assert sorted(objective.sizes) == [2, 2, 3, 3]
    assert rows(study) == rows(run(train, SPACE, SAMPLER, n=10))


def test_what_a_vectorised_worker_finished_is_kept_when_another_fails(tmp_path):
    class Bad(Together):
        def __call__(self, config, *rest):
            if config["lr"].max() > 0.1:
                raise ArithmeticError("no")
            return super().__call__(config, *rest)

    fine = [one.trial for one in run(train, SPACE, SAMPLER, n=8).done if one.config["lr"] <= 0.1]
    assert 0 < len(fine) < 8
    path = tmp_path / "half.jsonl"
    with pytest.raises(ArithmeticError, match="no") as caught:
        run(Bad(chunk=1), SPACE, SAMPLER, n=8, store=path, engine="vectorised", workers=8)
    assert "'lr'" in "".join(caught.value.__notes__)
    assert list(Study.read(path).trials) == fine


def test_asha_sees_all_that_wait_at_once_when_it_is_vectorised():
    objective = Together()
    study = run(objective, SPACE, SAMPLER, ASHA(r_max=9), n=9, engine="vectorised")
    assert objective.sizes[0] == 9
    assert study.best.resource == 9
    assert rows(study) == rows(run(Together(), SPACE, SAMPLER, ASHA(r_max=9), n=9, engine="vectorised"))


@pytest.mark.parametrize("name", ["none", "successive halving"])
def test_the_number_of_workers_changes_nothing(name):
    scheduler, n = SCHEDULERS[name]
    for sampler in SAMPLERS.values() if scheduler is None else [SAMPLER]:
        alone = run(train, SPACE, sampler, scheduler, n=n)
        assert rows(run(train, SPACE, sampler, scheduler, n=n, workers=2)) == rows(alone)


def test_trials_with_the_same_values_of_what_is_apart_are_batches_of_their_own():
    class Apart(Together):
        apart = ("layers", "momentum?")

        def __call__(self, config, *rest):
            assert config["layers"] in (1, 2, 3)
            config["layers"] = np.full((config.models, 1, 1), config["layers"])
            return super().__call__(config, *rest)

    objective = Apart()
    study = run(objective, SPACE, SAMPLER, SuccessiveHalving(r_max=3), n=9, engine="vectorised")
    assert rows(study) == rows(run(train, SPACE, SAMPLER, SuccessiveHalving(r_max=3), n=9))
    assert len(objective.sizes) >= 4


def test_a_formula_is_an_objective_of_both_engines_as_it_stands():
    space = Space(lr=Log(1e-4, 1), weight_decay=Linear(0, 1))

    def objective(config):
        return (config["lr"] - 0.01) ** 2 + config["weight_decay"]

    local = run(objective, space, Random(space), n=20)
    assert rows(run(objective, space, Random(space), n=20, engine="vectorised")) == rows(local)
    assert local.best.loss == min(objective(Random(space).config(i)) for i in range(20))


def test_a_plain_number_a_pair_and_a_result_are_all_results():
    space = Space(lr=Log(1e-4, 1))
    for returned in (2, np.float32(2), (2.0, "state"), Result(2.0)):
        (one,) = run(lambda config, returned=returned: returned, space, Random(space), n=1).done
        assert type(one.loss) is float
        assert one.loss == 2


def test_what_an_objective_does_to_its_configuration_is_not_remembered():
    space = Space(lr=Log(1e-4, 1), k=3)
    study = run(lambda config: config.pop("k") + config.pop("lr"), space, Random(space), n=2)
    assert [row.keys() for row in study.table] == [{"trial", "lr", "k", "loss"}] * 2


def test_the_total_is_n_and_grids_and_hyperband_know_it_themselves():
    space = Space(lr=Log(1e-4, 1), momentum=Linear(0, 1))
    assert len(run(lambda config: 1, space, Grid(space, 3))) == 9
    assert len(run(lambda config: 1, space, Grid(space, 3), n=4)) == 4
    assert (
        len(run(lambda *given: (1, None), space, Random(space), Hyperband(r_max=9)))
        == Hyperband(r_max=9).trials
    )


# trials that diverge


@pytest.mark.parametrize("value", [nan, inf, -inf, np.float32("nan")])
def test_a_diverged_trial_is_counted_and_never_best(value):
    space = Space(lr=Log(1e-4, 1))
    sampler = Random(space)

    def objective(config):
        return value if config["lr"] > 0.01 else config["lr"]

    study = run(objective, space, sampler, n=20)
    bad = [i for i in range(20) if sampler.config(i)["lr"] > 0.01]
    assert study.infeasible == bad != []
    assert len(study) == len(study.table) == 20
    assert study.best.loss == min(sampler.config(i)["lr"] for i in range(20))


def test_a_search_in_which_all_diverge_ends():
    for scheduler, n in SCHEDULERS.values():
        study = run(lambda *given: (nan, None), SPACE, SAMPLER, scheduler, n=n)
        assert len(study.infeasible) == len(study) > 0


# the store


@every_scheduler
def test_a_search_that_broke_off_anywhere_goes_on_and_repeats_nothing(tmp_path, quick, scheduler, n):
    undisturbed = run(train, SPACE, SAMPLER, scheduler, n=n)
    for at in range(len(undisturbed.done)):
        path, first, second = tmp_path / f"{at}.jsonl", Counted(at), Counted()
        first.__qualname__ = second.__qualname__ = "counted"
        with pytest.raises(RuntimeError, match="power cut"):
            run(first, SPACE, SAMPLER, scheduler, n=n, store=path)
        assert len(Study.read(path).done) == at
        study = run(second, SPACE, SAMPLER, scheduler, n=n, store=path)
        assert rows(study) == rows(undisturbed)
        assert len(first.calls) - 1 + len(second.calls) == len(undisturbed.done)
        assert rows(Study.read(path)) == rows(undisturbed)
        assert not path.with_suffix(".states").exists()


def test_a_vectorised_search_that_broke_off_goes_on_as_well(tmp_path, quick):
    scheduler = SuccessiveHalving(r_max=9)
    undisturbed = run(train, SPACE, SAMPLER, scheduler, n=9)

    class Breaking(Together):
        def __call__(self, *given):
            if len(self.sizes) == self.at:
                raise RuntimeError("power cut")
            return super().__call__(*given)

    for at in range(7):
        path = tmp_path / f"{at}.jsonl"
        objective = Breaking(2)
        objective.at = at
        with pytest.raises(RuntimeError, match="power cut"):
            run(objective, SPACE, SAMPLER, scheduler, n=9, store=path, engine="vectorised")
        objective.at = None
        assert rows(run(objective, SPACE, SAMPLER, scheduler, n=9, store=path, engine="vectorised")) == rows(
            undisturbed
        )
        assert sum(objective.sizes) == len(undisturbed.done)


def test_jobs_of_three_workers_that_were_under_way_are_done_by_one(tmp_path):
    path, other = tmp_path / "run.jsonl", tmp_path / "other.jsonl"
    alone = run(train, SPACE, SAMPLER, n=9, store=other)
    with Store(path, read(other).about) as store:
        told = read(other).events[1]["told"]
        store.append({"asked": [[0, None], [1, None], [2, None]], "told": told})
    study = run(train, SPACE, SAMPLER, n=9, store=path)
    assert [one.trial for one in study.done] == [1, 0, 2, 3, 4, 5, 6, 7, 8]
    assert rows(study) == rows(alone)


def test_a_finished_search_is_read_and_not_run_again(tmp_path):
    objective = Counted()
    study = run(objective, SPACE, SAMPLER, n=5, store=tmp_path / "run.jsonl")
    again = run(objective, SPACE, SAMPLER, n=5, store=str(tmp_path / "run.jsonl"))
    assert again.done == study.done or rows(again) == rows(study)
    assert len(objective.calls) == 5


def test_without_a_scheduler_a_finished_search_may_get_more_trials_but_not_fewer(tmp_path):
    path, objective = tmp_path / "run.jsonl", Counted()
    run(objective, SPACE, SAMPLER, n=4, store=path)
    study = run(objective, SPACE, SAMPLER, n=7, store=path)
    assert len(objective.calls) == len(study) == 7
    assert rows(study) == rows(run(train, SPACE, SAMPLER, n=7))
    with pytest.raises(ValueError, match="n must be at least 6, the trials that are in the store, got 5"):
        run(objective, SPACE, SAMPLER, n=5, store=path)


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("sampler", {"sampler": Random(SPACE, seed=4)}),
        ("space", {"space": SPACE.replace(k=8), "sampler": Random(SPACE.replace(k=8), seed=3)}),
        ("scheduler", {"scheduler": ASHA(r_max=9)}),
        ("n", {"n": 8}),
        ("objective", {"objective": tuning_cases.slowly}),
        ("engine", {"engine": "vectorised", "objective": Together()}),
    ],
)
def test_the_store_of_another_search_is_refused_and_left_as_it_is(tmp_path, what, changes):
    path = tmp_path / "run.jsonl"
    search = dict(objective=train, space=SPACE, sampler=SAMPLER, scheduler=SuccessiveHalving(r_max=9), n=9)
    run(**search, store=path)
    before = path.read_bytes()
    if what == "engine":
        changes["objective"].__qualname__ = "train"
    with pytest.raises(ValueError, match=f"about must be that of the search in .*, where {what} is"):
        run(**search | changes, store=path)
    assert path.read_bytes() == before


def test_a_question_asked_of_the_space_does_not_make_it_another(tmp_path):
    run(train, SPACE.scientific("lr"), SAMPLER, n=2, store=tmp_path / "run.jsonl")
    study = run(train, SPACE, Random(SPACE.scientific("act"), seed=3), n=3, store=tmp_path / "run.jsonl")
    assert len(study) == 3


def test_a_lost_state_is_an_error_that_names_the_file(tmp_path):
    path, objective = tmp_path / "run.jsonl", Counted(10)
    objective.__qualname__ = "train"
    with pytest.raises(RuntimeError, match="power cut"):
        run(objective, SPACE, SAMPLER, SuccessiveHalving(r_max=9), n=9, store=path)
    for file in path.with_suffix(".states").iterdir():
        file.write_bytes(b"torn")
    with pytest.raises(
        ValueError, match=r"state of trial \d at 1 beside it, in .*run.states.*-1.pickle, which cannot"
    ):
        run(train, SPACE, SAMPLER, SuccessiveHalving(r_max=9), n=9, store=path)


def test_states_of_the_last_two_jobs_are_kept_in_memory_and_on_disk(tmp_path):
    for folder in (None, tmp_path / "run.states"):
        kept = states.States(folder)
        assert kept.get(0, 0) is None
        for at in (1, 3, 9):
            kept.put(0, at, {"at": at})
        assert (kept.get(0, 3), kept.get(0, 9)) == ({"at": 3}, {"at": 9})
        if folder:
            assert sorted(path.name for path in folder.iterdir()) == ["0-3.pickle", "0-9.pickle"]
            assert states.States(folder).get(0, 9) == {"at": 9}
        kept.delete()
        assert folder is None or not folder.exists()


def test_killed_at_any_moment_and_started_again_a_search_ends_as_if_nothing_had_happened(tmp_path):
    """`DLBOOK_KILLS=50` kills fifty times."""
    rng, kills, attempt = random.Random(0), 0, 0
    names = ["successive halving", "pbt", "none"]
    tables = {
        name: rows(run(train, SPACE, SAMPLER, SCHEDULERS[name][0], n=SCHEDULERS[name][1])) for name in names
    }
    while kills < KILLS:
        name, attempt = names[attempt % 3], attempt + 1
        path, finished = tmp_path / f"{attempt}.jsonl", False
        while not finished:
            with search(path, name) as process:
                assert process.stdout.readline() == "started\n"
                if kills < KILLS:
                    time.sleep(rng.uniform(0, 0.25))
                    process.send_signal(signal.SIGKILL)
                output = process.stdout.read()
            finished = output == "finished\n"
            kills += not finished
        assert rows(Study.read(path)) == tables[name]
        assert not path.with_suffix(".states").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(tmp_path, workers):
    path = tmp_path / "run.jsonl"
    with search(path, "successive halving", workers) as process:
        deadline = time.monotonic() + 60
        while not (path.exists() and path.read_bytes().count(b"\n") > 2) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers too
        output, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert output == "started\n"
    assert len(Study.read(path).done) >= 1  # the second may have been in the writing
    assert "in _work" not in errors
    assert f"of 9 trials: they are in {path}, and the same call goes on from there" in errors
    study = run(tuning_cases.slowly, SPACE, SAMPLER, HALVING, n=9, store=path)
    assert rows(study) == rows(run(train, SPACE, SAMPLER, HALVING, n=9))


def test_ctrl_c_in_the_middle_of_a_job_loses_that_job_alone(tmp_path):
    path, objective = tmp_path / "run.jsonl", Counted(4, KeyboardInterrupt())
    with pytest.raises(Interrupted, match=r"stopped after 4 of 9 trials: they are in .*run.jsonl, and the"):
        run(objective, SPACE, SAMPLER, n=9, store=path)
    objective.at = None
    assert rows(run(objective, SPACE, SAMPLER, n=9, store=path)) == rows(run(train, SPACE, SAMPLER, n=9))
    assert len(objective.calls) == 10


def test_ctrl_c_without_a_store_has_the_study_with_it():
    with pytest.raises(
        Interrupted, match="stopped after 4 of 9 trials: `study` of this exception has them"
    ) as caught:
        run(Counted(4, KeyboardInterrupt()), SPACE, SAMPLER, n=9)
    assert isinstance(caught.value, KeyboardInterrupt)
    assert rows(caught.value.study) == rows(run(train, SPACE, SAMPLER, n=9))[:4]


# what the objective does wrong


@pytest.mark.parametrize("workers", [1, 2])
def test_an_exception_of_the_objective_comes_with_the_trial_and_its_configuration(tmp_path, workers):
    path = tmp_path / "run.jsonl"
    with pytest.raises(KeyError, match="too large") as caught:
        run(tuning_cases.fail, SPACE, SAMPLER, n=9, store=path, workers=workers)
    first = min(i for i in range(9) if SAMPLER.config(i)["lr"] > 0.003)
    assert caught.value.__notes__[0] == f"in trial {first} of the search, with {SAMPLER.config(first)}"
    assert len(caught.value.__notes__) == workers
    assert (workers == 1) or "in fail\n" in caught.value.__notes__[1]
    assert workers > 1 or [one.trial for one in Study.read(path).done] == list(range(first))


def test_an_exception_under_a_scheduler_says_from_where_to_where():
    with pytest.raises(RuntimeError) as caught:
        run(Counted(10), SPACE, SAMPLER, SuccessiveHalving(r_max=9), n=9)
    assert ", from 1 to 3 of the search, with {'lr': " in caught.value.__notes__[0]


def test_what_came_back_together_with_an_exception_is_kept(monkeypatch):
    engine = Processes(tuning_cases.fail, 2)
    try:
        good, bad = Job(0, None), Job(1, None)
        engine.start(bad, {"lr": 1}, None)
        engine.start(good, {"lr": 0}, None)
        wait = engines.wait
        for pipe in list(engine._busy):
            wait([pipe])
        assert [(job, result.loss) for job, result, _ in engine.finish()] == [(good, 1.0)]
        with pytest.raises(KeyError, match="too large"):
            engine.finish()
    finally:
        engine.close()


def test_an_exception_that_cannot_be_sent_comes_in_words():
    with pytest.raises(RuntimeError, match="Stubborn: one") as caught:
        run(tuning_cases.fail_stubbornly, SPACE, SAMPLER, n=2, workers=2)
    assert "in fail_stubbornly\n" in caught.value.__notes__[0]


def test_a_result_that_cannot_be_sent_is_an_error_and_no_dead_worker():
    with pytest.raises((AttributeError, TypeError, pickle.PicklingError, RuntimeError), match="lambda"):
        run(tuning_cases.return_a_function, SPACE, SAMPLER, n=2, workers=2)


def test_a_worker_that_dies_is_an_error_that_names_its_trial():
    with pytest.raises(
        RuntimeError, match=r"worker process of trial \d ended with code 3, with \{'lr': .*fewer workers"
    ):
        run(tuning_cases.die, SPACE, SAMPLER, n=2, workers=2)


def test_an_objective_that_workers_cannot_import_is_refused():
    with pytest.raises(
        TypeError, match=r"objective cannot be sent to other processes .* at the top of a file"
    ):
        run(lambda config: 1, SPACE, SAMPLER, n=2, workers=2)
    connection = Pipe([(Job(0, None), {}, None)])
    engines._work(connection, pickle.dumps(train).replace(b"train", b"brain"))
    (error,) = connection.sent
    assert isinstance(error, TypeError)
    assert "objective cannot be imported by a worker process" in str(error)


class Pipe:
    """A connection with messages in it, and nobody at the other end after them."""

    def __init__(self, messages):
        self.messages, self.sent = list(messages), []

    def recv(self):
        if not self.messages:
            raise EOFError
        return self.messages.pop(0)

    def send(self, message):
        self.sent.append(message)


def test_a_worker_answers_until_nobody_is_there(monkeypatch):
    monkeypatch.setattr(signal, "signal", lambda *given: None)
    config = SAMPLER.config(0)
    connection = Pipe(
        [(Job(0, None), config, None), (Job(0, 3, 1), config, (1.0,)), (Job(0, 3, 2), config, (1.0,))]
    )
    engines._work(connection, pickle.dumps(train))
    (first, seconds), (second, _), error = connection.sent
    assert first == train(config)
    assert second == train(config, (1.0,), 1, 3)
    assert seconds > 0
    assert isinstance(error, AssertionError)
    connection = Pipe([(Job(0, None), config, None)])
    engines._work(connection, pickle.dumps(tuning_cases.fail_stubbornly))
    assert isinstance(connection.sent[0], RuntimeError)


def test_workers_compute_with_one_thread_unless_the_environment_says_otherwise(monkeypatch):
    for given, expected in (("3", 3), (None, 1)):
        monkeypatch.setenv("OMP_NUM_THREADS", given) if given else monkeypatch.delenv("OMP_NUM_THREADS")
        assert run(tuning_cases.threads, SPACE, SAMPLER, n=2, workers=2).losses == {0: expected, 1: expected}
        assert os.environ.get("OMP_NUM_THREADS") == given


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        ("0.5", TypeError, "loss must be a number, or NaN for a trial without a result, got str"),
        (np.zeros(1), TypeError, "got ndarray: try loss.item()"),
        (None, TypeError, "got NoneType"),
        (
            Result(1.0, values={"loss": 2}),
            ValueError,
            "values of a Result must have names of their own, got 'loss'",
        ),
        (Result(1.0, values={"lr": 2}), ValueError, "got 'lr'"),
    ],
)
def test_a_result_of_the_wrong_kind_is_refused(result, error, message):
    with pytest.raises(error, match=message):
        run(lambda config: result, SPACE, SAMPLER, n=1)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            1.0,
            r"objective must return 3 numbers as the losses, one per configuration, got shape \(\): .*engine='local'",
        ),
        (np.zeros(4), r"got shape \(4,\)"),
        (Result(np.zeros(3), curve=[(1, 0.5)]), "3 numbers as the losses of a curve"),
        (Result(np.zeros(3), values={"accuracy": 0.5}), "3 numbers as accuracy"),
        (
            Result(np.zeros(3), {"W": np.zeros((2, 5))}),
            r"state must have arrays with 3 rows, .* got shape \(2, 5\)",
        ),
    ],
)
def test_a_result_of_a_population_has_a_number_for_each_model(result, message):
    with pytest.raises(ValueError, match=message):
        run(lambda config: result, SPACE, SAMPLER, n=3, engine="vectorised")


# progress


class Bar:
    """A stand-in for tqdm."""

    bars: ClassVar[list] = []

    def __init__(self, **given):
        self.given, self.n, self.words = given, 0, None
        self.bars.append(self)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def update(self, jobs):
        self.n += jobs

    def set_postfix(self, words, refresh):
        self.words = words


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_bar_is_shown_where_somebody_watches(monkeypatch, name):
    scheduler, n = SCHEDULERS[name]
    monkeypatch.setattr("tqdm.tqdm", Bar)
    monkeypatch.setattr(progress, "is_watched", lambda: True)
    Bar.bars.clear()
    study = run(train, SPACE, SAMPLER, scheduler, n=n)
    (bar,) = Bar.bars
    assert bar.n == len(study.done)
    losses = [one.loss for one in study.done]
    assert bar.words == {"best": min(filter(np.isfinite, losses)), "infeasible": sum(map(isnan, losses))}
    run(Together(), SPACE, SAMPLER, scheduler, n=n, engine="vectorised")
    assert Bar.bars[1].n == len(study.done) or isinstance(scheduler, ASHA)
    if isinstance(scheduler, ASHA):
        assert bar.given["total"] is None
    else:
        assert bar.given["total"] == len(study.done)


def test_nothing_is_written_where_nobody_watches(capfd, monkeypatch):
    run(train, SPACE, SAMPLER, n=3)
    monkeypatch.setattr(progress, "is_watched", lambda: True)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    run(train, SPACE, SAMPLER, n=3)
    assert capfd.readouterr() == ("", "")


class Shell:
    user_ns: ClassVar[dict] = {}


@pytest.mark.parametrize(
    ("kind", "module", "environment", "names", "watched"),
    [
        ("ZMQInteractiveShell", "ipykernel.zmqshell", {}, {}, False),  # run by a program
        ("ZMQInteractiveShell", "ipykernel.zmqshell", {"JPY_SESSION_NAME": "a.ipynb"}, {}, True),
        ("ZMQInteractiveShell", "ipykernel.zmqshell", {}, {"__vsc_ipynb_file__": "a.ipynb"}, True),
        ("Shell", "google.colab._shell", {}, {}, True),
        ("TerminalInteractiveShell", "IPython.terminal.interactiveshell", {}, {}, False),
    ],
)
def test_a_notebook_is_watched_when_somebody_has_it_open(
    monkeypatch, kind, module, environment, names, watched
):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shell = type(kind, (Shell,), {"__module__": module, "user_ns": names})()
    monkeypatch.setitem(sys.modules, "IPython", type("IPython", (), {"get_ipython": lambda: shell}))
    assert progress.is_watched() == watched


def test_a_terminal_is_watched_and_a_file_is_not(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", None)
    assert not progress.is_watched()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert progress.is_watched()


# what is called in the wrong way


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"engine": "ray"}, ValueError, "engine must be one of 'local', 'vectorised', 'optuna', got 'ray'"),
        ({"workers": 0}, ValueError, "workers must be a whole number of at least 1, got 0"),
        ({"n": 0}, ValueError, "n must be a whole number of at least 1, got 0"),
        ({"n": None}, ValueError, "n must be a whole number of at least 1, got None"),
        ({"n": 2.0}, ValueError, "n must be a whole number"),
        (
            {"sampler": Grid(SPACE, 2), "n": 25},
            ValueError,
            "n must be at most 16, the points of the grid, got 25",
        ),
        ({"objective": 3}, TypeError, "objective must be a function of a configuration, got 3"),
        ({"sampler": SPACE}, TypeError, r"sampler must be one such as Random\(space\), got Space"),
        ({"scheduler": 3}, TypeError, r"scheduler must be None or one such as ASHA\(r_max=27\), got 3"),
        (
            {"space": SPACE.replace(k=1)},
            ValueError,
            "space must be that of sampler, Space.*k=7.*, got Space.*k=1",
        ),
        ({"space": {"lr": 1}}, ValueError, "space must be that of sampler, .* got {'lr': 1}"),
        (
            {"scheduler": PBT(Random(SPACE), interval=1, r_max=2)},
            ValueError,
            "sampler must be that of scheduler, Random",
        ),
        ({"scheduler": Hyperband(r_max=9)}, ValueError, "n must be None or 17"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes, error, message):
    search = dict(objective=train, space=SPACE, sampler=SAMPLER, n=3)
    with pytest.raises(error, match=message):
        run(**search | changes)


def test_names_that_the_table_needs_are_refused():
    space = Space(loss=Log(1e-4, 1))
    with pytest.raises(ValueError, match="space must leave the name 'loss' to the table"):
        run(train, space, Random(space), n=1)


def test_the_optuna_engine_gets_the_plan_and_its_jobs_become_the_study(monkeypatch):
    class Fake:
        @staticmethod
        def search(plan, store, workers):
            assert (plan.objective, plan.space, plan.sampler, plan.scheduler, plan.n) == (
                train,
                SPACE,
                SAMPLER,
                None,
                3,
            )
            assert (store, workers) == ("somewhere", 4)
            return run(train, SPACE, SAMPLER, n=3).done

    monkeypatch.setitem(sys.modules, "dlbook.tuning.optuna_engine", Fake)
    study = run(train, SPACE, SAMPLER, n=3, engine="optuna", store="somewhere", workers=4)
    assert rows(study) == rows(run(train, SPACE, SAMPLER, n=3))
    assert study.space is SPACE


def test_there_are_no_more_workers_than_trials(monkeypatch):
    seen = []
    monkeypatch.setattr(
        sys.modules["dlbook.tuning.run"], "Processes", lambda objective, workers: seen.append(workers)
    )
    with pytest.raises(AttributeError):
        run(train, SPACE, SAMPLER, n=3, workers=8)
    assert seen == [3]
    assert len(run(train, SPACE, SAMPLER, n=1, workers=8)) == 1
    assert seen == [3]


def test_engines_have_the_room_they_say():
    assert Here(train).room == 1
    assert Vectorised(train, SPACE).room == inf


def search(path, name, workers=1):
    """A search in a process of its own."""
    file = Path(tuning_cases.__file__)
    environment = os.environ | {"PYTHONPATH": str(file.parent.parent)}
    command = [sys.executable, str(file), str(path), name, str(workers)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
