"""Engines: who trains. This process, several of them, or a whole population as one computation or a few.

An engine takes jobs and gives them back with their results. It decides nothing: which jobs there are is up to the
scheduler, and what is kept of them up to `run`. All have the same few words:

* `room`: how many jobs it takes at a time.
* `start(job, config, state)`: take a job.
* `finish()`: wait until a job or more are done; a list of (job, `Result`, seconds).
* `close()`: stop at once; what is not done is lost.
"""

import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from math import inf
from multiprocessing.connection import Connection, wait
from time import perf_counter
from typing import Any

from dlbook.frameworks import to_numpy
from dlbook.parallel import parallel
from dlbook.tuning.objectives import Result
from dlbook.tuning.population import gather, split, stack
from dlbook.tuning.ranking import check_loss
from dlbook.tuning.schedulers import Job
from dlbook.tuning.space import Space

Finished = list[tuple[Job, Result, float]]

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


class Here:
    """One job at a time, in this process."""

    room = 1

    def __init__(self, objective: Callable):
        self._objective, self._given = objective, None

    def start(self, job: Job, config: Mapping[str, Any], state: Any) -> None:
        self._given = job, config, state

    def finish(self) -> Finished:
        job, config, state = self._given
        return [(job, *timed(self._objective, job, config, state))]

    def close(self) -> None:
        """Nothing goes on once this process does something else."""


class Vectorised:
    """All jobs at once: those that train from the same start to the same end are one batch, or several.

    Each worker is a thread of this process with a batch of its own.
    """

    room = inf

    def __init__(self, objective: Callable, space: Space, workers: int = 1):
        self._objective, self._space, self._workers = objective, space, workers
        self._given, self._errors = [], []
        self._apart = getattr(objective, "apart", ())
        self._chunk = getattr(objective, "chunk", None)

    def start(self, job: Job, config: Mapping[str, Any], state: Any) -> None:
        kind = job.start, job.resource, [config[name] for name in self._apart if name in config]
        self._given.append((kind, job, config, state))

    def finish(self) -> Finished:
        """Train the batches of the jobs that have waited longest, one a worker.

        An exception of the objective is raised only after what came back together with it was handed over.
        """
        batches = []
        while self._given and len(batches) < self._workers and not self._errors:
            batches += self._batches(self._workers - len(batches))
        finished = []
        for answer in parallel(self._answer, batches, threads=self._workers):
            if isinstance(answer, Exception):
                self._errors.append(answer)
            else:
                finished += answer
        if not finished:
            raise self._errors[0]
        return finished

    def _batches(self, most: int) -> list[list[tuple]]:
        """Take the job that has waited longest and those that can be trained with it, in at most so many batches."""
        given, first = self._given, self._given[0][0]
        same = [k for k, one in enumerate(given) if one[0] == first]
        pieces = 1
        if self._chunk:  # half a chunk is worth a thread
            pieces = max(-(-len(same) // self._chunk), min(most, 2 * len(same) // self._chunk))
        if pieces > 1:  # as many for each worker
            pieces = -(-pieces // most) * most
        size = -(-len(same) // pieces)
        taken = set(same[: most * size])
        self._given = [one for k, one in enumerate(given) if k not in taken]
        return [[given[k] for k in same[start : start + size]] for start in range(0, len(taken), size)]

    def _answer(self, batch: list[tuple]) -> Finished | Exception:
        try:
            return self._train(batch)
        except Exception as error:
            return error

    def _train(self, batch: list[tuple]) -> Finished:
        _, jobs, configs, states = zip(*batch, strict=True)
        config = gather(configs, self._space, self._apart)
        state, began = None if states[0] is None else stack(states), perf_counter()
        results = rows(train(self._objective, jobs[0], config, state), len(jobs))
        seconds = (perf_counter() - began) / len(jobs)
        return [(job, result, seconds) for job, result in zip(jobs, results, strict=True)]

    def close(self) -> None:
        """Nothing goes on once this process does something else."""


class Processes:
    """One job per worker process. The workers are new Pythons, which import the objective and get the states sent.

    Each computes with one thread, unless the environment says otherwise: there are several of them. They end with
    this process, even where it is killed.
    """

    def __init__(self, objective: Callable, workers: int):
        try:
            pickled = pickle.dumps(objective)
        except Exception as error:
            raise TypeError(f"objective cannot be sent to other processes ({error}): {IMPORTABLE}") from None
        self.room, self._idle, self._busy, self._errors = workers, [], {}, []
        context = multiprocessing.get_context("spawn")
        with one_thread():
            for _ in range(workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, pickled), daemon=True)
                process.start()
                theirs.close()
                self._idle.append((ours, process))

    def start(self, job: Job, config: Mapping[str, Any], state: Any) -> None:
        pipe, process = self._idle.pop()
        self._busy[pipe] = process, job, config
        with suppress(BrokenPipeError, ConnectionResetError):  # `finish` will see that it has died
            pipe.send((job, config, state))

    def finish(self) -> Finished:
        """An exception of the objective is raised only after what came back together with it was handed over."""
        finished = []
        for pipe in [] if self._errors else wait(list(self._busy)):
            process, job, config = self._busy.pop(pipe)
            self._idle.append((pipe, process))
            answer = _answer(pipe, process, job, config)
            if isinstance(answer, Exception):
                self._errors.append(answer)
            else:
                finished.append((job, *answer))
        if not finished:
            raise self._errors[0]
        return finished

    def close(self) -> None:
        for pipe, process in [*self._idle, *((pipe, one[0]) for pipe, one in self._busy.items())]:
            process.terminate()
            process.join()
            pipe.close()


IMPORTABLE = (
    "workers import it by name, so it must be a function or a class at the top of a file, "
    "and not of a notebook; or try workers=1"
)


def timed(objective: Callable, job: Job, config: Mapping[str, Any], state: Any) -> tuple[Result, float]:
    """The result of training one configuration, and the seconds it took."""
    began = perf_counter()
    result = train(objective, job, dict(config), state)  # which the objective may change
    plain = result._replace(
        loss=check_loss(result.loss),
        curve=[(at, float(loss)) for at, loss in result.curve],
        values={name: _item(value) for name, value in result.values.items()},
    )
    return plain, perf_counter() - began


def train(objective: Callable, job: Job, config: Mapping[str, Any], state: Any) -> Result:
    """Call the objective as there is a scheduler or not; an exception says what it was called with."""
    try:
        once = job.resource is None
        result = objective(config) if once else objective(config, state, job.start, job.resource)
    except Exception as error:
        error.add_note(f"in {_place(job)} of the search, with {dict(config)}")
        raise
    return Result(*result) if isinstance(result, tuple) else Result(result)


def rows(result: Result, models: int) -> list[Result]:
    """The results of single models, from that of a population."""
    losses = _numbers("the losses", result.loss, models)
    curve = [(at, _numbers("the losses of a curve", loss, models)) for at, loss in result.curve]
    values = {name: _numbers(name, value, models) for name, value in result.values.items()}
    states = [None] * models if result.state is None else split(result.state, models)
    return [
        Result(
            check_loss(losses[k]),
            states[k],
            [(at, loss[k]) for at, loss in curve],
            {name: value[k] for name, value in values.items()},
        )
        for k in range(models)
    ]


def _numbers(what: str, given: Any, models: int) -> list[Any]:
    array = to_numpy(given)
    if array.size != models:
        raise ValueError(
            f"objective must return {models} numbers as {what}, one per configuration, got shape {array.shape}: "
            "engine='vectorised' hands over all configurations at once; try engine='local' for one at a time"
        )
    return array.ravel().tolist()


def _item(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _place(job: Job) -> str:
    once = job.resource is None
    return f"trial {job.trial}" if once else f"trial {job.trial}, from {job.start} to {job.resource}"


def _work(pipe: Connection, pickled: bytes) -> None:
    """What a worker does, until nobody is at the other end of the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    objective = None
    with suppress(EOFError, OSError):
        while True:
            job, config, state = pipe.recv()
            try:
                objective = objective or _loaded(pickled)
                answer = timed(objective, job, config, state)
                pickle.dumps(answer)
            except Exception as error:
                answer = portable(error)
            pipe.send(answer)


def _loaded(pickled: bytes) -> Callable:
    try:
        return pickle.loads(pickled)
    except Exception as error:
        raise TypeError(f"objective cannot be imported by a worker process ({error}): {IMPORTABLE}") from None


def portable(error: Exception) -> Exception:
    """The exception, or one that says the same and can be sent, with its traceback in words."""
    words = "".join(traceback.format_exception(error))
    try:
        error = pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"in a worker process:\n{words}")
    return error


def _answer(pipe: Connection, process: Any, job: Job, config: Mapping[str, Any]) -> Any:
    try:
        return pipe.recv()
    except (EOFError, ConnectionResetError):
        process.join()
        return RuntimeError(
            f"the worker process of {_place(job)} ended with code {process.exitcode}, with {config}: -9 is often for "
            "want of memory, try fewer workers; 1 for a script that starts a search outside of "
            "`if __name__ == '__main__':`"
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Processes started in here use one thread each, where the environment does not say how many."""
    new = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(new, "1"))
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]
