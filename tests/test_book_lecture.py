"""The page that goes through the lecture links every section to its chapter, and each statement to a verdict."""

import re

import pytest
from small_book import ROOT
from test_book_claims import stored

PAGE = ROOT / "_build/html/chapters/lecture.html"
SECTIONS = [
    ("Tuning process", "tuning_process"),
    ("Using an appropriate scale to pick hyperparameters", "scales"),
    ("Hyperparameters tuning in practice: Pandas vs. Caviar", "pandas_vs_caviar"),
    ("Normalising activations in a network", "batch_norm"),
    ("Fitting batch norm into a neural network", "batch_norm_in_networks"),
    ("Why does batch norm work?", "why_batch_norm"),
    ("Batch norm at test time", "test_time_batch_norm"),
    ("Softmax regression", "softmax"),
    ("Training a softmax classifier", "training_softmax"),
    ("Deep learning frameworks", "frameworks"),
    ("TensorFlow", "tensorflow_then_and_now"),
]


@pytest.fixture(scope="module")
def page() -> str:
    assert PAGE.exists(), "the book is not built: run `make html` first"
    return PAGE.read_text(encoding="utf-8")


def test_every_section_of_the_lecture_leads_to_its_chapter(page):
    parts = re.split(r"<h2>([^<]+)<", page)
    found = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert list(found) == [title for title, _ in SECTIONS]
    for title, chapter in SECTIONS:
        assert f'href="{chapter}.html"' in found[title], title
        assert f'href="{chapter}.html#claim-' in found[title], title


def test_the_verdicts_are_those_that_the_chapters_stored(page):
    links = re.findall(r'href="([a-z_]+)\.html#claim-([a-z0-9-]+)">([^<]+)</a>', page)
    facts = stored()
    assert len(links) > 45
    for chapter, name, shown in links:
        assert (facts[name]["chapter"], facts[name]["verdict"]) == (chapter, shown)


def test_a_verdict_that_no_chapter_stored_fails_the_build(tmp_path):
    from nbformat.v4 import new_markdown_cell, new_notebook
    from small_book import build, write

    cells = [new_markdown_cell("# A page\n\n{chapter-claim}`no-such-claim`", id="title")]
    with pytest.raises(AssertionError, match="no chapter has stored a verdict called 'no-such-claim'"):
        build(write(tmp_path, new_notebook(cells=cells)))
