"""The experiments of the chapter on pandas and caviar: seeds, settings and budgets in, plain arrays out.

Nearly all of them train populations: the K learning rates or seeds that are compared are K models of one array. Where
thousands of searches are compared, each is a *replay*: 243 configurations are trained in full once, and a search
looks up in their learning curves what it would have seen.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_iris

from dlbook import data
from dlbook.mlp import numpy as mlp_numpy
from dlbook.parallel import parallel
from dlbook.tuning import (
    MLP,
    PBT,
    Log,
    OneMinusLog,
    Population,
    Random,
    Result,
    Space,
    Study,
    SuccessiveHalving,
    cost,
    run,
)
from dlbook.tuning.population import split, stack

LOG_TEN = float(np.log(10))  # the loss of guessing; whatever is worse counts as that
SPACE = Space(lr=Log(1e-4, 1), beta1=OneMinusLog(0.5, 0.999))  # Adam's
HALVING = SuccessiveHalving(r_min=3, r_max=27)
FEW = (0.178, 0.2, 0.622)  # 320 digits to learn from: five batches of 64


def few_digits(seed: int = 0) -> data.Split:
    """The digits, 320 of them to train on, 359 to choose by and the other 1118 to report on."""
    return data.digits(seed, fractions=FEW)


def reader(seed: int = 0, **settings: Any) -> MLP:
    """The objective of this chapter: 64-16-10, Adam, 320 digits. `seed` is that of weights and batches."""
    return MLP(few_digits(), **dict(epochs=27, hidden=16, optimizer="adam", every=3) | settings, seed=seed)


def caviar(n: int = 243, *, seed: int = 0) -> Study:
    """`n` random configurations of Adam trained side by side for 27 epochs, with a point of the curve every 3."""
    return run(reader(seed), SPACE, Random(SPACE, seed=seed), n=n, engine="vectorised", workers=2)


def curves(study: Study) -> np.ndarray:
    """The learning curves of a study, (trials, points); losses count at most `LOG_TEN`."""
    return capped(np.array([study.curve(trial)[1] for trial in study.trials]))


def capped(losses: np.ndarray) -> np.ndarray:
    """Losses at most that of guessing; diverged trials have just that."""
    return np.where(np.isfinite(losses), np.minimum(losses, LOG_TEN), LOG_TEN)


# one model under somebody's eyes


class Day(NamedTuple):
    """A day of babysitting: the rate it was trained with, the loss in the evening, and what was done about it."""

    rate: float
    loss: float
    kept: bool  # False: back to yesterday's weights


class Diaries(NamedTuple):
    """What was seen and done with each of K models, day by day: arrays (days, K)."""

    rates: np.ndarray
    losses: np.ndarray  # in the evening, before anybody goes back
    kept: np.ndarray
    best: np.ndarray  # the smallest loss so far

    def of(self, k: int) -> list[Day]:
        """The diary of model `k`."""
        return [Day(*(float(x[k]) for x in row[:2]), bool(row[2][k])) for row in zip(*self[:3], strict=True)]


RAISE, LOWER = 1.5, 1 / 3


def babysit(
    objective: MLP,
    rates: Sequence[float],
    *,
    days: int = 9,
    epochs: int = 3,
    seeds: Sequence[int] | None = None,
    alone: bool = False,
    **others: Sequence[float],
) -> Diaries:
    """K models, each looked after by somebody with one habit, for `days` of `epochs` each.

    A day that made the loss smaller was good: go on, half as fast again (`RAISE`). A day that did not was bad: take
    yesterday's weights back and a third of the rate (`LOWER`). Model k starts with `rates[k]`; all have the seed of
    the objective, or each its own of `seeds`. `others` are hyperparameters that nobody touches, K values each.
    `alone=True` only watches, for comparison.
    """
    rate, k = np.array(rates, float), len(rates)
    fixed = others if seeds is None else others | {"seed": seeds}
    states, before, taken, rows = [None] * k, np.full(k, np.inf), np.zeros(k, int), []
    for day in range(days):
        config = {"lr": rate, **{name: np.array(values) for name, values in fixed.items()}}
        loss, now = a_day(objective, config, states, taken, day * epochs, (day + 1) * epochs)
        good = (loss < before) | alone
        states = [new if ok else old for new, old, ok in zip(now, states, good, strict=True)]
        rows.append((rate, loss, good))
        before, taken = np.minimum(before, loss), taken + good
        rate = rate if alone else np.where(good, RAISE, LOWER) * rate
    rates_, losses, kept = map(np.array, zip(*rows, strict=True))
    return Diaries(rates_, losses, kept, np.minimum.accumulate(capped(losses)))


def a_day(
    objective: MLP,
    config: Mapping[str, np.ndarray],
    states: Sequence,
    taken: np.ndarray,
    begin: int,
    end: int,
) -> tuple[np.ndarray, list]:
    """Train K models from epoch `begin` to `end`: losses, infinite for NaN, and states.

    Those that were `taken` equally far by the days that counted are one array: Adam counts its steps, and whoever
    goes back to yesterday's weights goes back to yesterday's count.
    """
    losses, found = np.full(len(states), np.inf), [None] * len(states)
    for far in np.unique(taken):
        rows = np.flatnonzero(taken == far)
        part = population(**{name: values[rows] for name, values in config.items()})
        state = stack([states[k] for k in rows]) if far else None
        loss, state, *_ = objective(part, state, begin, end)
        losses[rows] = np.nan_to_num(np.ravel(loss).astype(float), nan=np.inf)
        for k, one in zip(rows, split(state, len(rows)), strict=True):
            found[k] = one
    return losses, found


def again(objective: MLP, rates: Sequence[float], seeds: Sequence[int], *, epochs: int = 3) -> np.ndarray:
    """The losses of training anew by the rates of a diary, without anybody going back, (seeds,); one rate a day."""
    state, k = None, len(seeds)
    for day, rate in enumerate(rates):
        config = population(lr=np.full(k, rate), seed=np.array(seeds))
        loss, state, *_ = objective(config, state, day * epochs, (day + 1) * epochs)
    return capped(np.ravel(loss).astype(float))


def population(**arrays: Any) -> Population:
    """The configurations of K models: arrays of K numbers, here with the axes that an objective expects."""
    found = Population({name: np.reshape(values, (-1, 1, 1)) for name, values in arrays.items()})
    found.models = max(np.size(values) for values in arrays.values())
    return found


# searches that look up in learning curves


class Replayed(NamedTuple):
    """A search that looked up: which trial it chose, with what loss, and how many epochs it paid for."""

    trial: int
    loss: float
    epochs: int


def replay(scheduler: Any, curves: np.ndarray, every: int = 3) -> Replayed:
    """One search over the trials of `curves` (trials, points), with a point every `every` epochs."""
    state, last, paid = scheduler.start(len(curves)), {}, 0
    job, state = state.ask()
    while job is not None:
        loss, paid = seen(curves, job.trial, job.resource, every), paid + job.resource - job.start
        last[job.trial] = (-job.resource, loss, job.trial)
        job, state = state.tell(job, loss).ask()
    _, loss, trial = min(last.values())
    return Replayed(trial, loss, paid)


def reached(scheduler: Any, losses: Callable[[int, int], float], n: int) -> list[int]:
    """How far each of `n` trials gets that run one after another; `losses(trial, resource)`."""
    state, last = scheduler.start(n), [0] * n
    job, state = state.ask()
    while job is not None:
        last[job.trial] = job.resource
        job, state = state.tell(job, losses(job.trial, job.resource)).ask()
    return last


def optuna_reached(
    losses: Callable[[int, int], float], n: int, rungs: Sequence[int] = (1, 3, 9)
) -> list[int]:
    """How far Optuna's pruner of successive halving lets each trial get; `losses(trial, resource)`."""
    with warnings.catch_warnings():  # of tqdm's, in a notebook without widgets
        warnings.simplefilter("ignore")
        import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.SuccessiveHalvingPruner(
        min_resource=rungs[0], reduction_factor=rungs[1] // rungs[0]
    )
    study, last = optuna.create_study(pruner=pruner), []
    for number in range(n):
        trial = study.ask()
        for resource in rungs:
            trial.report(losses(number, resource), resource)
            if trial.should_prune():
                break
        study.tell(trial, losses(number, resource))
        last.append(resource)
    return last


def seen(curves: np.ndarray, trial: int, resource: int, every: int = 3) -> float:
    """The loss of `trial` after `resource` epochs, from `curves` (trials, points) with a point every `every`."""
    return float(curves[trial, resource // every - 1])


def affordable(epochs: int, scheduler: SuccessiveHalving = HALVING) -> int:
    """The most trials whose successive halving costs at most so many `epochs`."""
    n = 0
    while cost(scheduler.rungs(n + 1)) <= epochs:
        n += 1
    return n


class Arms(NamedTuple):
    """What replays of equal draws found: arrays (replays,)."""

    halving: np.ndarray
    random: np.ndarray  # as many trials in full as halving's epochs pay for
    full: np.ndarray  # all trials in full
    kept: np.ndarray  # True where halving chose the best of all
    epochs: tuple[int, int, int]  # what each of the three paid


def arms(curves: np.ndarray, n: int = 27, *, replays: int = 300, every: int = 3, seed: int = 0) -> Arms:
    """Successive halving of `n` configurations against fewer in full and all in full; each replay draws its own."""
    rng, rows, r_max = np.random.default_rng(seed), [], curves.shape[1] * every
    for _ in range(replays):
        drawn = curves[rng.choice(len(curves), n, replace=False)]
        found = replay(HALVING, drawn, every)
        few = drawn[: found.epochs // r_max, -1]
        rows.append((found.loss, few.min(), drawn[:, -1].min(), found.trial == drawn[:, -1].argmin()))
    halving, random, full, kept = map(np.array, zip(*rows, strict=True))
    return Arms(halving, random, full, kept, (found.epochs, len(few) * r_max, n * r_max))


class Agreement(NamedTuple):
    """Spearman's correlation of the ranks at each point of the curves with the final ranks."""

    all: np.ndarray  # (points,)
    best: np.ndarray  # among the third that ends best


def agreement(curves: np.ndarray) -> Agreement:
    """Do early ranks say who wins? `curves` (trials, points)."""
    final = curves[:, -1]
    top = np.argsort(final, kind="stable")[: len(final) // 3]
    return Agreement(
        *(
            np.array([spearman(part[:, k], part[:, -1]) for k in range(curves.shape[1])])
            for part in (curves, curves[top])
        )
    )


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of the ranks; equal values share the mean of their ranks."""
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, the smallest first; equal values share the mean of theirs."""
    less = (values[:, None] > values).sum(axis=1)
    return less + ((values[:, None] == values).sum(axis=1) + 1) / 2


# budgets


BUDGETS = (1, 3, 9, 27)  # in full trainings of 27 epochs


class Spent(NamedTuple):
    """The smallest loss that each way of spending a budget found."""

    alone: np.ndarray  # (pandas,), one training, nobody looking, its best evening
    panda: np.ndarray  # (pandas,), the same, looked after
    random: np.ndarray  # (budgets, replays)
    halving: np.ndarray  # (budgets, replays)


def spent(study: Study, *, replays: int = 100, pandas: int = 81) -> Spent:
    """Look after one model, train several in full, or halve: each of `BUDGETS` in as many epochs.

    Replay r draws its own order of the trials of `study`. The single models start from its first `pandas`
    configurations and have the epochs of one full training.
    """
    losses, first = curves(study), [one.config for one in list(study.trials.values())[:pandas]]
    given = {name: [config[name] for config in first] for name in SPACE.scales}
    panda = babysit(reader(every=None), given["lr"], beta1=given["beta1"]).best[-1]
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(losses)) for _ in range(replays)]
    counts = [affordable(budget * HALVING.r_max) for budget in BUDGETS]
    random = [[losses[order[:budget], -1].min() for order in orders] for budget in BUDGETS]
    halving = [[replay(HALVING, losses[order[:n]]).loss for order in orders] for n in counts]
    return Spent(losses[:pandas].min(axis=1), panda, np.array(random), np.array(halving))


class Budget(NamedTuple):
    """What a deadline allows, and what follows."""

    full: int  # trials trained to the end
    halved: int  # trials that successive halving can start
    advice: str


ENOUGH = 59  # trials that find one of the best 5 % with a chance of 95 %


def budget(workers: int, hours: float, per_run: float, scheduler: SuccessiveHalving = HALVING) -> Budget:
    """What `workers` can train in `hours` if one full training takes `per_run` hours on one of them."""
    for name, value in (("workers", workers), ("hours", hours), ("per_run", per_run)):
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}")
    full = workers * int(hours / per_run + 1e-9)
    halved = affordable(int(workers * hours / per_run * scheduler.r_max + 1e-9), scheduler) if full else 0
    if full >= ENOUGH:
        return Budget(full, halved, "caviar: train them all")
    if halved >= ENOUGH:
        return Budget(full, halved, "in between: stop the worst early")
    return Budget(full, halved, "panda: few runs, each looked after" if full else "nothing ends in time")


# workers and a clock


def timeline(
    scheduler: Any, losses: Callable[[int, int], float], n: int, workers: int, speed: Callable[[int], float]
) -> list:
    """When which worker trains what: a list of (worker, begin, end, job).

    `losses(trial, resource)` is what a job reports, `speed(trial)` how long an epoch of the trial takes. A worker
    that finds no job waits for the next result.
    """
    state, free, out, done, now = scheduler.start(n), list(range(workers)), [], [], 0.0
    while True:
        while free:
            job, state = state.ask()
            if job is None:
                break
            end = now + (job.resource - job.start) * speed(job.trial)
            out.append((end, free.pop(0), now, job))
        if not out:
            return done
        now, worker, begin, job = out.pop(out.index(min(out, key=lambda one: one[:2])))
        done.append((worker, begin, now, job))
        free, state = sorted([*free, worker]), state.tell(job, losses(job.trial, job.resource))


def busy(jobs: Sequence[tuple], workers: int) -> float:
    """The share of the workers' time, until the last job ends, that was spent on training."""
    return sum(end - begin for _, begin, end, _ in jobs) / (workers * max(end for _, _, end, _ in jobs))


def drawn(jobs: Sequence[tuple], workers: int, *, step: float = 1.0) -> list[str]:
    """One line a worker: the trial it trains, as a letter, and a dot where it waits."""
    length = int(np.ceil(max(end for _, _, end, _ in jobs) / step))
    lines = [["."] * length for _ in range(workers)]
    for worker, begin, end, job in jobs:
        for place in range(round(begin / step), round(end / step)):
            lines[worker][place] = chr(ord("a") + job.trial)
    return ["".join(line) for line in lines]


class Waiting(NamedTuple):
    """Schedulers by the clock, (schedulers, replays)."""

    busy: np.ndarray  # the share of the workers' time that was spent on training
    first: np.ndarray  # when the first trial was trained in full, in epochs of a worker of usual speed
    loss: np.ndarray  # the smallest loss of a trial trained in full


def waiting(
    schedulers: Sequence[Any], curves: np.ndarray, *, n: int = 27, workers: int = 9, replays: int = 30
) -> Waiting:
    """Races of `n` trials on `workers`; replay r draws the trials, and how slow each is, log-normal around 1."""
    rows = []
    for r in range(replays):
        rng = np.random.default_rng(r)
        part, slow = curves[rng.choice(len(curves), n, replace=False)], rng.lognormal(0, 0.7, n)
        for scheduler in schedulers:
            jobs = timeline(scheduler, partial(seen, part), n, workers, slow.item)
            full = [(end, part[job.trial, -1]) for _, _, end, job in jobs if job.resource == scheduler.r_max]
            rows.append((busy(jobs, workers), min(full)[0], min(loss for _, loss in full)))
    return Waiting(*np.reshape(rows, (replays, len(schedulers), 3)).T)


# population-based training


def evolve(n: int = 16, *, seed: int = 0) -> Study:
    """Population-based training of `n` readers: 27 epochs, and every three the worst copy the best."""
    sampler = Random(SPACE, seed=seed)
    scheduler = PBT(sampler, interval=3, r_max=27, seed=seed)
    return run(reader(seed), SPACE, sampler, scheduler, n=n, engine="vectorised")


# intuitions that go stale


RATES = 10 ** np.arange(-2.5, 0.76, 0.25)
OLD = 0  # the row of `CHANGES` whose rate everybody remembers


class SumOverBatch:
    """`MLP` whose loss is the sum over the batch: gradients are as many times larger as the batch has rows."""

    def __init__(self, objective: MLP):
        self.objective = objective

    def __call__(self, config: Population) -> Result:
        return self.objective(_scaled(config, self.objective.batch_size))


class PyTorchMomentum:
    """`MLP` with `torch.optim.SGD(lr, momentum=beta)`, which is the lecture's form at lr / (1 - beta)."""

    def __init__(self, objective: MLP, beta: float = 0.9):
        self.objective, self.beta = objective, beta

    def __call__(self, config: Population) -> Result:
        scaled = _scaled(config, 1 / (1 - self.beta))
        scaled["momentum"] = self.beta
        return self.objective(scaled)


def _scaled(config: Population, factor: float) -> Population:
    new = Population(config)
    new.models, new["lr"] = config.models, factor * config["lr"]
    return new


def raw_pixels(part: data.Split) -> data.Split:
    """The digits with pixels from 0 to 16, as the scanner gives them."""
    return part._replace(
        **{name: data.DIGIT_LEVELS * getattr(part, name) for name in ("x_train", "x_val", "x_test")}
    )


def changes() -> dict[str, Callable]:
    """The reader before and after one change each, as objectives of a learning rate."""
    part, base = few_digits(), dict(epochs=12, hidden=16, optimizer="sgd")
    return {
        "before": MLP(part, **base),
        "pixels 0 to 16": MLP(raw_pixels(part), **base),
        "4 hidden layers": MLP(part, **base | {"hidden": (16,) * 4}),
        "momentum 0.9 (PyTorch)": PyTorchMomentum(MLP(part, **base | {"optimizer": "momentum"})),
        "Adam": MLP(part, **base | {"optimizer": "adam"}),
        "sum over the batch": SumOverBatch(MLP(part, **base)),
        "batch norm": MLP(part, **base, batch_norm=True),
        "64 hidden units": MLP(part, **base | {"hidden": 64}),
    }


class Stale(NamedTuple):
    """The median loss over the seeds at each rate, (changes, rates), and what follows for each change."""

    names: tuple[str, ...]
    losses: np.ndarray
    best: np.ndarray  # the best rate
    at_best: np.ndarray  # its loss
    at_old: np.ndarray  # the loss at the rate that was best before


def stale(seeds: Sequence[int] = range(3), rates: np.ndarray = RATES) -> Stale:
    """Gradient descent at every rate, before and after each change; the seeds are those of weights and batches."""
    changed = changes()
    found = parallel(lambda one: sweep(one, rates, seeds), changed.values())
    losses = np.median(found, axis=1)
    best = losses.argmin(axis=1)
    return Stale(tuple(changed), losses, rates[best], losses.min(axis=1), losses[:, best[OLD]])


def sweep(objective: Callable, rates: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
    """The loss at each rate for each seed, (seeds, rates), at most that of guessing among ten: one population."""
    config = population(lr=np.tile(rates, len(seeds)), seed=np.repeat(seeds, len(rates)))
    return capped(np.reshape(objective(config).loss, (len(seeds), len(rates))).astype(float))


# from domain to domain


def iris(seed: int) -> data.Split:
    """150 irises of 3 kinds, four lengths in centimetres: x (n, 4), y (n,)."""
    bunch = load_iris()
    return data.split(bunch.data, bunch.target, seed)


DOMAINS = {"digits": few_digits, "wine": data.wine, "tumours": data.breast_cancer, "irises": iris}
DOMAIN_RATES = 10 ** np.arange(-3.5, 0.76, 0.25)


class Transfer(NamedTuple):
    """What a domain loses by the best rate of another, and the best rates."""

    best: np.ndarray  # (domains,), the best rate of each
    losses: np.ndarray  # (domains, rates), medians over the seeds; at most that of guessing
    regret: np.ndarray  # (to, from), in nats: loss at the rate that suits `from`, less the smallest


def transfer(
    standardised: bool, seeds: Sequence[int] = range(3), rates: np.ndarray = DOMAIN_RATES
) -> Transfer:
    """Best rates of gradient descent in four domains, 80 steps of 32 rows; the seeds change weights and batches."""
    losses = np.array([_domain(make(0), standardised, rates, seeds) for make in DOMAINS.values()])
    best = losses.argmin(axis=1)
    return Transfer(rates[best], losses, losses[:, best] - losses.min(axis=1, keepdims=True))


def _domain(part: data.Split, standardised: bool, rates: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
    x = part[::2]
    x = data.standardise(*x) if standardised else x
    part = part._replace(
        **dict(zip(("x_train", "x_val", "x_test"), (a.astype("float32") for a in x), strict=True))
    )
    epochs = round(80 / -(-len(part.x_train) // 32))
    objective = MLP(part, epochs=epochs, hidden=16, batch_size=32, optimizer="sgd")
    losses = np.median(sweep(objective, rates, seeds), axis=0)
    return np.minimum(losses, np.log(1 + part.y_train.max()))


# the winner's curse


def many_seeds(
    config: Mapping[str, float], seeds: Sequence[int], epochs: int = 12
) -> tuple[np.ndarray, np.ndarray]:
    """One configuration trained with each seed: who is right about whom, (seeds, digits), and the validation losses.

    The digits are those that were not trained on, validation and test together.
    """
    objective = reader(epochs=epochs, every=None)
    config = population(
        **{name: np.full(len(seeds), value) for name, value in config.items()}, seed=np.array(seeds)
    )
    x, y = (np.concatenate([objective.data[k], objective.data[k + 2]]) for k in (2, 3))

    def of(start: int) -> tuple[np.ndarray, np.ndarray]:
        part = Population({name: values[start : start + 50] for name, values in config.items()})
        part.models = len(part["seed"])
        result = objective(part, None, 0, epochs)
        logits, *_ = mlp_numpy.forward(result.state.params, x)
        return logits.argmax(axis=-1) == y, result.loss

    found = parallel(of, range(0, len(seeds), 50))  # as many at once as the cache holds
    return tuple(map(np.concatenate, zip(*found, strict=True)))


class Curse(NamedTuple):
    """Gains of the best of N seeds over their mean, in points of accuracy; arrays (sizes, N)."""

    apparent: np.ndarray  # on the digits by which it was chosen
    real: np.ndarray  # on all others


SIZES, BEST_OF = (60, 360), (5, 20, 100)


def curse(right: np.ndarray, *, replays: int = 500, seed: int = 0) -> Curse:
    """Choose the best of N by a validation set of each of `SIZES`; each replay draws both anew."""
    rng, gains = np.random.default_rng(seed), np.empty((2, len(SIZES), len(BEST_OF), replays))
    for r in range(replays):
        columns, rows = rng.permutation(right.shape[1]), rng.permutation(len(right))
        for i, size in enumerate(SIZES):
            seen, rest = (
                100 * right[:, part].mean(axis=1)[rows] for part in (columns[:size], columns[size:])
            )
            for j, n in enumerate(BEST_OF):
                first = seen[:n].argmax()
                gains[:, i, j, r] = seen[first] - seen[:n].mean(), rest[first] - rest[:n].mean()
    return Curse(*gains.mean(axis=-1))


# what goes wrong


def forgetting(objective: MLP) -> Callable:
    """The same objective, whose optimiser starts anew whenever a trial is taken up again."""

    def one(config: Any, state: Any = None, start: int = 0, resource: int | None = None) -> Result:
        return objective(config, None if state is None else state._replace(memory=None), start, resource)

    return one


def on_few(seed: int, rows: int) -> MLP:
    """The reader, judged by the first `rows` images of its validation part."""
    whole = reader(seed, every=None)
    part = whole.data._replace(x_val=whole.data.x_val[:rows], y_val=whole.data.y_val[:rows])
    return replace(whole, data=part)
