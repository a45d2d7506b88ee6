"""How the book's figures and source listings look.

Colours are those of Okabe and Ito (2008), chosen so that colour-blind readers can tell them apart; every
figure also tells its lines apart by marker or dash, so that none needs colour at all.
"""

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler

BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000",
)  # fmt: skip
COLOURS = (BLUE, RED, GREEN, ORANGE, PINK, SKY, BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")

RC = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=COLOURS, marker=MARKERS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "figure.facecolor": "white",
    "figure.figsize": (6.4, 3.6),
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "grid.alpha": 0.3,
    "image.cmap": "viridis",
    "legend.frameon": False,
    "lines.markersize": 4,
    "savefig.bbox": "standard",
}


def use() -> None:
    """Set the book's look, and 4 digits for NumPy arrays; the first cell of every chapter calls it."""
    mpl.rcParams.update(RC)
    np.set_printoptions(precision=4, suppress=True)


def show_source(*functions: Callable) -> Any:
    """The source of each function as it stands in the package: it cannot drift from what runs."""
    from IPython.display import Markdown

    sources = (textwrap.dedent(inspect.getsource(function)).rstrip() for function in functions)
    return Markdown("```python\n" + "\n\n\n".join(sources) + "\n```")
