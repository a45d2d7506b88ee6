"""The contract: the framework files of a topic offer the same functions and classes with the same arguments.

The files are read with `ast`, so this needs no framework; what is missing or different is named in a sentence.
"""

import ast
import re
from pathlib import Path

import pytest

from dlbook.frameworks import FRAMEWORKS

PACKAGE = Path(__file__).resolve().parent.parent / "dlbook"
# What a layer may take besides the book's arguments, as its framework's own layers do.
OWN = {"numpy": {"xp=None"}, "tensorflow": {"**kwargs"}, "torch": {"device=None", "dtype=None"}}


def topics(package: Path = PACKAGE) -> list[str]:
    """The folders that have a file for any framework."""
    return sorted({path.parent.name for name in FRAMEWORKS for path in package.glob(f"*/{name}.py")})


def broken(folder: Path) -> list[str]:
    """What a topic's framework files lack or do differently, one sentence each."""
    found = [f"{folder.name}/{name}.py is missing" for name in FRAMEWORKS if not file(folder, name).exists()]
    offers = {name: public(file(folder, name)) for name in FRAMEWORKS if file(folder, name).exists()}
    for name in dict.fromkeys(name for offer in offers.values() for name in offer):
        model, signature = next((f, offer[name]) for f, offer in offers.items() if name in offer)
        for framework, offer in offers.items():
            if name not in offer:
                found.append(f"{folder.name}/{framework}.py lacks {name}{signature}")
            elif offer[name] != signature:
                here = f"{folder.name}/{framework}.py has {name}{offer[name]}"
                found.append(f"{here}, {model}.py has {name}{signature}")
    return found or wrong_order(folder.name, offers)


def wrong_order(topic: str, offers: dict[str, dict]) -> list[str]:
    """Two files side by side line up function by function."""
    first, *others = offers
    return [
        f"{topic}/{name}.py defines {', '.join(offers[name])}; {first}.py in the order {', '.join(offers[first])}"
        for name in others
        if list(offers[name]) != list(offers[first])
    ]


def file(folder: Path, framework: str) -> Path:
    return folder / f"{framework}.py"


def public(path: Path) -> dict[str, str]:
    """Each public function and class of a file with its signature; that of a class is its constructor's."""
    offer = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            words = arguments(node) if isinstance(node, ast.FunctionDef) else constructor(node, path.stem)
            offer[node.name] = f"({', '.join(words)})"
    return offer


def constructor(node: ast.ClassDef, framework: str) -> list[str]:
    """The arguments of `__init__` without `self` and without what only this framework's layers take."""
    own = OWN.get(framework, set())
    init = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"]
    words = [word for function in init for word in arguments(function)[1:] if word not in own]
    return words[:-1] if words[-1:] == ["*"] else words


def arguments(function: ast.FunctionDef) -> list[str]:
    """Each argument with its default and the markers / and *, in order. Annotations may differ."""
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    required = [None] * (len(positional) - len(args.defaults))
    words = list(map(argument, positional, [*required, *args.defaults]))
    if args.posonlyargs:
        words.insert(len(args.posonlyargs), "/")
    if args.vararg or args.kwonlyargs:
        words.append(f"*{args.vararg.arg}" if args.vararg else "*")
    words += map(argument, args.kwonlyargs, args.kw_defaults)
    return words + ([f"**{args.kwarg.arg}"] if args.kwarg else [])


def argument(arg: ast.arg, default: ast.expr | None) -> str:
    return arg.arg if default is None else f"{arg.arg}={ast.unparse(default)}"


def bound(path: Path) -> set[str]:
    """All public names that a file defines or imports from the package."""
    names = set(public(path))
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("dlbook"):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def promised(topic: str) -> set[str]:
    """The names in the sentence "The files offer ..." of the topic's docstring."""
    lesson = ast.get_docstring(ast.parse((PACKAGE / topic / "__init__.py").read_text(encoding="utf-8"))) or ""
    sentence = re.search(r"The files offer ([^.]+)", lesson)
    return set(re.findall(r"`(\w+)`", sentence[1])) if sentence else set()


def test_there_are_topics():
    assert {"batch_norm", "mlp", "optimizers"} <= set(topics())


@pytest.mark.parametrize("topic", topics())
def test_the_framework_files_of_a_topic_offer_the_same(topic):
    assert broken(PACKAGE / topic) == []


@pytest.mark.parametrize("topic", topics())
def test_the_lesson_of_a_topic_names_what_its_files_offer(topic):
    for path in (file(PACKAGE / topic, name) for name in FRAMEWORKS):
        if path.exists():
            assert promised(topic) <= bound(path), path
            assert set(public(path)) <= promised(topic), path


GOOD = """
def train(x, /, gamma: Batch, running=None, *, axis=-2, decay=0.9): ...
def test(x, *rest, **options): ...
class Layer:
    def __init__(self, features, *, eps=1e-5): ...
"""
PLANTED = {
    ("decay=0.9", "momentum=0.1"): "has train(x, /, gamma, running=None, *, axis=-2, momentum=0.1), numpy.py has",
    ("decay=0.9", "decay=0.99"): "decay=0.99), numpy.py has",
    ("axis=-2, decay=0.9", "decay=0.9, axis=-2"): "*, decay=0.9, axis=-2), numpy.py has",
    ("*, axis", "axis"): "running=None, axis=-2, decay=0.9), numpy.py has",
    ("/, ", ""): "has train(x, gamma",
    ("running=None", "running"): "running, *, axis=-2",
    ("*rest, ", ""): "has test(x, **options), numpy.py has test(x, *rest, **options)",
    ("*rest, **options", "rest, *, options"): "has test(x, rest, *, options)",
    ("def test", "def _test"): "topic/torch.py lacks test(x, *rest, **options)",
    ("def test", "def check"): "topic/torch.py lacks test(",
    ("class Layer", "class Dense"): "topic/torch.py lacks Layer(features, *, eps=1e-05)",
    ("eps=1e-5", "eps=1e-3"): "has Layer(features, *, eps=0.001), numpy.py has Layer(features, *, eps=1e-05)",
    ("eps=1e-5", "eps=1e-5, xp=None"): "xp=None), numpy.py has Layer",
}  # fmt: skip


def write(folder: Path, **files: str) -> Path:
    topic = folder / "topic"
    topic.mkdir()
    for name, source in files.items():
        (topic / f"{name}.py").write_text(source)
    return topic


@pytest.mark.parametrize(("change", "sentence"), PLANTED.items(), ids=[new for _, new in PLANTED])
def test_a_planted_difference_is_named(tmp_path, change, sentence):
    other = GOOD.replace(*change)
    assert other != GOOD
    found = broken(write(tmp_path, numpy=GOOD, tensorflow=GOOD, torch=other))
    assert found[0].startswith("topic/torch.py")
    assert sentence in found[0]


def test_a_missing_file_and_what_only_others_have_are_named(tmp_path):
    extra = GOOD + "def fold(W): ...\n"
    found = broken(write(tmp_path, numpy=GOOD, torch=extra))
    assert found == ["topic/tensorflow.py is missing", "topic/numpy.py lacks fold(W)"]
    assert topics(tmp_path) == ["topic"]


def test_another_order_of_definitions_is_named(tmp_path):
    train, test, layer = GOOD.strip().split("\n", 2)
    found = broken(write(tmp_path, numpy=GOOD, tensorflow=GOOD, torch="\n".join([test, train, layer])))
    assert found == ["topic/torch.py defines test, train, Layer; numpy.py in the order train, test, Layer"]


def test_annotations_private_helpers_and_a_layers_own_arguments_may_differ(tmp_path):
    own = {"tensorflow": "eps=1e-5, **kwargs", "torch": "eps=1e-5, device: Any = None, dtype: Any = None"}
    files = {name: GOOD.replace("eps=1e-5", words) for name, words in own.items()}
    files["torch"] = files["torch"].replace("gamma: Batch", "gamma: torch.Tensor") + "def _helper(): ...\n"
    assert broken(write(tmp_path, numpy=GOOD, **files)) == []
