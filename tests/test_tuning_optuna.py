"""The engine of many machines: the table of one process, whoever trains, whoever is killed, and however often."""

import json
import multiprocessing
import os
import pickle
import re
import runpy
import subprocess
import sys
import threading
import time
import warnings
from math import inf, isnan, nan
from pathlib import Path

import optuna_cases
import psutil
import pytest
from optuna_cases import N, dies, dies_once, fails_once, hangs_once, noted, notes
from tuning_cases import SAMPLER, SAMPLERS, SCHEDULERS, SPACE, train

from dlbook.tuning import (
    ASHA,
    Choice,
    CoarseToFine,
    Fixed,
    Grid,
    Halton,
    Integer,
    Interrupted,
    Linear,
    Log,
    OffOr,
    Random,
    Result,
    Scale,
    Sobol,
    Space,
    Store,
    run,
)
from dlbook.tuning.__main__ import main, words
from dlbook.tuning.run import Plan
from dlbook.tuning.written import read_repr

optuna = pytest.importorskip("optuna", reason="optuna is not installed")
from dlbook.tuning import optuna_engine as engine  # noqa: E402  where optuna is missing, it is not read

STARTED = optuna_cases.__file__
posix = pytest.mark.skipif(os.name != "posix", reason="there is no kill -9 on Windows")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Where objectives write down who called them; little waiting."""
    monkeypatch.setenv("DLBOOK_TEST_FOLDER", str(tmp_path))
    monkeypatch.setattr(engine, "POLL", 0.01)
    return tmp_path


@pytest.fixture
def store(tmp_path):
    return tmp_path / "run.journal"


def shared(objective, store, n=N, sampler=SAMPLER, scheduler=None, workers=1):
    return run(objective, SPACE, sampler, scheduler, n=n, engine="optuna", store=store, workers=workers)


def rows(study):
    """The table as something that can be compared although it may hold NaN."""
    return [[(name, repr(value)) for name, value in row.items()] for row in study.table]


def alone(n=N, sampler=SAMPLER, scheduler=None, objective=train):
    return rows(run(objective, SPACE, sampler, scheduler, n=n))


def trials(store):
    """What Optuna says is in the journal."""
    storage, name = engine.connect(store)
    with engine.quiet():
        return optuna.load_study(study_name=name, storage=storage).trials


def board(store, plan, monkeypatch, host="here"):
    """The study as a worker on another machine sees it."""
    with monkeypatch.context() as patch:
        patch.setattr(engine.platform, "node", lambda: host)
        made = engine.Board(store)
    made.begin(plan)
    return made


# the same table


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize("workers", [1, 2])
def test_the_table_is_that_of_one_process(sampler, workers, store, monkeypatch):
    monkeypatch.setenv("DLBOOK_TEST_WORKERS", str(workers))
    study = shared(noted, store, sampler=sampler, workers=workers)
    assert rows(study) == alone(sampler=sampler)
    assert len(notes("begin")) == N
    assert len({pid for _, pid in notes("begin")}) == workers


def test_optuna_sees_our_trials_with_our_parameters(store):
    study = shared(train, store)
    theirs = trials(store)
    assert [one.number for one in theirs] == list(range(N))
    assert [one.params["lr"] for one in theirs] == [row["lr"] for row in study.table]
    assert [one.params["1 - momentum"] for one in theirs] == [1 - row["momentum"] for row in study.table]
    assert [one.state.name == "FAIL" for one in theirs] == [isnan(row["loss"]) for row in study.table]
    assert [one.value for one in theirs if one.value] == [
        row["loss"] for row in study.table if row["loss"] == row["loss"]
    ]


@pytest.mark.parametrize("loss", [nan, inf, -inf])
def test_a_trial_that_diverged_is_infeasible_as_it_was(loss, store):
    study = shared(lambda config: loss, store, n=2)
    assert study.infeasible == [0, 1]
    assert [repr(row["loss"]) for row in shared(lambda config: loss, store, n=2).table] == [repr(loss)] * 2


def test_curves_and_values_come_back_as_they_were(store):
    def objective(config):
        return Result(1.0, None, [(1, 2.0), (2, nan)], {"accuracy": 0.1 + 0.2, "steps": 7})

    first, again = shared(objective, store, n=1).done[0], shared(objective, store, n=1).done[0]
    assert repr(first) == repr(again)
    assert again.values == {"accuracy": 0.1 + 0.2, "steps": 7}
    assert repr(again.curve) == "[(1, 2.0), (2, nan)]"


def test_values_cannot_take_the_name_of_a_hyperparameter(store):
    with pytest.raises(ValueError, match="names of their own, got 'lr'"):
        shared(lambda config: Result(1.0, values={"lr": 1}), store)


def test_asha_in_one_process_is_asha(store):
    scheduler, n = SCHEDULERS["asha, stop"]
    study, local = shared(train, store, n, scheduler=scheduler), run(train, SPACE, SAMPLER, scheduler, n=n)
    assert [repr(one._replace(seconds=0)) for one in study.done] == [
        repr(one._replace(seconds=0)) for one in sorted(local.done, key=lambda one: (one.trial, one.resource))
    ]
    stopped = [row["resource"] < 9 and row["loss"] == row["loss"] for row in study.table]
    assert [one.state.name == "PRUNED" for one in trials(store)] == stopped


def test_asha_with_two_workers_ends_each_trial_at_a_rung(store):
    scheduler = ASHA(r_max=9)
    study = shared(noted, store, n=12, scheduler=scheduler, workers=2)
    assert len(study) == 12
    for trial, row in enumerate(study.table):
        jobs = [one for one in study.done if one.trial == trial]
        assert [one.resource for one in jobs] == [1, 3, 9][: len(jobs)]
        assert repr(row["loss"]) == repr(train(row, None, 0, row["resource"]).loss)
    assert {1, 9} <= {row["resource"] for row in study.table}


@pytest.mark.parametrize("name", ["successive halving", "hyperband", "asha, promote", "pbt"])
def test_schedulers_whose_trials_pause_are_refused(name, store):
    scheduler, n = SCHEDULERS[name]
    with pytest.raises(ValueError, match=r"None or ASHA\(mode='stop'\).*or engine='local' with workers"):
        shared(train, store, n, scheduler=scheduler)
    assert not store.exists()


def test_it_is_quiet_and_leaves_optuna_as_it_was(store, capfd):
    before = optuna.logging.get_verbosity()
    shared(noted, store, workers=2)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


# the budget


def test_n_is_the_total(store):
    shared(noted, store, n=4)
    assert rows(shared(noted, store, n=4)) == alone(4)
    assert len(notes("begin")) == 4
    assert rows(shared(noted, store, n=N)) == alone()
    assert len(notes("begin")) == N
    with pytest.raises(ValueError, match="n must be at least 9, the trials that are in the store, got 8"):
        shared(noted, store, n=8)


# whoever is killed


@posix
def test_a_worker_is_killed_in_the_middle_of_a_trial(store):
    assert rows(shared(dies_once, store, workers=2)) == alone()
    begun, ended = notes("begin"), notes("end")
    assert len({lr for lr, _ in ended}) == len(ended) == N
    assert len(begun) == N + 1
    assert [one.state.name for one in trials(store)].count(
        "FAIL"
    ) >= 2  # that of the dead, and one that diverged


@posix
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_whole_search_is_killed_and_taken_up_again(sampler, store, place):
    with subprocess.Popen([sys.executable, STARTED, store, sampler, "1"]) as process:
        _wait(lambda: (place / "hangs").exists())
        process.kill()
    done = len(notes("end"))
    assert 0 < done < N
    assert rows(shared(hangs_once, store, sampler=SAMPLERS[sampler])) == alone(sampler=SAMPLERS[sampler])
    assert len(notes("end")) == N
    assert len(notes("begin")) == N + 1


@posix
def test_workers_end_with_the_process_that_started_them(store, place):
    with subprocess.Popen([sys.executable, STARTED, store, "coarse to fine", "2"]) as process:
        _wait(lambda: (place / "hangs").exists())
        workers = [one for one in psutil.Process(process.pid).children() if _is_worker(one)]
        assert len(workers) == 2
        process.kill()
    (busy,) = [one for one in workers if (optuna_cases.VICTIM, one.pid) in notes("begin")]
    (other,) = [one for one in workers if one != busy]
    _wait(lambda: _has_ended(other))
    assert not _has_ended(busy)
    busy.kill()
    _wait(lambda: _has_ended(busy))


@posix
def test_when_all_workers_are_dead_it_says_so(store):
    with pytest.raises(RuntimeError, match=r"all workers here have ended, with codes \[-9, -9\]: .*memory"):
        shared(dies, store, workers=2)


def test_an_exception_of_the_objective_sets_its_trial_free(store):
    with pytest.raises(KeyError, match="no such thing") as caught:
        shared(fails_once, store)
    assert "in trial 4 of the search" in caught.value.__notes__[0]
    assert trials(store)[4].state.name == "FAIL"  # at once: nobody elsewhere waits for a sign of life
    assert rows(shared(fails_once, store)) == alone(objective=lambda config: train(config).loss)


def test_an_exception_in_a_worker_ends_the_search(store):
    with pytest.raises(KeyError, match="no such thing") as caught:
        shared(fails_once, store, workers=2)
    assert "in a worker process" in "".join(caught.value.__notes__)


def test_control_c_keeps_what_is_finished(store):
    def stopped(config):
        if config["lr"] == optuna_cases.VICTIM:
            raise KeyboardInterrupt
        return train(config)

    stopped.__qualname__ = "train"
    with pytest.raises(Interrupted, match=r"stopped after 4 of 9 trials.*the same call goes on") as caught:
        shared(stopped, store)
    assert rows(caught.value.study) == alone()[:4]
    assert rows(shared(train, store)) == alone()


def test_an_objective_of_a_notebook_cannot_be_sent_to_workers(store):
    with pytest.raises(TypeError, match=r"cannot be sent to other processes.*workers=1"):
        shared(lambda config: 1.0, store, workers=2)


# who is alive, and who was first


@pytest.fixture
def plan():
    return Plan.checked(train, SPACE, SAMPLER, None, 3)


def test_of_two_who_take_the_same_trial_the_second_lets_go(store, plan, monkeypatch):
    one, two = board(store, plan, monkeypatch, "one"), board(store, plan, monkeypatch, "two")
    config = SAMPLER.config(0)
    assert one.claim(0, config) is not None
    assert two.claim(0, config) is None
    assert one.look().running == 1
    assert [t.state.name for t in trials(store)] == ["RUNNING", "FAIL"]


def test_losers_of_a_race_choose_among_more_and_more(store, monkeypatch):
    plan = Plan.checked(train, SPACE, SAMPLER, None, N)
    mine, claim, choices = board(store, plan, monkeypatch), engine.Board.claim, []

    class Last:
        def choice(self, ready):
            choices.append(ready)
            return ready[-1]

    monkeypatch.setattr(engine.random, "Random", Last)
    monkeypatch.setattr(engine.Board, "claim", lambda *args: claim(*args) if len(choices) > 3 else None)
    assert engine.work(plan, mine) == N
    assert choices[:5] == [[0], [0, 1], [0, 1, 2, 3], [*range(8)], [*range(7), 8]]


def test_nobody_draws_a_trial_before_the_losses_that_it_needs(store, monkeypatch):
    plan = Plan.checked(train, SPACE, SAMPLERS["coarse to fine"], None, 6)  # in stages of three
    other, mine = board(store, plan, monkeypatch, "elsewhere"), board(store, plan, monkeypatch)
    config = plan.sampler.config(1)
    number, answers = other.claim(1, config), [True] * 20 + [False]
    assert engine.work(plan, mine, wanted=lambda: answers.pop(0)) == 3
    assert mine.look().free == [3, 5]  # every fourth trial is fresh, and needs none
    other.finish(number, engine._train(plan, other, number, 1, config))
    assert engine.work(plan, mine) == 2
    assert rows(shared(train, store, n=6, sampler=plan.sampler)) == alone(6, plan.sampler)


def test_a_worker_elsewhere_that_gives_no_sign_is_dead_after_the_grace(store, plan, monkeypatch):
    monkeypatch.setenv("DLBOOK_GRACE", "0.3")
    dead, mine = board(store, plan, monkeypatch, "elsewhere"), board(store, plan, monkeypatch)
    number = dead.claim(0, SAMPLER.config(0))
    mine.mend(mine.look())
    assert mine.look().free == [1, 2]
    assert engine.work(plan, mine) == 3
    dead.finish(number, mine.look().done[0])  # it was not dead at all: nobody wants its result now
    dead.release(number)
    assert trials(store)[0].state.name == "FAIL"
    assert len(mine.look().jobs) == 3


def test_a_worker_elsewhere_that_gives_signs_keeps_its_trial(store, plan, monkeypatch):
    monkeypatch.setenv("DLBOOK_GRACE", "1.5")
    alive, mine = board(store, plan, monkeypatch, "elsewhere"), board(store, plan, monkeypatch)
    with alive.training(alive.claim(0, SAMPLER.config(0))):
        until = time.monotonic() + 3
        while time.monotonic() < until:
            mine.mend(mine.look())
            time.sleep(0.02)
        assert mine.look().free == [1, 2]


@posix
def test_a_process_of_this_machine_that_is_gone_is_dead_at_once(store, plan, monkeypatch):
    mine = board(store, plan, monkeypatch, engine.platform.node())
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    other = board(store, plan, monkeypatch, engine.platform.node())
    for trial, pid in enumerate([gone.pid, os.getppid(), os.getpid()]):
        other.me = f"{engine.platform.node()} {pid}"
        other.claim(trial, SAMPLER.config(trial))
    mine.mend(mine.look())
    assert mine.look().free == [0, 2]  # and what a process of this number had before this one


def test_a_worker_that_died_between_result_and_state_is_done(store, plan, monkeypatch):
    dead, mine = board(store, plan, monkeypatch), board(store, plan, monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(dead, "_close", lambda number, jobs: None)
        assert engine.work(plan, dead) == 3
    assert [one.state.name for one in trials(store)] == ["RUNNING"] * 3
    mine.mend(mine.look())
    assert "RUNNING" not in [one.state.name for one in trials(store)]
    assert engine.work(plan, mine) == 0


def test_processes_that_may_not_be_asked_are_there(monkeypatch):
    def refused(pid, signal):
        raise PermissionError

    monkeypatch.setattr(engine.os, "kill", refused)
    assert engine._runs(1)
    monkeypatch.setattr(engine.os, "name", "nt")
    assert engine._runs(1)


def test_a_sign_of_life_that_does_not_come_through_hurts_nobody(store, plan, monkeypatch):
    monkeypatch.setenv("DLBOOK_GRACE", "0.01")
    mine, calls = board(store, plan, monkeypatch), []
    monkeypatch.setattr(mine.storage, "set_trial_user_attr", lambda *args: calls.append(args) or 1 / 0)
    with mine.training(mine.claim(0, SAMPLER.config(0))):
        _wait(lambda: len(calls) > 2)


def test_a_worker_process_does_what_is_left(store, plan, monkeypatch):
    class Pipe(list):
        send = list.append

    parent, pipe = type("Parent", (), {"is_alive": lambda self: True})(), Pipe()
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
    monkeypatch.setattr(engine.signal, "signal", lambda *args: None)
    engine._worker(pipe, pickle.dumps(plan), store)
    assert pipe == []
    assert rows(shared(train, store, n=3)) == alone(3)
    engine._worker(pipe, pickle.dumps(plan._replace(n=2)), store)
    assert "n must be at least 3" in str(pipe[0])


# the journal


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_a_torn_last_line_costs_at_most_one_trial(cut, store):
    shared(noted, store, n=6)
    os.truncate(store, store.stat().st_size - cut)
    assert rows(shared(noted, store, n=N)) == alone()
    assert len(notes("begin")) <= N + 1


def test_a_journal_torn_in_its_first_line_is_a_new_one(store):
    store.write_text('{"op_co')
    assert rows(shared(train, store)) == alone()


def test_damage_within_a_journal_is_reported_with_what_to_do(store):
    shared(train, store, n=4)
    lines = store.read_bytes().splitlines()
    half = lines[5][:30]
    store.write_bytes(b"\n".join([*lines[:5], half + lines[5], *lines[6:], b""]))
    with pytest.raises(
        ValueError, match=r"line 6 damaged: an entry broke off there.*delete what stands before"
    ):
        shared(train, store, n=N)
    repaired = store.read_bytes().splitlines()
    repaired[5] = repaired[5][repaired[5].rfind(b'{"op_code":') :]
    store.write_bytes(b"\n".join([*repaired, b""]))
    assert rows(shared(train, store, n=N)) == alone()


@pytest.mark.parametrize("line", [b"}{", b"7", b"[]", b"\xff"])
def test_damage_that_cannot_be_mended_is_reported(line, store):
    shared(train, store, n=4)
    lines = store.read_bytes().splitlines()
    store.write_bytes(b"\n".join([*lines[:5], line, *lines[5:], b""]))
    with pytest.raises(ValueError, match="line 6 damaged: put back a copy of the file"):
        shared(train, store, n=N)


def test_damage_while_workers_are_working_is_reported(store):
    def spoil(config):
        with open(store, "ab") as file:
            file.write(b'{"op_code":4,"tr')
        return train(config)

    with pytest.raises(ValueError, match=r"line \d+ damaged: an entry broke off there"):
        shared(spoil, store)


def test_what_only_looks_like_damage_is_raised_as_it_is(store):
    def objective(config):
        return json.loads("{")

    with pytest.raises(json.JSONDecodeError):
        shared(objective, store)


@pytest.mark.parametrize("text", ["hello", "hello\n", '{"a": 1}\n'])
def test_other_files_are_left_as_they_are(text, store):
    store.write_text(text)
    with pytest.raises(ValueError, match=r"Optuna journal or a new file .* neither: it was left as it is"):
        shared(train, store)
    assert store.read_text() == text


def test_the_stores_of_the_engines_are_not_mixed(store):
    with Store(store, {"a": 1}):
        pass
    with pytest.raises(ValueError, match="neither"):
        shared(train, store)
    shared(train, journal := store.with_name("other"))
    with pytest.raises(ValueError, match="neither"):
        run(train, SPACE, SAMPLER, n=N, store=journal)


def test_only_one_at_a_time_has_the_lock(store):
    first, second, order = engine.JournalLock(store), engine.JournalLock(store), []
    first.acquire()
    thread = threading.Thread(target=lambda: (second.acquire(), order.append("second"), second.release()))
    thread.start()
    time.sleep(0.05)
    order.append("first")
    first.release()
    thread.join()
    assert order == ["first", "second"]


# the wrong study


@pytest.mark.parametrize(
    ("key", "change"),
    {
        "objective": {"objective": noted},
        "sampler": {"sampler": Random(SPACE, seed=4)},
        "scheduler": {"scheduler": ASHA(r_max=9)},
    }.items(),
)
def test_another_search_is_refused(key, change, store):
    shared(train, store)
    before = store.read_bytes()
    with pytest.raises(
        ValueError, match=f"study 'dlbook' has another {key}, .*give this search another file"
    ):
        shared(**{"objective": train, "store": store} | change)
    assert store.read_bytes().startswith(before)


def test_another_space_is_refused(store):
    shared(train, store)
    space = SPACE.replace(k=8)
    with pytest.raises(ValueError, match="another space"):
        run(train, space, Random(space, seed=3), n=N, engine="optuna", store=store)


def test_studies_of_other_programs_are_refused(store, monkeypatch):
    storage, name = engine.connect(store)
    with engine.quiet():
        optuna.create_study(study_name=name, storage=storage).optimize(
            lambda trial: trial.suggest_float("x", 0, 1), 1
        )
    with pytest.raises(ValueError, match="has trials of another program"):
        shared(train, store)


def test_a_study_whose_maker_died_at_once_is_taken_over(store):
    storage, name = engine.connect(store)
    with engine.quiet():
        optuna.create_study(study_name=name, storage=storage)
    assert rows(shared(train, store)) == alone()


# addresses and databases


@pytest.mark.parametrize(
    ("store", "words"),
    {
        None: "store must be a file or an address .*it is where the workers meet",
        "postgresql://book:secret@db.example/tuning": "PGPASSWORD .* .pgpass",
        "sqlite:///run.db": "store must be a file or begin with postgresql://, got sqlite://",
    }.items(),
)
def test_stores_that_will_not_do(store, words):
    with pytest.raises(ValueError, match=words) as caught:
        shared(train, store)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
def test_the_study_is_named_behind_the_address(scheme, monkeypatch):
    monkeypatch.setattr(engine, "_database", lambda address: address)
    address = "postgresql+psycopg://book@db.example/tuning"
    assert engine.connect(f"{scheme}://book@db.example/tuning#digits") == (address, "digits")
    assert engine.connect(f"{scheme}://book@db.example/tuning") == (address, "dlbook")


def test_a_missing_driver_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r'pip install "dlbook\[cluster\]"'):
        engine.connect("postgresql://book@db.example/tuning")


def test_a_database_that_cannot_be_reached_is_no_store(monkeypatch):
    from sqlalchemy.exc import OperationalError

    def refused(address, engine_kwargs):
        raise OperationalError("", {}, Exception("connection refused"))

    monkeypatch.setattr(optuna.storages, "RDBStorage", refused)
    with pytest.raises(ValueError, match="a database that can be reached: connection refused"):
        engine.connect("postgresql://book@db.example/tuning")


def test_calls_are_repeated_while_a_database_is_away(monkeypatch):
    from sqlalchemy.exc import OperationalError, ProgrammingError

    slept, fails = [], [ProgrammingError("", {}, None)]

    class Database:
        def __init__(self, address, engine_kwargs):
            if fails:
                raise fails.pop()
            self.away = 3

        def ask(self, question):
            self.away -= 1
            if self.away >= 0:
                raise OperationalError("", {}, None)
            return question

    monkeypatch.setattr(optuna.storages, "RDBStorage", Database)
    monkeypatch.setattr(engine.time, "sleep", slept.append)
    storage, _ = engine.connect("postgresql://book@db.example/tuning")
    assert storage.ask("who?") == "who?"
    assert slept == [0.1, 0.1, 0.3, 1]
    storage._storage.away = 100
    with pytest.raises(OperationalError):
        storage.ask("who?")
    assert 60 < sum(slept) < 90


# the command line


def test_a_worker_on_the_command_line_does_what_is_left(store, capsys):
    with pytest.raises(Interrupted):
        _interrupted_after(store, 4)
    main(["worker", "--storage", str(store), "--study", "dlbook", "tuning_cases:train"])
    assert capsys.readouterr().out == "All 9 trials are done, 5 of them here.\n"
    assert rows(shared(train, store)) == alone()


def test_a_worker_knows_the_scheduler(store, capsys):
    scheduler = ASHA(r_max=9)
    shared(train, store, scheduler=scheduler)
    main(["worker", "--storage", str(store), "tuning_cases:train"])
    assert "All 9 trials are done, 0 of them here." in capsys.readouterr().out


def test_the_status_is_a_table(store, capsys):
    shared(train, store)
    main(["status", "--storage", str(store)])
    first, heading, best, *_ = capsys.readouterr().out.splitlines()
    assert first == "9 of 9 trials done, 0 running, 1 infeasible"
    assert heading.split() == ["trial", "lr", "momentum", "act", "layers", "k", "loss", "momentary"]
    assert best.split()[0] == "6"


def test_the_status_says_who_is_training(store, plan, monkeypatch):
    mine = board(store, plan, monkeypatch, "alpha")
    assert words(mine.look()) == "0 of 3 trials done, 0 running, 0 infeasible"
    mine.claim(1, SAMPLER.config(1))
    assert words(mine.look()) == "0 of 3 trials done, 1 running, 0 infeasible\ntrial 1 on alpha"


@pytest.mark.parametrize(
    ("arguments", "words"),
    {
        ("worker", "--storage", "{store}", "tuning_cases:slowly"): "another objective",
        ("worker", "--storage", "{store}", "tuning_cases:nothing"): "objective must be module:function",
        ("worker", "--storage", "{store}", "tuning_cases"): "objective must be module:function",
        ("worker", "--storage", "{store}", "no_such_module:train"): "objective must be module:function",
        ("status", "--storage", "{store}", "--study", "other"): "study must be one that .* got 'other'",
        ("status", "--storage", "sqlite:///x"): "must be a file or begin with postgresql",
        ("status",): "required: --storage",
        (): "required",
    }.items(),
)
def test_mistakes_on_the_command_line_end_in_a_line(arguments, words, store, capsys):
    shared(train, store)
    with pytest.raises(SystemExit) as caught:
        main([word.format(store=store) for word in arguments])
    assert caught.value.code == 2
    assert re.search(words, capsys.readouterr().err)


def test_a_worker_that_nobody_wants_stops(store, plan, monkeypatch):
    answers = [True, False]
    assert engine.work(plan, board(store, plan, monkeypatch), wanted=lambda: answers.pop(0)) == 1


def test_the_module_is_a_command(store, monkeypatch, capsys):
    shared(train, store)
    monkeypatch.setattr(sys, "argv", ["tuning", "status", "--storage", str(store)])
    with warnings.catch_warnings(action="ignore"):  # it has been imported already, as another module
        runpy.run_module("dlbook.tuning", run_name="__main__")
    assert capsys.readouterr().out.startswith("9 of 9 trials done")


def test_a_worker_finds_an_objective_in_its_folder(store):
    shared(train, store)
    command = [sys.executable, "-m", "dlbook.tuning", "worker", "--storage", store, "tuning_cases:train"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, check=True)
    assert result.stdout == "All 9 trials are done, 0 of them here.\n"
    assert result.stderr == ""


# what repr has written


def test_the_page_shows_the_script_that_make_test_cluster_runs():
    page = Path(__file__).parent.parent / "chapters" / "running_on_many_machines.md"
    script = Path(__file__).with_name("digits_search.py").read_text(encoding="utf-8")
    assert f"```python\n{script}```" in page.read_text(encoding="utf-8")


class Mine(Scale):
    pass


@pytest.mark.parametrize(
    "value",
    [
        SPACE,
        Space(a=Linear(-1.5, 2), b=OffOr(Log(1e-6, 1e-2)), c=Fixed((64, (32, 1))), d=None, e=-3, f="word"),
        Space(a=Choice(True, (1, 2), "x'y"), b=Integer(1, 9, log=True), c=Fixed([{"a": inf}])),
        Grid(Space(a=Linear(0, 1), b=Log(1, 2)), {"a": 3, "b": 4}, seed=5),
        Halton(SPACE, scramble=False),
        CoarseToFine(Sobol(SPACE, seed=9), 8, fresh=4),
        ASHA(r_max=27, rule="quantile"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_repr_has_written_can_be_read(value):
    assert read_repr(repr(value)) == value


@pytest.mark.parametrize(
    "words",
    [
        "__import__('os')",
        "Mine()",
        "Space(lr=Mine())",
        "Space(",
        "space",
        "(1).real",
        "{**{}}",
        "1 + 1",
        "Log.x()",
    ],
)
def test_nothing_else_is_read(words):
    with pytest.raises(ValueError, match="start that on the other machines"):
        read_repr(words)


def _wait(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def _interrupted_after(store, trials):
    calls = []

    def stopped(config):
        calls.append(config)
        if len(calls) > trials:
            raise KeyboardInterrupt
        return train(config)

    stopped.__qualname__ = "train"
    return shared(stopped, store)


def _is_worker(process):
    return any("spawn_main" in word for word in process.cmdline())


def _has_ended(process):
    """Also if nobody has asked how."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
