"""The status page of the built book shows every chapter once, in order, with what `make chapters` wrote."""

import json
import re

import pytest
from small_book import ROOT

import tools.status
from _ext import claims, status
from tools import chapters

PAGE = ROOT / "_build/html/chapters/status.html"
RECORDS = json.loads((ROOT / "chapters/status.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page() -> str:
    assert PAGE.exists(), "the book is not built: run `make html` first"
    return PAGE.read_text(encoding="utf-8")


def test_every_chapter_is_listed_in_the_order_of_the_book(page):
    listed = [stem for stem in claims.in_order(ROOT / "_toc.yml") if stem in RECORDS]
    body = page[page.index("<article") : page.index("</article")]
    found = re.findall(r'<td><p><a[^>]*href="(\w+)\.html"', body)
    assert found == listed
    for record in RECORDS.values():
        assert record["executed"] in body
        assert f"{record['gigabytes']:.2f} GB" in body


def test_the_versions_are_those_that_executed_the_chapters(page):
    for name, versions in status.versions(RECORDS):
        assert re.search(rf"<td><p>{name}</p></td>\s*<td><p>{versions}</p></td>", page)


def test_what_takes_longer_is_a_chapter_and_says_what_for(page):
    reasons = tools.status.longer(ROOT / "chapters")
    assert reasons.keys() <= RECORDS.keys()
    assert all(isinstance(reason, str) and not reason.endswith(".") for reason in reasons.values())
    slow = [stem for stem, one in RECORDS.items() if min(one["seconds"], one["cpu_seconds"]) > status.AIM]
    assert all(reasons[stem] in page for stem in slow)


def test_versions_that_differ_between_chapters_are_all_told():
    old, new = ({"versions": {"numpy": number}, "machine": "m"} for number in ("2.3.0", "2.4.0"))
    assert status.versions({"a": new, "b": old}) == [("numpy", "2.3.0, 2.4.0"), ("machine", "m")]


def test_minutes_are_told_with_seconds():
    assert status.minutes(209.4) == "3 min 29 s"


def test_chapters_that_took_too_long_are_named(page):
    assert (status.AIM, status.LIMIT) == (chapters.WARN_SECONDS, chapters.MAX_SECONDS)
    times = {"quick": (20, 20), "slow": (41, 40), "late": (41, 40.5)}
    records = {stem: {"seconds": took, "cpu_seconds": cpu} for stem, (took, cpu) in times.items()}
    assert status.late(records, {"slow": "much to do"}).endswith(
        f"[](/chapters/late.ipynb): {status.UNTOLD}."
    )
    assert status.late(records, {"slow": "much to do", "late": "more"}) == (
        "In this run 2 of 3 chapters needed more than 20 s. These did not keep to 40 s: [](/chapters/late.ipynb).\n\n"
        "- [](/chapters/slow.ipynb): much to do.\n- [](/chapters/late.ipynb): more."
    )
    assert status.late({"quick": records["quick"]}, {}).strip().endswith("All kept to 40 s.")
    told = re.search(r"In this run (\d+) of (\d+) chapters.*?</p>", page, re.DOTALL)
    slow = sum(min(one["seconds"], one["cpu_seconds"]) > status.AIM for one in RECORDS.values())
    assert told.groups() == (str(slow), str(len(RECORDS)))
