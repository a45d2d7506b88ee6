"""Importing: the package imports no framework, a framework file imports its own, and nothing is written to stderr."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import require

from dlbook.frameworks import FRAMEWORKS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "dlbook"
TOPICS = sorted({path.parent.name for name in FRAMEWORKS for path in PACKAGE.glob(f"*/{name}.py")})
HEAVY = ("torch", "tensorflow", "keras", "cupy", "matplotlib", "sklearn")
# One call per topic; `m` is the framework file and `put` turns a NumPy array into an array of the framework.
CALLS = {
    "batch_norm": "m.batch_norm_train(put(x), put(x[0]), put(x[0]))",
    "softmax": "m.cross_entropy(put(x), put(y))",
    "optimizers": "o = m.adam(0.1); o.step({'w': put(x)}, {'w': put(x)}, o.init({'w': put(x)}))",
    "mlp": "m.loss_and_gradients(m.init((3, 4, 2), np.random.default_rng(0), batch_norm=True), put(x), put(y))",
}
START = """
import numpy as np
from dlbook import frameworks
x, y = np.linspace(-1, 1, 12, dtype="float32").reshape(4, 3), np.array([0, 1, 1, 0])
"""


def python(script: str, **changes: str) -> subprocess.CompletedProcess:
    """Run a script in a new Python, on the CPU, without the settings that quieten TensorFlow for us."""
    ours = ("TF_CPP_MIN_LOG_LEVEL", "TF_ENABLE_ONEDNN_OPTS", "COVERAGE_PROCESS_START", "PYTHONWARNINGS")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"DLBOOK_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": "-1"} | changes
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def imported(statement: str) -> set[str]:
    """Which of the heavy packages a new Python has loaded after `statement`."""
    result = python(f"{statement}\nimport sys\nprint(*[name for name in {HEAVY} if name in sys.modules])")
    assert (result.returncode, result.stderr) == (0, "")
    return set(result.stdout.split())


def test_importing_the_package_imports_no_framework_and_no_numpy():
    assert imported("import dlbook") == set()
    assert python("import dlbook, sys; print('numpy' in sys.modules)").stdout == "False\n"


def test_importing_all_topics_and_the_shared_modules_imports_no_framework():
    names = [*TOPICS, "frameworks", "device", "shapes", "checks", "claims"]
    assert imported("\n".join(f"import dlbook.{name}" for name in names)) == set()


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_the_files_of_a_framework_import_no_other(name):
    require(name)
    others = {"numpy": set(), "tensorflow": {"tensorflow", "keras"}, "torch": {"torch"}}
    loaded = imported("\n".join(f"import dlbook.{topic}.{name}" for topic in TOPICS))
    assert loaded & {"torch", "tensorflow", "keras", "cupy"} <= others[name]


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_frameworks_are_imported_at_the_top_of_their_own_files_only(path):
    own = {"tensorflow": {"tensorflow", "keras"}, "torch": {"torch"}}.get(path.stem, set())
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    assert found & {"torch", "tensorflow", "keras", "cupy"} <= own


def calls(names: tuple[str, ...]) -> str:
    """A script that loads every topic in each of the frameworks and calls something."""
    lines = [START]
    for name in names:
        lines.append(f"put = lambda a: frameworks.from_numpy(a, {name!r})")
        for topic in TOPICS:
            lines.append(f"m = frameworks.load({topic!r}, {name!r}); {CALLS.get(topic, '')}")
    return "\n".join(lines)


@pytest.mark.parametrize("names", [*((name,) for name in FRAMEWORKS), ("torch", "tensorflow")], ids=" ".join)
def test_nothing_is_written_not_even_by_c_code_when_a_framework_is_loaded_and_used(names):
    for name in names:
        require(name)
    result = python(calls(names))
    assert result.stderr + result.stdout == ""
    assert result.returncode == 0


def test_loading_tensorflow_loads_torch_first():
    require("torch"), require("tensorflow")
    script = "from dlbook import frameworks\nframeworks.load('batch_norm', 'tensorflow')\nimport sys\n"
    result = python(
        script + "names = list(sys.modules)\nprint(names.index('torch') < names.index('tensorflow'))"
    )
    assert (result.stdout, result.stderr) == ("True\n", "")


def test_a_reader_may_import_tensorflow_settings_of_their_own():
    script = "import os\nos.environ['TF_CPP_MIN_LOG_LEVEL'] = '0'\nimport dlbook\n"
    assert python(script + "print(os.environ['TF_CPP_MIN_LOG_LEVEL'])").stdout == "0\n"
    quiet = (
        "import dlbook, os\nprint(os.environ['TF_CPP_MIN_LOG_LEVEL'], os.environ['TF_ENABLE_ONEDNN_OPTS'])"
    )
    assert python(quiet).stdout == "3 0\n"


@pytest.mark.parametrize(
    ("wish", "visible"), [("cpu", "-1"), ("CPU", "-1"), ("cuda", "0,1"), ("mps", "0,1"), ("", "0,1")]
)
def test_the_wish_for_the_cpu_hides_the_gpus_and_no_other_wish_does(wish, visible):
    script = "import dlbook, os\nprint(os.environ['CUDA_VISIBLE_DEVICES'])"
    result = python(script, DLBOOK_DEVICE=wish, CUDA_VISIBLE_DEVICES="0,1")
    assert (result.stdout, result.stderr) == (f"{visible}\n", "")


def test_optimisers_of_torch_work_after_tensorflow_was_loaded():
    require("torch"), require("tensorflow")
    script = (
        "import dlbook, tensorflow, torch\ntorch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)\n"
    )
    result = python(
        script + "print('done')"
    )  # a crash with PyTorch's CUDA builds unless Triton is loaded first
    assert (result.stdout, result.returncode) == ("done\n", 0)


BEFORE = {
    "both": ("", ["tensorflow", "triton"], "triton"),
    "no tensorflow": ("", ["triton"], ""),
    "no triton": ("", ["tensorflow"], ""),
    "tensorflow is loaded": ("import tensorflow", ["tensorflow", "triton"], ""),
    "triton is broken": ("", ["tensorflow", "broken"], ""),
}


@pytest.mark.parametrize(("first", "installed", "loaded"), BEFORE.values(), ids=BEFORE)
def test_triton_is_loaded_before_tensorflow_can_be_where_there_are_both(tmp_path, first, installed, loaded):
    for name in installed:
        source = "import no_such_module" if name == "broken" else ""
        (tmp_path / f"{name.replace('broken', 'triton')}.py").write_text(source)
    script = f"import sys\nsys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n{first}\nimport dlbook\n"
    command = [sys.executable, "-S", "-c", f"{script}print(*{{'triton'}} & set(sys.modules))"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert (result.stdout, result.stderr) == (f"{loaded}\n", "")
