"""Checks for the exercises of the chapter on batch norm in networks; each prints one line about the answer."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from dlbook.checks import NOT_ATTEMPTED, attempt, diagnose
from dlbook.mlp import Params
from dlbook.mlp import numpy as mlp_numpy

# A convolutional network as PyTorch names it: kernels and matrices, each batch norm's gamma called weight, biases.
NAMED = {
    "0.weight": np.ones((8, 1, 3, 3)),
    "1.weight": np.ones(8),
    "1.bias": np.zeros(8),
    "5.weight": np.ones((64, 128)),
    "6.weight": np.ones(64),
    "6.bias": np.zeros(64),
    "8.weight": np.ones((10, 64)),
    "8.bias": np.zeros(10),
}


def groups(function: Callable) -> None:
    """Exercise 1: `function(named, weight_decay)` is the two parameter groups of a PyTorch optimiser."""
    got = attempt(function, list(NAMED.items()), 0.1)
    print(NOT_ATTEMPTED if got is None else _said_of_groups(got))


def _said_of_groups(got: Any) -> str:
    try:
        names = [([_name(p) for p in group["params"]], group.get("weight_decay")) for group in got]
    except (TypeError, KeyError, AttributeError):
        return 'return a list of dictionaries, each with "params" and "weight_decay"'
    every = [name for group, _ in names for name in group]
    if None in every:
        return "the groups must hold the parameters themselves, without their names"
    if sorted(every) != sorted(NAMED):
        missing = sorted(set(NAMED) - set(every))
        return f"{missing[0]} is in no group" if missing else "a parameter is in both groups"
    if any(decay is None for _, decay in names):
        return "a group has no weight_decay: it would get the optimiser's own, so say 0.0"
    decayed = {name for group, decay in names for name in group if decay == 0.1}
    right = {name for name, p in NAMED.items() if p.ndim > 1}
    sentences = {
        frozenset(right): "correct",
        frozenset(set(NAMED) - right): "your groups are swapped: the matrices and kernels are what decays",
        frozenset(name for name in NAMED if name.endswith("weight")): (
            "gamma is decayed: PyTorch calls it weight too, so the name does not tell; its number of axes does"
        ),
        frozenset(name for name, p in NAMED.items() if p.ndim == 2): (
            "the convolution's kernel is not decayed: it has four axes, not two"
        ),
        frozenset(NAMED): "everything is decayed",
        frozenset(): "nothing is decayed",
    }
    return sentences.get(frozenset(decayed), f"what decays in yours: {', '.join(sorted(decayed))}")


def _name(parameter: Any) -> str | None:
    """Which of `NAMED` this is; None for anything else."""
    return next((name for name, p in NAMED.items() if p is parameter), None)


def only(function: Callable) -> None:
    """Exercise 2: `function(params, keep)` keeps batch norm in the layers `keep`; the others get a bias."""
    params = mlp_numpy.init((4, 6, 5, 3, 2), np.random.default_rng(0), models=2, batch_norm=True)
    before, given = set(params), dict(params)
    got = attempt(function, given, (2,))
    if got is None:
        print(NOT_ATTEMPTED)
    elif not isinstance(got, dict):
        print(f"return a dictionary of parameters, got {type(got).__name__}")
    elif set(given) != before:
        print("you changed the dictionary you were given: the next arm would start from it; make a new one")
    else:
        print(_said_of_only(got, params))


def _said_of_only(got: Params, params: Params) -> str:
    names = {f"W{i}" for i in range(1, 5)} | {"b1", "gamma2", "beta2", "b3", "b4"}
    if {"b1", "gamma1"} <= set(got):
        return "layer 1 has both a bias and a gamma: take gamma and beta out"
    if "b2" in got or "gamma2" not in got:
        return "that is the wrong way round: keep names the layers that stay normalised"
    if "gamma1" in got:
        return "layer 1 is still normalised"
    if "b1" not in got:
        return "layer 1 has neither batch norm nor a bias: its bias was dead before and is needed now"
    if "b4" not in got:
        return "the last layer has lost its bias"
    if set(got) != names:
        return f"the names must be {', '.join(sorted(names))}; got {', '.join(sorted(got))}"
    for name in ("b1", "b3"):
        said = diagnose(got[name], np.zeros_like(params[name.replace("b", "beta")]), {}, name=name)
        if said != "correct":
            return f"{said}: it takes the place of beta, so it has beta's shape and starts at 0"
    same = all(np.array_equal(got[name], params[name]) for name in names & set(params))
    return "correct" if same else "the other parameters must stay as they are"


def torch_variance(function: Callable) -> None:
    """Exercise 3: `function(var, m, decay, steps)` is what PyTorch would have stored where NumPy stored `var`."""
    var, m, decay, steps = np.array([0.5, 1.7, 42.0]), 8, 0.6, 2
    got = attempt(function, var, m, decay, steps)
    if got is None:
        print(NOT_ATTEMPTED)
        return
    print(
        diagnose(
            got,
            _stored(var, m / (m - 1), decay**steps),
            dict(_mistakes(var, m, decay, steps)),
            name="the variance",
        )
    )


def _stored(var: np.ndarray, factor: float, start: float) -> np.ndarray:
    return start + (var - start) * factor


def _mistakes(var: np.ndarray, m: int, decay: float, steps: int) -> Iterable[tuple[str, np.ndarray]]:
    bessel, start = m / (m - 1), decay**steps
    yield "that is NumPy's own: PyTorch stores the unbiased variance, m - 1 in place of m", var
    yield "the 1 that the average started from is multiplied too; it is no variance of a batch", var * bessel
    yield "upside down: dividing by m - 1 gives more than dividing by m", _stored(var, 1 / bessel, start)
    yield "upside down, and the 1 of the start is multiplied too", var / bessel
    yield "after steps batches the 1 has the weight decay ** steps, not decay", _stored(var, bessel, decay)
    yield "decay is the weight kept; you used 1 - decay", _stored(var, bessel, (1 - decay) ** steps)
    yield "the start must come back after the multiplication", (var - start) * bessel
    yield (
        "the start keeps its share: var holds decay ** steps of it, not all of it",
        _stored(var, bessel, 1.0),
    )
    yield (
        "the factor is m / (m - 1); yours grows with the number of steps",
        _stored(var, bessel**steps, start),
    )
