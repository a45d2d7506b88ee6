"""Checks for the exercises of the chapter on frameworks; each prints one line about the reader's function."""

from collections.abc import Callable

import numpy as np

from dlbook.checks import NOT_ATTEMPTED, attempt, diagnose
from dlbook.framework_choice import memo, port


def _state(seed: int = 0) -> dict[str, np.ndarray]:
    """What PyTorch's `state_dict` holds for Linear(3, 4, bias=False), BatchNorm1d(4), ReLU, Linear(4, 2)."""
    rng = np.random.default_rng(seed)
    return {
        "0.weight": rng.normal(size=(4, 3)),
        "1.weight": rng.uniform(0.5, 2, 4),
        "1.bias": rng.normal(size=4),
        "1.running_mean": rng.normal(size=4),
        "1.running_var": rng.uniform(1e-5, 3e-5, 4),  # small, so that ε counts
        "3.weight": rng.normal(size=(2, 4)),
        "3.bias": rng.normal(size=2),
    }


def ported(function: Callable) -> None:
    """Exercise 1: `function(state)` is [(W, b), (W, b)] with x @ W + b, batch norm folded in, its ε being 1e-5."""
    state = _state()
    got = attempt(function, {name: array.copy() for name, array in state.items()})
    if got is None:
        print(NOT_ATTEMPTED)
        return
    try:
        (W1, b1), (W2, b2) = got
        shapes = [np.shape(a) for a in (W1, b1, W2, b2)]
    except (TypeError, ValueError):
        print("return two pairs, [(W1, b1), (W2, b2)]")
        return
    if shapes[0] == (4, 3) or shapes[2] == (2, 4):
        print("PyTorch stores a weight as (out, in); x @ W needs (in, out): transpose it")
        return
    if shapes != [(3, 4), (4,), (4, 2), (2,)]:
        print(f"the shapes must be (3, 4), (4,), (4, 2), (2,), got {', '.join(map(str, shapes))}")
        return
    gamma, beta, mean, var = (
        state[f"1.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
    )
    W = state["0.weight"].T

    def folded(scale, shift=None):
        return _joined(W * scale, beta - mean * scale if shift is None else shift, state)

    scale = gamma / np.sqrt(var + 1e-5)
    mistakes = {
        "batch norm is missing: fold it into the first pair": folded(np.ones(4), np.zeros(4)),
        "you divided by the variance: its root belongs there": folded(gamma / (var + 1e-5)),
        "ε is missing under the root": folded(gamma / np.sqrt(var)),
        "ε belongs under the root, not beside it": folded(gamma / (np.sqrt(var) + 1e-5)),
        "that ε is Keras's; PyTorch's is 1e-5": folded(gamma / np.sqrt(var + 1e-3)),
        "the mean must be scaled too before it is subtracted from beta": folded(scale, beta - mean),
        "gamma is missing": folded(1 / np.sqrt(var + 1e-5)),
        "beta is missing from the bias": folded(scale, -mean * scale),
    }
    flat = np.concatenate([np.ravel(a) for a in (W1, b1, W2, b2)])
    print(diagnose(flat, folded(scale), mistakes, name="the vector of all numbers"))


def _joined(W: np.ndarray, b: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([W.ravel(), b, state["3.weight"].T.ravel(), state["3.bias"]])


def sensitive(function: Callable) -> None:
    """Exercise 2: `function(scores, weights)` names each criterion whose weight, half more or less, moves the win."""
    scores = {
        "A": {"speed": 5, "ease": 2, "open": 3},
        "B": {"speed": 3, "ease": 4, "open": 3},
        "C": {"speed": 1, "ease": 4.5, "open": 3},
    }
    cases = tuple(
        dict(zip(("speed", "ease", "open"), w, strict=True)) for w in ((3, 2, 1), (4, 5, 1), (9, 1, 1))
    )
    asked = [attempt(function, scores, weights) for weights in cases]
    if any(got is None for got in asked):
        print(NOT_ATTEMPTED)
        return
    try:
        asked = [set(got) for got in asked]
    except TypeError:
        print("return the names of criteria, such as ['speed']")
        return
    right = [{name for name, _, _ in memo.memo(scores, weights).flips} for weights in cases]
    only = {
        factor: [{n for n, f, _ in memo.memo(scores, weights).flips if f == factor} for weights in cases]
        for factor in (0.5, 1.5)
    }
    if asked == right:
        print("correct")
    elif unknown := set().union(*asked) - set(cases[0]):
        print(f"return names of criteria, got {', '.join(map(repr, sorted(map(str, unknown))))}")
    elif asked == only[1.5]:
        print("you only made weights larger: try half of them too")
    elif asked == only[0.5]:
        print("you only made weights smaller: try half more too")
    elif any("open" in got for got in asked):
        print("all score the same on 'open': no weight of it can move the win")
    else:
        k = next(k for k, got in enumerate(asked) if got != right[k])
        print(f"for the weights {cases[k]} the answer is {sorted(right[k])}, got {sorted(asked[k])}")


def agreeing(function: Callable, *, steps: int = 50, limit: float = 1e-12) -> None:
    """Exercise 3: `function()` is a `port.Settings` with which NumPy and Keras agree in float64 for `steps` steps."""
    settings = attempt(function)
    if settings is None:
        print(NOT_ATTEMPTED)
        return
    if not isinstance(settings, port.Settings):
        print(f"return a port.Settings, got {type(settings).__name__}")
        return
    task = port.job(0, steps)
    off = np.abs(port.numpy_run(task, settings).losses - port.keras_run(task, settings).losses).max()
    if off < limit:
        print(f"correct: {steps} losses agree to 12 digits after the point")
        return
    rounded = port.in_single_precision(settings)
    reasons = {
        "ε is in the way: Keras adds it elsewhere, so make it too small to matter": settings.adam_eps > 1e-20,
        "a decay of Adam has no exact float32, and Keras rounds it": (settings.beta1, settings.beta2)
        != (rounded.beta1, rounded.beta2),
        "the rate has no exact float32, and Keras rounds it": settings.lr != rounded.lr,
    }
    said = next((reason for reason, holds in reasons.items() if holds), "compare the settings one by one")
    print(f"the losses differ by up to {off:.0e}; {said}")
