"""Every test of the sweep runs through each engine that is there."""

import importlib.util

import pytest

ENGINES = ["numpy", *(["numba"] if importlib.util.find_spec("numba") else [])]


@pytest.fixture(scope="module", params=ENGINES)
def engine(request):
    """The engine that sweeps use in this module's tests."""
    patch = pytest.MonkeyPatch()
    patch.setenv("PAGEWALK_ENGINE", request.param)
    yield request.param
    patch.undo()
