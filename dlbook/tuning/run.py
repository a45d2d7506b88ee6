"""Running a search: the one loop that joins sampler, scheduler, engine and store.

>>> from dlbook.tuning import Log, Random, Space
>>> space = Space(lr=Log(1e-4, 1))
>>> study = run(lambda config: abs(config["lr"] - 0.01), space, Random(space, seed=0), n=59)
>>> study.best.trial, round(study.best.config["lr"], 4)
(10, 0.0099)

Every step of the loop asks the scheduler for jobs until the engine is full, waits until some are done, and tells the
scheduler. With a store each step becomes a line in it: the jobs that were asked for, and the results that came. As
schedulers and samplers are pure, repeating the lines restores the search, so after whatever ended it the same call
goes on where it was, and only what was being trained at that moment is trained again.

An engine that drives itself, as Optuna does, is not one of `engines.py` but a function of `optuna_engine.py`:
`search(plan, store, workers)` returns a `Done` for each job that ended, those of earlier runs included. From here are

* `plan`, a `Plan` that has been checked, with `objective`, `space`, `sampler`, `scheduler` and `n`;
* `plan.needs(job)` and `plan.config(job, losses)`, for the configuration of a job;
* `engines.timed(plan.objective, job, config, state)`, which trains: a `Result` of plain numbers, and the seconds;
* `plan.about`, what a storage must be of to go on with this search.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from dlbook.tuning.engines import Here, Processes, Vectorised
from dlbook.tuning.objectives import Result
from dlbook.tuning.progress import progress
from dlbook.tuning.ranking import check_whole
from dlbook.tuning.samplers import Grid, Sampler
from dlbook.tuning.schedulers import PBT, Hyperband, Job, SuccessiveHalving
from dlbook.tuning.space import Space
from dlbook.tuning.states import States
from dlbook.tuning.store import Store
from dlbook.tuning.study import Done, Study, record, told

ENGINES = ("local", "vectorised", "optuna")
COLUMNS = ("trial", "resource", "loss")


def run(
    objective: Callable,
    space: Space,
    sampler: Sampler,
    scheduler: Any = None,
    *,
    n: int | None = None,
    store: str | Path | None = None,
    engine: str = "local",
    workers: int = 1,
) -> Study:
    """Train `n` trials of `objective`, whose contract is in `dlbook.tuning.objectives`, and return the `Study`.

    `sampler` draws the configurations from `space`. Without a `scheduler` each is trained once, as long as the
    objective likes; with one, as it says. `n` is how many trials there are in all, those in the store included;
    `Hyperband` and a `Grid` know it themselves.

    `engine="local"` trains in this process, or in `workers` others; "vectorised" trains all trials that wait as one
    batch, or as several where the objective says so (`apart`, `chunk`), of which `workers` threads of this process
    train one each; "optuna" shares the work through the storage that `store` names. With `store`, the path of a file,
    nothing that is finished is ever lost or done twice, and the result is that of a search that was never disturbed.
    Beside it, in a folder that ends in `.states`, lie the states of trials that a scheduler may go on with. They are
    pickled, so take up nobody else's; the end of the search deletes them.

    The number of workers changes nothing in the table, unless the scheduler is `ASHA`, which goes by what is back
    first. Numbers may differ in their last bits where a worker, which has one thread, adds in another order.
    Exceptions of the objective end the search with the trial and its configuration in their notes. Ctrl-C raises
    `Interrupted`, a KeyboardInterrupt whose `study` has what is finished.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(map(repr, ENGINES))}, got {engine!r}")
    check_whole("workers", workers, 1)
    plan = Plan.checked(objective, space, sampler, scheduler, n)
    if engine == "optuna":
        from dlbook.tuning.optuna_engine import search  # optuna is an extra

        return Study(search(plan, store, workers), space)
    about = plan.about if scheduler is None else plan.about | {"engine": engine}  # whose states differ
    with nullcontext() if store is None else Store(store, about) as lines:
        search = Search(plan, [] if lines is None else lines.events)
        states = States(None if store is None or scheduler is None else Path(store).with_suffix(".states"))
        with closing(_trainer(plan, engine, workers)) as trainer, progress(plan.total) as show:
            try:
                while search.step(trainer, states, lines):
                    show(search.done)
            except KeyboardInterrupt:
                raise Interrupted(Study(search.done, space), plan.n, store) from None
        states.delete()
    return Study(search.done, space)


class Interrupted(KeyboardInterrupt):
    """Ctrl-C. Its `study` has what was finished."""

    def __init__(self, study: Study, n: int, store: str | Path | None):
        self.study = study
        where = f"they are in {store}, and the same call goes on from there"
        if store is None:
            where = "`study` of this exception has them; with store='run.jsonl' the same call would go on"
        super().__init__(f"stopped after {len(study)} of {n} trials: {where}")


class Plan(NamedTuple):
    """What is to be searched, checked."""

    objective: Callable
    space: Space
    sampler: Sampler
    scheduler: Any
    n: int

    @classmethod
    def checked(cls, objective: Any, space: Any, sampler: Any, scheduler: Any, n: Any) -> "Plan":
        """The plan; ValueError or TypeError for what does not fit together."""
        if not callable(objective):
            raise TypeError(f"objective must be a function of a configuration, got {objective!r}")
        if not isinstance(sampler, Sampler):
            raise TypeError(f"sampler must be one such as Random(space), got {sampler!r}")
        if not hasattr(scheduler, "start") and scheduler is not None:
            raise TypeError(f"scheduler must be None or one such as ASHA(r_max=27), got {scheduler!r}")
        if not isinstance(space, Space) or space.scientific() != sampler.space.scientific():
            raise ValueError(f"space must be that of sampler, {sampler.space!r}, got {space!r}")
        if isinstance(scheduler, PBT) and scheduler.sampler != sampler:
            raise ValueError(f"sampler must be that of scheduler, {scheduler.sampler!r}, got {sampler!r}")
        taken = [name for name in COLUMNS if name in {**space.scales, **space.fixed}]
        if taken:
            raise ValueError(f"space must leave the name {taken[0]!r} to the table: give it another one")
        if n is None:
            n = getattr(scheduler, "trials", None) or (len(sampler) if isinstance(sampler, Grid) else None)
        check_whole("n", n, 1)
        if isinstance(sampler, Grid) and n > len(sampler):
            raise ValueError(f"n must be at most {len(sampler)}, the points of the grid, got {n}")
        return cls(objective, space, sampler, scheduler, int(n))

    @property
    def about(self) -> dict[str, str | int]:
        """What a store must be of to go on with this search; without a scheduler `n` may grow."""
        about = {
            "objective": getattr(self.objective, "about", None) or _name(self.objective),
            "space": repr(self.space.scientific()),
            "sampler": self._without_space(self.sampler),
        }
        if self.scheduler is None:
            return about
        return about | {"scheduler": self._without_space(self.scheduler), "n": self.n}

    @property
    def total(self) -> int | None:
        """How many jobs there will be if nothing diverges; None for those who go by what comes back."""
        if self.scheduler is None:
            return self.n
        if isinstance(self.scheduler, PBT):
            return self.n * -(-self.scheduler.r_max // self.scheduler.interval)
        if isinstance(self.scheduler, SuccessiveHalving):
            return sum(rung.trials for rung in self.scheduler.rungs(self.n))
        if isinstance(self.scheduler, Hyperband):
            return sum(rung.trials for bracket in self.scheduler.brackets for rung in bracket)
        return None

    def start(self) -> Any:
        """The first state of the scheduler."""
        return Once(self.n) if self.scheduler is None else self.scheduler.start(self.n)

    def needs(self, job: Job) -> int:
        """The losses of all trials before this number must be known to draw the configuration of `job`."""
        return 0 if job.config is not None else self.sampler.needs(job.trial)

    def config(self, job: Job, losses: Mapping[int, float]) -> dict[str, Any]:
        """The configuration of `job`; `losses` are those that the trials had at the end of their first jobs."""
        return self.sampler.config(job.trial, losses) if job.config is None else job.config

    def _without_space(self, part: Any) -> str:
        return repr(part).replace(repr(self.sampler.space), "space")


class Once(NamedTuple):
    """The state of a search without scheduler: each trial is trained once, as long as the objective likes."""

    trials: int
    started: int = 0

    def ask(self) -> tuple[Job | None, "Once"]:
        """The next trial, if there is one, and the state once it is out."""
        if self.started == self.trials:
            return None, self
        return Job(self.started, None), self._replace(started=self.started + 1)

    def tell(self, job: Job, loss: float) -> "Once":
        """Nothing depends on it."""
        return self


class Search:
    """A search under way: the scheduler's state, the jobs that were asked for and not told, and those done."""

    def __init__(self, plan: Plan, events: Sequence[Mapping[str, Any]]):
        self.plan, self.state = plan, plan.start()
        self.done: list[Done] = []
        self.open: dict[int, Job] = {}
        self._training: dict[int, dict[str, Any]] = {}  # with which configurations
        self._losses: dict[int, float] = {}  # of the first job of each trial
        self._asked: list[list] = []  # since the last event
        for event in events:
            self._repeat(event)

    def step(self, engine: Any, states: States, lines: Store | None) -> bool:
        """Ask for what the engine has room for, wait until some of it is done, write it down; False at the end."""
        while len(self.open) < engine.room and self._ask():
            pass
        for job in list(self.open.values()):
            if len(self._training) < engine.room and self._is_ready(job):
                config = self._training[job.trial] = self.plan.config(job, self._losses)
                parent = job.trial if job.parent is None else job.parent
                engine.start(job, config, states.get(parent, job.start))
        if not self.open:
            return False
        done = [self._done(*finished, states) for finished in engine.finish()]
        if lines is not None:
            lines.append({"asked": self._asked, "told": [record(one) for one in done]})
        self._asked = []
        for one in done:
            self._tell(one)
        return True

    def _ask(self) -> bool:
        job, self.state = self.state.ask()
        if job is not None:
            self.open[job.trial] = job
            self._asked.append([job.trial, job.resource])
        return job is not None

    def _is_ready(self, job: Job) -> bool:
        known = self._losses
        return job.trial not in self._training and all(t in known for t in range(self.plan.needs(job)))

    def _done(self, job: Job, result: Result, seconds: float, states: States) -> Done:
        config = self._training[job.trial]
        for name in result.values:
            if name in COLUMNS or name in config:
                raise ValueError(f"values of a Result must have names of their own, got {name!r}")
        if job.resource is not None:
            states.put(job.trial, job.resource, result.state)
        return Done(
            job.trial,
            config,
            result.loss,
            job.resource,
            job.start,
            job.parent,
            result.curve,
            result.values,
            seconds,
        )

    def _tell(self, one: Done) -> None:
        self.state = self.state.tell(self.open.pop(one.trial), one.loss)
        self._training.pop(one.trial, None)  # which is not there when it is repeated from the store
        self._losses.setdefault(one.trial, one.loss)
        self.done.append(one)

    def _repeat(self, event: Mapping[str, Any]) -> None:
        """Ask and tell as a line of the store says."""
        for asked in event["asked"]:
            if not self._ask():
                raise ValueError(
                    f"n must be at least {asked[0] + 1}, the trials that are in the store, got {self.plan.n}"
                )
        for one in told(event):
            self._tell(one)
        self._asked = []


def _name(objective: Callable) -> str:
    return getattr(objective, "__qualname__", type(objective).__qualname__)


def _trainer(plan: Plan, engine: str, workers: int) -> Here | Processes | Vectorised:
    if engine == "vectorised":
        return Vectorised(plan.objective, plan.space, workers)
    workers = min(workers, plan.n)
    return Here(plan.objective) if workers == 1 else Processes(plan.objective, workers)
