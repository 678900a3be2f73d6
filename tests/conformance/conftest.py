"""The running kernel, for the tests that ask it."""

import os

import pytest

from pagewalk.conform.kernel import Kernel
from pagewalk.conform.probe import require_machine
from pagewalk.errors import UnsupportedError


def _kernel(name):
    try:
        require_machine()
    except UnsupportedError as error:
        if os.environ.get("PAGEWALK_REQUIRE_REAL") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))
    kernel = Kernel()
    kernel.name = name
    return kernel


@pytest.fixture(scope="session")
def kernel():
    with _kernel("kernel") as side:
        yield side


@pytest.fixture(scope="session")
def other_kernel():
    with _kernel("other kernel") as side:
        yield side


@pytest.fixture
def own_kernel():
    """One that a test may break."""
    with _kernel("kernel") as side:
        yield side


@pytest.fixture
def ask(kernel):
    """Runs a scenario on the kernel: its records."""

    def run(scenario):
        under_way = kernel.run(scenario)
        try:
            return list(under_way.records())
        finally:
            under_way.close()

    return run
