"""The page of claims in the built book: every verdict that a listed chapter stored is on it, once, and linked."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from _ext import claims as extension
from dlbook.claims import MIME

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "_build/html/chapters/claims.html"


def stored() -> dict[str, dict]:
    """The facts of every verdict of the chapters in `_toc.yml`, by name."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    paths = [ROOT / f"{e['file']}.ipynb" for part in toc["parts"] for e in part["chapters"]]
    found = {}
    for path in filter(Path.exists, paths):
        for cell in json.loads(path.read_text())["cells"]:
            for output in cell.get("outputs", []):
                if facts := output.get("data", {}).get(MIME):
                    assert facts["name"] not in found, f"two verdicts are called {facts['name']}"
                    found[facts["name"]] = {**facts, "chapter": path.stem}
    return found


@pytest.fixture(scope="module")
def page() -> str:
    assert PAGE.exists(), "the book is not built: run `make html` first"
    return PAGE.read_text(encoding="utf-8")


def test_every_verdict_is_listed_once_with_a_link_to_its_page(page):
    links = re.findall(r'href="([a-z_]+)\.html#claim-([a-z0-9-]+)"', page)
    assert Counter(links) == Counter({(facts["chapter"], name): 1 for name, facts in stored().items()})


def test_the_page_counts_the_verdicts(page):
    count = Counter(facts["verdict"] for facts in stored().values())
    told = f"Of {count.total()} statements, {count['holds']} hold, {count['holds with conditions']} hold with"
    assert told in page


def test_the_chapters_come_in_the_order_of_the_table_of_contents(page):
    order = list(dict.fromkeys(facts["chapter"] for facts in stored().values()))
    assert list(dict.fromkeys(re.findall(r'href="([a-z_]+)\.html#claim-', page))) == order
    assert [stem for stem in extension.in_order(ROOT / "_toc.yml") if stem in order] == order


def test_words_are_kept_from_being_markup():
    assert extension.plain("a_b *c* $d$ <e> `f` |") == r"a\_b \*c\* \$d\$ \<e\> \`f\` \|"
