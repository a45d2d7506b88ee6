"""A search from the command line: a worker on another machine, and how far a search has come.

::

    python -m dlbook.tuning worker --study digits --storage postgresql://book@db.example/tuning my_search:objective
    python -m dlbook.tuning status --study digits --storage postgresql://book@db.example/tuning

The storage may also be the path of a journal file. Space, sampler, scheduler and the number of trials come from the
study, the objective from the module, which lies in the folder where the command is given.
"""

import argparse
import importlib
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from dlbook.tuning.optuna_engine import Board, Found, explained, quiet, work
from dlbook.tuning.progress import progress
from dlbook.tuning.run import Plan
from dlbook.tuning.study import SHOWN, Study
from dlbook.tuning.written import read_repr


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line says; a mistake in it ends in one line."""
    parser = argparse.ArgumentParser(prog="python -m dlbook.tuning", description="A search on many machines.")
    commands = parser.add_subparsers(required=True, metavar="worker | status")
    for name, does, what in (
        ("worker", worker, "train what nobody else does until every trial is done"),
        ("status", status, "print how far a search has come, and its best trials"),
    ):
        command = commands.add_parser(name, help=what, description=what)
        command.set_defaults(does=does)
        command.add_argument(
            "--storage", required=True, help="a journal file, or postgresql://user@host/database"
        )
        command.add_argument("--study", default=None, help="the name behind the # in the store of the search")
    commands.choices["worker"].add_argument("objective", metavar="module:objective")
    given = parser.parse_args(arguments)
    with quiet():
        try:
            board = Board(given.storage, given.study)
            about = board.join()
            does = given.does(board, about, given)
        except (ValueError, ImportError) as error:
            parser.error(str(error))
        with explained(given.storage):
            does()


def worker(board: Board, about: dict[str, Any], given: argparse.Namespace) -> Callable[[], None]:
    """Check that the objective is that of the study; a function that works with the others until all is done."""
    space = read_repr(about["space"])
    sampler = read_repr(about["sampler"], {"space": space})
    scheduler = read_repr(about["scheduler"]) if "scheduler" in about else None
    plan = Plan.checked(_objective(given.objective), space, sampler, scheduler, board.n)
    board.begin(plan)

    def go() -> None:
        with progress(plan.total) as show:
            trained = work(plan, board, show)
        print(f"All {plan.n} trials are done, {trained} of them here.")

    return go


def status(board: Board, about: dict[str, Any], given: argparse.Namespace) -> Callable[[], None]:
    """A function that prints the table."""
    return lambda: print(words(board.look()))


def words(found: Found) -> str:
    """How many trials are done, who trains which, and the best."""
    study = Study(found.jobs)
    head = (
        f"{len(study)} of {found.n} trials done, {found.running} running, {len(study.infeasible)} infeasible"
    )
    running = [
        f"trial {trial} on {one.user_attrs['worker'].rsplit(' ', 1)[0]}"
        for trial, one in sorted(found.owners.items())
        if trial not in found.done
    ]
    best = [one.trial for one in study.top(SHOWN)]
    rows = [next(row for row in study.table if row["trial"] == trial) for trial in best]
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([_short(row.get(name)) for name in names] for row in rows)] if rows else []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(map(str.rjust, row, widths)) for row in cells]
    return "\n".join([head, *running, *lines])


def _objective(name: str) -> Callable:
    module, _, path = name.partition(":")
    try:
        return reduce(getattr, path.split("."), importlib.import_module(module))
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"objective must be module:function, got {name!r}: {error}") from None


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
