"""docs/conformance.md's table has a row for every call and every flag, and its counts are those of the sequences."""

from collections import Counter

import pytest

from benchmarks import covered
from pagewalk import abi
from pagewalk.abi import limits
from pagewalk.conform.scenarios import STEPS, At, Fcntl, Limited, Madvise, Mmap, PagemapScan
from pagewalk.conform.scenarios.generate import generate

ROWS = [line for line in covered.PAGE.read_text().partition(covered.BEGIN)[2].splitlines() if line.startswith("| `")]
NAMES = {line.split("`")[1] for line in ROWS}
NEVER = {"MADV_HWPOISON", "MADV_SOFT_OFFLINE", "MAP_HUGE_1GB"}
"""What no sequence asks: it destroys frames, or no pool has any."""


def test_every_call_has_a_row():
    assert {step.call for step in STEPS.values()} <= covered.ROWS.keys()
    assert {row.what for row in covered.ROWS.values()} == NAMES


@pytest.mark.parametrize("module", [abi, limits])
def test_every_flag_has_a_row(module):
    known = ("PROT_", "MAP_", "MREMAP_", "MLOCK_", "MCL_", "MS_", "MADV_", "F_", "MFD_", "PKEY_", "RLIMIT_")
    names = {name for name in module.__all__ if name.startswith(known)} - set(covered.MASKS)
    assert names <= NAMES


def test_all_that_is_modelled_is_compared():
    counts = {line.split("`")[1]: line.split("|")[3].strip() for line in ROWS}
    assert {name for name, count in counts.items() if count == "0"} == NEVER


def test_what_is_counted():
    flags = abi.MAP_SHARED | abi.MAP_ANONYMOUS
    steps = (
        Mmap(4096, abi.PROT_READ, flags, At(0)),
        Madvise(At(0), 4096, abi.MADV_DONTNEED),
        Limited("as", 0, Mmap(4096, abi.PROT_NONE, flags, At(0))),
        Fcntl("a", limits.F_ADD_SEALS, limits.F_SEAL_GROW | limits.F_SEAL_SHRINK),
        PagemapScan(At(0), At(1), 1),
    )
    assert covered.count(steps) == Counter({
        "mmap": 2, "PROT_READ": 1, "PROT_NONE": 1, "MAP_SHARED": 2, "MAP_ANONYMOUS": 2, "madvise": 1,
        "MADV_DONTNEED": 1, "limited": 1, "RLIMIT_AS": 1, "fcntl": 1, "F_ADD_SEALS": 1, "F_SEAL_GROW": 1,
        "F_SEAL_SHRINK": 1, "pagemap_scan": 1, "PM_SCAN_WP_MATCHING": 1,
    })  # fmt: skip


def test_a_sequence_is_counted_alike_each_time():
    assert covered.count(generate(5).steps) == covered.count(generate(5).steps)
