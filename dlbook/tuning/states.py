"""The states of trials that a scheduler may go on with: in memory and, beside a store, in files."""

import os
import pickle
import shutil
from pathlib import Path
from typing import Any


class States:
    """What the objective returned at the end of the last two jobs of each trial.

    Two, because in population-based training a copy asks for the weights that its parent had a generation ago. The
    files are pickled: whoever can write them can run what they like when the search goes on.
    """

    def __init__(self, folder: Path | None):
        self._folder = folder
        self._memory: dict[int, dict[int, Any]] = {}  # by trial, by resource
        if folder is not None:
            folder.mkdir(exist_ok=True)

    def put(self, trial: int, at: int, state: Any) -> None:
        """Keep a state, and drop the one before the last."""
        ends = self._memory.setdefault(trial, {})
        ends[at] = state
        if self._folder is not None:
            new = self._path(trial, at).with_suffix(".new")
            new.write_bytes(pickle.dumps(state))
            os.replace(new, self._path(trial, at))
        for old in sorted(ends)[:-2]:
            del ends[old]
            if self._folder is not None:
                self._path(trial, old).unlink(missing_ok=True)

    def get(self, trial: int, at: int) -> Any:
        """The state of a trial when it had been trained for `at`; None at 0."""
        if at == 0:
            return None
        ends = self._memory.setdefault(trial, {})
        if at not in ends:
            path = self._path(trial, at)
            try:
                ends[at] = pickle.loads(path.read_bytes())
            except Exception as error:
                raise ValueError(
                    f"store must have the state of trial {trial} at {at} beside it, in {path}, which cannot be read "
                    f"({type(error).__name__}: {error}): put it back, or give the search another path"
                ) from None
        return ends[at]

    def delete(self) -> None:
        """The search is over, and nothing will be asked for."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, trial: int, at: int) -> Path:
        return self._folder / f"{trial}-{at}.pickle"
