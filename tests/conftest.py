"""What many tests need: a real guest's memory, and what its kernel said about it; and how long Hypothesis looks.

``HYPOTHESIS_PROFILE`` is ``smoke`` (``./dev test --quick``), ``quick``, ``noshrink`` (fails fast) or ``deep`` (long and
random).
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings

from pagewalk.conform.sides.pool import huge_pool
from pagewalk.errors import UnsupportedError
from tests.guests import Guest, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

settings.register_profile(
    "quick",
    max_examples=50,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
settings.register_profile("smoke", settings.get_profile("quick"), max_examples=8)
settings.register_profile("deep", settings.get_profile("quick"), max_examples=2000, derandomize=False)
settings.register_profile("noshrink", settings.get_profile("quick"), phases=[Phase.generate])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a shell's background job, and all it starts
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def guest(tmp_path_factory) -> Guest:
    return unpack("x86_64-7.3-4level", tmp_path_factory.mktemp("guest"))


def skip_or_fail(reason: str) -> None:
    """What a machine cannot run is skipped; where the real thing is required, it fails."""
    if os.environ.get("PAGEWALK_REQUIRE_REAL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def usable_hugetlb(pages: int) -> Iterator[None]:
    """So many hugetlb pages of 2 MiB that may be had: free, and not promised to others.

    What hinders it is said. The pool is the machine's: another process of the test run waits meanwhile.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(huge_pool(pages))
        except UnsupportedError as error:
            skip_or_fail(str(error))
        yield
