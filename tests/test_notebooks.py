"""Every chapter is stored as the tools store it, and outputs are compared as they should be."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import nbformat
import pytest

from tools import chapters
from tools.kernel_env import KERNEL_ENV
from tools.tolerance import LooseText, TolerantText, close, tolerant

ROOT = Path(__file__).resolve().parent.parent
PATHS = chapters.find([])


@pytest.mark.parametrize("path", PATHS, ids=[path.stem for path in PATHS])
def test_chapter_follows_the_rules_and_is_stored_as_make_chapters_stores_it(path):
    assert chapters.check(path) == []


SAME = [
    ("loss 0.1234", "loss 0.1235"),
    ("loss 0.123", "loss 0.124"),
    ("1.23e-04", "1.24e-04"),
    ("largest difference 2.4e-07", "largest difference 1.2e-07"),
    ("[ 0.501 -0.2]", "[0.501 -0.2]"),
    ("a  0.500\nb 10.0", "a 0.5001\nb 10.0"),
    ("(64, 10)", "(64, 10)"),
    ("1.00", "0.999"),
]
DIFFERENT = [
    ("n = 3, loss 0.5", "n = 4, loss 0.5"),
    ("0.2", "0.3"),
    ("0.97", "0.98"),
    ("loss 0.123", "loss 0.125"),
    ("loss 0.1234 falls", "loss 0.1234 rises"),
    ("1 2 3", "1 2"),
    ("nan", "0.1"),
    ("-0.123", "0.123"),
    ("1.23e-04", "1.23e-03"),
    ("float32", "float64"),
    ("True", "False"),
    ("3", "3.0"),
    ("version 1.2.3", "version 1.2.4"),
]


@pytest.mark.parametrize(("left", "right"), SAME)
def test_round_off_between_cpus_is_forgiven(left, right):
    assert close(left, right)
    assert close(right, left)
    assert TolerantText(left) == right
    assert not TolerantText(left) != right  # nbval asks with !=


@pytest.mark.parametrize(("left", "right"), DIFFERENT)
def test_a_changed_word_integer_or_number_is_not_forgiven(left, right):
    assert not close(left, right)
    assert not close(right, left)
    assert TolerantText(left) != right
    assert not TolerantText(left) == right


ROUGHLY = [
    ("49 of 130 runs, loss 0.50", "50 of 130 runs, loss 0.57"),
    ("splits: 14", "splits: 16"),
    ("26.8 times", "31.2 times"),
    ("-0.0006", "-0.0008"),
    ("nan", "nan"),
]
FAR_OFF = [
    ("loss 0.50", "loss 0.75"),
    ("9 of 10", "5 of 10"),
    ("3 better", "3 worse"),
    ("1 2", "1 2 3"),
    ("nan", "0.1"),
]


@pytest.mark.parametrize(("left", "right"), ROUGHLY)
def test_where_training_amplifies_rounding_numbers_may_differ_more(left, right):
    assert close(left, right, loose=True)
    assert LooseText(left) == right
    assert not LooseText(left) != right


@pytest.mark.parametrize(("left", "right"), FAR_OFF)
def test_but_not_by_anything_nor_in_words(left, right):
    assert not close(left, right, loose=True)
    assert LooseText(left) != right


def test_the_strings_in_the_data_of_a_verdict_are_tolerant_too():
    facts = {"effect": "loss 0.123", "name": "a"}
    assert tolerant(facts) == {"effect": "loss 0.124", "name": "a"} != facts | {"name": "b"}
    assert tolerant(facts, loose=True) == {"effect": "loss 0.140", "name": "a"}
    assert tolerant(3) == 3


# For each cell what it runs, what is stored, its tags, and whether it passes: plainly, and with the tolerance.
WANTED = f"[name for name, value in {KERNEL_ENV!r}.items() if os.environ.get(name) != value]"
CELLS = {
    "last digit": ("print('loss 0.12345')", "loss 0.12346\n", [], (False, True)),
    "another number": ("print('loss 0.3')", "loss 0.2\n", [], (False, False)),
    "a tenth off, rounding": ("print('loss 0.3')", "loss 0.28\n", ["rounding"], (False, True)),
    "twice, rounding": ("print('loss 0.6')", "loss 0.28\n", ["rounding"], (False, False)),
    "environment": (f"import os\nprint({WANTED})", "[]\n", [], (True, True)),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict[str, tuple[bool, ...]]:
    """Which cells pass under nbval: plainly, and with the tolerance. The chapters' conftest is beside the page."""
    folder = tmp_path_factory.mktemp("chapters")
    (folder / "conftest.py").write_text((ROOT / "chapters" / "conftest.py").read_text())
    cells = []
    for source, shown, tags, _ in CELLS.values():
        cells.append(nbformat.v4.new_code_cell(source, execution_count=1, metadata={"tags": tags}))
        cells[-1].outputs = [nbformat.v4.new_output("stream", name="stdout", text=shown)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "page.ipynb")
    return dict(
        zip(CELLS, zip(nbval(folder), nbval(folder, DLBOOK_NBVAL_TOLERANCE="1"), strict=True), strict=True)
    )


def nbval(folder: Path, **changes: str) -> list[bool]:
    """Whether each cell of `page.ipynb` passes."""
    environment = {k: v for k, v in os.environ.items() if k not in {*KERNEL_ENV, "DLBOOK_NBVAL_TOLERANCE"}}
    environment |= changes | {"PYTHONPATH": str(ROOT), "COVERAGE_PROCESS_START": ""}
    options = ["-p", "no:cacheprovider", "-p", "no:cov", "--rootdir", ".", "--junitxml", "report.xml"]
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", *options, "page.ipynb"]
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    return [case.find("failure") is None for case in ET.parse(folder / "report.xml").iter("testcase")]


@pytest.mark.parametrize("cell", CELLS)
def test_plain_nbval_is_strict_and_the_tolerance_is_asked_for_and_wider_where_tagged(outcomes, cell):
    assert outcomes[cell] == CELLS[cell][-1]
