"""How much memory does each engine need? The peak of a search in a fresh Python, its workers included.

    python -m benchmarks.memory [--frameworks numpy torch tensorflow] [--quick]

Each search trains the digits network for one epoch. While it runs, the memory of the process and of its children is
read forty times a second: their proportional set size where the system knows it, which counts a page that processes
share once, else the resident set size.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import timing, work
from dlbook import frameworks
from dlbook.tuning import run

MODELS = (1, 256, 1024)
FEW = 4  # trials of the arms that go one by one
MEGA = 1e6


def main(arguments: Sequence[str] | None = None) -> Path:
    """Measure, print, write `memory.json`; the path of it."""
    options = _options(arguments)
    ways = [("imports only", 0)] + [("vectorised", k) for k in options.models]
    if not options.quick:
        ways += [("local", FEW), ("2 workers", FEW), ("optuna", FEW)]
    rows = []
    for framework in options.frameworks:
        peaks: list[list[float]] = [[] for _ in ways]
        for number in range(options.rounds):
            order = range(len(ways)) if number % 2 == 0 else reversed(range(len(ways)))
            for k in order:
                peaks[k].append(round(peak(framework, *ways[k]) / MEGA, 1))
        rows += [
            {"framework": framework, "engine": engine, "models": n, "megabytes": one}
            for (engine, n), one in zip(ways, peaks, strict=True)
        ]
        print(show(framework, rows), flush=True)
    return timing.write("memory", rows, {"rounds": options.rounds, "quick": options.quick}, options.out)


def peak(framework: str, engine: str, n: int) -> int:
    """The most bytes that a fresh Python and its children had while it did one search."""
    import psutil

    command = [sys.executable, "-m", "benchmarks.memory", "--search", framework, engine, str(n)]
    root, most = Path(__file__).resolve().parent.parent, 0
    with subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL) as process:
        of = psutil.Process(process.pid)
        while process.poll() is None:
            most = max(most, tree(of))
            time.sleep(0.025)
    if process.returncode:
        raise RuntimeError(
            f"the search of {framework}, {engine} with {n} trials ended with {process.returncode}"
        )
    return most


def tree(process: Any) -> int:
    """The bytes of a process and its children, 0 if it has just ended."""
    import psutil

    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            try:
                total += getattr(one.memory_full_info(), "pss", 0) or one.memory_info().rss
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                pass  # between two looks at it
    except psutil.NoSuchProcess:
        return 0
    return total


def search(framework: str, engine: str, n: int) -> None:
    """What the fresh Python does: one search, after the imports that it needs."""
    frameworks.load("mlp", framework)
    objective = work.objective(work.NETWORKS[0]._replace(epochs=1), framework)
    if engine == "imports only":
        return
    with tempfile.TemporaryDirectory() as folder:
        engine, workers = ("local", 2) if engine == "2 workers" else (engine, 1)
        store = Path(folder) / "run.journal" if engine == "optuna" else None
        run(objective, work.SPACE, work.SAMPLER, n=n, engine=engine, workers=workers, store=store)


def show(framework: str, rows: Sequence[dict[str, Any]]) -> str:
    """The table of one framework."""
    mine = [row for row in rows if row["framework"] == framework]
    bare = timing.pick(mine, engine="imports only")
    lines = []
    for row in mine:
        name = f"vectorised, K = {row['models']}" if row["engine"] == "vectorised" else row["engine"]
        pairs = zip(row["megabytes"], bare["megabytes"], strict=True)
        lines.append((name, timing.Spread.of(row["megabytes"]), timing.Spread.of(a - b for a, b in pairs)))
    return f"**{framework}**\n\n{timing.table(('engine', 'MB', 'above the imports'), lines)}\n"


def _options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    here = list(frameworks.installed())
    parser.add_argument("--frameworks", nargs="+", default=here, choices=here)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="the folder for memory.json")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    options = parser.parse_args(arguments)
    options.models = MODELS[:1] if options.quick else MODELS
    options.rounds = 1 if options.quick else options.rounds
    return options


if __name__ == "__main__":
    if sys.argv[1:2] == ["--search"]:
        search(sys.argv[2], sys.argv[3], int(sys.argv[4]))
    else:
        main()
