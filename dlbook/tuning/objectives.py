"""Objectives: what a search makes small. The contract, and a ready one that trains a multi-layer perceptron.

An objective is called in one of two ways and returns a loss, or a `Result` with more in it:

* `objective(config)` where there is no scheduler: train with this configuration, and say how well it went.
* `objective(config, state, start, resource)` where there is one: `state` is what the same objective returned when the
  trial had been trained for `start`, None at 0; train on from there until it has had `resource` in all, and return
  `Result(loss, state)`. A state must not change afterwards: it may be trained on twice, with other configurations.

A plain tuple `(loss, state)` will do for a `Result`. NaN or infinity says that the trial diverged. An exception stops
the search, with the trial and its configuration in the message.

`engine="vectorised"` makes the same calls with many configurations at once. `config` is then a `Population`: a
dictionary with an array of shape (K, 1, 1) for each hyperparameter that is a number, a list of K for one that is not,
and the plain value for a fixed one; `config.models` is K. The losses come back as K numbers, in any shape, and every
array in the state has one row per model in front. So a formula serves both engines as it stands::

    def objective(config):
        return (np.log10(config["lr"]) + 2) ** 2 + config["weight_decay"]

Two attributes of an objective are looked at, if it has them: `apart`, the names of hyperparameters that cannot differ
within a batch, such as a width, which then come as one plain value; and `chunk`, the most models in a batch. Where
there are several batches and `workers`, the objective is called from several threads at once.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dlbook import device
from dlbook.frameworks import from_numpy, load, to_numpy
from dlbook.optimizers import Optimizer

if TYPE_CHECKING:
    from dlbook.data import Split  # whose import of scikit-learn takes a second

# For each optimiser the names in a configuration, and those of its arguments.
ARGUMENTS = {
    "sgd": {"lr": "learning_rate"},
    "momentum": {"lr": "learning_rate", "momentum": "beta"},
    "rmsprop": {"lr": "learning_rate", "beta": "beta", "eps": "eps"},
    "adam": {"lr": "learning_rate", "beta1": "beta1", "beta2": "beta2", "eps": "eps"},
}
OF_OPTIMIZERS = tuple(dict.fromkeys(name for names in ARGUMENTS.values() for name in names))
CACHE_MODELS = 64  # small models: with their gradients, momentum and layers they fill a cache of 2 MB


class Result(NamedTuple):
    """What an objective returns. Only the loss is needed, and the state where there is a scheduler."""

    loss: Any
    state: Any = None  # goes back in to train on
    curve: Sequence[tuple[int, Any]] = ()  # (resource, loss) on the way
    values: Mapping[str, Any] = {}  # whatever else is worth a column in the table: {"accuracy": 0.97}


class State(NamedTuple):
    """What an `MLP` returns to be trained on."""

    params: Any
    running: Any  # statistics of batch norm
    memory: Any  # of the optimiser
    kind: tuple  # what cannot change on the way: sizes, batch norm, optimiser


class Population(dict):
    """The configurations of K models as one: arrays (K, 1, 1), lists of K, and plain values where all are equal."""

    models: int


@dataclass(frozen=True, eq=False)
class MLP:
    """Train `dlbook.mlp` on `data`; report loss and accuracy on its validation part. A resource is an epoch.

    All trials start from the weights of one `seed` and see the same mini-batches, so they differ by their
    configuration alone. It may name these, and where it does not, the fields hold:

    * for the optimiser: `lr`, which it must name, `momentum`, `beta`, `beta1`, `beta2`, `eps`, and `optimizer`, which
      is "sgd", "momentum", "rmsprop" or "adam", by default the one whose arguments the others are;
    * `lr_decay`: epoch t = 0, 1, ... is trained with lr / (1 + lr_decay t);
    * `weight_decay`: a step also takes lr * weight_decay of each weight off it, biases excepted (decoupled, as in
      AdamW, https://arxiv.org/abs/1711.05101);
    * for the network: `hidden`, one width or a tuple of them, `layers`, how many hidden layers of that one width,
      `batch_norm`, and `init_scale`, a factor on the first weights;
    * for training: `batch_size`, `label_smoothing`, `epochs` where there is no scheduler, and a `seed` of its own.

    `every` is how many epochs lie between two points of the learning curve; None gives only the last. `data` may be
    stacked, (K, n, features) and (K, n), which gives each of K models its own. NumPy models
    are trained `chunk` at a time, as many as the cache holds, and their results do not depend, to the last bit, on
    the models beside them.
    """

    data: "Split" = field(repr=False)
    epochs: int = 10
    hidden: int | tuple[int, ...] = 32
    batch_size: int | None = 64
    optimizer: str | None = None
    batch_norm: bool = False
    label_smoothing: float = 0.0
    seed: int = 0
    every: int | None = field(default=None, repr=False)
    framework: str = "numpy"

    apart = ("optimizer", "hidden", "layers", "batch_norm", "batch_size", "label_smoothing", "epochs")
    known = (*OF_OPTIMIZERS, "lr_decay", "weight_decay", "init_scale", "seed", *apart)

    def __call__(
        self, config: Mapping[str, Any], state: Any = None, start: int = 0, resource: int | None = None
    ) -> Result:
        """Train one model, or a population, from `start` to `resource` epochs; None is all of them."""
        given = self._filled(config)
        if resource is None:
            resource = given["epochs"]
        elif "epochs" in config:
            raise ValueError("config must not have epochs where a scheduler decides about them: take it out")
        mlp, rows = load("mlp", self.framework), self.data.x_train.shape[-2]
        steps = -(-rows // (given["batch_size"] or rows))  # in an epoch
        x, y, *validation = (from_numpy(a, self.framework) for a in self.data[:4])
        params, running, memory, kind = self._first(given) if state is None else state
        if kind != self._kind(given):
            raise ValueError(
                f"state must be of sizes, batch norm and optimiser {self._kind(given)}, got {kind}: "
                "they cannot change in the middle of training, so PBT needs a space where they are fixed"
            )
        curve = []
        for first, last in _stretches(given, start, resource):
            params, running, history, memory = mlp.fit(
                params,
                x,
                y,
                optimizer=self._optimizer(given, first),
                steps=(last - first) * steps,
                batch_size=given["batch_size"],
                rng=_order(given["seed"], first, rows),
                running=running,
                state=memory,
                validation=validation if self.every or last == resource else None,
                record_every=self.every and self.every * steps,
                label_smoothing=given["label_smoothing"],
            )
            curve += zip((first + history.recorded / steps).tolist(), history.val_loss, strict=True)
        loss, accuracy = history.val_loss[-1], history.val_accuracy[-1]
        return Result(loss, State(params, running, memory, kind), curve, {"accuracy": accuracy})

    def test(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Loss and accuracy on the test part, which a search must not see, of what a `Result` has as its state."""
        mlp = load("mlp", self.framework)
        x_train, x, y = (from_numpy(self.data[k], self.framework) for k in (0, 4, 5))
        running = mlp.precise_running(state.params, x_train)
        return tuple(map(to_numpy, mlp.evaluate(state.params, x, y, running)))

    @property
    def about(self) -> str:
        """The settings and a checksum of the data: a store goes on only with the same."""
        return f"{self!r} on data {zlib.crc32(b''.join(map(np.ndarray.tobytes, self.data))):08x}"

    @property
    def chunk(self) -> int | None:
        """The most models in a batch."""
        return CACHE_MODELS if self.framework == "numpy" and device.default("numpy") == "cpu" else None

    def _filled(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration with the fields for what it does not name; ValueError for what nobody would read."""
        unknown = [name for name in config if name not in self.known]
        if unknown or "lr" not in config:
            raise ValueError(
                f"config must have lr and may have {', '.join(self.known[1:])}; got {', '.join(config)}"
            )
        named = [name for name in OF_OPTIMIZERS if name in config]
        fits = [one for one, arguments in ARGUMENTS.items() if set(named) <= arguments.keys()]
        optimizer = config.get("optimizer", self.optimizer) or next(iter(fits), None)
        if optimizer not in ARGUMENTS:
            raise ValueError(
                f"optimizer must be one of {', '.join(ARGUMENTS)}, got {optimizer!r} for {named}"
            )
        if "optimizer" not in config and optimizer not in fits:
            raise ValueError(f"config must fit {optimizer}, {', '.join(ARGUMENTS[optimizer])}; got {named}")
        fields = ("epochs", "hidden", "batch_size", "batch_norm", "label_smoothing", "seed")
        mine = {name: getattr(self, name) for name in fields}
        numbers = {name: np.reshape(v, (-1, 1, 1)) for name, v in config.items() if isinstance(v, list)}
        models = getattr(config, "models", None)
        given = {**mine, **config, **numbers, "optimizer": optimizer, "models": models}
        for name in ("lr_decay", "weight_decay"):
            if name in given and not np.all(np.asarray(given[name]) >= 0):
                raise ValueError(f"{name} must be at least 0, got {np.min(given[name])}")
        return given

    def _kind(self, given: Mapping[str, Any]) -> tuple:
        """Sizes, batch norm and optimiser."""
        hidden, layers = given["hidden"], given.get("layers", 1)
        if isinstance(hidden, Integral):
            hidden = (hidden,) * layers
        elif "layers" in given:
            raise ValueError(f"hidden must be one width where there is a number of layers, got {hidden!r}")
        classes = 1 + max(int(y.max(initial=0)) for y in self.data[1::2])
        sizes = (self.data.x_train.shape[-1], *hidden, classes)
        return sizes, bool(given["batch_norm"]), given["optimizer"]

    def _first(self, given: Mapping[str, Any]) -> State:
        """The state before any training."""
        sizes, batch_norm, _ = kind = self._kind(given)
        seed, models = given["seed"], given["models"]
        several = models if np.ndim(seed) else None  # one seed draws once for all
        params = load("mlp", self.framework).init(
            sizes,
            _generators(seed, 0, several),
            models=several,
            batch_norm=batch_norm,
            scale=given.get("init_scale", 1.0),
            dtype=self.data.x_train.dtype,
        )
        return State({name: self._for_all(w, models) for name, w in params.items()}, None, None, kind)

    def _for_all(self, w: Any, models: int | None) -> Any:
        """Weights (in, out) or (K, in, out) where new arrays live, with a row for each of several models."""
        w = to_numpy(w)
        if models is not None:
            w = np.ascontiguousarray(np.broadcast_to(w, (models, *w.shape[-2:])))
        return from_numpy(w, self.framework)

    def _optimizer(self, given: Mapping[str, Any], epoch: int) -> Optimizer:
        """The optimiser of one epoch, or of all where the learning rate stays."""
        lr = given["lr"] / (1 + given.get("lr_decay", 0.0) * epoch)
        arguments = ARGUMENTS[given["optimizer"]]
        hypers = {argument: given[name] for name, argument in arguments.items() if name in given}
        make = getattr(load("optimizers", self.framework), given["optimizer"])
        optimizer = make(**hypers | {"learning_rate": lr})
        if "weight_decay" not in given:
            return optimizer
        share = lr * given["weight_decay"]
        if isinstance(share, np.ndarray):
            share = from_numpy(share.astype(self.data.x_train.dtype), self.framework)
        return _shrinking(optimizer, share)


def _shrinking(optimizer: Optimizer, share: Any) -> Optimizer:
    """The same steps, which also take a `share` of each weight off it."""

    def step(params, grads, state):
        new, state = optimizer.step(params, grads, state)
        weights = {name: new[name] - share * w for name, w in params.items() if name.startswith("W")}
        return new | weights, state

    return Optimizer(optimizer.init, step)


def _stretches(given: Mapping[str, Any], start: int, resource: int) -> Iterator[tuple[int, int]]:
    """The epochs that one optimiser can do in one go: all, or one by one where the learning rate changes."""
    if "lr_decay" not in given:
        return iter([(start, resource)])
    return ((epoch, epoch + 1) for epoch in range(start, resource))


def _generators(seed: Any, purpose: int, models: int | None) -> Any:
    """A generator, or a list with one per model. `seed` is one number, or one per model; alike seeds draw alike."""
    if models is None:
        return np.random.default_rng([int(seed), purpose])
    seeds = np.broadcast_to(np.ravel(seed), models).tolist()
    return [np.random.default_rng([one, purpose]) for one in seeds]


def _order(seed: Any, start: int, rows: int) -> Any:
    """Generators of mini-batches as they are after `start` epochs: one for all models unless each has its seed.

    So a trial that pauses sees the very mini-batches that it would have seen without the pause.
    """
    generators = _generators(seed, 1, np.size(seed) if np.ndim(seed) else None)
    for generator in generators if isinstance(generators, list) else [generators]:
        for _ in range(start):
            generator.permutation(rows)
    return generators
