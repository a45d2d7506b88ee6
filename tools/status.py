"""chapters/status.json: when, with what and at what cost each chapter was last executed. `make chapters` writes it.

Nobody compares its times. `make lint` compares its hash of the code, and reports a chapter whose code changed since.
"""

import hashlib
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace

import yaml

PACKAGES = (
    "numpy", "scipy", "scikit-learn", "matplotlib", "torch", "tensorflow-cpu", "tensorflow", "keras", "optuna",
)  # fmt: skip


def file(folder: Path) -> Path:
    return folder / "status.json"


def read(folder: Path) -> dict[str, dict]:
    """The records by chapter; none before the first execution."""
    try:
        return json.loads(file(folder).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def longer(folder: Path) -> dict[str, str]:
    """The chapters that may take longer than others, and what for; none where there is no such file."""
    path = folder / "longer.yml"
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def code_hash(notebook) -> str:
    """Changes with the code that makes the outputs, and not with the prose around it."""
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:16]


def write(folder: Path, stem: str, notebook, usage: SimpleNamespace) -> None:
    """Put the record of one chapter beside the others; a chapter that is gone loses its own."""
    records = {name: record for name, record in read(folder).items() if (folder / f"{name}.ipynb").exists()}
    records[stem] = {
        "executed": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "seconds": round(usage.seconds, 1),
        "cpu_seconds": round(usage.cpu_seconds, 1),
        "gigabytes": round(usage.gigabytes, 2),
        "machine": f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), **installed()},
        "code": code_hash(notebook),
    }
    told = json.dumps(dict(sorted(records.items())), indent=1)
    part = file(folder).with_suffix(".part")
    part.write_text(told + "\n", encoding="utf-8", newline="\n")
    part.replace(file(folder))


def installed() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package).split("+")[0]  # 2.13.0+cpu is 2.13.0
        except PackageNotFoundError:
            continue
    return found


def out_of_date(folder: Path, stem: str, notebook) -> list[str]:
    """What is wrong with the record of a stored chapter, in words."""
    record = read(folder).get(stem)
    if record is None:
        return [f"status.json does not say when it was executed; run `make chapters CHAPTER={stem}`"]
    if record["code"] != code_hash(notebook):
        return [f"its code changed since it was executed; run `make chapters CHAPTER={stem}`"]
    return []
