"""dlbook: hyperparameter tuning, batch normalisation and softmax, in NumPy, TensorFlow and PyTorch.

A topic is one word. `dlbook.batch_norm` is the lesson in a page; `dlbook.batch_norm.numpy`,
`.tensorflow` and `.torch` hold the same functions in three frameworks; `chapters/batch_norm.ipynb`
teaches them and `tests/test_batch_norm.py` checks them. Importing `dlbook` imports no framework.
"""

import contextlib
import gc
import os
import sys
from importlib.util import find_spec

__version__ = "0.1.0"

# TensorFlow reads these once, when it is first imported. Without them it writes time-stamped lines to the
# C-level stderr, which no notebook can reproduce, and oneDNN rounds differently from one CPU to the next.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

# Importing TensorFlow and PyTorch makes a million objects that stay. Python's collector of cycles, at its default
# pace, would walk over all of them again and again, for a fifth of the time that the imports take.
if 0 < gc.get_threshold()[0] < 100_000:
    gc.set_threshold(100_000, *gc.get_threshold()[1:])

# TensorFlow computes on a GPU that it sees, wherever its inputs lie: a reader who wants the CPU hides the GPU.
if os.environ.get("DLBOOK_DEVICE", "").lower() == "cpu":
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

# Triton comes with PyTorch's CUDA builds, which load it late, and crashes when TensorFlow was loaded before it:
# https://github.com/tensorflow/tensorflow/issues/124205
if "tensorflow" not in sys.modules and find_spec("tensorflow") and find_spec("triton"):
    with contextlib.suppress(ImportError):
        import triton  # noqa: F401
