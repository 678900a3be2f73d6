"""The running kernel, for the tests that ask it."""

import fcntl
import os
from contextlib import ExitStack

import pytest

from pagewalk.conform.sides.facts import require_settings
from pagewalk.conform.sides.kernel import Kernel
from pagewalk.conform.sides.model import simulated
from pagewalk.conform.sides.pool import PAGES
from pagewalk.conform.sides.probe import require_machine
from pagewalk.conform.sides.swap import swap_file
from pagewalk.errors import UnsupportedError
from tests.conftest import skip_or_fail, usable_hugetlb


def start_kernel(name="kernel"):
    try:
        require_machine()
        require_settings()
    except UnsupportedError as error:
        skip_or_fail(str(error))
    kernel = Kernel()
    kernel.name = name
    return kernel


@pytest.fixture(scope="session")
def kernel():
    with start_kernel() as side:
        yield side


@pytest.fixture(scope="session")
def other_kernel():
    with start_kernel("other kernel") as side:
        yield side


@pytest.fixture
def own_kernel():
    """One that a test may break."""
    with start_kernel() as side:
        yield side


@pytest.fixture(scope="session")
def model():
    return simulated()


@pytest.fixture
def huge_pool():
    """The hugetlb pages that a scenario may count on."""
    with usable_hugetlb(PAGES):
        yield


@pytest.fixture(scope="module")
def swap_to_oneself():
    """No other process of the test run switches swap on meanwhile: it is the machine's."""
    folder = os.open("/sys/kernel/mm", os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    yield
    os.close(folder)


@pytest.fixture(scope="module")
def swap(swap_to_oneself):
    """A swap file that is switched on for the tests of a module."""
    with ExitStack() as stack:
        try:
            stack.enter_context(swap_file())
        except UnsupportedError as error:
            skip_or_fail(str(error))
        yield


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
