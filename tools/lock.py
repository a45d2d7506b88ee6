"""Write requirements.lock: one file of exact versions for Python 3.11 to 3.13, Linux, macOS and Windows.

Versions already in the lock stay unless `--upgrade` is given; environment.yml gets the same versions.
Needs uv (`pip install uv`).
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
CONDA = ROOT / "environment.yml"
EXTRAS = ["cpu", "search", "export", "book", "test"]
HEADER = """\
# Every version that the tests passed with. Written by `make lock` from pyproject.toml.
# CUDA packages are left out: a CUDA build of torch brings its own, a CPU build needs none.
"""
CUDA = re.compile(r"^(nvidia-|cuda-|triton)")


def compile_command(output: Path, upgrade: bool) -> list[str]:
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    options = ["--universal", "--python-version", "3.11", "--no-annotate", "--no-header", "--quiet"]
    command = ["uv", "pip", "compile", "pyproject.toml", *extras, *options, "--output-file", str(output)]
    return command + ["--upgrade"] * upgrade


def without_cuda(text: str) -> str:
    """The lines of a compiled lock that name neither a CUDA package nor an index."""
    lines = text.splitlines()
    return "".join(f"{line}\n" for line in lines if not CUDA.match(line) and not line.startswith("-"))


def with_versions(environment: str, lock: str) -> str:
    """environment.yml with the lock's version of every wheel that it names."""
    versions = dict(re.findall(r"^([\w-]+)==([\w.]+)", lock, re.MULTILINE))
    pin = re.compile(r"(?<=- )([\w-]+)==[\w.]+")
    return pin.sub(lambda found: f"{found[1]}=={versions[found[1]]}", environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--upgrade", action="store_true", help="take the newest versions pyproject.toml allows"
    )
    upgrade = parser.parse_args().upgrade
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "requirements.txt"
        if LOCK.exists():
            output.write_text(LOCK.read_text())
        subprocess.run(compile_command(output, upgrade), cwd=ROOT, check=True)
        LOCK.write_text(HEADER + without_cuda(output.read_text()))
    CONDA.write_text(with_versions(CONDA.read_text(), LOCK.read_text()))
    print(f"wrote {LOCK.name} and the versions of {CONDA.name}")


if __name__ == "__main__":
    main()
