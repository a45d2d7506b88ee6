"""What does a search cost when training costs nothing? A trial that does nothing, on every engine.

    python -m benchmarks.engines [--quick]

All arms draw the same points of a Sobol sequence and hand them to an objective that returns one of the two numbers.
`Optuna` is `study.optimize` with the same points, in memory or on a journal file, as the book's engine writes one.
With two workers the start of the processes is taken off; it is shown apart.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks import timing, work
from dlbook.tuning import run

TRIALS, WRITTEN = 2000, 300  # in memory, and where every trial is written to the disk
SHARED = 20_000  # between two workers, whose start takes as long as many thousands of such trials
ITSELF = "Optuna itself, on a journal"


def main(arguments: Sequence[str] | None = None) -> Path:
    """Measure, print, write `engines.json`; the path of it."""
    options = _options(arguments)
    many, few = (20, 10) if options.quick else (TRIALS, WRITTEN)
    with tempfile.TemporaryDirectory() as folder:
        ways = [
            ("no engine", many, lambda n: [nothing(work.SAMPLER.config(i)) for i in range(n)]),
            ("local", many, search(engine="local")),
            ("vectorised", many, search(engine="vectorised")),
            ("local, with a store", few, search(Path(folder), ".jsonl", engine="local")),
            ("vectorised, with a store", many, search(Path(folder), ".jsonl", engine="vectorised")),
            ("optuna, on a journal", few, search(Path(folder), ".journal", engine="optuna")),
            (ITSELF, few, optuna(Path(folder))),
            ("Optuna itself, in memory", few, optuna(None)),
        ]
        if not options.quick:
            ways += [("2 workers", SHARED, search(engine="local", workers=2))]
            ways += [("2 workers, start", 2, search(engine="local", workers=2))]
        work.check({name: call(n) for name, n, call in ways}, rtol=1e-12)
        arms = [timing.Arm(lambda n=n, call=call: call(n), n, {"engine": name}) for name, n, call in ways]
        rows = timing.race(arms, options.rounds)
    print(show(rows))
    return timing.write("engines", rows, {"rounds": options.rounds, "quick": options.quick}, options.out)


def nothing(config: dict[str, Any]) -> Any:
    """The objective."""
    return config["lr"]


def search(folder: Path | None = None, ending: str = "", **engine: Any) -> Callable[[int], list[float]]:
    """A search of the book's, with a new store each time if there is a folder."""
    number = count()

    def call(n):
        store = None if folder is None else folder / f"{engine['engine']}-{n}-{next(number)}{ending}"
        return work.losses(run(nothing, work.SPACE, work.SAMPLER, n=n, store=store, **engine))

    return call


def optuna(folder: Path | None) -> Callable[[int], list[float]]:
    """Optuna used directly, with our points instead of its own."""
    from dlbook.tuning.optuna_study import distributions, load, params

    optuna, number, space = load(), count(), distributions(work.SPACE)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal = optuna.storages.journal

    class Points(optuna.samplers.BaseSampler):
        def infer_relative_search_space(self, study, trial):
            return space

        def sample_relative(self, study, trial, search_space):
            return params(work.SPACE, work.SAMPLER.config(trial.number))

        def sample_independent(self, study, trial, name, distribution):
            raise NotImplementedError

    def suggested(trial):
        config = {name: trial._suggest(name, one) for name, one in space.items()}
        return nothing(config)

    def call(n):
        storage = None
        if folder is not None:
            path = str(folder / f"itself-{next(number)}.journal")
            lock = journal.JournalFileOpenLock(path)
            storage = journal.JournalStorage(journal.JournalFileBackend(path, lock))
        study = optuna.create_study(storage=storage, sampler=Points())
        study.optimize(suggested, n_trials=n)
        return [trial.value for trial in study.trials]

    return call


def show(rows: Sequence[dict[str, Any]]) -> str:
    """The table."""
    itself = timing.pick(rows, engine=ITSELF)
    start = timing.pick(rows, engine="2 workers, start")
    lines = []
    for row in rows:
        each = [s / row["trials"] for s in row["seconds"]]
        if row["engine"] == "2 workers":
            pairs = zip(row["seconds"], start["seconds"], strict=True)
            each = [(s - before) / (row["trials"] - start["trials"]) for s, before in pairs]
        if row["engine"] == "2 workers, start":
            lines.append((row["engine"], f"{timing.Spread.of(row['seconds'])} s in all", ""))
            continue
        their = [s / itself["trials"] for s in itself["seconds"]]
        ratio = timing.Spread.of(mine / one for mine, one in zip(each, their, strict=True))
        lines.append((row["engine"], timing.Spread.of(1000 * s for s in each), ratio))
    head = ("engine", "ms per trial", "times Optuna itself on a journal")
    return timing.table(head, lines) + "\n"


def _options(arguments: Sequence[str] | None) -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=timing.RESULTS, help="the folder for engines.json")
    parser.add_argument("--quick", action="store_true", help="tiny, to see that it runs")
    options = parser.parse_args(arguments)
    options.rounds = 2 if options.quick else options.rounds
    return options


if __name__ == "__main__":
    main()
