"""A population: many configurations as one, and states of single models that become rows of arrays and back.

So schedulers need nothing special. To go on with the survivors of a rung is to stack their states; population-based
training stacks the states of the parents.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dlbook.frameworks import array_namespace, framework_of
from dlbook.tuning.objectives import Population
from dlbook.tuning.space import Space


def gather(configs: Sequence[Mapping[str, Any]], space: Space, apart: Sequence[str] = ()) -> Population:
    """Configurations of `space` side by side: arrays (K, 1, 1) of numbers, lists of other things.

    Fixed values and those in `apart`, which must be equal, stay as they are.
    """
    population = Population()
    population.models = len(configs)
    for name, first in configs[0].items():
        values = [config[name] for config in configs]
        if name in apart or name not in space.scales:
            population[name] = first
        elif space.scales[name].dtype is object:
            population[name] = values
        else:
            population[name] = np.array(values, space.scales[name].dtype).reshape(-1, 1, 1)
    return population


class Shared(NamedTuple):
    """A part of a state that all models have in common, such as the number of steps taken."""

    part: Any


def split(state: Any, models: int) -> list[Any]:
    """The states of single models: row k of every array. What is no array, or has no axis, they share."""
    if isinstance(state, Mapping):
        parts = {name: split(part, models) for name, part in state.items()}
        return [{name: part[k] for name, part in parts.items()} for k in range(models)]
    if isinstance(state, list | tuple):
        parts = [split(part, models) for part in state]
        return [_like(state, (part[k] for part in parts)) for k in range(models)]
    if len(getattr(state, "shape", ())) == 0:
        return [Shared(state)] * models
    if state.shape[0] != models:
        raise ValueError(
            f"state must have arrays with {models} rows, one per model, got shape {tuple(state.shape)}"
        )
    if framework_of(state) == "tensorflow":
        import tensorflow as tf

        return tf.unstack(state)
    return list(array_namespace(state).unstack(state))


def stack(states: Sequence[Any]) -> Any:
    """One state for several models, of states that `split` returned."""
    first = states[0]
    if isinstance(first, Shared):
        return first.part
    if isinstance(first, Mapping):
        return {name: stack([state[name] for state in states]) for name in first}
    if isinstance(first, list | tuple):
        return _like(first, map(stack, zip(*states, strict=True)))
    if framework_of(first) == "tensorflow":
        import tensorflow as tf

        return tf.stack(states)
    return array_namespace(first).stack(states)


def _like(sequence: list | tuple, items: Any) -> Any:
    return type(sequence)(*items) if hasattr(sequence, "_fields") else type(sequence)(items)
