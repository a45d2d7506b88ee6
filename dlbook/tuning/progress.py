"""A progress bar where somebody watches: on a terminal, or in a notebook that is open in a browser or editor."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dlbook.tuning.ranking import feasible
from dlbook.tuning.study import Done


@contextmanager
def progress(total: int | None) -> Iterator[Callable[[Sequence[Done]], None]]:
    """A function to be called with the jobs done so far; it shows them, or does nothing where nobody watches.

    That is where chapters are run by a program, whose stored outputs must not change, and where tqdm is missing.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    if tqdm is None or not is_watched():
        yield lambda done: None
        return
    with tqdm(total=total, unit="job", file=sys.stderr, dynamic_ncols=True) as bar:

        def show(done: Sequence[Done]) -> None:
            losses = [one.loss for one in done if feasible(one.loss)]
            bar.set_postfix(
                {"best": min(losses, default=None), "infeasible": len(done) - len(losses)}, refresh=False
            )
            bar.update(len(done) - bar.n)

        yield show


def is_watched() -> bool:
    """Is standard error a terminal, or this the kernel of a notebook that Jupyter, VS Code or Colab has open?"""
    if sys.stderr.isatty():
        return True
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if type(shell).__name__ != "ZMQInteractiveShell":
        return type(shell).__module__.startswith("google.colab")
    return "JPY_SESSION_NAME" in os.environ or "__vsc_ipynb_file__" in shell.user_ns
