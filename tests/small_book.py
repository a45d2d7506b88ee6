"""A book of two pages, built with the settings, templates and extensions of the real one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.normalise import normalise, text

ROOT = Path(__file__).resolve().parent.parent
TOC = "format: jb-book\nroot: intro\nchapters:\n  - file: chapters/page\n"
JUPYTER_BOOK = "from jupyter_book.cli.main import main; main()"


def git(folder: Path, *arguments: str) -> str:
    """What git prints, in `folder` and with nobody's own settings."""
    nobody = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = {
        f"GIT_{role}_{what}": "a@b.example" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    command = ["git", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | nobody | who, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def clone(folder: Path, remote: str | None = None, branch: str = "main") -> str:
    """Make `folder` a clone of `remote` with one commit of all its files; the commit."""
    git(folder, "init", "--quiet", f"--initial-branch={branch}")
    if remote:
        git(folder, "remote", "add", "origin", remote)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "A book")
    return git(folder, "rev-parse", "HEAD")


def write(folder: Path, notebook) -> Path:
    """The real book's settings around two pages, the second of which is `notebook`."""
    for name in ("_config.yml", "_ext", "_static", "_templates", "references.bib"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    (folder / "_extra").mkdir()
    (folder / "chapters").mkdir()
    (folder / "_toc.yml").write_text(TOC)
    (folder / "intro.md").write_text("# A small book\n\nIts first page.\n")
    (folder / "chapters" / "page.ipynb").write_text(text(normalise(notebook, "page")), encoding="utf-8")
    return folder


def build(folder: Path, **environ: str) -> tuple[Path, str]:
    """Build the book in `folder`: the folder of its pages, and what the build printed."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "DLBOOK_"))}
    environment = ours | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"} | environ
    command = [sys.executable, "-c", JUPYTER_BOOK, "build", str(folder), "-n", "-W", "--keep-going"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "_build" / "html", done.stdout + done.stderr
