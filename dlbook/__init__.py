"""dlbook: hyperparameter tuning, batch normalisation and softmax, in NumPy, TensorFlow and PyTorch.

A topic is one word. `dlbook.batch_norm` is the lesson in a page; `dlbook.batch_norm.numpy`,
`.tensorflow` and `.torch` hold the same functions in three frameworks; `chapters/batch_norm.ipynb`
teaches them and `tests/test_batch_norm.py` checks them. Importing `dlbook` imports no framework.
"""

import os

__version__ = "0.1.0"

# TensorFlow reads these once, when it is first imported. Without them it writes time-stamped lines to the
# C-level stderr, which no notebook can reproduce, and oneDNN rounds differently from one CPU to the next.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

# TensorFlow computes on a GPU that it sees, wherever its inputs lie: a reader who wants the CPU hides the GPU.
if os.environ.get("DLBOOK_DEVICE", "").lower() == "cpu":
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
