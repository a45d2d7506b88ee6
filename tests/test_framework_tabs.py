"""Neighbouring cells of the frameworks become one set of tabs, with their outputs; everything else stays as it is."""

import pytest
import small_book
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABpfZFQAAAAABJRU5ErkJggg=="


def cell(word: str, *tags: str, **metadata):
    """A code cell that mentions `word` and prints it."""
    shown = new_output("stream", text=f"{word} printed\n")
    return new_code_cell(
        f"{word} = 1", metadata={"tags": list(tags), **metadata}, outputs=[shown], execution_count=1
    )


def prose(text: str):
    return new_markdown_cell(text)


def picture(*tags: str):
    book = {"figure": {"caption": "A dot.", "name": "fig-dot"}, "image": {"alt": "A dot"}}
    shown = new_output("display_data", data={"image/png": DOT})
    return new_code_cell("draw = 1", metadata={"tags": list(tags), "mystnb": book}, outputs=[shown])


NOTEBOOK = new_notebook(cells=[
    prose("# Tabs\n\nThree in a row."),
    cell("first_numpy", "numpy"), cell("first_tensorflow", "tensorflow"), cell("first_torch", "torch"),
    prose("## Two cells of one framework, and another order"),
    cell("second_torch", "torch"), picture("numpy"), cell("second_numpy", "numpy"),
    prose("Prose in between."),
    cell("third_numpy", "numpy"), cell("third_torch", "torch", "hide-input"),
    cell("fourth_plain"),
    cell("fourth_numpy", "numpy"), cell("fourth_more_numpy", "numpy"),
    prose("### Deeper down"),
    cell("fifth_numpy", "numpy"), cell("fifth_hidden", "remove-cell"), cell("fifth_torch", "torch"),
    cell("fifth_plain", "raises-exception"),
])  # fmt: skip


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    folder = small_book.write(tmp_path_factory.mktemp("tabs"), NOTEBOOK)
    return small_book.build(folder)[0]


@pytest.fixture(scope="module")
def page(html):
    return BeautifulSoup((html / "chapters" / "page.html").read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(scope="module")
def tabs(page):
    """Every set of tabs as {label: text of its tab}."""
    return [
        {
            label.get_text(strip=True): label.find_next_sibling(class_="sd-tab-content").get_text()
            for label in labels
        }
        for labels in (one.find_all("label", recursive=False) for one in page.find_all(class_="sd-tab-set"))
    ]


def test_three_neighbours_are_one_set_of_tabs_in_their_order(tabs):
    assert list(tabs[0]) == ["NumPy", "TensorFlow", "PyTorch"]


def test_a_tab_holds_the_code_and_its_output_and_nothing_of_the_others(tabs):
    for label, word in {"NumPy": "numpy", "TensorFlow": "tensorflow", "PyTorch": "torch"}.items():
        assert f"first_{word} = 1" in tabs[0][label]
        assert f"first_{word} printed" in tabs[0][label]
        assert tabs[0][label].count("printed") == 1


def test_cells_of_one_framework_share_a_tab_where_it_first_appeared(tabs):
    assert list(tabs[1]) == ["PyTorch", "NumPy"]
    assert "second_torch" in tabs[1]["PyTorch"]
    assert "draw" in tabs[1]["NumPy"]
    assert "second_numpy" in tabs[1]["NumPy"]


def test_a_figure_in_a_tab_keeps_its_caption_its_number_and_its_words(page):
    figure = page.find("figure", id="fig-dot")
    assert figure.find_parent(class_="sd-tab-content")
    assert figure.find("img")["alt"] == "A dot"
    assert "A dot." in figure.find("figcaption").get_text()


def test_prose_and_plain_cells_end_a_run_and_a_removed_cell_does_not(tabs):
    assert [sorted(one) for one in tabs[2:]] == [["NumPy", "PyTorch"], ["NumPy", "PyTorch"]]
    assert "third_torch" in tabs[2]["PyTorch"]
    assert "fifth_torch" in tabs[3]["PyTorch"]
    assert len(tabs) == 4


def test_a_run_of_a_single_framework_and_plain_cells_are_no_tabs(page):
    for word in ("fourth_plain", "fourth_numpy", "fourth_more_numpy", "fifth_plain"):
        [place] = [node for node in page.find_all(class_="cell") if f"{word} printed" in node.get_text()]
        assert place.find_parent(class_="sd-tab-set") is None


def test_no_cell_is_lost_doubled_or_moved_between_sections(page):
    words = [one.source.partition(" ")[0] for one in NOTEBOOK.cells if one.cell_type == "code"]
    text = page.find("main").get_text()
    assert [word for word in words if word != "draw" and text.count(f"{word} printed") != 1] == [
        "fifth_hidden"
    ]
    titles = {
        section.find(["h1", "h2", "h3"]).get_text()[:6]: section for section in page.find_all("section")
    }
    assert "fifth_torch" in titles["Deeper"].get_text()
    assert "fourth_plain" not in titles["Deeper"].get_text()


def test_the_cell_for_colab_is_not_on_the_page(page):
    assert "google.colab" not in page.get_text()


def test_the_choice_is_one_for_all_sets(page):
    labels = page.find_all("label", class_="sd-tab-label")
    assert {label["data-sync-group"] for label in labels} == {"framework"}
    assert {label["data-sync-id"] for label in labels} == {"numpy", "tensorflow", "torch"}
    assert len({label["for"] for label in labels}) == len(labels)


def test_exactly_the_first_tab_of_a_set_is_open(page):
    for one in page.find_all(class_="sd-tab-set"):
        boxes = one.find_all("input", recursive=False)
        assert [box.has_attr("checked") for box in boxes] == [True] + [False] * (len(boxes) - 1)


def test_no_label_claims_to_control_what_it_may_not(page):
    assert page.find_all("label", attrs={"aria-controls": True}) == []


def test_the_notebook_that_readers_download_is_the_one_in_the_clone(html):
    stored = html.parent.parent / "chapters" / "page.ipynb"
    assert (html / "_sources" / "chapters" / "page.ipynb").read_bytes() == stored.read_bytes()
