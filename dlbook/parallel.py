"""Independent pieces of work side by side, in threads: NumPy's loops run without Python's lock."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

MOST = 4  # threads, unless asked for more: each holds arrays of its own


def parallel(function: Callable, *arguments: Iterable, threads: int | None = None) -> list[Any]:
    """`list(map(function, *arguments))`, with `threads` pieces at a time; None is one a core, and at most `MOST`.

    The results are the same to the last bit. It pays where an array operation takes much longer than the Python
    around it, as for populations of tens of models. An exception of a piece is raised once no other runs.
    """
    pieces = list(zip(*arguments, strict=True))
    threads = min(threads or min(os.cpu_count() or 1, MOST), len(pieces))
    if threads < 2:
        return [function(*piece) for piece in pieces]
    with ThreadPoolExecutor(threads) as pool:
        # a context of its own for each, so that `np.errstate` around this call holds in the threads
        running = [pool.submit(copy_context().run, function, *piece) for piece in pieces]
        return [one.result() for one in running]
