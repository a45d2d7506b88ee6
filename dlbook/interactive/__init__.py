"""Sliders for the book's pages: a number to move, a picture and a read-out that follow.

    interactive.learning_rate("rate")          # a notebook displays what it returns

Each slider is one piece of HTML below 50 KB that loads nothing. All its states are worked out in Python with the
functions that the chapters use; the script on the page only looks them up. Arrow keys, Page Up and Down, Home and
End move a slider that has the focus. Without JavaScript, and on paper, the first state stands still.

The first argument is the slider's name, the id of the whole on its page.
"""

from dlbook.interactive.averages import running_average
from dlbook.interactive.descent import learning_rate
from dlbook.interactive.frame import Slider
from dlbook.interactive.regions import temperature
from dlbook.interactive.search import grid_and_random, sampling

__all__ = ["Slider", "grid_and_random", "learning_rate", "running_average", "sampling", "temperature"]
