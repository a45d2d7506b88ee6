"""Draw the pictures in _static that are no figures: `make book pictures` draws them again.

social-card.png    what a link to the book shows where it is shared, 1200 x 630
readme-page.png    the first page of the built book, for the README; needs Chromium
"""

import shutil
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")

import matplotlib.pyplot as plt
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
STATIC, HTML = ROOT / "_static", ROOT / "_build" / "html"
GROUND, GOLD, PALE = "#0b5394", "#ffc857", "#cfe0f2"
SIGNS = (("✓", "holds"), ("≈", "holds with conditions"), ("✗", "does not hold here"))
PAGE, FIRST = HTML / "index.html", ".dlbook-claim"


def social_card(path: Path = STATIC / "social-card.png") -> None:
    """The name, what it is, the three verdicts, and the curve of the logo."""
    figure = plt.figure(figsize=(12, 6.3), dpi=100, facecolor=GROUND)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 1200), ylim=(0, 630))
    ax.axis("off")
    x = np.linspace(640, 1200, 200)
    curve = 110 + 420 * np.exp(-(((x - 960) / 95) ** 2))
    ax.plot(x, curve, color="white", linewidth=16, solid_capstyle="round", alpha=0.16)
    ax.plot(960, 530, "o", markersize=36, color=GOLD)
    ax.text(
        80, 440, "Deep learning,\nchecked", color="white", fontsize=50, family="DejaVu Serif", weight="bold"
    )
    ax.text(80, 355, "dlbook: claims, experiments, verdicts.", color=PALE, fontsize=21)
    ax.text(80, 310, "NumPy, TensorFlow and PyTorch, side by side.", color=PALE, fontsize=21)
    for row, (sign, words) in enumerate(SIGNS):
        ax.text(80, 200 - 55 * row, sign, color=GOLD, fontsize=24, weight="bold")
        ax.text(130, 200 - 55 * row, words, color="white", fontsize=21)
    figure.savefig(path, facecolor=GROUND)
    plt.close(figure)
    shrink(path)


def readme_page(path: Path = STATIC / "readme-page.png") -> None:
    """Claim, question, figure and verdict, as a reader sees them at 1280 pixels in light mode."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 1030}, color_scheme="light")
        page.goto(PAGE.as_uri())
        page.wait_for_timeout(3000)
        page.evaluate(f"scrollTo(0, document.querySelector('{FIRST}').offsetTop - 60)")
        page.wait_for_timeout(1000)
        page.screenshot(path=path)
        browser.close()
    shrink(path)


def shrink(path: Path) -> None:
    Image.open(path).convert("RGB").save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    social_card()
    if not PAGE.exists():
        sys.exit("_static/readme-page.png shows a page of the book: run `make book` first")
    readme_page()
