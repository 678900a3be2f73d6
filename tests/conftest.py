"""What many tests need: a real guest's memory, and what its kernel said about it; and how long Hypothesis looks.

``HYPOTHESIS_PROFILE`` is ``smoke`` (``./dev test --quick``), ``quick``, ``noshrink`` (fails fast) or ``deep`` (long and
random).
"""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.guests import Guest, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")

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

    The pool is made larger if it must be, and afterwards as large as it was. A kernel may have leaked promises (see
    ``free_hugetlb``), and memory may be fragmented: then it is said what is missing. The pool is the machine's: another
    process of the test run waits meanwhile.
    """
    with _alone_with_the_pool(), _enlarged_pool(pages):
        yield


@contextmanager
def _alone_with_the_pool() -> Iterator[None]:
    """Hold the lock that the processes of a test run share."""
    try:
        folder = os.open(POOL, os.O_RDONLY)
    except OSError as error:
        skip_or_fail(f"no hugetlb pages of 2 MiB here: {error}")
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@contextmanager
def _enlarged_pool(pages: int) -> Iterator[None]:
    """A pool of which so many pages may be had."""
    try:
        before, usable = _in_pool("nr"), _in_pool("free") - _in_pool("resv")
        if usable < pages:
            Path("/proc/sys/vm/compact_memory").write_text("1")
            _resize_pool(before + pages - usable)
    except OSError as error:
        skip_or_fail(f"needs {pages} hugetlb pages of 2 MiB that may be had, and root to make them: {error}")
    try:
        there = {name: _in_pool(name) for name in ("nr", "free", "resv")}
        if there["free"] - there["resv"] < pages:
            skip_or_fail(f"needs {pages} hugetlb pages of 2 MiB that may be had; the kernel gives {there}")
        yield
    finally:
        if usable < pages:
            _resize_pool(before)


def _in_pool(name: str) -> int:
    """Pages of the 2 MiB pool: all (nr), free, or promised (resv)."""
    return int((POOL / f"{name}_hugepages").read_text())


def _resize_pool(pages: int) -> None:
    (POOL / "nr_hugepages").write_text(str(pages))
