"""The experiments of the capstone: seeds and settings in, plain arrays out.

The digits of one cut are divided once: the test part is sealed, and everything else is the *development* part, which
may be cut again. Between seeds vary the cut of the development part, the first weights and the order of the batches.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import beta
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from dlbook import data
from dlbook.before_tuning.experiments import PENALTIES
from dlbook.mlp import Params, RunningStatistics
from dlbook.mlp import numpy as mlp_numpy
from dlbook.softmax.numpy import softmax
from dlbook.softmax.training_experiments import fit_temperature, nll
from dlbook.tuning import (
    MLP,
    Linear,
    Log,
    OffOr,
    OneMinusLog,
    Population,
    Sobol,
    Space,
    Study,
    SuccessiveHalving,
    run,
)

EPOCHS, EPS = 20, 1e-5
READER = {"hidden": (64, 64), "batch_norm": True, "epochs": EPOCHS}
PLAIN = READER | {"batch_norm": False}
RACE = SuccessiveHalving(r_max=EPOCHS, eta=4)  # rungs at 1, 5 and 20 epochs
FIRST = Space(
    lr=Log(1e-3, 1), momentum=OneMinusLog(0.5, 0.999), lr_decay=Linear(0, 1), weight_decay=OffOr(Log(1e-4, 1))
)
SECOND = FIRST.replace(lr=Log(1e-2, 100))
UNTUNED = {"lr": 0.1, "optimizer": "sgd"}
DEFAULTS = {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-7, "batch_size": 32}  # of Keras, with Adam


class Sealed:
    """A test part that can be looked at once. `looks` holds what it was opened for."""

    def __init__(self, x: np.ndarray, y: np.ndarray):
        self._x, self._y = x, y
        self.looks: list[str] = []

    def open(self, purpose: str) -> tuple[np.ndarray, np.ndarray]:
        """The test images and labels, once; RuntimeError the second time."""
        if self.looks:
            raise RuntimeError(
                f"opened already, for {self.looks[0]!r}: {purpose!r} would be chosen with the test part"
            )
        self.looks.append(purpose)
        return self._x, self._y

    def __len__(self) -> int:
        return len(self._y)


def seal(part: data.Split) -> tuple[data.Split, Sealed]:
    """The same split without its test part, which may not be looked at yet, and that part, sealed."""
    rest = part._replace(x_test=part.x_test[:0], y_test=part.y_test[:0])
    return rest, Sealed(part.x_test, part.y_test)


def search(part: data.Split, space: Space, n: int, *, seed: int = 0, **settings: Any) -> Study:
    """Race `n` Sobol points of `space`: all train for 1 epoch, the best quarter for 5, the best sixteenth for 20."""
    objective = MLP(part, seed=seed, **READER | settings)
    return run(objective, space, Sobol(space, seed=seed), RACE, n=n, engine="vectorised")


# --- the same configuration again ---------------------------------------------------------------------------------


def recut(part: data.Split, seeds: Sequence[int]) -> data.Split:
    """The development part cut anew by each seed, three quarters to train and one to validate; no test part.

    x (seeds, n, features), y (seeds, n).
    """
    x, y = np.concatenate([part.x_train, part.x_val]), np.concatenate([part.y_train, part.y_val])
    cuts = [data.split(x, y, seed, fractions=(0.75, 0.25, 0), dtype=str(x.dtype)) for seed in seeds]
    return data.Split(*map(np.stack, zip(*cuts, strict=True)))


class Rerun(NamedTuple):
    """Configurations trained again from scratch, on validation parts that did not choose them."""

    loss: np.ndarray  # (configurations, seeds), nats, with precise statistics
    accuracy: np.ndarray
    params: Params  # a leading axis of configurations times seeds
    average: RunningStatistics  # the running averages of batch norm, as training left them


def rerun(
    part: data.Split, configs: Sequence[Mapping], seeds: Sequence[int], *, anew: bool = True, **settings: Any
) -> Rerun:
    """Train each of `configs`, which have the same hyperparameters, on every seed; all side by side as one array.

    A seed draws weights and order, and with `anew` it also cuts the development part.
    """
    n, k = len(configs), len(seeds)
    together = Population({name: _column([config[name] for config in configs], k) for name in configs[0]})
    together["seed"] = np.tile(seeds, n)[:, None, None]
    together.models = n * k
    if anew:
        part = data.Split(*(np.concatenate([a] * n) for a in recut(part, seeds)))
    result = MLP(part, **READER | settings)(together)
    loss, accuracy = (np.reshape(a, (n, k)).astype(float) for a in (result.loss, result.values["accuracy"]))
    return Rerun(loss, accuracy, result.state.params, result.state.running)


def _column(values: list, repeats: int) -> Any:
    """Numbers as (models, 1, 1); what is equal for all as it is."""
    if all(value == values[0] for value in values):
        return values[0]
    return np.repeat(values, repeats)[:, None, None]


class Regression(NamedTuple):
    """Softmax regression, whose penalty was chosen as the configurations of the network were."""

    searched_loss: float  # on the validation part that chose the penalty, nats
    loss: np.ndarray  # (1, seeds), on the cuts that `rerun` trains on
    accuracy: np.ndarray


def regression(part: data.Split, seeds: Sequence[int]) -> Regression:
    """The linear model on the same cuts as the network, its penalty chosen on the validation part of `part`."""
    losses = [_regress(part[:4], C)[0] for C in PENALTIES]
    chosen = PENALTIES[int(np.argmin(losses))]
    rows = [_regress(cut, chosen) for cut in zip(*recut(part, seeds)[:4], strict=True)]
    loss, accuracy = np.array(rows).T[:, None]
    return Regression(min(losses), loss, accuracy)


def _regress(cut: Sequence[np.ndarray], C: float) -> tuple[float, float]:
    x, y, xv, yv = cut
    model = LogisticRegression(C=C, max_iter=2000).fit(x, y)
    return log_loss(yv, model.predict_proba(xv)), model.score(xv, yv)


class Paired(NamedTuple):
    """What the seeds say of a difference."""

    mean: float
    error: float  # standard error of the mean, over the seeds
    ahead: int  # seeds on which the difference is above 0
    seeds: int

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ± {self.error:.2f}, ahead on {self.ahead} of {self.seeds}"


def paired(a: np.ndarray, b: np.ndarray, scale: float = 1.0) -> Paired:
    """`scale` times a - b, seed by seed."""
    d = scale * (np.ravel(a) - np.ravel(b))
    return Paired(float(d.mean()), float(d.std(ddof=1) / len(d) ** 0.5), int((d > 0).sum()), len(d))


def ease(part: data.Split, *, seeds: int = 4, n: int = 16, epochs: int = 3) -> np.ndarray:
    """Validation accuracy of `n` configurations of `SECOND`, with and without batch norm: (2, seeds, n).

    A seed draws the points and the first weights; both arms try the same points.
    """
    arms = []
    for settings in (READER, PLAIN):
        objectives = [MLP(part, seed=seed, **settings | {"epochs": epochs}) for seed in range(seeds)]
        studies = [
            run(one, SECOND, Sobol(SECOND, seed=seed), n=n, engine="vectorised")
            for seed, one in enumerate(objectives)
        ]
        arms.append([[one.values["accuracy"] for one in study.trials.values()] for study in studies])
    return np.array(arms)


# --- one reader to ship -------------------------------------------------------------------------------------------


class Reader(NamedTuple):
    """A trained network with its precise statistics."""

    params: Params
    running: RunningStatistics

    def logits(self, x: np.ndarray) -> np.ndarray:
        """What it says of each row of `x` at test time: (n, 10)."""
        return mlp_numpy.forward(self.params, x, self.running, eps=EPS)[0]


def ship(part: data.Split, config: Mapping[str, Any], seed: int) -> tuple[Reader, RunningStatistics]:
    """Train one reader on the training digits of `part`; it, and the running averages that training left."""
    state = MLP(part, seed=seed, **READER)(config).state
    return Reader(state.params, mlp_numpy.precise_running(state.params, part.x_train, eps=EPS)), state.running


# --- when to ask the clerk ----------------------------------------------------------------------------------------


def upper_bound(wrong: Any, n: Any, level: float = 0.95) -> np.ndarray:
    """The error rate that `wrong` of `n` answers rule out from above at `level` (Clopper and Pearson 1934)."""
    wrong, n = np.asarray(wrong), np.asarray(n)
    return np.where(wrong == n, 1.0, beta.ppf(level, wrong + 1, np.maximum(n - wrong, 1)))


class Cut(NamedTuple):
    """Answers from the surest down; one number for each number of answers given, 1 to n."""

    coverage: np.ndarray
    error: np.ndarray  # the share of wrong answers among them
    bound: np.ndarray  # its upper 95 % bound
    confidence: np.ndarray  # of the last answer given


def cuts(confidence: np.ndarray, right: np.ndarray) -> Cut:
    """Every threshold that the digits with this confidence (n,), rightly read or not (n,), can tell apart."""
    order = np.argsort(-confidence, kind="stable")
    wrong, n = np.cumsum(~right[order]), np.arange(1, len(right) + 1)
    return Cut(n / len(n), wrong / n, upper_bound(wrong, n), confidence[order])


def threshold(cut: Cut, target: float) -> float:
    """The lowest confidence from which on the bound is at most `target`; infinity where there is none."""
    fits = np.flatnonzero(cut.bound <= target)
    return float(cut.confidence[fits[-1]]) if len(fits) else np.inf


def broken_promises(
    confidence: np.ndarray, target: float, *, n: int = 359, repeats: int = 500, seed: int = 0
) -> tuple[float, float]:
    """How often `threshold` on `n` digits promises `target` and the truth is worse, and the mean true coverage.

    The world is made of the given `confidence` values (m,), each exactly calibrated, so the truth is known. Choosing
    the best of many cuts could make the 95 % too optimistic; this says by how much.
    """
    rng, world = np.random.default_rng(seed), np.sort(confidence)[::-1]
    true_error = np.cumsum(1 - world) / np.arange(1, len(world) + 1)
    broken, coverage = [], []
    for _ in range(repeats):
        drawn = rng.choice(world, n)
        chosen = threshold(cuts(drawn, rng.random(n) < drawn), target)
        given = int(np.searchsorted(-world, -chosen, side="right"))  # of the world, how many are answered
        broken.append(given > 0 and true_error[given - 1] > target)
        coverage.append(given / len(world))
    return float(np.mean(broken)), float(np.mean(coverage))


SHIFTS = {
    "as trained": lambda x: x,
    "brighter by 0.3": lambda x: x + np.float32(0.3),
    "half the contrast": lambda x: x / 2,
    "noise of 0.3": lambda x: x + 0.3 * np.random.default_rng(0).standard_normal(x.shape).astype(x.dtype),
    "one pixel to the right": lambda x: np.roll(x.reshape(*x.shape[:-1], 8, 8), 1, axis=-1).reshape(x.shape),
}


class Halves(NamedTuple):
    """Logits and labels of the readers of a `Rerun` on the two halves of their validation parts."""

    running: RunningStatistics  # precise
    x: np.ndarray  # the second half, (seeds, n, features)
    z: tuple[np.ndarray, np.ndarray]  # (seeds, n, 10) each, float64
    y: tuple[np.ndarray, np.ndarray]  # (seeds, n)


def halves(part: data.Split, again: Rerun, seeds: Sequence[int]) -> Halves:
    """The first half of each validation part chooses, the second measures."""
    cut = recut(part, seeds)
    running = mlp_numpy.precise_running(again.params, cut.x_train, eps=EPS)
    z = mlp_numpy.forward(again.params, cut.x_val, running, eps=EPS)[0].astype("float64")
    half = z.shape[1] // 2
    return Halves(
        running, cut.x_val[:, half:], (z[:, :half], z[:, half:]), (cut.y_val[:, :half], cut.y_val[:, half:])
    )


class Temperatures(NamedTuple):
    """Temperatures fitted on one half of the validation digits, and what they do on the other; (seeds,) each."""

    fitted: np.ndarray
    before: np.ndarray  # loss on the other half, nats
    after: np.ndarray


def temperatures(both: Halves) -> Temperatures:
    """Temperature scaling, measured on digits that did not fit it."""
    (z, other), (y, other_y) = both.z, both.y
    fitted = np.array([fit_temperature(*pair) for pair in zip(z, y, strict=True)])
    before, after = (
        [nll(one / t, label) for one, label, t in zip(other, other_y, scale, strict=True)]
        for scale in (np.ones_like(fitted), fitted)
    )
    return Temperatures(fitted, np.array(before), np.array(after))


class Shifted(NamedTuple):
    """What readers do with images that are not as in training; (shifts, seeds) each, shifts as in `SHIFTS`."""

    accuracy: np.ndarray  # if every digit is answered
    coverage: np.ndarray  # the share that the threshold lets through
    error: np.ndarray  # the share of wrong answers among these


def shifted(again: Rerun, both: Halves, target: float) -> Shifted:
    """Each reader chooses a threshold on the first half of its validation digits; the second is altered and read."""

    def says(z, y):
        p = softmax(z)
        return p.max(axis=-1), p.argmax(axis=-1) == y

    pairs = zip(*says(both.z[0], both.y[0]), strict=True)
    chosen = np.array([threshold(cuts(*pair), target) for pair in pairs])[:, None]
    rows = []
    for change in SHIFTS.values():
        logits = mlp_numpy.forward(again.params, change(both.x), both.running, eps=EPS)[0]
        confidence, right = says(logits, both.y[1])
        answered = confidence >= chosen
        wrong = (answered & ~right).sum(axis=1) / np.maximum(answered.sum(axis=1), 1)
        rows.append((right.mean(axis=1), answered.mean(axis=1), wrong))
    return Shifted(*np.moveaxis(np.array(rows), 1, 0))
