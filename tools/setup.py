"""Make .venv from requirements.lock, or leave it alone when nothing changed.

Only the standard library is used: this runs before anything is installed.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
STAMP = VENV / ".dlbook-ready"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_INDEX = "https://download.pytorch.org/whl/cu126"
PROBE_SECONDS = 5.0
COMPILE = r"""
import compileall, re, sysconfig
compileall.compile_dir(sysconfig.get_path("purelib"), quiet=2, workers=0, rx=re.compile(r"[/\\]tests?[/\\]"))
"""


def supported(version: tuple[int, ...]) -> bool:
    return (3, 11) <= version[:2] <= (3, 13)


def venv_python(venv: Path = VENV) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def venv_version(venv: Path = VENV) -> tuple[int, ...] | None:
    """The version of the environment's Python; None when there is none that starts."""
    show = "import sys; print(*sys.version_info[:2])"
    try:
        result = subprocess.run([venv_python(venv), "-c", show], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return tuple(int(part) for part in result.stdout.split())


def fingerprint(root: Path = ROOT, version: tuple[int, ...] | None = None) -> str:
    """Changes when the lock, pyproject.toml, the Python or the place of the clone changes."""
    parts = [(root / name).read_bytes() for name in ("requirements.lock", "pyproject.toml")]
    return hashlib.sha256(b"\0".join([*parts, str(root).encode(), repr(version).encode()])).hexdigest()


def nvidia_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU whose driver is loaded."""
    if Path("/proc/driver/nvidia/version").exists():
        return True
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    try:
        return subprocess.run([tool, "-L"], capture_output=True, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def reachable(url: str, seconds: float = PROBE_SECONDS) -> bool:
    """Whether the address answers in time. The thread bounds the name look-up too, which has no time limit."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=seconds) as reply:
                answers.append(reply.status == 200)
        except (OSError, ValueError):
            answers.append(False)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answers == [True]


def torch_index(platform: str = sys.platform, probe=reachable, gpu=nvidia_gpu) -> str | None:
    """PyTorch's index of CPU wheels, where it saves gigabytes: on Linux, without a GPU, when it answers."""
    wants_cpu = os.environ.get("DLBOOK_DEVICE") == "cpu" or not gpu()
    if not platform.startswith("linux") or not wants_cpu:
        return None
    if probe(f"{CPU_INDEX}/torch/"):
        return CPU_INDEX
    print(
        "dlbook: PyTorch's index of CPU wheels does not answer; pip takes the wheels that it finds",
        flush=True,
    )
    return None


def pip(*arguments: str) -> None:
    quiet = [] if sys.stdout.isatty() else ["--quiet"]
    command = [venv_python(), "-m", "pip", *arguments, *quiet, "--disable-pip-version-check"]
    subprocess.run(command, cwd=ROOT, check=True)


def create() -> None:
    """A new .venv, unless there is one that works."""
    version = venv_version()
    if version is not None and supported(version):
        return
    if VENV.exists():
        shutil.rmtree(VENV)
    print(f"dlbook: making .venv with Python {sys.version.split()[0]}", flush=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True, stdout=sys.stderr)
    except subprocess.CalledProcessError:
        sys.exit("dlbook: Python's venv module is incomplete; on Debian or Ubuntu: apt install python3-venv")


def install() -> None:
    index = torch_index()
    print("dlbook: installing requirements.lock, a few minutes and about 3.5 GB the first time", flush=True)
    extra = ["--extra-index-url", index] if index else []
    pip("install", "--no-compile", "--requirement", str(LOCK), *extra)
    pip("install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    compile_all()


def compile_all() -> None:
    """Compile the packages to bytecode on all cores, which pip would do on one; their own tests are left out.

    Python does it as well when it first imports a module, but not where PYTHONDONTWRITEBYTECODE is set, as in many
    containers: there each kernel and each test process would compile TensorFlow and PyTorch anew, ten seconds each.
    """
    # templates in some packages are not Python; a file that does not compile is compiled, or not, when it is used
    subprocess.run([venv_python(), "-c", COMPILE], cwd=ROOT, check=True)


def locked(name: str, text: str) -> str:
    """The version that the lock pins for a package."""
    found = re.search(rf"^{re.escape(name)}==([^\s;]+)", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"`name` must be a package of requirements.lock, got {name!r}; run `make lock`")
    return found[1]


def install_gpu() -> None:
    """GPU builds over the CPU ones. TensorFlow is built for CUDA 12, so torch comes for CUDA 12 as well."""
    text = LOCK.read_text()
    pip("uninstall", "--yes", "tensorflow-cpu")
    tensorflow = f"tensorflow[and-cuda]=={locked('tensorflow', text)}"
    torch = f"torch=={locked('torch', text)}"
    pip("install", "--upgrade", tensorflow, torch, "cupy-cuda12x", "--extra-index-url", CUDA_INDEX)


def main() -> None:
    if not supported(sys.version_info):
        sys.exit(f"dlbook needs Python 3.11, 3.12 or 3.13, and this is {sys.version.split()[0]}.")
    version = venv_version()
    if version is None or not STAMP.exists() or STAMP.read_text() != fingerprint(version=version):
        start = time.monotonic()
        create()
        install()
        STAMP.write_text(fingerprint(version=venv_version()))
        print(f"dlbook: .venv is ready ({time.monotonic() - start:.0f} s)", flush=True)
    if "--gpu" in sys.argv[1:]:
        install_gpu()


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(
            f"dlbook: the set-up stopped: {' '.join(map(str, error.cmd))} failed; its own message is above"
        )
