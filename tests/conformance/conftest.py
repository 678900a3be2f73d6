"""The running kernel, for the tests that ask it."""

from pathlib import Path

import pytest

from pagewalk.conform.kernel import Kernel
from pagewalk.conform.model import simulated
from pagewalk.conform.probe import require_machine
from pagewalk.errors import UnsupportedError
from tests.conftest import skip_or_fail

POOL = 4
"""hugetlb pages that written scenarios count on."""
_RESERVED = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
_COMPACT = Path("/proc/sys/vm/compact_memory")


def start_kernel(name="kernel"):
    try:
        require_machine()
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


@pytest.fixture(scope="session")
def huge_pool():
    """A pool of hugetlb pages; what was there before comes back afterwards."""
    try:
        before = _RESERVED.read_text()
        if int(before) != POOL:
            _COMPACT.write_text("1")
            _RESERVED.write_text(str(POOL))
    except OSError as error:
        skip_or_fail(f"a pool of hugetlb pages has to be set up as root: {error}")
    if int(_RESERVED.read_text()) != POOL:
        _RESERVED.write_text(before)
        skip_or_fail(f"the kernel has no {POOL} free hugetlb pages to give")
    yield
    _RESERVED.write_text(before)


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
