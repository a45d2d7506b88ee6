"""Execute chapters in a clean kernel, store their outputs, normalise and lint them.

python -m tools.chapters             all chapters
python -m tools.chapters softmax     one
python -m tools.chapters --check     lint only; a file that is not normalised is an error
"""

import argparse
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from tools import status
from tools.kernel_env import KERNEL_ENV
from tools.normalise import normalise, text
from tools.rules import figures, median_lines, problems

CHAPTERS = Path(__file__).resolve().parent.parent / "chapters"
WARN_SECONDS, MAX_SECONDS, MAX_GB = 20, 40, 1.5
CELL_SECONDS = 300


def find(names: list[str], folder: Path = CHAPTERS) -> list[Path]:
    """The named chapters, or all; a name is a file's, with or without folder and ending."""
    paths = {path.stem: path for path in sorted(folder.glob("*.ipynb"))}
    unknown = [name for name in names if Path(name).stem not in paths]
    if unknown:
        raise ValueError(
            f"no chapter is called {', '.join(unknown)}; there is {', '.join(paths) or 'none yet'}"
        )
    return [paths[Path(name).stem] for name in names] or list(paths.values())


def read(stored: str):
    """The notebook as stored. `nbformat.read` would give a cell without id a new one each time."""
    return nbformat.v4.reads(stored)


@contextmanager
def watched(seconds: float = 0.1) -> Iterator[SimpleNamespace]:
    """Measure the seconds by the clock, and of all child processes together CPU seconds and peak memory in GB."""
    usage, done = SimpleNamespace(seconds=0.0, cpu_seconds=0.0, gigabytes=0.0), threading.Event()
    cpu: dict[int, float] = {}  # by process, since one that ended still counts

    def poll() -> None:
        while not done.wait(seconds):
            memory = 0
            for process, spent, held in children():
                cpu[process] = spent
                memory += held
            usage.gigabytes = max(usage.gigabytes, memory / 1e9)

    thread, start = threading.Thread(target=poll, daemon=True), time.monotonic()
    thread.start()
    try:
        yield usage
    finally:
        usage.seconds = time.monotonic() - start
        done.set()
        thread.join()
        usage.cpu_seconds = sum(cpu.values())


def children() -> Iterator[tuple[int, float, int]]:
    """(id, CPU seconds so far, bytes of memory now) of the children of this process, and of theirs."""
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
            yield child.pid, times.user + times.system, child.memory_info().rss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def execute(notebook, folder: Path) -> SimpleNamespace:
    """Run all cells in a new kernel; outputs go into `notebook`. Returns seconds and gigabytes."""
    environment = {**os.environ, **KERNEL_ENV, "JUPYTER_PREFER_ENV_PATH": "1"}
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        shutdown_kernel="immediate",  # nothing is left to save, and TensorFlow takes seconds to say goodbye
        extra_arguments=["--IPKernelApp.log_level=40"],
        resources={"metadata": {"path": str(folder)}},
    )
    with watched() as usage:
        client.execute(env=environment)
    return usage


def too_much(path: Path, usage: SimpleNamespace) -> Iterator[str]:
    if needed(usage) > MAX_SECONDS:
        yield f"took {needed(usage):.0f} s; at most {MAX_SECONDS} s"
    elif needed(usage) > WARN_SECONDS and path.stem not in status.longer(path.parent):
        yield (
            f"took {needed(usage):.0f} s; at most {WARN_SECONDS} s, or {MAX_SECONDS} s where chapters/longer.yml "
            "says what for"
        )
    if usage.gigabytes > MAX_GB:
        yield f"needed {usage.gigabytes:.2f} GB; at most {MAX_GB} GB, since Binder gives 2"


def needed(usage: SimpleNamespace) -> float:
    """Seconds by the clock, or of CPU where those are fewer: then the machine was busy with something else."""
    return min(usage.seconds, usage.cpu_seconds)


def run(path: Path) -> list[str]:
    """Execute one chapter and store it. Returns what is wrong with it."""
    notebook = normalise(read(path.read_text(encoding="utf-8")), path.stem)
    try:
        usage = execute(notebook, path.parent)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        return [f"a cell failed, so nothing was stored:\n{error}"]
    notebook = normalise(notebook, path.stem)
    stored = text(notebook)
    path.write_text(stored, encoding="utf-8", newline="\n")
    status.write(path.parent, path.stem, notebook, usage)
    slow = f" (aim at {WARN_SECONDS} s)" if needed(usage) > WARN_SECONDS else ""
    cost = f"{usage.seconds:.1f} s, {usage.cpu_seconds:.1f} s of CPU{slow}, {usage.gigabytes:.2f} GB"
    print(f"{path.stem}: {cost}, {summary(notebook, stored)}")
    return [*problems(notebook, path.stem, len(stored.encode())), *too_much(path, usage)]


def check(path: Path) -> list[str]:
    """Lint one chapter as it is stored. Returns what is wrong with it."""
    stored = path.read_text(encoding="utf-8")
    notebook = read(stored)
    found = problems(notebook, path.stem, len(stored.encode()))
    if text(normalise(notebook, path.stem)) != stored:
        found.append(f"not stored as `make chapters CHAPTER={path.stem}` stores it; run that")
    return [*found, *status.out_of_date(path.parent, path.stem, notebook)]


def summary(notebook, stored: str) -> str:
    size = len(stored.encode()) / 1e6
    return f"{len(figures(notebook))} figures, median cell {median_lines(notebook):g} lines, {size:.2f} MB"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", help="names, such as softmax; all without any")
    parser.add_argument("--check", action="store_true", help="lint the stored files, execute nothing")
    options = parser.parse_args(arguments)
    try:
        paths = find(options.chapters)
    except ValueError as error:
        parser.error(str(error))
    wrong = {path: (check if options.check else run)(path) for path in paths}
    for path, messages in wrong.items():
        for message in messages:
            print(f"chapters/{path.name}: {message}", file=sys.stderr)
    count = sum(map(len, wrong.values()))
    print(f"{len(paths)} chapters, {count} problems" if paths else "chapters: there is no notebook yet")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
