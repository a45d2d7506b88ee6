"""Schedulers: which trial gets how much training. Successive halving, Hyperband, ASHA, population-based training.

A scheduler is a set of rules. `start(n)` gives the state of a search of `n` trials, numbered from 0, and from there:

* `job, state = state.ask()` hands out the next piece of work, or None: nothing can be done until a job that is out
  comes back. When none is out either, the search is over.
* `state = state.tell(job, loss)` takes the result of a job. Jobs may come back in any order.

Nothing is run, timed or written down here. A state never changes, and the same asks and tells in the same order lead
to the same state, so a search that broke off is taken up again by repeating them. To do all that can be done at once,
ask until None. The smaller loss is better. NaN or infinity stands for a trial that diverged: it ranks behind all
others, and is never promoted or copied, even where a place stays empty.

Training is counted in whole numbers, of epochs or of steps. Rungs, where trials are compared, lie at `r_max`,
`r_max // eta`, `r_max // eta**2` and so on down to `r_min`: at 1, 3, 9 and 27 for `r_min=1, r_max=27, eta=3`.

Sources: Jamieson and Talwalkar (2016), Non-stochastic Best Arm Identification and Hyperparameter Optimization; Li and
others (2018), Hyperband, Algorithm 1, and its first version, https://arxiv.org/abs/1603.06560, Table 1; Li and others
(2020), A System for Massively Parallel Hyperparameter Tuning, Algorithm 2, https://arxiv.org/abs/1810.05934;
Jaderberg and others (2017), Population Based Training of Neural Networks, https://arxiv.org/abs/1711.09846.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple

import numpy as np

from dlbook.shapes import check_number
from dlbook.tuning.ranking import best, check_loss, check_whole, feasible
from dlbook.tuning.samplers import Point, Sampler


class Job(NamedTuple):
    """Train `trial` from `start`, where it stands, until it has had `resource` in all; report its loss there.

    `parent` and `config` belong to population-based training: first take over the weights that trial `parent` had at
    `start`, and train with `config`. None means the trial's own.
    """

    trial: int
    resource: int
    start: int = 0
    parent: int | None = None
    config: dict[str, Any] | None = None


class Rung(NamedTuple):
    """How many trials are trained until each has had `resource`."""

    trials: int
    resource: int


def cost(rungs: Sequence[Rung], *, resume: bool = True) -> int:
    """What the rungs cost together; `resume=False` if each of them trains from scratch, for want of checkpoints."""
    start = total = 0
    for trials, resource in rungs:
        total += trials * (resource - start if resume else resource)
        start = resource
    return total


class Round(NamedTuple):
    """Jobs that must all be back before anything is decided."""

    waiting: tuple[Job, ...]
    out: dict[int, Job]
    losses: dict[int, float]

    @classmethod
    def of(cls, jobs: Iterable[Job]) -> "Round":
        return cls(tuple(jobs), {}, {})

    @property
    def over(self) -> bool:
        return not self.waiting and not self.out

    def ask(self) -> tuple[Job | None, "Round"]:
        if not self.waiting:
            return None, self
        job, *waiting = self.waiting
        return job, self._replace(waiting=tuple(waiting), out=self.out | {job.trial: job})

    def tell(self, job: Job, loss: float) -> "Round":
        return self._replace(out=_without(self.out, job), losses=self.losses | {job.trial: check_loss(loss)})


# successive halving and Hyperband


@dataclass(frozen=True, kw_only=True)
class _Rungs:
    r_max: int
    r_min: int = 1
    eta: int = 3

    def __post_init__(self):
        check_whole("r_min", self.r_min, 1)
        check_whole("r_max", self.r_max, self.r_min)
        check_whole("eta", self.eta, 2)

    @property
    def resources(self) -> tuple[int, ...]:
        """Where the rungs lie, from below. In whole numbers, since the float log(243, 3) is less than 5."""
        found = [self.r_max]
        while self.r_max // self.eta ** len(found) >= self.r_min:
            found.append(self.r_max // self.eta ** len(found))
        return tuple(reversed(found))


class SuccessiveHalving(_Rungs):
    """Train all trials a little, keep the best 1/`eta`, give them `eta` times as much, and so on to `r_max`.

    Every rung waits for its last trial. At least one trial is kept, as long as one is feasible.
    """

    def rungs(self, n: int) -> tuple[Rung, ...]:
        """The plan for `n` trials."""
        check_whole("n", n, 1)
        return tuple(Rung(max(n // self.eta**k, 1), resource) for k, resource in enumerate(self.resources))

    def start(self, n: int) -> "Halving":
        """A search of `n` trials."""
        return Halving.of(self.rungs(n), range(n))


class Halving(NamedTuple):
    """The state of successive halving: the plan, the rung that is being run, and its jobs."""

    rungs: tuple[Rung, ...]
    rung: int
    round: Round

    @classmethod
    def of(cls, rungs: tuple[Rung, ...], trials: Iterable[int]) -> "Halving":
        return cls(rungs, 0, Round.of(Job(trial, rungs[0].resource) for trial in trials))

    def ask(self) -> tuple[Job | None, "Halving"]:
        """The next job, if there is one, and the state once it is out."""
        job, round = self.round.ask()
        return job, self._replace(round=round)

    def tell(self, job: Job, loss: float) -> "Halving":
        """The state once `job` is back."""
        round = self.round.tell(job, loss)
        if not round.over or self.rung + 1 == len(self.rungs):
            return self._replace(round=round)
        (_, start), (n, resource) = self.rungs[self.rung : self.rung + 2]
        kept = best(round.losses, n)
        return Halving(self.rungs, self.rung + 1, Round.of(Job(trial, resource, start) for trial in kept))


@dataclass(frozen=True, kw_only=True)
class Hyperband(_Rungs):
    """Several races of successive halving: many trials from `r_min`, fewer from the next rung, a few at `r_max`.

    For when nobody knows how early a bad trial shows. Two versions of the numbers are in print. In the bracket with s
    promotions start n = ceil((s_max + 1) / (s + 1) * eta**s) trials with `counts="algorithm"`, as in Algorithm 1, and
    n = floor((s_max + 1) / (s + 1)) * eta**s with `counts="table"`, as in Table 1.
    """

    counts: str = "algorithm"

    def __post_init__(self):
        super().__post_init__()
        _check_word("counts", self.counts, ("algorithm", "table"))

    @property
    def brackets(self) -> tuple[tuple[Rung, ...], ...]:
        """The rungs of each bracket, the one with the most trials first."""
        return tuple(self._bracket(s) for s in reversed(range(len(self.resources))))

    @property
    def trials(self) -> int:
        """How many trials all brackets start together."""
        return sum(bracket[0].trials for bracket in self.brackets)

    def start(self, n: int | None = None) -> "Brackets":
        """A search; `n` may be left out, and is otherwise `trials`, which the rules decide."""
        if n not in (None, self.trials):
            raise ValueError(
                f"n must be None or {self.trials}, the trials that the brackets start, got {n!r}"
            )
        numbers = iter(range(self.trials))
        return Brackets(
            tuple(
                Halving.of(bracket, [next(numbers) for _ in range(bracket[0].trials)])
                for bracket in self.brackets
            )
        )

    def _bracket(self, s: int) -> tuple[Rung, ...]:
        all_brackets = len(self.resources)  # s_max + 1
        if self.counts == "table":
            n = all_brackets // (s + 1) * self.eta**s
        else:
            n = -(-all_brackets * self.eta**s // (s + 1))  # rounded up
        return tuple(Rung(n // self.eta**k, r) for k, r in enumerate(self.resources[-(s + 1) :]))


class Brackets(NamedTuple):
    """The state of Hyperband. Brackets run in order; while one waits for its last jobs, the next one goes ahead."""

    halvings: tuple[Halving, ...]

    def ask(self) -> tuple[Job | None, "Brackets"]:
        """The next job, if there is one, and the state once it is out."""
        for b, halving in enumerate(self.halvings):
            job, halving = halving.ask()
            if job is not None:
                return job, self._with(b, halving)
        return None, self

    def tell(self, job: Job, loss: float) -> "Brackets":
        """The state once `job` is back."""
        for b, halving in enumerate(self.halvings):
            if job.trial in halving.round.out:
                return self._with(b, halving.tell(job, loss))
        raise _not_out(job, {})

    def _with(self, b: int, halving: Halving) -> "Brackets":
        return Brackets((*self.halvings[:b], halving, *self.halvings[b + 1 :]))


# ASHA


@dataclass(frozen=True, kw_only=True)
class ASHA(_Rungs):
    """Successive halving that waits for nobody: a trial is judged beside those that reached its rung so far.

    `mode="promote"` is the algorithm of the paper: a trial pauses at its rung, and goes on as soon as it is among the
    best 1/`eta` of that rung, which it may become when worse ones arrive. `mode="stop"`, which most libraries call
    ASHA, asks once, on arrival, and ends the trial there or trains on: no checkpoint is needed, early trials have it
    easier, and none gets a second chance.

    `rule` is what `mode="stop"` asks for. "topk": a place among the best floor(m / `eta`) of the m losses so far, its
    own included, or the first place while m < `eta`, as in Optuna. "quantile": a loss no larger than the 1/`eta`
    quantile of the earlier ones, as in Ray Tune.
    """

    mode: str = "stop"
    rule: str = "topk"

    def __post_init__(self):
        super().__post_init__()
        _check_word("mode", self.mode, ("stop", "promote"))
        _check_word("rule", self.rule, ("topk", "quantile"))

    def start(self, n: int) -> "Race":
        """A search of `n` trials."""
        check_whole("n", n, 1)
        return Race(self, n, 0, tuple({} for _ in self.resources), (), {})

    def passes(self, loss: float, earlier: Iterable[float]) -> bool:
        """In `mode="stop"`: may a trial train on that meets these `earlier` losses of others at its rung?"""
        if not feasible(check_loss(loss)):
            return False
        earlier = [one if feasible(one) else inf for one in earlier]
        if self.rule == "topk":
            ranked = sorted([*earlier, loss])
            return loss <= ranked[max(len(ranked) // self.eta, 1) - 1]
        finite = [one for one in earlier if one < inf]
        return not finite or bool(loss <= np.quantile(finite, 1 / self.eta))


class Race(NamedTuple):
    """The state of ASHA: the losses at each rung, the trials that may train on at once, and the jobs that are out."""

    rules: ASHA
    trials: int
    started: int
    losses: tuple[dict[int, float], ...]
    ready: tuple[Job, ...]
    out: dict[int, Job]

    def ask(self) -> tuple[Job | None, "Race"]:
        """The next job, if there is one, and the state once it is out: going on comes before starting anew."""
        job = self.ready[0] if self.ready else self._promotable()
        if job is not None:
            return job, self._replace(ready=self.ready[1:], out=self.out | {job.trial: job})
        if self.started == self.trials:
            return None, self
        job = Job(self.started, self.rules.resources[0])
        return job, self._replace(started=self.started + 1, out=self.out | {job.trial: job})

    def tell(self, job: Job, loss: float) -> "Race":
        """The state once `job` is back."""
        out, k = _without(self.out, job), self.rules.resources.index(job.resource)
        here, ready = self.losses[k], self.ready
        if self.rules.mode == "stop" and self._next(k) and self.rules.passes(loss, here.values()):
            ready += (Job(job.trial, self._next(k), job.resource),)
        here = here | {job.trial: check_loss(loss)}
        return self._replace(losses=(*self.losses[:k], here, *self.losses[k + 1 :]), ready=ready, out=out)

    def _promotable(self) -> Job | None:
        """In `mode="promote"`: the best trial of the highest rung that belongs on the next and is not there yet."""
        for k in reversed(range(len(self.losses) - 1 if self.rules.mode == "promote" else 0)):
            for trial in best(self.losses[k], len(self.losses[k]) // self.rules.eta):
                if trial not in self.losses[k + 1] and trial not in self.out:
                    return Job(trial, self._next(k), self.rules.resources[k])
        return None

    def _next(self, k: int) -> int | None:
        return self.rules.resources[k + 1] if k + 1 < len(self.rules.resources) else None


# population-based training


@dataclass(frozen=True)
class PBT:
    """A population trains side by side; at every `interval` the worst copy the best and vary what they copied.

    The worst `fraction`, and all that diverged, take over the weights and the hyperparameters of members of the best
    `fraction` (exploit). Then each hyperparameter is drawn anew with probability `resample`, or else moves by `nudge`
    up or down its scale, as far as the end (explore): 0.05 on a log scale from 0.0001 to 1 is a factor of 1.6. So a
    member has a schedule rather than a setting, and it stays inside the space.

    The first hyperparameters are those of `sampler`; what follows generation g is drawn from (`seed`, g). Where all
    have diverged, all go on as they are. The paper multiplies by 0.8 or 1.2 to explore, whatever the scale.
    """

    sampler: Sampler
    interval: int = field(kw_only=True)
    r_max: int = field(kw_only=True)
    fraction: float = field(default=0.25, kw_only=True)
    nudge: float = field(default=0.05, kw_only=True)
    resample: float = field(default=0.25, kw_only=True)
    seed: int = field(default=0, kw_only=True)

    def __post_init__(self):
        check_whole("interval", self.interval, 1)
        check_whole("r_max", self.r_max, self.interval)
        check_number("fraction", self.fraction, 0, 0.5, open_low=True)
        check_number("nudge", self.nudge, 0, 1)
        check_number("resample", self.resample, 0, 1)
        check_whole("seed", self.seed, 0)

    def start(self, n: int) -> "Population":
        """A population of `n` members."""
        check_whole("n", n, 2)
        return Population.of(self, 0, tuple(range(n)), tuple(self.sampler.point(k) for k in range(n)))

    def evolve(
        self, points: Sequence[Point], losses: Sequence[float], generation: int
    ) -> tuple[tuple[int, ...], tuple[Point, ...]]:
        """Whom each member goes on from, itself or a better one, and with which point of the unit cube.

        All members are drawn for, copied or not, so that what happens to one does not change the draws of another.
        """
        members, axes = len(points), self.sampler.space.dimensions
        if len(losses) != members:
            raise ValueError(f"losses must be {members}, one per member, got {len(losses)}")
        rng = np.random.default_rng([self.seed, generation, 1])  # Random draws from [seed, i]
        pick, redraw, anew, side = rng.random(members), *rng.random((3, members, axes))
        ranked = best(dict(enumerate(map(check_loss, losses))), members)
        if not ranked:
            return tuple(range(members)), tuple(points)
        count = max(int(self.fraction * members), 1)
        top, safe = ranked[:count], ranked[: members - count]
        parents = [k if k in safe else top[int(pick[k] * len(top))] for k in range(members)]
        moved = np.clip([points[p] for p in parents] + np.where(side < 0.5, -self.nudge, self.nudge), 0, 1)
        varied = np.where(redraw < self.resample, anew, moved)
        return tuple(parents), tuple(
            points[k] if parents[k] == k else tuple(varied[k].tolist()) for k in range(members)
        )


class Population(NamedTuple):
    """The state of population-based training: the generation, the members' points in the unit cube, the jobs."""

    rules: PBT
    generation: int
    points: tuple[Point, ...]
    round: Round

    @classmethod
    def of(cls, rules: PBT, generation: int, parents: tuple, points: tuple[Point, ...]) -> "Population":
        start = generation * rules.interval
        resource = min(start + rules.interval, rules.r_max)
        jobs = (
            Job(
                k, resource, start, None if parents[k] == k else parents[k], rules.sampler.space.config(point)
            )
            for k, point in enumerate(points)
        )
        return cls(rules, generation, points, Round.of(jobs))

    def ask(self) -> tuple[Job | None, "Population"]:
        """The next job, if there is one, and the state once it is out."""
        job, round = self.round.ask()
        return job, self._replace(round=round)

    def tell(self, job: Job, loss: float) -> "Population":
        """The state once `job` is back."""
        round = self.round.tell(job, loss)
        if not round.over or job.resource == self.rules.r_max:
            return self._replace(round=round)
        losses = [round.losses[k] for k in range(len(self.points))]
        parents, points = self.rules.evolve(self.points, losses, self.generation + 1)
        return Population.of(self.rules, self.generation + 1, parents, points)


def _without(out: dict[int, Job], job: Job) -> dict[int, Job]:
    if job.trial not in out or out[job.trial].resource != job.resource:
        raise _not_out(job, out)
    return {trial: one for trial, one in out.items() if trial != job.trial}


def _not_out(job: Job, out: dict[int, Job]) -> ValueError:
    return ValueError(
        f"job must be one that ask() handed out and that is not back yet, got trial {job.trial} at {job.resource}; "
        f"out at the moment: {sorted((one.trial, one.resource) for one in out.values())[:5]}"
    )


def _check_word(name: str, word: str, words: tuple[str, ...]) -> None:
    if word not in words:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, words))}, got {word!r}")
