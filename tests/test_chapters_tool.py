"""tools/chapters.py executes, normalises and lints; each rule is seen to speak up."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from dlbook import interactive
from tools import chapters
from tools.normalise import COLAB, METADATA, normalise, text
from tools.rules import problems

TITLE = "# Softmax\n\nWhat it is for."
FIGURE = {
    "figure": {"caption": "The loss falls.", "name": "fig-softmax-loss"},
    "image": {"alt": "A curve that falls."},
}


def code(source, *outputs, tags=(), name="cell", **metadata):
    if tags:
        metadata["tags"] = list(tags)
    return new_code_cell(source, id=name, execution_count=1, outputs=list(outputs), metadata=metadata)


def printed(shown, name="stdout"):
    return new_output("stream", name=name, text=shown)


def image(**metadata):
    return new_output(
        "display_data", data={"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"}, metadata=metadata
    )


def chapter(*cells):
    """A good chapter with more cells at the end."""
    return new_notebook(cells=[
        new_markdown_cell(TITLE, id="title"),
        code(COLAB, tags=["remove-cell"], name="colab"),
        code("import math", tags=["hide-input"], name="set-up"),
        new_markdown_cell("Prose.", id="prose"),
        *cells,
    ])  # fmt: skip


def complaints(*cells, **options):
    return problems(chapter(*cells), "softmax", **options)


def test_a_good_chapter_has_no_problems():
    assert complaints(code("print(1)", printed("1\n")), new_markdown_cell("More.", id="more")) == []
    assert complaints(code("draw()", image(), mystnb=FIGURE)) == []


BAD_OUTPUTS = {
    "a memory address": "<object at 0x7f3a5c0d1e50>",
    "a kernel's temporary path": "ipykernel_4242",
    "a local path": "saved in /home/ada/model.npz",
    "a time stamp": "2026-01-31 12:30",
    "a timing": "took 12.3 s",
}


@pytest.mark.parametrize(("what", "shown"), BAD_OUTPUTS.items())
def test_an_output_that_would_differ_next_time_is_reported(what, shown):
    [message] = complaints(code("f()", printed(shown)))
    assert message.startswith(f"cell cell: its output contains {what}")
    [message] = complaints(code("f()", new_output("execute_result", data={"text/html": shown})))
    assert what in message


def test_a_path_in_a_traceback_is_reported():
    raised = new_output("error", ename="E", evalue="e", traceback=["E: e", "in /home/ada/dlbook/numpy.py"])
    [message] = complaints(code("f()", raised, tags=["raises-exception"]))
    assert "a local path" in message


@pytest.mark.parametrize(
    "shown", ["W (10, 3) / m", "ratio 1/2/3", "see https://example.org/home/", "5 steps"]
)
def test_ordinary_outputs_are_not_reported(shown):
    assert complaints(code("f()", printed(shown))) == []


def bad_figure(name="cell", **changes):
    return code("draw()", image(), name=name, mystnb={**FIGURE, **changes})


def slider_cell(figure, name="cell"):
    shown = new_output("execute_result", data=interactive.learning_rate("rate")._repr_mimebundle_())
    return code("slide()", shown, name=name, mystnb={"figure": figure})


CASES = {
    "writes to stderr": [code("f()", printed("careful", name="stderr"))],
    "ends in ';'": [code("plot(x);")],
    "31 lines; at most 30": [
        code("\n".join(["x = 1"] * 31)),
        new_markdown_cell("And"),
        code("f()", name="two"),
    ],
    "the median cell has 9.5 lines": [code("\n".join(["x = 1"] * 18))],
    "empty": [code("  ")],
    "lacks alt text": [bad_figure(image={"alt": " "})],
    "lacks a caption": [bad_figure(figure={"name": "fig-softmax-loss"})],
    "begin with 'fig-softmax-'": [bad_figure(figure={"caption": "It falls.", "name": "fig-loss"})],
    "draws 2 figures": [code("draw()", image(), image(), mystnb=FIGURE)],
    "two figures are called 'fig-softmax-loss'": [
        bad_figure(),
        new_markdown_cell("And"),
        bad_figure(name="two"),
    ],
    "its slider lacks a caption": [slider_cell({"name": "fig-softmax-move"})],
    "its slider is called 'move'": [slider_cell({"caption": "It moves.", "name": "move"})],
    "two figures are called 'fig-softmax-move'": [
        slider_cell({"caption": "It moves.", "name": "fig-softmax-move"}),
        new_markdown_cell("And"),
        slider_cell({"caption": "So does this.", "name": "fig-softmax-move"}, name="two"),
    ],
    "tag it raises-exception": [code("f()", new_output("error", ename="E", evalue="", traceback=[]))],
    "skip-execution is unknown": [code("f()", tags=["skip-execution"])],
    "must say why its output is 'not compared'": [code("f()", tags=["nbval-ignore-output"])],
    "got 2": [new_markdown_cell("# Another title"), code("f()")],
    "prose comes before 2 of 6 code cells": [code("f()", name=f"cell-{i}") for i in range(5)],
}


@pytest.mark.parametrize(("message", "cells"), CASES.items(), ids=list(CASES))
def test_each_rule_speaks_up(message, cells):
    found = complaints(*cells)
    assert len(found) == 1
    assert message in found[0]


def test_a_set_up_cell_in_the_open_is_reported():
    notebook = chapter(code("f()"))
    notebook.cells[2].metadata = nbformat.from_dict({})
    [message] = problems(notebook, "softmax")
    assert "tag it hide-input or remove-cell" in message


@pytest.mark.parametrize("change", [dict(source="import dlbook"), dict(id="other"), dict(metadata={})])
def test_a_cell_for_colab_that_is_missing_or_changed_is_reported(change):
    notebook = chapter(code("f()"))
    notebook.cells[1] = nbformat.from_dict({**notebook.cells[1], **change})
    messages = [message for message in problems(notebook, "softmax") if "for Colab" in message]
    assert "`make chapters CHAPTER=softmax` puts it there" in messages[0]


def test_the_cell_for_colab_is_put_back_where_it_belongs_and_as_it_should_be():
    wanted = normalise(chapter(code("f()")), "softmax")
    title, colab, *others = chapter(code("f()")).cells
    changed = code("pip install dlbook", printed("done"), name="colab")
    for cells in (
        [title, *others],
        [title, *others, colab],
        [title, changed, *others],
        [title, colab, *others],
    ):
        assert normalise(new_notebook(cells=cells), "softmax") == wanted


def test_a_page_without_code_needs_no_cell_for_colab():
    page = new_notebook(cells=[new_markdown_cell(TITLE, id="title")])
    assert normalise(page, "softmax").cells == page.cells
    assert problems(page, "softmax") == []


def test_a_large_file_is_reported():
    [message] = complaints(code("f()"), size=1_200_000)
    assert "1.20 MB" in message


def test_a_heading_inside_a_code_fence_is_not_a_title():
    assert complaints(new_markdown_cell("```python\n# a comment\n```"), code("f()")) == []


def test_framework_tabs_share_the_prose_before_the_first():
    tabs = [code("f()", tags=[name], name=name) for name in ("numpy", "tensorflow", "torch")]
    assert complaints(*tabs) == []


def test_an_uncompared_output_with_its_reason_may_show_a_timing():
    reason = new_markdown_cell("The time depends on the machine, so it is not compared.")
    assert complaints(reason, code("f()", printed("3 ms"), tags=["nbval-ignore-output"])) == []


def messy():
    cell = code("f()", printed("a"), printed("b"), tags=["torch"], collapsed=True, mystnb=FIGURE)
    cell.outputs.append(new_output("execute_result", data={"text/plain": "1"}, execution_count=9))
    cell.outputs.append(image(**{"image/png": {"width": 3}, "needs_background": "light"}))
    cell.execution_count = 9
    notebook = chapter(cell)
    notebook.metadata = nbformat.from_dict(
        {"widgets": {}, "kernelspec": {"name": "mine", "display_name": "Mine"}}
    )
    return notebook


def test_normalising_leaves_only_what_the_book_reads():
    notebook = normalise(messy(), "softmax")
    cell = notebook.cells[4]
    assert notebook.metadata == METADATA
    assert cell.metadata == {"tags": ["torch"], "mystnb": FIGURE}
    assert [c.execution_count for c in notebook.cells if c.cell_type == "code"] == [1, 2, 3]
    assert [output.get("text") for output in cell.outputs] == ["ab", None, None]
    assert cell.outputs[1].execution_count == 3
    assert cell.outputs[2].metadata == {"image/png": {"width": 3}}


def test_normalising_twice_changes_nothing_and_leaves_the_original_alone():
    original = messy()
    before = nbformat.writes(original)
    once = text(normalise(original, "softmax"))
    assert text(normalise(nbformat.reads(once, as_version=4), "softmax")) == once
    assert nbformat.writes(original) == before
    assert once.endswith("}\n")


def test_streams_of_different_names_stay_apart():
    notebook = normalise(chapter(code("f()", printed("a"), printed("b", "stderr"), printed("c"))), "softmax")
    assert [output.text for output in notebook.cells[4].outputs] == ["a", "b", "c"]


def test_ids_stay_and_a_repeated_one_is_replaced_for_good():
    notebook = chapter(code("f()"), code("g()", name="twin"))
    notebook.cells[5]["id"] = "cell"
    notebook = normalise(notebook, "softmax")
    ids = [cell.id for cell in notebook.cells]
    assert ids == ["title", "colab", "set-up", "prose", "cell", "softmax-006"]
    assert [cell.id for cell in normalise(notebook, "softmax").cells] == ids


def test_a_missing_id_is_made_from_the_chapter_and_the_place():
    stored = text(normalise(chapter(code("f()")), "softmax")).replace('   "id": "cell",\n', "")
    notebook = normalise(chapters.read(stored), "softmax")
    assert [cell.id for cell in notebook.cells] == ["title", "colab", "set-up", "prose", "softmax-005"]


@pytest.fixture
def folder(tmp_path):
    source = "print('two'); import os; print(os.environ['DLBOOK_DEVICE'], os.path.basename(os.getcwd()))"
    nbformat.write(chapter(code(source)), tmp_path / "softmax.ipynb")
    return tmp_path


def test_running_a_chapter_stores_its_outputs_and_check_then_agrees(folder, capsys):
    path = folder / "softmax.ipynb"
    assert "not stored as `make chapters CHAPTER=softmax` stores it; run that" in chapters.check(path)
    assert chapters.run(path) == []
    assert nbformat.read(path, as_version=4).cells[4].outputs[0].text == f"two\ncpu {folder.name}\n"
    assert chapters.check(path) == []
    assert "GB, 0 figures, median cell 1 lines" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "told"),
    [("1 / 0", "ZeroDivisionError"), ("import os; os.kill(os.getpid(), 9)", "Kernel died")],
)
def test_a_chapter_that_fails_is_reported_and_left_as_it_was(tmp_path, source, told):
    path = tmp_path / "softmax.ipynb"
    nbformat.write(chapter(code(source)), path)
    before = path.read_bytes()
    [message] = chapters.run(path)
    assert told in message
    assert path.read_bytes() == before


def test_a_chapter_that_takes_too_much_is_reported(folder, monkeypatch):
    monkeypatch.setattr(chapters, "MAX_SECONDS", 0)
    monkeypatch.setattr(chapters, "MAX_GB", 0)
    slow, big = chapters.run(folder / "softmax.ipynb")
    assert "at most 0 s" in slow
    assert "GB; at most 0 GB" in big


def test_more_than_the_aim_needs_a_reason(folder, monkeypatch):
    monkeypatch.setattr(chapters, "WARN_SECONDS", 0)
    [message] = chapters.run(folder / "softmax.ipynb")
    assert "at most 0 s, or 40 s where chapters/longer.yml says what for" in message
    (folder / "longer.yml").write_text("softmax: counting to two\n", encoding="utf-8")
    assert chapters.run(folder / "softmax.ipynb") == []


def test_chapters_are_found_by_name_or_path(folder):
    path = folder / "softmax.ipynb"
    assert chapters.find([], folder) == chapters.find(["softmax"], folder) == [path]
    assert chapters.find(["chapters/softmax.ipynb"], folder) == [path]


def test_an_unknown_chapter_is_named_beside_those_that_exist(folder, tmp_path_factory):
    with pytest.raises(ValueError, match="no chapter is called nothing; there is softmax"):
        chapters.find(["nothing"], folder)
    with pytest.raises(ValueError, match="there is none yet"):
        chapters.find(["nothing"], tmp_path_factory.mktemp("empty"))


def test_the_exit_code_tells_a_problem(folder, monkeypatch, capsys):
    monkeypatch.setattr(chapters, "find", lambda names: [folder / "softmax.ipynb"])
    assert chapters.main(["--check"]) == 1
    assert "chapters/softmax.ipynb: not stored" in capsys.readouterr().err
    assert chapters.main([]) == 0
    assert chapters.main(["--check"]) == 0
