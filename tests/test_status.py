"""When, with what and at what cost chapters were executed: `make chapters` writes it, `make lint` checks it."""

import json
import re
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from small_book import ROOT

from tools import status

USAGE = SimpleNamespace(seconds=12.345, cpu_seconds=11.06, gigabytes=0.987)
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
LISTED = [Path(entry["file"]).stem for part in TOC["parts"] for entry in part["chapters"]]
CHAPTERS = [stem for stem in LISTED if (ROOT / "chapters" / f"{stem}.ipynb").exists()]


def notebook(code="f()", prose="Prose."):
    return new_notebook(cells=[new_markdown_cell(prose, id="prose"), new_code_cell(code, id="code")])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "softmax.ipynb").touch()
    status.write(tmp_path, "softmax", notebook(), USAGE)
    return tmp_path


def test_a_record_says_when_with_what_and_at_what_cost(folder):
    record = status.read(folder)["softmax"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d", record["executed"])
    assert (record["seconds"], record["cpu_seconds"], record["gigabytes"]) == (12.3, 11.1, 0.99)
    assert record["versions"]["numpy"] == version("numpy")
    assert "cores" in record["machine"]


def test_records_stay_beside_each_other_until_their_chapter_is_gone(folder):
    (folder / "scales.ipynb").touch()
    status.write(folder, "scales", notebook(), USAGE)
    assert list(status.read(folder)) == ["scales", "softmax"]
    (folder / "softmax.ipynb").unlink()
    status.write(folder, "scales", notebook(), USAGE)
    assert list(status.read(folder)) == ["scales"]
    assert [path.name for path in folder.iterdir() if path.suffix != ".ipynb"] == ["status.json"]


def test_changed_code_is_reported_and_changed_prose_is_not(folder):
    assert status.out_of_date(folder, "softmax", notebook(prose="Better prose.")) == []
    [message] = status.out_of_date(folder, "softmax", notebook(code="g()"))
    assert message == "its code changed since it was executed; run `make chapters CHAPTER=softmax`"


def test_a_chapter_without_a_record_is_reported(tmp_path):
    [message] = status.out_of_date(tmp_path, "softmax", notebook())
    assert "does not say when it was executed" in message


def test_a_package_that_is_missing_has_no_version(monkeypatch):
    monkeypatch.setattr(status, "PACKAGES", ("numpy", "no-such-package"))
    assert status.installed() == {"numpy": version("numpy")}


def test_every_chapter_was_executed_with_the_versions_of_the_lock():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w.-]+)==([\w.]+)", lock, re.MULTILINE))
    records = status.read(ROOT / "chapters")
    assert sorted(records) == sorted(CHAPTERS)
    for stem, record in records.items():
        locked = {name: pinned[name] for name in record["versions"] if name != "python"}
        assert {name: v for name, v in record["versions"].items() if name != "python"} == locked, stem


def test_the_records_are_text_that_git_can_merge():
    stored = status.file(ROOT / "chapters").read_text(encoding="utf-8")
    assert stored == json.dumps(dict(sorted(json.loads(stored).items())), indent=1) + "\n"
