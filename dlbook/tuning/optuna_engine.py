"""The engine of many machines: workers that share nothing but an Optuna storage, a journal file or PostgreSQL.

Nobody is in charge. Every worker looks at the storage, takes a trial that nobody has, trains it and writes down what
came out, until all are done. Four rules make the table that of a search in one process, to the last bit:

* **Whose trial is it?** A worker adds to the storage that it trains trial i. Where two do so at the same moment, both
  see it, and the one with the lower number in the storage keeps the trial; the other leaves a FAIL behind.
* **What is its configuration?** `sampler.config(i)`, here as anywhere. Optuna's own samplers, which forget where they
  were, are not asked.
* **Is its worker still alive?** On the same machine the process is looked up. Elsewhere a worker counts up beside its
  trial as long as it trains, and a trial whose count stands still for a minute, by the clock of whoever looks, is
  free again. `DLBOOK_GRACE` is another number of seconds. Who was only thought dead finds the trial closed.
* **When is it done?** With the result, which is one entry of the storage, there or not there.

Only settings, losses and what else a `Result` has as its curve and values are written, never data or weights. So a
trial cannot move to another machine half-trained, and of the schedulers only `ASHA(mode="stop")` runs here: a trial
goes from rung to rung where it is, and starts anew where its worker dies.
"""

import json
import multiprocessing
import os
import pickle
import platform
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count, islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import Event, Thread
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from dlbook.tuning import store as stores
from dlbook.tuning.engines import IMPORTABLE, one_thread, portable, timed
from dlbook.tuning.optuna_study import distributions, load, params
from dlbook.tuning.progress import progress
from dlbook.tuning.ranking import feasible
from dlbook.tuning.run import COLUMNS, Interrupted, Plan
from dlbook.tuning.schedulers import ASHA, Job
from dlbook.tuning.study import Done, Study, record, told

STUDY = "dlbook"  # the name of a study where none is given
POLL = 0.2  # seconds between two looks at the storage while there is nothing to do
ENTRY = b'{"op_code":'  # how each line of a journal begins
PATIENCE = (0.1, 0.3, 1, 3, 5, 10, 20, 30)  # seconds between attempts to reach a database


def search(plan: Plan, store: str | Path | None, workers: int) -> list[Done]:
    """Work with all others that have `store`, here in `workers` processes, until every trial of `plan` is done.

    The jobs come back in the order of the trials: who was first depends on the machines.
    """
    check_scheduler(plan.scheduler)
    with quiet():
        board = Board(store)
        board.begin(plan)
        with progress(plan.total) as show, explained(store):
            try:
                if workers == 1:
                    work(plan, board, show)
                else:
                    _watch(plan, store, min(workers, plan.n), board, show)
            except KeyboardInterrupt:
                raise Interrupted(Study(board.look().jobs, plan.space), plan.n, store) from None
            return board.look().jobs


def work(
    plan: Plan,
    board: "Board",
    show: Callable[[Sequence[Done]], None] = lambda jobs: None,
    wanted: Callable[[], bool] = lambda: True,
) -> int:
    """Train what nobody else does until every trial is done, or nobody wants it; how many were trained here."""
    trained, spread, any_of = 0, 1, random.Random()
    while wanted():
        found = board.look()
        show(found.jobs)
        if len(found.done) == plan.n:
            break
        board.mend(found)
        whole = found.whole
        ready = list(islice((k for k in found.free if plan.needs(Job(k, None)) <= whole), spread))
        if not ready:
            time.sleep(POLL)
            continue
        trial = any_of.choice(ready)
        config = plan.config(Job(trial, None), found.losses)
        number = board.claim(trial, config)
        if number is None:
            spread *= 2  # those who choose alike get in each other's way
            continue
        with board.training(number):
            board.finish(number, _train(plan, board, number, trial, config))
        trained += 1
    return trained


class Found(NamedTuple):
    """What the storage holds at a moment: who has which trial, and the jobs of those that are done."""

    n: int
    owners: dict[int, Any]  # Optuna's trial, by ours
    done: dict[int, list[Done]]

    @property
    def free(self) -> list[int]:
        """The trials that nobody has."""
        return [trial for trial in range(self.n) if trial not in self.owners]

    @property
    def whole(self) -> int:
        """All trials before this one are done."""
        return next(trial for trial in count() if trial not in self.done)

    @property
    def running(self) -> int:
        """How many are being trained."""
        return len(self.owners) - len(self.done)

    @property
    def losses(self) -> dict[int, float]:
        """The loss of each trial at the end of its first job."""
        return {trial: jobs[0].loss for trial, jobs in self.done.items()}

    @property
    def jobs(self) -> list[Done]:
        """All jobs that are done, in the order of the trials."""
        return [job for _, jobs in sorted(self.done.items()) for job in jobs]


class Board:
    """One study in an Optuna storage: where workers say what they train, and what came out."""

    def __init__(self, store: str | Path | None, name: str | None = None):
        self.storage, named = connect(store)
        self.name = name or named
        self.me = f"{platform.node()} {os.getpid()}"
        self.study = self.plan = self.n = None
        self._beats: dict[int, tuple[int, float]] = {}
        self._known: dict[int, list[Done]] = {}

    def begin(self, plan: Plan) -> None:
        """Open the study of `plan`, or make it; ValueError if the one of this name is of another search."""
        optuna = load()
        with suppress(optuna.exceptions.DuplicatedStudyError):
            if self.name not in [one.study_name for one in self.storage.get_all_studies()]:
                made = self.storage.create_new_study([optuna.study.StudyDirection.MINIMIZE], self.name)
                self.storage.set_study_user_attr(made, "dlbook", plan.about)
        self.study = self.storage.get_study_id_from_name(self.name)
        about = self._about(plan)
        for key in plan.about | about:
            if about.get(key) != plan.about.get(key):
                raise ValueError(
                    f"store must be of this search, got one whose study {self.name!r} has another {key}, "
                    f"{about.get(key)!r} instead of {plan.about.get(key)!r}: give this search another file, or "
                    "another name behind the # of the address"
                )
        self.plan, self.n = plan, plan.n
        beyond = max(self._owners(), default=-1)
        if beyond >= plan.n:
            raise ValueError(
                f"n must be at least {beyond + 1}, the trials that are in the store, got {plan.n}"
            )
        self.storage.set_study_user_attr(self.study, "n", plan.n)

    def join(self) -> dict[str, Any]:
        """Open a study that somebody else began: what it is of, with the `n` of whoever asked last."""
        try:
            self.study = self.storage.get_study_id_from_name(self.name)
            given = self.storage.get_study_user_attrs(self.study)
            self.n = given["n"]
            return given["dlbook"]
        except KeyError:
            raise ValueError(
                f"study must be one that run(..., engine='optuna') has begun in this storage, got {self.name!r}"
            ) from None

    def look(self) -> Found:
        """What there is now."""
        owners = {trial: one for trial, one in self._owners().items() if trial < self.n}
        return Found(
            self.n, owners, {trial: self._jobs(one) for trial, one in owners.items() if _is_done(one)}
        )

    def claim(self, trial: int, config: Mapping[str, Any]) -> int | None:
        """Say that `trial` is trained here; the storage's id of it, or None if somebody else was first."""
        optuna = load()
        new = optuna.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=params(self.plan.space, config),
            distributions=distributions(self.plan.space),
            user_attrs={"trial": trial, "worker": self.me},
        )
        number = self.storage.create_new_trial(self.study, new)
        if self._owners()[trial]._trial_id == number:
            return number
        self.release(number)
        return None

    @contextmanager
    def training(self, number: int) -> Iterator[None]:
        """Show that the worker of this trial is alive; set the trial free if it ends in an exception."""
        over = Event()

        def beat() -> None:
            beats = 0
            while not over.wait(grace() / 6):
                beats += 1
                with suppress(Exception):  # the next one may come through
                    self.storage.set_trial_user_attr(number, "alive", beats)

        thread = Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            self.release(number)
            raise
        finally:
            over.set()
            thread.join()

    def finish(self, number: int, jobs: Sequence[Done]) -> None:
        """Write down what came out; nothing if the trial was taken away from here."""
        with suppress(load().exceptions.UpdateFinishedTrialError):
            self.storage.set_trial_user_attr(
                number, "done", stores._encoded("done", [record(one) for one in jobs])
            )
            self._close(number, jobs)

    def release(self, number: int) -> None:
        """Let somebody else train this trial."""
        with suppress(load().exceptions.UpdateFinishedTrialError):
            self.storage.set_trial_state_values(number, load().trial.TrialState.FAIL)

    def report(self, number: int, resource: int, loss: float) -> list[float]:
        """Write down the loss of a trial at a rung; the losses there of those that came before."""
        earlier = [one.intermediate_values.get(resource) for one in self.look().owners.values()]
        self.storage.set_trial_intermediate_value(number, resource, loss)
        return [one for one in earlier if one is not None]

    def mend(self, found: Found) -> None:
        """Set the trials free whose workers are dead."""
        for one in found.owners.values():
            if not one.state.is_finished() and self._is_dead(one):
                if _is_done(one):  # it died between the result and the state
                    with suppress(load().exceptions.UpdateFinishedTrialError):
                        self._close(one._trial_id, self._jobs(one))
                else:
                    self.release(one._trial_id)

    def _about(self, plan: Plan) -> dict[str, Any]:
        """What the study is of. Who made it says so at once, or has died, or is not of this book."""
        for _ in range(10):
            about = self.storage.get_study_user_attrs(self.study).get("dlbook")
            if about is not None:
                return about
            time.sleep(POLL)
        if self.storage.get_all_trials(self.study, deepcopy=False):
            raise ValueError(
                f"store must be of this book, got one whose study {self.name!r} has trials of another program"
            )
        self.storage.set_study_user_attr(self.study, "dlbook", plan.about)
        return plan.about

    def _owners(self) -> dict[int, Any]:
        """Of those that say that they train or have trained a trial, the first; Optuna's trial by ours."""
        owners: dict[int, Any] = {}
        for one in sorted(
            self.storage.get_all_trials(self.study, deepcopy=False), key=lambda one: one.number
        ):
            if "trial" in one.user_attrs and (_is_done(one) or not one.state.is_finished()):
                owners.setdefault(one.user_attrs["trial"], one)
        return owners

    def _jobs(self, one: Any) -> list[Done]:
        if one._trial_id not in self._known:
            line = json.dumps({"told": one.user_attrs["done"]}).encode("ascii")
            self._known[one._trial_id] = told(stores._decoded(line))
        return self._known[one._trial_id]

    def _close(self, number: int, jobs: Sequence[Done]) -> None:
        """The state in Optuna's words: FAIL if it diverged, PRUNED if a scheduler stopped it."""
        states, last = load().trial.TrialState, jobs[-1]
        if not feasible(last.loss):
            self.storage.set_trial_state_values(number, states.FAIL)
        else:
            stopped = last.resource is not None and last.resource < self.plan.scheduler.r_max
            self.storage.set_trial_state_values(
                number, states.PRUNED if stopped else states.COMPLETE, [last.loss]
            )

    def _is_dead(self, one: Any) -> bool:
        worker, number = one.user_attrs["worker"], one._trial_id
        if worker == self.me:  # who trains nothing while it looks: it is of an earlier life
            return True
        host, pid = worker.rsplit(" ", 1)
        if host == platform.node() and not _runs(int(pid)):
            return True
        beats, now = one.user_attrs.get("alive", 0), time.monotonic()
        seen, since = self._beats.setdefault(number, (beats, now))
        if beats != seen:
            self._beats[number] = beats, now
            return False
        return now - since > grace()


def check_scheduler(scheduler: Any) -> None:
    """ValueError for those whose trials pause and go on, maybe elsewhere."""
    if scheduler is None or (isinstance(scheduler, ASHA) and scheduler.mode == "stop"):
        return
    raise ValueError(
        f"scheduler must be None or ASHA(mode='stop') with engine='optuna', got {scheduler!r}: its trials pause, and "
        "what they have learnt would have to travel; use one of those two, or engine='local' with workers on one "
        "machine"
    )


def grace() -> float:
    """Seconds without a sign of life after which a worker on another machine counts as dead."""
    return float(os.environ.get("DLBOOK_GRACE", "60"))


def connect(store: str | Path | None) -> tuple[Any, str]:
    """The Optuna storage that `store` names, and the name of the study in it.

    `"run.journal"` is a file, `"postgresql://book@db.example/tuning#digits"` the study digits in a database.
    """
    if store is None:
        raise ValueError(
            "store must be a file or an address such as postgresql://book@db.example/tuning with engine='optuna', "
            "got None: it is where the workers meet"
        )
    if "://" not in str(store):
        return _journal(Path(store)), STUDY
    address, _, name = str(store).partition("#")
    parts = urlsplit(address)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ValueError(f"store must be a file or begin with postgresql://, got {parts.scheme}://")
    if parts.password is not None:
        raise ValueError(
            "store must be an address without a password, which logs and notebooks would show: put it into the "
            "variable PGPASSWORD or, better, into the file .pgpass of your home folder"
        )
    return _database(parts._replace(scheme="postgresql+psycopg").geturl()), name or STUDY


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna says nothing in here: it announces every study, also in stored outputs."""
    logging = load().logging
    before = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        logging.set_verbosity(before)


@contextmanager
def explained(store: str | Path) -> Iterator[None]:
    """What is said about a journal that was damaged meanwhile."""
    try:
        yield
    except json.JSONDecodeError:
        _check_journal(Path(store))
        raise


class JournalLock:
    """A lock of the operating system on the journal itself, which ends with its process however that ends.

    Optuna's own locks are files that a killed process leaves behind, and one of the two needs a privilege on Windows.
    """

    def __init__(self, path: Path):
        self._path = path

    def acquire(self) -> bool:
        """Wait until nobody else has it."""
        self._file = open(self._path, "ab")
        while True:
            try:
                stores._lock(self._file.fileno(), self._path)
                return True
            except ValueError:
                time.sleep(0.001)

    def release(self) -> None:
        """Let others in."""
        self._file.close()


class Patient:
    """A storage whose calls are repeated while the database cannot be reached, for about a minute.

    All calls can be repeated: who added a trial twice releases one of the two.
    """

    def __init__(self, storage: Any, errors: tuple[type[Exception], ...]):
        self._storage, self._errors = storage, errors

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._storage, name)

        def patient(*args: Any, **kwargs: Any) -> Any:
            return _patiently(lambda: method(*args, **kwargs), self._errors)

        return patient


def _patiently(call: Callable[[], Any], errors: tuple[type[Exception], ...]) -> Any:
    for pause in PATIENCE:
        try:
            return call()
        except errors:
            time.sleep(pause)
    return call()


def _journal(path: Path) -> Any:
    journal = load().storages.journal
    lock = JournalLock(path)
    _check_journal(path)
    return journal.JournalStorage(journal.JournalFileBackend(str(path), lock))


def _check_journal(path: Path) -> None:
    """Cut off a torn last line, as nobody can be writing it; ValueError for what is no whole journal."""
    if not path.exists():
        return
    lock = JournalLock(path)
    lock.acquire()
    try:
        data = path.read_bytes()
        *lines, torn = data.split(b"\n")
        for number, line in enumerate(lines, start=1):
            if not _is_entry(line):
                raise ValueError(_damage(path, number, line))
        if torn and not lines and torn[: len(ENTRY)] != ENTRY[: len(torn)]:
            raise ValueError(_damage(path, 1, torn))
        if torn:
            os.truncate(path, len(data) - len(torn))
    finally:
        lock.release()


def _damage(path: Path, number: int, line: bytes) -> str:
    whole = line[max(line.rfind(ENTRY), 0) :]
    if number == 1 and not line.startswith(ENTRY):
        return (
            f"store must be an Optuna journal or a new file with engine='optuna', got {path}, which is neither: "
            "it was left as it is"
        )
    advice = "put back a copy of the file, then go on"
    if whole != line and _is_entry(whole):
        advice = (
            "an entry broke off there, and a whole one was written behind it; keep a copy, delete what stands before "
            f"the last {ENTRY.decode()} of that line, then go on"
        )
    return f"store must be an undamaged journal, got {path} with line {number} damaged: {advice}"


def _is_entry(line: bytes) -> bool:
    try:
        return "op_code" in json.loads(line)
    except (ValueError, TypeError):
        return False


def _database(address: str) -> Any:
    from sqlalchemy import exc

    storages, lost = load().storages, (exc.OperationalError, load().exceptions.StorageInternalError)

    def made() -> Any:
        return storages.RDBStorage(address, engine_kwargs={"pool_pre_ping": True})

    try:  # two who meet an empty database both make its tables
        return Patient(_patiently(made, (exc.ProgrammingError, exc.IntegrityError)), lost)
    except exc.OperationalError as error:
        raise ValueError(f"store must be a database that can be reached: {error.orig}") from None
    except ImportError as error:
        raise ImportError(
            f'a driver for PostgreSQL is not installed ({error}): try `pip install "dlbook[cluster]"`'
        ) from None


def _train(plan: Plan, board: Board, number: int, trial: int, config: Mapping[str, Any]) -> list[Done]:
    """The jobs of one trial: one, or with ASHA one for each rung until it is stopped."""
    jobs, state, start = [], None, 0
    for resource in [None] if plan.scheduler is None else plan.scheduler.resources:
        result, seconds = timed(plan.objective, Job(trial, resource, start), config, state)
        for name in result.values:
            if name in COLUMNS or name in config:
                raise ValueError(f"values of a Result must have names of their own, got {name!r}")
        loss, curve, values = result.loss, result.curve, result.values
        jobs.append(Done(trial, config, loss, resource, start, None, curve, values, seconds))
        if resource and not plan.scheduler.passes(loss, board.report(number, resource, loss)):
            break
        state, start = result.state, resource
    return jobs


def _watch(
    plan: Plan, store: str | Path, workers: int, board: Board, show: Callable[[Sequence[Done]], None]
) -> None:
    """Start workers here, and wait until they have done everything. It is enough if one of them survives."""
    try:
        pickled = pickle.dumps(plan)
    except Exception as error:
        raise TypeError(f"objective cannot be sent to other processes ({error}): {IMPORTABLE}") from None
    context, busy, codes = multiprocessing.get_context("spawn"), {}, []
    with one_thread():
        for _ in range(workers):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_worker, args=(theirs, pickled, store), daemon=True)
            process.start()
            theirs.close()
            busy[ours] = process
    processes = list(busy.values())
    try:
        while busy:
            for pipe in wait(list(busy), timeout=POLL):
                codes.append(_end(pipe, busy.pop(pipe)))
            show(board.look().jobs)
    finally:
        for process in processes:
            process.terminate()
            process.join()
    if board.look().whole < plan.n:
        raise RuntimeError(
            f"all workers here have ended, with codes {codes}: -9 is often for want of memory, try fewer workers; 1 "
            "for a script that starts a search outside of `if __name__ == '__main__':`"
        )


def _end(pipe: Connection, process: Any) -> int:
    """The exit code of a worker; an exception that stopped it is raised here."""
    with pipe:
        try:
            error = pipe.recv()
        except (EOFError, ConnectionResetError):
            process.join()
            return process.exitcode
    raise error


def _worker(pipe: Connection, pickled: bytes, store: str | Path) -> None:
    """What a worker does, until everything is done or the process that started it has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    try:
        with quiet(), explained(store):
            plan, board = pickle.loads(pickled), Board(store)
            board.begin(plan)
            work(plan, board, wanted=multiprocessing.parent_process().is_alive)
    except Exception as error:
        pipe.send(portable(error))


def _is_done(one: Any) -> bool:
    return "done" in one.user_attrs


def _runs(pid: int) -> bool:
    """Is there a process of this number on this machine? On Windows asking would end it, so there it may be."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
