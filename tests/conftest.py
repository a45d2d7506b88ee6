"""Fixtures and settings that every test shares. The environment is fixed before any framework is imported."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import importlib.util

if importlib.util.find_spec("torch"):
    import torch  # noqa: F401  before TensorFlow: in the other order some builds of the two crash in one process

import hypothesis
import numpy as np
import pytest

from dlbook import frameworks

hypothesis.settings.register_profile(
    "dlbook",
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=40,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("dlbook")

REQUIRED = tuple(filter(None, os.environ.get("DLBOOK_FRAMEWORKS", "").split(",")))


def require(framework: str) -> str:
    """Skip where a framework is missing on a laptop; fail where DLBOOK_FRAMEWORKS says it must be there."""
    if framework in frameworks.installed():
        return framework
    if framework in REQUIRED:
        pytest.fail(f"{framework} is not installed, and DLBOOK_FRAMEWORKS requires it")
    pytest.skip(f"{framework} is not installed")


@pytest.fixture(params=frameworks.FRAMEWORKS)
def framework(request):
    """The name of each framework in turn."""
    return require(request.param)


@pytest.fixture(params=[name for name in frameworks.FRAMEWORKS if name != "numpy"])
def other_framework(request):
    """Each framework that is compared with NumPy."""
    return require(request.param)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
