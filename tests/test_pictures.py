"""The pictures that are no figures: drawn again, they have the size that sites and the README expect."""

from pathlib import Path

import pytest
from PIL import Image

from tools import pictures

STATIC = Path(__file__).resolve().parent.parent / "_static"


def test_the_social_card_that_is_stored_is_the_one_that_the_script_draws(tmp_path):
    pictures.social_card(tmp_path / "card.png")
    drawn, stored = Image.open(tmp_path / "card.png"), Image.open(STATIC / "social-card.png")
    assert drawn.size == stored.size == (1200, 630)
    assert drawn.getpixel((5, 5)) == stored.getpixel((5, 5))


@pytest.mark.parametrize("name", ["social-card.png", "readme-page.png"])
def test_a_picture_is_light_enough_to_load_at_once(name):
    assert (STATIC / name).stat().st_size < 300_000
