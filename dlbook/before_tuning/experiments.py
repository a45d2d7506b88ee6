"""The experiments of the chapter before tuning: seeds and settings in, plain arrays out.

A seed stands for up to three things, each with its own generator, so that one can be held while another moves: how
the digits are split, the first weights, and the order of the batches.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets
from sklearn.feature_selection import f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from dlbook import data
from dlbook.mlp import numpy as mlp_numpy
from dlbook.optimizers import numpy as opt_numpy
from dlbook.parallel import parallel

READER = (64, 64, 64, 10)  # the network that the book starts from
SMALL = (64, 32, 10)  # and a small one, of which hundreds train in seconds
BATCH = 64
PIECE = 50  # networks in a population: more of them fill the cache
EPOCH = 17  # steps: the 1078 training digits in batches of 64
UNTUNED, RATES, EPOCHS = 0.1, (0.1, 0.2, 0.5), (20, 40)
PENALTIES = (1.0, 3.0, 10.0, 30.0)  # of softmax regression: scikit-learn's C, the inverse of a penalty
WEIGHTS, ORDER = 1, 2  # which generator a seed is for
RUNGS = (
    "commonest digit",
    "nearest mean",
    "softmax regression",
    "regression, tuned",
    "network",
    "network, tuned",
    "1 nearest neighbour",
)


def splits(seeds: Sequence[int], *, train: int | None = None) -> data.Split:
    """The digits split by each seed, stacked: x (K, n, 64), y (K, n); `train` keeps the first rows of that part."""
    bunch = datasets.load_digits()
    pixels = bunch.data / data.DIGIT_LEVELS
    parts = [data.split(pixels, bunch.target, seed, dtype="float32") for seed in seeds]
    x, y, *others = (np.stack(part) for part in zip(*parts, strict=True))
    return data.Split(np.ascontiguousarray(x[:, :train]), y[:, :train], *others)


def generators(seeds: Sequence[int], use: int) -> list[np.random.Generator]:
    """One generator per seed for one use, `WEIGHTS` or `ORDER`: another use of a seed draws other numbers."""
    return [np.random.default_rng([seed, use]) for seed in seeds]


class InitialLoss(NamedTuple):
    """Untrained networks whose last layer was multiplied by a factor; all arrays are (factors, seeds)."""

    loss: np.ndarray  # nats, on the training digits
    spread: (
        np.ndarray
    )  # the standard deviation of an example's ten logits, root mean square over the examples


def initial_loss(factors: Sequence[float], seeds: int = 20) -> InitialLoss:
    """The loss before the first step; the first weights change with the seed, the split does not."""
    part = data.digits(0)
    results = []
    for factor in factors:
        params = mlp_numpy.init(READER, generators(range(seeds), WEIGHTS))
        params["W3"] = (factor * params["W3"]).astype("float32")
        logits, _, _ = mlp_numpy.forward(params, part.x_train)
        spread = np.sqrt(logits.var(axis=-1).mean(axis=-1))
        results.append((mlp_numpy.evaluate(params, part.x_train, part.y_train)[0], spread))
    return InitialLoss(*np.moveaxis(np.array(results, dtype="float64"), 1, 0))


def overfit(n: int = 20, *, steps: int = 200, seeds: int = 5) -> np.ndarray:
    """The loss on `n` digits that are all the network ever sees, (steps, seeds): it must go to zero."""
    part = data.digits(0)
    params = mlp_numpy.init(READER, generators(range(seeds), WEIGHTS))
    few = part.x_train[:n], part.y_train[:n]
    return mlp_numpy.fit(params, *few, optimizer=opt_numpy.sgd(UNTUNED), steps=steps).history.loss


class Control(NamedTuple):
    """Validation accuracy while training on the right labels and on shuffled ones."""

    steps: np.ndarray  # (records,)
    right: np.ndarray  # (records, seeds)
    shuffled: np.ndarray


def shuffled_labels(seeds: int = 10) -> Control:
    """Train on labels that have nothing to do with the images; split, weights and order change with the seed."""
    part = splits(range(seeds))
    noise = np.stack([np.random.default_rng(seed).permutation(y) for seed, y in enumerate(part.y_train)])
    x, labels = np.concatenate([part.x_train] * 2), np.concatenate([part.y_train, noise])
    validation = np.concatenate([part.x_val] * 2), np.concatenate([part.y_val] * 2)
    both = [*range(seeds)] * 2
    history = mlp_numpy.fit(
        mlp_numpy.init(READER, generators(both, WEIGHTS)),
        x,
        labels,
        optimizer=opt_numpy.sgd(UNTUNED),
        steps=EPOCHS[0] * EPOCH,
        batch_size=BATCH,
        rng=generators(both, ORDER),
        validation=validation,
        record_every=2 * EPOCH,
    ).history
    return Control(history.recorded, *np.split(history.val_accuracy, 2, axis=1))


class Ladder(NamedTuple):
    """Models from the simplest up, on the same splits; rungs in the order of `RUNGS`."""

    loss: np.ndarray  # (rungs, splits), test cross-entropy in nats; NaN where a model gives no probabilities
    accuracy: np.ndarray  # (rungs, splits), on the test part
    penalty: np.ndarray  # (splits,), what validation chose for softmax regression, from `PENALTIES`
    rate: np.ndarray  # (splits,), and for the network, from `RATES`
    epochs: np.ndarray  # (splits,), from `EPOCHS`


def ladder(seeds: int = 10) -> Ladder:
    """Every rung on every split. The tuned rungs get the setting with the smallest cross-entropy on validation."""
    part = splits(range(seeds))
    each = [_simple(data.Split(*(array[k] for array in part))) for k in range(seeds)]
    halves = np.array_split(range(seeds), 2)
    trained = parallel(
        lambda some: network_trials(data.Split(*(array[some] for array in part)), some), halves
    )
    trials = Trials(*(np.concatenate(both, axis=-1) for both in zip(*trained, strict=True)))
    result = {rung: np.array([measured[rung] for measured, _ in each]).T for rung in each[0][0]}
    result["network"] = trials.test[RATES.index(UNTUNED), EPOCHS.index(EPOCHS[0])]
    result["network, tuned"], rate, epochs = trials.best()
    loss, accuracy = np.stack([result[rung] for rung in RUNGS], axis=1)
    accuracy = np.round(accuracy, 6)  # float32 or float64, a count of digits is the same
    return Ladder(loss, accuracy, np.array([penalty for _, penalty in each]), rate, epochs)


def _simple(part: data.Split) -> tuple[dict[str, tuple[float, float]], float]:
    """Test loss and accuracy of the rungs that are no networks, and the penalty that validation chose."""
    x, y, test, right = part.x_train, part.y_train, part.x_test, part.y_test
    means = np.stack([x[y == c].mean(axis=0) for c in range(10)])
    models = [LogisticRegression(C=C, max_iter=2000).fit(x, y) for C in PENALTIES]
    chosen = int(np.argmin([log_loss(part.y_val, model.predict_proba(part.x_val)) for model in models]))
    guesses = {
        "commonest digit": np.bincount(y).argmax(),
        "nearest mean": nearest(means, test),
        "1 nearest neighbour": y[nearest(x, test)],
    }
    result = {rung: (np.nan, float(np.mean(guess == right))) for rung, guess in guesses.items()}
    for rung, model in (("softmax regression", models[0]), ("regression, tuned", models[chosen])):
        result[rung] = log_loss(right, model.predict_proba(test)), model.score(test, right)
    return result, PENALTIES[chosen]


def nearest(points: np.ndarray, x: np.ndarray) -> np.ndarray:
    """For each row of `x` the number of the row of `points` that is nearest: (rows,)."""
    squares = (
        np.square(points).sum(axis=1) - 2 * x @ points.T
    )  # the square of x itself is the same for all points
    return squares.argmin(axis=1)


class Trials(NamedTuple):
    """The network at every rate and number of epochs: [loss, accuracy] in the third axis of (rates, epochs, 2, K)."""

    validation: np.ndarray
    test: np.ndarray

    def best(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Test loss and accuracy (2, K) of the settings with the smallest validation loss, and their rate, epochs."""
        loss = np.nan_to_num(self.validation[:, :, 0], nan=np.inf)
        rates, epochs, models = loss.shape
        place = loss.reshape(-1, models).argmin(axis=0)
        i, j = np.unravel_index(place, (rates, epochs))
        return self.test[i, j, :, np.arange(models)].T, np.array(RATES)[i], np.array(EPOCHS)[j]


def network_trials(part: data.Split, seeds: Sequence[int]) -> Trials:
    """Train the network on each split of `part`, by its seed, at each rate; measure it after each of the `EPOCHS`."""
    models, rates = len(part.x_train), len(RATES)
    x, y, xv, yv, xt, yt = (np.concatenate([array] * rates) for array in part)
    seeds = [*seeds] * rates
    params, order = mlp_numpy.init(READER, generators(seeds, WEIGHTS)), generators(seeds, ORDER)
    optimizer = opt_numpy.sgd(np.repeat(RATES, models)[:, None, None])
    validation, test = [], []
    for epochs in np.diff(EPOCHS, prepend=0):
        steps = int(epochs) * EPOCH
        params = mlp_numpy.fit(
            params, x, y, optimizer=optimizer, steps=steps, batch_size=BATCH, rng=order
        ).params
        for results, images, labels in ((validation, xv, yv), (test, xt, yt)):
            results.append(np.stack(mlp_numpy.evaluate(params, images, labels)).reshape(2, rates, models))
    return Trials(*(np.stack(results).transpose(2, 0, 1, 3) for results in (validation, test)))


class Runs(NamedTuple):
    """Small readers, trained alike but for their seeds; (K,) each."""

    loss: np.ndarray  # nats, on the test part
    accuracy: np.ndarray
    val_loss: np.ndarray  # the same on the validation part
    val_accuracy: np.ndarray


def runs(
    split_seeds: Sequence[int],
    trial_seeds: Sequence[int],
    *,
    sizes: Sequence[int] = SMALL,
    rate: float | np.ndarray = 0.5,
    train: int = 300,
    steps: int = 60,
) -> Runs:
    """Train a reader for each pair of seeds on `train` digits, side by side; `rate` is a number or (K, 1, 1)."""
    part = splits(split_seeds, train=train)
    params = mlp_numpy.fit(
        mlp_numpy.init(sizes, generators(trial_seeds, WEIGHTS)),
        part.x_train,
        part.y_train,
        optimizer=opt_numpy.sgd(rate),
        steps=steps,
        batch_size=BATCH,
        rng=generators(trial_seeds, ORDER),
    ).params
    test = mlp_numpy.evaluate(params, part.x_test, part.y_test)
    return Runs(*test, *mlp_numpy.evaluate(params, part.x_val, part.y_val))


def many(split_seeds: Sequence[int], trial_seeds: Sequence[int], **setting: Any) -> Runs:
    """`runs` in populations of `PIECE`, several at a time: the same numbers, sooner."""
    starts = range(0, len(trial_seeds), PIECE)
    seeds = ([given[k : k + PIECE] for k in starts] for given in (split_seeds, trial_seeds))
    return Runs(*map(np.concatenate, zip(*parallel(partial(runs, **setting), *seeds), strict=True)))


def studies(seeds: int = 200, *, rates: int = 60, draws: int = 5) -> np.ndarray:
    """Test accuracy (seeds,) of what a search returns when only the learning rates that it draws change.

    A search tries `draws` of a pool of `rates` learning rates, log-uniform from 0.01 to 1, and keeps the one with the
    smallest validation loss. Split, first weights and order of the batches stay those of seed 0.
    """
    rng = np.random.default_rng(0)
    pool = runs([0] * rates, [0] * rates, rate=10 ** rng.uniform(-2, 0, (rates, 1, 1)))
    drawn = np.stack([rng.choice(rates, draws, replace=False) for _ in range(seeds)])
    return pool.accuracy[drawn[np.arange(seeds), pool.val_loss[drawn].argmin(axis=1)]]


def arms(seeds: int = 200) -> dict[str, Runs]:
    """The small reader, a wider one, and one at a lower learning rate; the arms of a seed share split and order."""
    seed = range(seeds)
    return {
        "32 units": many(seed, seed),
        "64 units": many(seed, seed, sizes=(64, 64, 10)),
        "rate 0.3": many(seed, seed, rate=0.3),
    }


def missed(
    a: np.ndarray, b: np.ndarray, counts: Sequence[int], *, paired: bool, studies: int = 4000
) -> np.ndarray:
    """The share of studies that fail to find which arm has the larger mean, for each number of seeds in `counts`.

    A study draws seeds of `a` and `b` (K,) with replacement, the same for both arms if `paired`, and compares means.
    The truth is the sign over all K; a tie is a failure.
    """
    rng, truth = np.random.default_rng(0), np.sign(np.mean(a - b))
    failed = []
    for n in counts:
        first, second = rng.integers(len(a), size=(2, studies, n))
        difference = a[first].mean(axis=1) - b[first if paired else second].mean(axis=1)
        failed.append(np.mean(np.sign(np.round(difference, 9)) != truth))
    return np.array(failed)


class Late(NamedTuple):
    """The small reader trained far beyond the point where it knows its 300 digits; (records, splits)."""

    steps: np.ndarray  # (records,)
    loss: np.ndarray  # validation cross-entropy, nats
    accuracy: np.ndarray


def late(seeds: int = 10, *, steps: int = 1000, every: int = 100) -> Late:
    """Validation loss and accuracy on the way; split, weights and order change with the seed."""
    part, seed = splits(range(seeds), train=300), range(seeds)
    history = mlp_numpy.fit(
        mlp_numpy.init(SMALL, generators(seed, WEIGHTS)),
        part.x_train,
        part.y_train,
        optimizer=opt_numpy.sgd(0.5),
        steps=steps,
        batch_size=BATCH,
        rng=generators(seed, ORDER),
        validation=(part.x_val, part.y_val),
        record_every=every,
    ).history
    return Late(history.recorded, history.val_loss, history.val_accuracy)


def scaler_leak(train: Sequence[int], seeds: int = 500, *, test: int = 36) -> np.ndarray:
    """What a scaler fitted on all rows adds to the test accuracy of 1 nearest neighbour on the wines.

    (train sizes, seeds): accuracy with the scaler of training and test rows together, minus accuracy with the scaler
    of the `train` rows alone.
    """
    bunch = datasets.load_wine()
    x, y = bunch.data, bunch.target
    return np.array([[_scaler_gain(x, y, n, test, seed) for seed in range(seeds)] for n in train])


def _scaler_gain(x: np.ndarray, y: np.ndarray, n: int, test: int, seed: int) -> float:
    order = np.random.default_rng(seed).permutation(len(x))
    rows, held = order[:n], order[-test:]
    accuracy = []
    for fitted in (np.concatenate([rows, held]), rows):
        _, near, new = data.standardise(x[fitted], x[rows], x[held])
        accuracy.append(np.mean(y[rows][nearest(near, new)] == y[held]))
    return accuracy[0] - accuracy[1]


def selection_leak(seeds: int = 20, *, rows: int = 100, features: int = 2000, keep: int = 20) -> np.ndarray:
    """Test accuracy on pure noise: features and two balanced classes that have nothing to do with each other.

    (2, seeds): the `keep` features that go best with the labels, chosen on all rows and on the training rows alone.
    Half of the rows are for training, the rest for the test.
    """
    return np.array(
        [_selection(np.random.default_rng(seed), rows, features, keep) for seed in range(seeds)]
    ).T


def _selection(rng: np.random.Generator, rows: int, features: int, keep: int) -> list[float]:
    x, y = rng.standard_normal((rows, features)), rng.permutation(np.arange(rows) % 2)
    train, test = np.split(np.arange(rows), 2)
    accuracy = []
    for seen in (np.arange(rows), train):
        chosen = np.argsort(f_classif(x[seen], y[seen])[0])[-keep:]
        model = LogisticRegression().fit(x[train][:, chosen], y[train])
        accuracy.append(model.score(x[test][:, chosen], y[test]))
    return accuracy
