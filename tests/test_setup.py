"""The set-up: requirements.lock, pyproject.toml and environment.yml agree, and tools/setup.py decides well."""

import ast
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import dlbook
from dlbook.frameworks import FRAMEWORKS
from tools import chapters, lock, setup

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ["3.11", "3.12", "3.13"]
PLATFORMS = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("win32", "AMD64")]


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def conda():
    return yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


@pytest.fixture(scope="module")
def pins():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def environment(python: str, platform: str, machine: str) -> dict[str, str]:
    """The markers of another machine."""
    os_name = "nt" if platform == "win32" else "posix"
    system = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}[platform]
    changed = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": platform}
    return default_environment() | changed | {
        "platform_machine": machine, "platform_system": system, "os_name": os_name, "extra": ""
    }  # fmt: skip


def versions(pins, where: dict[str, str]) -> dict[str, str]:
    """Name to version, for the pins that count in an environment."""
    here = [pin for pin in pins if pin.marker is None or pin.marker.evaluate(where)]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in here}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("platform", "machine"), PLATFORMS)
def test_the_lock_satisfies_every_dependency_of_pyproject(project, pins, python, platform, machine):
    where = environment(python, platform, machine)
    locked = versions(pins, where)
    extras = (project["optional-dependencies"][extra] for extra in lock.EXTRAS)
    wanted = [Requirement(line) for group in (project["dependencies"], *extras) for line in group]
    unmet = [
        str(need)
        for need in wanted
        if (need.marker is None or need.marker.evaluate(where))
        and not need.specifier.contains(locked.get(canonicalize_name(need.name), "0"))
    ]
    assert unmet == []


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("platform", "machine"), PLATFORMS)
def test_exactly_one_tensorflow_is_locked_on_each_platform(pins, python, platform, machine):
    locked = versions(pins, environment(python, platform, machine))
    assert len({"tensorflow", "tensorflow-cpu"} & locked.keys()) == 1


def test_every_pin_of_the_lock_is_exact_and_none_is_cuda(pins):
    assert all(re.fullmatch(r"==[\w.]+", str(pin.specifier)) for pin in pins)
    assert [pin.name for pin in pins if re.match(r"nvidia-|cuda-|triton|cupy", pin.name)] == []


def test_the_lock_names_no_index_and_no_local_file():
    assert not re.search(r"://|^-| @ ", (ROOT / "requirements.lock").read_text(), re.MULTILINE)


def test_environment_yml_takes_its_versions_from_the_lock(conda, pins):
    wheels = [line for line in conda[-1]["pip"] if not line.startswith("--")]
    locked = versions(pins, environment("3.12", "linux", "x86_64"))
    assert wheels
    assert {str(Requirement(line)): line.partition("==")[2] for line in wheels} == {
        line: locked[canonicalize_name(Requirement(line).name)] for line in wheels
    }


def test_environment_yml_has_what_the_package_and_its_cpu_extra_need(project, conda):
    where = environment("3.12", "linux", "x86_64")
    cpu = map(Requirement, project["dependencies"] + project["optional-dependencies"]["cpu"])
    needed = {need.name for need in cpu if need.marker is None or need.marker.evaluate(where)}
    assert needed <= {line.partition("==")[0] for line in conda[-1]["pip"]}


# Imported by the package where they are there, and not missed where they are not.
OPTIONAL = {"cupy", "pandas", "sqlalchemy", "tqdm", "triton"}


def modules(source: str) -> set[str]:
    """Every module that a piece of code imports, anywhere in it; `from a import b` counts as a and as a.b."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def needed(source: str) -> set[str]:
    """The other packages that a chapter imports, by itself or through the modules of dlbook that it imports."""
    seen, new = set(), modules(source)
    while new:
        seen |= new
        files = {name: ROOT / name.replace(".", "/") for name in new if name.split(".")[0] == "dlbook"}
        paths = [path for stem in files.values() for path in (stem.with_suffix(".py"), stem / "__init__.py")]
        new = set().union(*(modules(path.read_text()) for path in paths if path.exists())) - seen
    return {name.split(".")[0] for name in seen} - sys.stdlib_module_names - OPTIONAL - {"dlbook"}


CHAPTERS = chapters.find([])


@pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem for path in CHAPTERS])
def test_environment_yml_has_all_that_a_chapter_imports(conda, path):
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    names = packages_distributions()
    brought = {"cycler", "ipython"}  # the first comes with Matplotlib, the second with Jupyter
    wanted = {canonicalize_name(names.get(name, [name])[0]) for name in needed("\n".join(cells))} - brought
    assert wanted <= {line.partition("==")[0] for line in conda[-1]["pip"]}


def test_environment_yml_and_the_set_up_take_torch_from_the_same_index(conda):
    assert [line for line in conda[-1]["pip"] if line.startswith("--")] == [
        f"--extra-index-url {setup.CPU_INDEX}"
    ]


def test_nothing_hides_environment_yml_from_binder():
    assert [name for name in ("binder", ".binder") if (ROOT / name).exists()] == []


def test_environment_yml_has_no_local_requirement(conda):
    local = [line for line in conda[-1]["pip"] if re.match(r"(-e|-r|-c|--editable|--requirement|\.)", line)]
    assert local == []


def test_the_python_of_every_file_is_in_the_supported_range(project, conda):
    allowed = SpecifierSet(project["requires-python"])
    python = next(line for line in conda if isinstance(line, str) and line.startswith("python="))
    assert allowed.contains(python.partition("=")[2] + ".0")
    for minor in range(9, 16):
        assert allowed.contains(f"3.{minor}.0") == setup.supported((3, minor))


def test_the_version_is_the_same_in_all_files(project):
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert dlbook.__version__ == project["version"] == str(citation["version"])


@pytest.mark.parametrize("name", ["postBuild", "start", ".ci/run"])
def test_scripts_can_be_executed(name):
    assert os.access(ROOT / name, os.X_OK)
    subprocess.run(["bash", "-n", ROOT / name], check=True)


def test_binder_installs_the_package_once_without_what_it_depends_on(tmp_path):
    pip, said = tmp_path / "pip", tmp_path / "said"
    pip.write_text(f'#!/bin/sh\necho "$@" >> {said}\n')
    pip.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([ROOT / "postBuild"], env=environment, check=True)
    assert said.read_text() == "install --no-deps --no-cache-dir -e .\n"


def test_start_passes_its_command_on_and_sets_the_cpu_environment():
    result = subprocess.run([ROOT / "start", "env"], capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert {"DLBOOK_DEVICE=cpu", "CUDA_VISIBLE_DEVICES=-1", "OMP_NUM_THREADS=1"} <= set(lines)
    assert {"TF_CPP_MIN_LOG_LEVEL=3", "TF_ENABLE_ONEDNN_OPTS=0"} <= set(lines)


def test_start_keeps_spaces_and_the_exit_code_of_its_command():
    command = [ROOT / "start", sys.executable, "-c", "import sys; print(sys.argv[1]); sys.exit(3)", "a  b"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.stdout, result.returncode) == ("a  b\n", 3)


def test_cuda_packages_and_options_are_left_out_of_the_lock():
    compiled = (
        "--index-url https://example.org\nnumpy==2.0\nnvidia-cudnn-cu13==9\ntriton==3\ncuda-toolkit==13\n"
    )
    assert lock.without_cuda(compiled) == "numpy==2.0\n"


def test_the_lock_hands_its_versions_to_environment_yml():
    lines = "  - python=3.12\n      - numpy==2.0.0\n      - scikit-learn==1.6\n"
    updated = lock.with_versions(lines, "numpy==2.4.6\nscikit-learn==1.9.1 ; x\n")
    assert updated == "  - python=3.12\n      - numpy==2.4.6\n      - scikit-learn==1.9.1\n"


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=[path.stem for path in WORKFLOWS])
def test_workflows_stop_at_an_error_pin_their_actions_and_ask_for_least(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["defaults"]["run"]["shell"].startswith("bash -eo pipefail")
    assert workflow["permissions"] == {}
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"]) for step in steps if "uses" in step)
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


def steps(name: str) -> dict[str, list[dict]]:
    """The steps of each job of a workflow."""
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text())["jobs"]
    return {job: content["steps"] for job, content in jobs.items()}


def commands(job: list[dict]) -> str:
    return "\n".join(step.get("run", "") for step in job)


def test_every_push_and_pull_request_is_tested_on_every_python_with_every_framework():
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    workflow = yaml.safe_load(text)
    assert workflow["jobs"]["unit"]["strategy"]["matrix"]["python"] == PYTHONS
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML reads `on` as true
    jobs = steps("test")
    assert "make lint unit" in commands(jobs["unit"])
    assert [step["env"]["DLBOOK_FRAMEWORKS"] for step in jobs["unit"] if "env" in step] == [
        ",".join(FRAMEWORKS)
    ]
    assert "make notebooks" in commands(jobs["notebooks"])
    assert "make book check-book" in commands(jobs["book"])


def test_what_main_holds_is_published_and_nothing_else():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "publish.yml").read_text())
    assert workflow[True]["push"] == {"branches": ["main"]}
    assert "pull_request" not in workflow[True]
    jobs = steps("publish")
    assert "make book" in commands(jobs["build"])
    assert [step["with"]["path"] for step in jobs["build"] if "upload-pages" in step.get("uses", "")] == [
        "_build/html"
    ]
    assert workflow["jobs"]["deploy"]["permissions"] == {"pages": "write", "id-token": "write"}


def test_every_week_everything_is_tested_with_the_newest_versions():
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "weekly.yml").read_text())
    [when] = workflow[True]["schedule"]
    assert re.fullmatch(r"\d+ \d+ \* \* [0-6]", when["cron"])
    [job] = steps("weekly").values()
    told = commands(job)
    assert told.index("tools.lock --upgrade") < told.index("make test") < told.index("make chapters")
    assert [step["env"]["DLBOOK_FRAMEWORKS"] for step in job if "env" in step] == [",".join(FRAMEWORKS)]


def test_workflows_call_commands_that_the_makefile_has():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "".join(path.read_text() for path in [*WORKFLOWS, ROOT / ".ci" / "run"])
    called = {
        word for words in re.findall(r"(?:run:|^) *make (.+)$", text, re.MULTILINE) for word in words.split()
    }
    assert called
    assert called <= targets


def never(url):
    raise AssertionError("asked the index though it is not needed")


@pytest.mark.parametrize(("platform", "gpu"), [("darwin", False), ("win32", False), ("linux", True)])
def test_the_cpu_index_is_not_asked_where_it_saves_nothing(monkeypatch, platform, gpu):
    monkeypatch.delenv("DLBOOK_DEVICE", raising=False)
    assert setup.torch_index(platform, probe=never, gpu=lambda: gpu) is None


@pytest.mark.parametrize("answers", [True, False])
def test_the_cpu_index_is_used_once_it_answers(answers):
    asked = []
    index = setup.torch_index("linux", probe=lambda url: asked.append(url) or answers, gpu=lambda: False)
    assert index == (setup.CPU_INDEX if answers else None)
    assert len(asked) == 1


def test_a_reader_with_a_gpu_can_still_ask_for_cpu_wheels(monkeypatch):
    monkeypatch.setenv("DLBOOK_DEVICE", "cpu")
    assert setup.torch_index("linux", probe=lambda url: True, gpu=lambda: True) == setup.CPU_INDEX


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/torch/" else 404)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_index_that_answers_is_reachable_and_a_missing_page_is_not(server):
    assert setup.reachable(f"{server}/torch/")
    assert not setup.reachable(f"{server}/nothing/")


def test_a_silent_server_is_given_up_in_time():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        start = time.monotonic()
        assert not setup.reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/", seconds=0.3)
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/", "not an address"])
def test_an_address_that_cannot_be_asked_is_not_reachable(url):
    assert not setup.reachable(url, seconds=2)


def test_the_fingerprint_changes_with_the_lock_the_python_and_the_place(tmp_path):
    def place(name: str, text: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "requirements.lock").write_text(text)
        (folder / "pyproject.toml").write_text("")
        return folder

    one, other, changed = place("one", "a==1"), place("other", "a==1"), place("changed", "a==2")
    prints = [setup.fingerprint(folder, (3, 12)) for folder in (one, other, changed)]
    assert len({*prints, setup.fingerprint(one, (3, 13))}) == 4
    assert setup.fingerprint(one, (3, 12)) == prints[0]


def test_a_broken_environment_has_no_version(tmp_path):
    assert setup.venv_version(tmp_path) is None
    assert setup.venv_version(Path(sys.prefix)) == sys.version_info[:2]


def test_a_package_that_is_not_locked_is_named_in_the_error():
    assert setup.locked("numpy", "numpy==2.4.6 ; x\n") == "2.4.6"
    with pytest.raises(ValueError, match="got 'nump'"):
        setup.locked("nump", "numpy==2.4.6\n")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_an_unsupported_python_gets_one_clear_sentence(tmp_path):
    old = tmp_path / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    command = ["make", "--no-print-directory", "setup", f"PYTHON={old}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode != 0
    assert result.stderr.startswith("dlbook needs Python 3.11, 3.12 or 3.13 and found none")
    assert len([line for line in result.stderr.splitlines() if not line.startswith("make")]) == 1


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_lists_the_commands():
    listing = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for word in ("book", "test", "chapters", "lab", "lint", "bench", "clean"):
        assert f"make {word} " in listing


def test_the_set_up_compiles_packages_but_for_their_tests_and_skips_what_is_not_python(tmp_path):
    for name in ("package/module.py", "package/tests/test_module.py", "package/template.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n" if "template" not in name else "{{ not Python }} =\n")
    prelude = f"import sysconfig; sysconfig.get_path = lambda name: {str(tmp_path)!r}"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", prelude + setup.COMPILE], check=True, env=environment)
    compiled = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.pyc")]
    assert [name.partition(".")[0] for name in compiled] == ["package/__pycache__/module"]
