"""What `fit` writes down on the way, the same in every framework."""

import numpy as np

from dlbook.mlp import History


def is_recorded(step: int, steps: int, record_every: int | None) -> bool:
    """Validation is measured every `record_every` steps, and after the last step."""
    return step == steps or (record_every is not None and step % record_every == 0)


def history(losses: np.ndarray, records: list[tuple]) -> History:
    """`losses` (steps, ...) and the records (step, loss, accuracy) as the arrays of a `History`."""
    if not records:
        empty = losses[:0]
        return History(losses, np.zeros(0, int), empty, empty)
    steps, loss, accuracy = zip(*records, strict=True)
    return History(losses, np.array(steps), np.stack(loss), np.stack(accuracy))
