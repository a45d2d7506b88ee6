"""A verdict shows a box and stores the same facts as data."""

import json

import pytest

from dlbook import claims

FACTS = dict(claim="a < b", effect="twice as wide", evidence="5 seeds", figure="fig-x")


def test_a_verdict_is_stored_as_data_beside_its_box():
    bundle = claims.verdict("x", "holds", **FACTS, literature=["a2020", "b2021"])._repr_mimebundle_()
    assert json.loads(json.dumps(bundle[claims.MIME])) == {
        "name": "x", "verdict": "holds", **FACTS, "literature": "a2020, b2021",
    }  # fmt: skip
    assert "Verdict: holds." in bundle["text/html"]
    assert "a &lt; b" in bundle["text/html"]
    assert "verdict: holds" in bundle["text/plain"]


@pytest.mark.parametrize("kind", claims.VERDICTS)
def test_each_kind_of_verdict_has_its_own_look(kind):
    box = claims.verdict("x", kind, **FACTS)._repr_mimebundle_()["text/html"]
    assert f"dlbook-verdict-{claims.VERDICTS.index(kind)}" in box


def test_an_unknown_verdict_is_refused_with_the_list():
    with pytest.raises(ValueError, match="'does not hold here', got 'proved'"):
        claims.verdict("x", "proved", **FACTS)
