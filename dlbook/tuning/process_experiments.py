"""The experiments of the chapter on the tuning process: spaces, seeds and numbers of trials in, plain arrays out.

Thousands of searches are compared, so each is a *replay*: a surface of losses is trained once on a lattice of
configurations, and every search looks its trials up between the nodes. What varies from replay to replay is which
configurations the search drew (study variance), and nothing else.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dlbook import data
from dlbook.tuning import (
    MLP,
    Choice,
    Grid,
    Halton,
    Linear,
    Log,
    OneMinusLog,
    Population,
    Random,
    Result,
    Sampler,
    Sobol,
    Space,
    Study,
    run,
)
from dlbook.tuning.analysis import importance

LOG_TEN = float(np.log(10))  # the loss of guessing; whatever is worse counts as that
SAMPLERS = ("grid", "random", "Halton")
TRIALS = (4, 9, 16, 25, 64)  # squares, so that a grid on two axes has as many
UNIT = Space(a=Linear(0, 1), b=Linear(0, 1))

ADAM = Space(lr=Log(1e-4, 1), eps=Log(1e-10, 1e-4))
MOMENTUM = Space(lr=Log(1e-2, 100), momentum=OneMinusLog(0.5, 0.999))
PYTORCH = Space(lr=Log(1e-3, 10), momentum=OneMinusLog(0.5, 0.999))
KNOBS = Space(
    lr=Log(1e-3, 10),
    momentum=OneMinusLog(0.5, 0.999),
    batch_size=Choice(16, 64, 256),
    hidden=Choice(16, 32, 64, 128),
    layers=Choice(1, 2, 3),
    lr_decay=Linear(0, 4),
)
NARROW = KNOBS.replace(lr=Log(0.2, 2))


@dataclass(frozen=True)
class Lattice(Sampler):
    """Every combination of evenly spaced values on each axis, ends included, the last axis fastest."""

    space: Space
    shape: tuple[int, ...]

    def point(self, i: int, losses: Mapping[int, float] | None = None) -> tuple[float, ...]:
        """Trial `i` as a point of the unit cube."""
        return tuple(
            float(k / (n - 1)) for k, n in zip(np.unravel_index(i, self.shape), self.shape, strict=True)
        )


class InPyTorchsForm:
    """`MLP` with the learning rate of `torch.optim.SGD`: lr / (1 - momentum) in the lecture's form."""

    def __init__(self, objective: MLP):
        self.objective, self.apart, self.chunk = objective, objective.apart, objective.chunk

    def __call__(self, config: Population) -> Result:
        changed = Population(config)
        changed.models = config.models
        changed["lr"] = config["lr"] / (1 - config["momentum"])
        return self.objective(changed)


def surface(
    space: Space, shape: tuple[int, int], *, seeds: int = 3, epochs: int = 6, pytorch: bool = False
) -> np.ndarray:
    """Validation loss on a lattice, (a, b): digits of split 0, 64-32-10, batches of 64; mean of `seeds` trainings.

    A loss counts at most `LOG_TEN`. The seeds change the first weights and the order of the batches.
    """
    total = np.zeros(shape)
    for seed in range(seeds):
        objective = MLP(data.digits(0), epochs=epochs, seed=seed)
        objective = InPyTorchsForm(objective) if pytorch else objective
        study = run(objective, space, Lattice(space, shape), n=total.size, engine="vectorised")
        total += capped(np.reshape(list(study.losses.values()), shape))
    return total / seeds


def capped(losses: np.ndarray) -> np.ndarray:
    """Losses at most that of guessing; diverged trials have just that."""
    return np.where(np.isfinite(losses), np.minimum(losses, LOG_TEN), LOG_TEN)


def look_up(losses: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The loss at each of `points` (..., 2) in the unit square, linear between the nodes of the lattice."""
    last = np.array(losses.shape) - 1
    at = np.clip(points, 0, 1) * last
    low = np.minimum(at.astype(int), last - 1)
    (a, b), (i, j) = np.moveaxis(at - low, -1, 0), np.moveaxis(low, -1, 0)
    near = (1 - b) * losses[i, j] + b * losses[i, j + 1]
    far = (1 - b) * losses[i + 1, j] + b * losses[i + 1, j + 1]
    return (1 - a) * near + a * far


def designs(name: str, n: int, replays: int, space: Space = UNIT) -> np.ndarray:
    """The points of `replays` searches of `n` trials, (replays, n, axes); replay k is that of seed k."""
    levels = round(n ** (1 / space.dimensions))
    make = {
        "grid": lambda seed: Grid(space, levels, seed=seed),
        "random": lambda seed: Random(space, seed=seed),
        "Halton": lambda seed: Halton(space, seed=seed),
    }[name]
    return np.array([[sampler.point(i) for i in range(n)] for sampler in map(make, range(replays))])


def all_designs(trials: Sequence[int] = TRIALS, replays: int = 500) -> dict[str, dict[int, np.ndarray]]:
    """The points of every sampler for every number of trials; the sequences of random and Halton only grow."""
    most = {name: designs(name, max(trials), replays) for name in SAMPLERS[1:]}
    grids = {n: designs("grid", n, replays) for n in trials}
    return {"grid": grids} | {name: {n: points[:, :n] for n in trials} for name, points in most.items()}


class Geometry(NamedTuple):
    """How far the nearest trial is from the optimum, (samplers, numbers of trials), as a share of an axis."""

    one: np.ndarray  # when only the first axis matters
    two: np.ndarray  # when both matter equally


def geometry(drawn: Mapping[str, Mapping[int, np.ndarray]], seed: int = 0) -> Geometry:
    """Mean distances over all replays, each with an optimum of its own, uniform in the square."""
    some = next(iter(drawn["grid"].values()))
    optimum = np.random.default_rng(seed).random((len(some), 1, 2))
    gaps = [[np.abs(points - optimum) for points in drawn[name].values()] for name in SAMPLERS]
    one = [[gap[..., 0].min(axis=1).mean() for gap in row] for row in gaps]
    two = [[np.hypot(gap[..., 0], gap[..., 1]).min(axis=1).mean() for gap in row] for row in gaps]
    return Geometry(np.array(one), np.array(two))


def best_of(losses: np.ndarray, drawn: Mapping[str, Mapping[int, np.ndarray]]) -> np.ndarray:
    """The smallest loss that each search found, (samplers, numbers of trials, replays)."""
    return np.array(
        [[look_up(losses, points).min(axis=1) for points in drawn[name].values()] for name in SAMPLERS]
    )


def wins(a: np.ndarray, b: np.ndarray) -> float:
    """The share of pairs in which `a` has the smaller loss; a draw is half a win."""
    return float(np.mean(a < b) + np.mean(a == b) / 2)


class Zoomed(NamedTuple):
    """The loss of what each of the paired searches chose, (replays,)."""

    fine: np.ndarray  # coarse first, then in a box
    flat: np.ndarray  # the same number of trials, all from the whole square


TRIALS_TO_ZOOM, SIDES = (6, 10, 20, 40, 64), (0.75, 0.5, 0.25, 0.125, 0.0625)


def zooms(
    losses: np.ndarray, points: np.ndarray, *, n: int = 40, noise: float = 0.0
) -> tuple[list[Zoomed], list[Zoomed]]:
    """`zoom` for each of `TRIALS_TO_ZOOM` in boxes of a quarter, and with `n` trials in boxes of each of `SIDES`."""
    by_trials = [zoom(losses, points[:, :k], noise=noise) for k in TRIALS_TO_ZOOM]
    return by_trials, [zoom(losses, points[:, :n], shrink=side, noise=noise) for side in SIDES]


def zoom(
    losses: np.ndarray,
    points: np.ndarray,
    *,
    keep: int = 3,
    shrink: float = 0.25,
    noise: float = 0.0,
    seed: int = 0,
) -> Zoomed:
    """Half of the trials of each replay from the whole square, half from a box around the best `keep`.

    `points` (replays, n, 2) serve both searches: the flat one takes them as they are. The rule is
    that of `CoarseToFine(sampler, n // 2)`. With `noise` a search sees losses with normal errors of
    that size, and what it chose is judged without.
    """
    half = points.shape[1] // 2
    coarse, rest = points[:, :half], points[:, half:]
    errors = noise * np.random.default_rng(seed).standard_normal((2, *points.shape[:2]))
    seen = look_up(losses, coarse) + errors[0, :, :half]
    leaders = np.take_along_axis(coarse, np.argsort(seen, axis=1)[:, :keep, None], axis=1)
    corner = np.clip(leaders.mean(axis=1, keepdims=True) - shrink / 2, 0, 1 - shrink)
    boxed = np.concatenate([coarse, corner + shrink * rest], axis=1)
    return Zoomed(*(_chosen(look_up(losses, p), e) for p, e in zip((boxed, points), errors, strict=True)))


def _chosen(true: np.ndarray, errors: np.ndarray) -> np.ndarray:
    return np.take_along_axis(true, np.argmin(true + errors, axis=1)[:, None], axis=1)[:, 0]


def knobs(space: Space, n: int = 128, *, epochs: int = 3) -> Study:
    """Sobol points of a space of six hyperparameters, trained on the digits; weights and order are of seed 0."""
    return run(MLP(data.digits(0), epochs=epochs), space, Sobol(space, seed=0), n=n, engine="vectorised")


class Shares(NamedTuple):
    """How much of the variance each hyperparameter explains alone."""

    names: tuple[str, ...]
    all: np.ndarray  # (names,), from all trials
    halves: np.ndarray  # (halves, names), from random halves of them
    fit: float  # R² of the forest for trials that it has not seen


def shares(study: Study, halves: int = 10, *, trees: int = 50) -> Shares:
    """Importance from all trials, and from random halves of them, which say how far the numbers can be trusted."""
    names = tuple(study.check_space().scales)
    whole = importance(study, cap=LOG_TEN, trees=trees)
    parts = []
    for seed in range(halves):
        chosen = np.random.default_rng(seed).permutation(len(study.done))[: len(study.done) // 2]
        part = Study([study.done[k] for k in chosen], study.space)
        parts.append(importance(part, cap=LOG_TEN, trees=trees // 2, points=64))
    row = [[one.shares[name] for name in names] for one in (whole, *parts)]
    return Shares(names, np.array(row[0]), np.array(row[1:]), whole.fit)


def rates(low: float, high: float, n: int = 32) -> Study:
    """Learning rates of plain gradient descent between `low` and `high`: Halton points, 6 epochs of the digits."""
    space = Space(lr=Log(low, high))
    objective = MLP(data.digits(0), epochs=6, optimizer="sgd")
    return run(objective, space, Halton(space, seed=0), n=n, engine="vectorised")


def hits(losses: np.ndarray, drawn: Mapping[str, Mapping[int, np.ndarray]], top: float = 0.05) -> np.ndarray:
    """The share of searches that found one of the best `top` of the square, (samplers, numbers of trials)."""
    middles = (np.arange(300) + 0.5) / 300
    square = np.stack(np.meshgrid(middles, middles, indexing="ij"), axis=-1)
    good = np.quantile(look_up(losses, square), top)
    return (best_of(losses, drawn) <= good).mean(axis=-1)


def trials_needed(chance: float, top: float) -> int:
    """How many independent trials hit the best share `top` at least once, with at least this `chance`."""
    return int(np.ceil(np.log1p(-chance) / np.log1p(-top)))


def optuna_search(objective: Callable[[np.ndarray], Any], n: int, seed: int) -> np.ndarray:
    """The losses of `n` trials that Optuna's TPE sampler chose in the unit square, one after another."""
    with warnings.catch_warnings():  # of tqdm's, in a notebook without widgets
        warnings.simplefilter("ignore")
        import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))

    def one(trial: Any) -> float:
        return float(objective(np.array([trial.suggest_float("a", 0, 1), trial.suggest_float("b", 0, 1)])))

    study.optimize(one, n_trials=n)
    return np.array([trial.value for trial in study.trials])


class Adaptive(NamedTuple):
    """The smallest loss so far, (searches, trials)."""

    random: np.ndarray  # twice as many trials as the others
    halton: np.ndarray
    tpe: np.ndarray


def adaptive(
    losses: np.ndarray, drawn: Mapping[str, Mapping[int, np.ndarray]], n: int = 32, *, seeds: int = 12
) -> Adaptive:
    """Random search and Halton points, as `drawn`, and Optuna's TPE on one surface."""
    random, halton = drawn["random"][2 * n], drawn["Halton"][2 * n][:, :n]
    tpe = [optuna_search(lambda point: look_up(losses, point), n, seed) for seed in range(seeds)]
    found = look_up(losses, random), look_up(losses, halton), np.array(tpe)
    return Adaptive(*(np.minimum.accumulate(one, axis=1) for one in found))
