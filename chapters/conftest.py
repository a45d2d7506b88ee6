"""nbval on the chapters: the kernel's environment, patience, and a tolerance for other CPUs where it is asked for.

`pytest --nbval chapters` compares outputs exactly. With DLBOOK_NBVAL_TOLERANCE=1, as in `make test`, floats may
differ as `tools/tolerance.py` says, in cells with the tag `rounding` more than in others.
"""

import os

from tools.kernel_env import KERNEL_ENV
from tools.tolerance import tolerant

for name, value in KERNEL_ENV.items():
    os.environ.setdefault(name, value)
# Another backend, set by a unit test say, would leave the chapters without figures.
os.environ["MPLBACKEND"] = KERNEL_ENV["MPLBACKEND"]

TOLERANT = os.environ.get("DLBOOK_NBVAL_TOLERANCE") == "1"
OUTPUT_SECONDS = 60  # nbval waits 5 s for an output, too short on a busy machine


def pytest_collection_modifyitems(items):
    for item in items:
        if hasattr(item, "output_timeout"):
            item.output_timeout = OUTPUT_SECONDS
            if TOLERANT:
                item.sanitize = forgiving(item.sanitize, "rounding" in item.cell.metadata.get("tags", []))


def forgiving(sanitize, loose):
    """nbval's own `sanitize`, whose result forgives round-off."""
    return lambda output: tolerant(sanitize(output), loose=loose)
