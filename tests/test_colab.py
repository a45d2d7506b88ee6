"""The first cell of a chapter installs the package of the notebook's commit in Colab, and does nothing elsewhere.

Colab is a module called google.colab, a server that lists the sessions, and a pip; here are one of each.
"""

import http.server
import importlib.util
import json
import subprocess
import sys
import threading
import types
from importlib.metadata import requires
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools import chapters
from tools.normalise import COLAB

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = "--no-deps alembic array-api-compat colorlog optuna"
MISSING = f"Please run `%pip install {PACKAGES} git+URL`; URL is the book's repository.\n"
# What Colab has of the packages that environment.yml names; its list is github.com/googlecolab/backend-info.
COLAB_HAS = {"keras", "matplotlib", "numpy", "scikit-learn", "scipy", "tensorflow-cpu", "torch"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def sessions(path: str) -> str:
    """What Colab's server answers, in the form of Jupyter's sessions API."""
    notebook = {"name": "softmax.ipynb", "path": path}
    kernel = {"id": "6fd9c8b4", "name": "python3", "execution_state": "busy", "connections": 1}
    return json.dumps(
        [{"id": "e0a49454", **notebook, "type": "notebook", "kernel": kernel, "notebook": notebook}]
    )


@pytest.fixture
def colab(monkeypatch, tmp_path):
    """A Colab without dlbook. `colab(answer)` runs the cell and returns what pip was asked to do."""
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "dlbook" else find(name))
    calls, python = tmp_path / "calls", tmp_path / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> "{calls}"\nexit "$PIP_STATUS"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))

    def run(answer: str, pip: int = 0) -> list[str]:
        class Server(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200 if self.path == "/api/sessions" else 404)
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, *arguments):
                pass

        with http.server.HTTPServer(("127.0.0.1", 0), Server) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            monkeypatch.setenv("COLAB_JUPYTER_IP", "127.0.0.1")
            monkeypatch.setenv("KMP_TARGET_PORT", str(server.server_port))
            monkeypatch.setenv("PIP_STATUS", str(pip))
            exec(COLAB, {})
            server.shutdown()
        return calls.read_text().split("\n")[:-1] if calls.exists() else []

    return run


def requirement(answer: str) -> str:
    return f"dlbook @ https://github.com/{answer}.zip"


FROM_GITHUB = {
    f"fileId=https%3A//github.com/ada/dlbook/blob/{COMMIT}/chapters/softmax.ipynb": f"ada/dlbook/archive/{COMMIT}",
    f"fileId=https%3A%2F%2Fgithub.com%2Fada%2Fmy.book%2Fblob%2F{COMMIT}%2Fchapters%2Fsoftmax.ipynb": (
        f"ada/my.book/archive/{COMMIT}"
    ),
    "fileId=https%3A//github.com/ada/dlbook/blob/main/chapters/softmax.ipynb": "ada/dlbook/archive/main",
    "fileId=https%3A//github.com/ada/dlbook/blob/fix/the/typo/chapters/softmax.ipynb": (
        "ada/dlbook/archive/fix/the/typo"
    ),
    "fileId=https%3A//github.com/ada/dlbook/blob/fix%252Ftypo/chapters/softmax.ipynb": (
        "ada/dlbook/archive/fix/typo"
    ),
    "fileId=https%3A//github.com/ada/dlbook/blob/fix%2523-4/chapters/softmax.ipynb": (
        "ada/dlbook/archive/fix%23-4"
    ),
}


@pytest.mark.parametrize(("path", "archive"), FROM_GITHUB.items(), ids=FROM_GITHUB.values())
def test_a_notebook_from_github_gets_the_package_of_its_own_repository_and_commit(
    colab, capfd, path, archive
):
    asked = colab(sessions(path))
    assert asked[:3] == ["-m", "pip", "install"]
    assert asked[-1] == requirement(archive)
    assert capfd.readouterr() == ("", "")


def test_colabs_own_frameworks_are_kept(colab):
    asked = colab(sessions(next(iter(FROM_GITHUB))))
    assert " ".join(asked) == f"-m pip install --quiet {PACKAGES} {asked[-1]}"


# The chapter on frameworks says what to install for its last section, and does without.
OPTIONAL = {"onnx", "onnxruntime", "safetensors"}


def test_all_that_colab_lacks_of_the_environment_is_installed():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    named = {line.partition("==")[0] for line in conda[-1]["pip"] if not line.startswith("--")}
    assert named - COLAB_HAS - OPTIONAL <= set(PACKAGES.split())


def test_what_it_installs_needs_nothing_else_that_colab_lacks():
    has = COLAB_HAS | {"mako", "packaging", "pyyaml", "sqlalchemy", "tqdm", "typing-extensions"}
    needed = [Requirement(line) for name in PACKAGES.split()[1:] for line in requires(name) or []]
    names = {
        canonicalize_name(one.name) for one in needed if not one.marker or one.marker.evaluate({"extra": ""})
    }
    assert names <= has | set(PACKAGES.split())


def test_other_notebooks_on_the_same_machine_do_not_confuse_it(colab):
    answers = [json.loads(sessions(path))[0] for path in ("fileId=1ZAqQEIxR08", *list(FROM_GITHUB)[:1])]
    assert colab(json.dumps(answers))[-1] == requirement(f"ada/dlbook/archive/{COMMIT}")


@pytest.mark.parametrize(
    "answer",
    [
        sessions("fileId=1ZAqQEIxR08eODSPEHvKPwbZoioVdV8L9"),  # a copy in Drive
        sessions("fileId=https%3A//github.com/ada/dlbook/blob/main/softmax.ipynb"),
        "[]",
        "<html>Not found</html>",
        "",
    ],
)
def test_when_the_origin_is_not_known_one_sentence_says_what_to_do(colab, capfd, answer):
    assert colab(answer) == []
    assert capfd.readouterr() == (MISSING, "")


def test_without_an_answer_the_same_sentence_is_printed(colab, capfd, monkeypatch):
    monkeypatch.setenv("COLAB_JUPYTER_IP", "127.0.0.1")
    monkeypatch.setenv("KMP_TARGET_PORT", "9")
    exec(COLAB, {})
    assert capfd.readouterr() == (MISSING, "")


def test_where_pip_fails_the_same_sentence_is_printed(colab, capfd):
    assert colab(sessions(next(iter(FROM_GITHUB))), pip=1)
    assert capfd.readouterr() == (MISSING, "")


def test_where_the_package_is_installed_nothing_happens_in_colab(colab, capfd, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: pytest.fail("ran pip"))
    exec(COLAB, {})
    assert capfd.readouterr() == ("", "")


def test_elsewhere_nothing_happens_even_without_the_package(monkeypatch, capfd):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: pytest.fail("ran pip"))
    exec(COLAB, {})
    assert capfd.readouterr() == ("", "")


def test_a_chapter_runs_the_cell_and_stores_no_output(tmp_path):
    cells = [nbformat.v4.new_markdown_cell("# Softmax"), nbformat.v4.new_code_cell("import dlbook")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "softmax.ipynb")
    chapters.run(tmp_path / "softmax.ipynb")
    notebook = nbformat.read(tmp_path / "softmax.ipynb", as_version=4)
    assert [(cell.id, cell.get("outputs")) for cell in notebook.cells][1] == ("colab", [])
    assert notebook.cells[1].source == COLAB


def test_it_is_short_and_needs_the_standard_library_alone():
    lines = COLAB.splitlines()
    assert len(lines) <= 20
    modules = {line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert modules <= sys.stdlib_module_names
