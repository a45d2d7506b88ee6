"""Write the tables of README.md anew, from the files in results/: no number in it is typed by hand.

python -m benchmarks.report
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import engines, gpu, memory, studies, timing, trials, work

README = Path(__file__).parent / "README.md"
SMALL = work.NETWORKS[0].name
AIM_K = 256


def main(readme: Path = README, results: Path = timing.RESULTS) -> None:
    """Replace what stands between the markers of each benchmark."""
    text = readme.read_text(encoding="utf-8")
    for name, tables in TABLES.items():
        result = timing.read(name, results)
        words = "Not measured yet." if result is None else f"{origin(result)}\n\n{tables(result['rows'])}"
        text = replaced(text, name, words.strip())
    found = {name: timing.read(name, results) for name in ("trials", "engines")}
    text = replaced(text, "aims", aims({name: one["rows"] for name, one in found.items() if one is not None}))
    readme.write_text(text, encoding="utf-8")


def replaced(text: str, name: str, words: str) -> str:
    """The text with other words between the two markers of `name`; ValueError if they are not there."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"text must have {begin} and, after it, {end}, once each")
    before, rest = text.split(begin)
    return f"{before}{begin}\n{words}\n{end}{rest.split(end)[1]}"


def origin(result: Mapping[str, Any]) -> str:
    """When and on what it was measured."""
    machine = result["machine"]
    names = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    gpu = f"{machine['gpu']}, " if "gpu" in machine else ""
    threads = machine["OMP_NUM_THREADS"]
    quick = " A quick run, whose numbers mean nothing." if result["settings"].get("quick") else ""
    return (
        f"Measured on {result['date']}: {gpu}{machine['processor']}, {machine['cores']} cores, "
        f"OMP_NUM_THREADS {threads}, {machine['system']}; {names}.{quick}"
    )


def each(show: Callable[..., str], *columns: str) -> Callable[[Sequence[Mapping[str, Any]]], str]:
    """All tables of a benchmark that has one for each value of some columns."""

    def tables(rows: Sequence[Mapping[str, Any]]) -> str:
        keys = dict.fromkeys(tuple(row[name] for name in columns) for row in rows)
        return "\n".join(show(*key, rows) for key in keys)

    return tables


def aims(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Each aim, what was measured, and whether it was reached."""
    lines = []
    for framework, aim in (("numpy", 6), ("torch", 20)):
        about = {"framework": framework, "network": SMALL}
        rows = found.get("trials", ())
        others = {"the plain loop": "plain loop", "one by one": "local"}
        for engine, (name, than) in itertools.product(("vectorised", trials.TWO_THREADS), others.items()):
            mine = timing.pick(rows, **about, engine=engine, models=AIM_K)
            other = timing.pick(rows, **about, engine=than)
            if mine is not None and other is not None:
                value = timing.faster(mine, other)
                what = f"{framework}, K = {AIM_K}, {engine}, against {name}"
                lines.append((what, f"at least {aim}", value, word(value.median >= aim)))
    rows = found.get("engines", ())
    ours, itself = (timing.pick(rows, engine=name) for name in ("optuna, on a journal", engines.ITSELF))
    if ours is not None and itself is not None:
        value = timing.faster(itself, ours)
        what = "a trial that does nothing, engine optuna against Optuna itself"
        lines.append((what, "at most 1.5", value, word(value.median <= 1.5)))
    return timing.table(("ratio", "aim", "measured", ""), lines) if lines else "Not measured yet."


def word(reached: bool) -> str:
    return "reached" if reached else "missed"


TABLES = {
    "trials": each(trials.show, "framework", "network"),
    "engines": engines.show,
    "memory": each(memory.show, "framework"),
    "studies": studies.show,
    "gpu": each(gpu.show, "framework", "network"),
}

if __name__ == "__main__":
    main()
