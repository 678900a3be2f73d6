"""Contract, "Guard regions, the contract's first user": each sentence on the model, and on the running kernel too."""

import ctypes
import errno
import mmap
import os
import re
import signal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pagewalk import abi
from pagewalk.conform.campaign.compare import compare
from pagewalk.conform.campaign.text import disagreement_text
from pagewalk.conform.scenarios import Scenario
from pagewalk.conform.sides.model import simulated
from pagewalk.errors import SegmentationFault, SystemCallError, WalkError
from pagewalk.formats import Kind
from pagewalk.live import madvise
from pagewalk.mm.calls import guard as guard_module
from pagewalk.mm.calls.guard import REMOVE_OPS, ZAP_RETRIES, install_guards
from pagewalk.mm.machine import Machine
from pagewalk.space import VmaFlags
from pagewalk.walk import Action
from tests.conformance.conftest import huge_pool as huge_pool
from tests.conformance.conftest import start_kernel
from tests.conformance.written import guards
from tests.conformance.written.words import FILES

PAGE, MIB = 4096, 1 << 20
RW = abi.PROT_READ | abi.PROT_WRITE
GUARD_IN_SCAN = 1 << 8
SIGSEGV = int(signal.SIGSEGV)


def _ranges(text):
    """The address ranges at the start of lines of smaps."""
    found = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) ", text, re.MULTILINE)
    return [(int(low, 16), int(high, 16)) for low, high in found]


@pytest.fixture(scope="module")
def kernel():
    with start_kernel() as side:
        yield side


@pytest.fixture
def told(kernel):
    """Runs a scenario on the running kernel and on the model, which must agree; what the kernel told."""
    model = simulated()

    def run(steps):
        verdict = compare(Scenario(steps, FILES), kernel, model)
        assert verdict.disagreement is None, disagreement_text(verdict.disagreement)
        assert not verdict.inconclusive
        under_way = kernel.run(Scenario(steps, FILES))
        records = list(under_way.records())
        under_way.close()
        return Told(records)

    return run


class Told:
    """Records, as tests want to look at them."""

    def __init__(self, records):
        self._records = records

    def errors(self):
        """Of each step: errno, or the signal's number negated."""
        return [record.outcome.errno or -record.outcome.signo for record in self._records]

    def value(self, step):
        return self._records[step].outcome.value

    def guards(self, step=-1, process=0):
        """The pages with a marker after a step."""
        states = self._records[step].views[process][""].states
        return np.flatnonzero(states >> np.uint32(24) & np.uint32(1)).tolist()


@pytest.fixture
def mm():
    return Machine(64 * MIB).mm()


def markers(mm, start, pages):
    regions = mm.scan(start, start + pages * PAGE)
    regions = regions[regions["categories"] & np.uint64(GUARD_IN_SCAN) != 0]
    return [(vaddr - start) // PAGE for region in regions.tolist() for vaddr in range(region[0], region[1], PAGE)]


class TestInstallAndRemove:
    """`MADV_GUARD_INSTALL` (102) fills a range with guard markers, so that any access is a SIGSEGV;
    `MADV_GUARD_REMOVE` (103) takes exactly the markers away."""

    def test_numbers(self):
        assert (abi.MADV_GUARD_INSTALL, abi.MADV_GUARD_REMOVE) == (102, 103)

    @pytest.mark.parametrize("access", ["read", "write", "execute"])
    def test_any_access(self, mm, access):
        start = mm.mmap(4 * PAGE, RW | abi.PROT_EXEC)
        mm.madvise(start + PAGE, 2 * PAGE, abi.MADV_GUARD_INSTALL)
        arguments = {"read": (1,), "write": (b"x",), "execute": ()}[access]
        with pytest.raises(SegmentationFault) as caught:
            getattr(mm, access)(start + 2 * PAGE, *arguments)
        assert (caught.value.vaddr, caught.value.access) == (start + 2 * PAGE, access)
        assert markers(mm, start, 4) == [1, 2]

    def test_any_access_for_real(self, told):
        records = told(guards.ANY_ACCESS_IS_A_SIGSEGV)
        assert records.errors() == [0, 0, 0, -SIGSEGV, -SIGSEGV, -SIGSEGV, -SIGSEGV, 0]
        assert records.guards() == [1, 2]

    def test_exactly_the_markers(self, told):
        records = told(guards.REMOVED_EXACTLY)
        assert records.guards(3) == [2, 3]
        assert records.guards(4) == []
        assert records.value(5) == b"\xc3pgwalk!"

    def test_over_everything_and_twice(self, told):
        records = told(guards.INSTALLED_OVER_EVERYTHING)
        assert records.errors()[5:] == [0] * 4
        assert (records.guards(5), records.value(7)) == (list(range(6)), bytes(8))
        assert told(guards.INSTALLED_TWICE).guards(3) == [0, 1, 2, 3]


class TestRefused:
    """Refused (EINVAL): hugetlb, VM_PFNMAP/VM_IO and other special VMAs; install, not remove, also in an mlocked VMA.
    Since 6.15 file-backed, shared and read-only mappings are allowed; before, anonymous writable only."""

    @pytest.mark.usefixtures("huge_pool")
    def test_hugetlb(self, told):
        assert told(guards.HUGETLB_IS_REFUSED).errors() == [0, errno.EINVAL, errno.EINVAL, 0]

    @pytest.mark.parametrize("flag", [VmaFlags.PFNMAP, VmaFlags.IO, VmaFlags.MIXEDMAP, VmaFlags.DONTEXPAND])
    @pytest.mark.parametrize("advice", [abi.MADV_GUARD_INSTALL, abi.MADV_GUARD_REMOVE])
    def test_special(self, mm, flag, advice):
        """No process can make such a mapping without a device: the model only."""
        start = mm.mmap(PAGE, RW)
        mm.vmas.at(start).flags |= flag
        with pytest.raises(SystemCallError) as caught:
            mm.madvise(start, PAGE, advice)
        assert caught.value.errno == errno.EINVAL
        assert markers(mm, start, 1) == []

    def test_locked(self, told):
        records = told(guards.LOCKED_IS_REFUSED)
        assert records.errors() == [0, 0, 0, errno.EINVAL, 0, 0, 0, 0, 0, 0, 0]
        assert told(guards.LOCKED_ON_FAULT_IS_REFUSED).errors() == [0, 0, errno.EINVAL, 0, 0]

    def test_locked_ends_it_there(self, told):
        records = told(guards.LOCKED_IS_REFUSED_WHERE_IT_STANDS)
        assert records.errors()[4:6] == [errno.EINVAL, errno.EINVAL]
        assert records.guards(5) == [0, 1]

    def test_files_shared_and_read_only(self, told):
        assert told(guards.READ_ONLY).errors()[6:14] == [0] * 4 + [-SIGSEGV] * 4
        assert told(guards.FILES_SHARED_AND_PRIVATE).guards(6) == [0, 1, 4, 5]
        assert told(guards.SHARED_ANONYMOUS).guards(2) == [1]
        assert told(guards.BEYOND_THE_END_OF_A_FILE).guards(1) == [1, 2, 3, 4, 5]


class TestInstall:
    """Install: walk with pud/pmd/pte handlers that return 1 at the first thing present (huge page, or a PTE that is no
    guard marker) and an `install_pte` that returns the marker. 0: done. 1: zap the range, try again; after three
    tries, restart."""

    def test_handlers(self, mm):
        ops = guard_module._install_ops(7)
        assert (ops.install_pte(0, PAGE, None), ops.pte_hole) == (7, None)
        start = mm.mmap(2 * MIB, RW)
        mm.write(start, b"x")
        mm.madvise(start + PAGE, PAGE, abi.MADV_GUARD_INSTALL)
        *_, pud, pmd, pte = mm.tables.steps(start)
        guard = mm.tables.last_at(start + PAGE)
        assert [ops.pte_entry(entry, 0, 0, None) for entry in (pte, guard)] == [1, 0]
        assert ops.pmd_entry(pmd, 0, 0, None) == ops.pud_entry(pud, 0, 0, None) == 0

    def test_nothing_in_the_way_needs_no_zap(self, mm):
        start = mm.mmap(8 * PAGE, RW)
        mm.madvise(start + 2 * PAGE, PAGE, abi.MADV_GUARD_INSTALL)
        with mm.reading():
            install_guards(mm, start, start + 8 * PAGE, lambda *_: pytest.fail("zapped"))
        assert markers(mm, start, 8) == list(range(8))

    def test_one_zap_of_the_whole_range(self, mm):
        start, zapped = mm.mmap(8 * PAGE, RW), []
        mm.write(start + 3 * PAGE, b"x")

        def zap(first, last):
            zapped.append((first, last))
            mm.tables.last_at(start + 3 * PAGE).value = 0

        with mm.reading():
            install_guards(mm, start, start + 8 * PAGE, zap)
        assert zapped == [(start, start + 8 * PAGE)]

    def test_three_tries(self, mm):
        start, zapped = mm.mmap(4 * PAGE, RW), []
        mm.write(start + PAGE, b"x")
        with mm.reading(), pytest.raises(WalkError) as caught:
            install_guards(mm, start, start + 4 * PAGE, lambda *zap: zapped.append(zap))
        assert (caught.value.errno, len(zapped), ZAP_RETRIES) == (errno.EAGAIN, 3, 3)
        assert markers(mm, start, 4) == [0]

    def test_over_huge_pages(self, told):
        records = told(guards.OVER_A_HUGE_PAGE)
        assert records.guards(4) == list(range(590, 610))
        assert told(guards.OVER_THE_HUGE_ZERO_PAGE).guards() == [600, 601]
        assert told(guards.OVER_SEVERAL_TABLES).guards(3) == list(range(1000, 1600))


class TestRemove:
    """Remove: guard markers become empty; huge entries are passed over with CONTINUE, never split; everything else is
    untouched."""

    def test_passed_over(self, mm):
        start = mm.mmap(4 * MIB, RW)
        start = -(-start // (2 * MIB)) * 2 * MIB
        mm.madvise(start, 2 * MIB, abi.MADV_HUGEPAGE)
        mm.write(start, b"x")
        pmd = mm.tables.upper_at(start)
        walk = type("Looking", (), {"action": Action.SUBTREE})()
        REMOVE_OPS.pmd_entry(pmd, start, start + 2 * MIB, walk)
        assert walk.action is Action.CONTINUE
        before = pmd.value
        mm.madvise(start, 2 * MIB, abi.MADV_GUARD_REMOVE)
        assert pmd.value == before

    def test_everything_else(self, mm):
        start = mm.mmap(4 * PAGE, RW)
        mm.write(start, b"x")
        mm.read(start + PAGE, 1)
        mm.madvise(start + 2 * PAGE, PAGE, abi.MADV_GUARD_INSTALL)
        slots = [mm.tables.last_at(start + page * PAGE) for page in range(4)]
        before = [slot.value for slot in slots]
        mm.madvise(start, 4 * PAGE, abi.MADV_GUARD_REMOVE)
        assert [slot.value for slot in slots] == [*before[:2], 0, 0]

    def test_for_real(self, told):
        records = told(guards.REMOVE_PASSES_HUGE_PAGES_OVER)
        assert not any(records.errors())
        assert (records.guards(6), records.guards(7)) == ([1030, 1031], [])


class TestSurvive:
    """Markers survive: mprotect, MADV_DONTNEED, MADV_FREE, fork (not where VM_WIPEONFORK), mremap's move, VMA split and
    merge, reclaim. They end with munmap, mmap over them, shrinking mremap."""

    @pytest.mark.parametrize(
        ("steps", "after", "kept"),
        [
            (guards.SURVIVES_MPROTECT, 8, [1]),
            (guards.SURVIVES_DONTNEED, -1, [1, 9]),
            (guards.SURVIVES_FREE, -1, [1]),
            (guards.SURVIVES_SPLIT_AND_MERGE, -1, [2, 3, 4, 5]),
            (guards.SURVIVES_RECLAIM, -1, [1, 9]),
            (guards.FAULT_AROUND_LEAVES_MARKERS, -1, [4, 5]),
            (guards.HOLES_AND_TRUNCATION, 8, [3, 13]),
            (guards.MOVES_ALONG, 3, [21]),
            (guards.MOVES_ALONG, 7, [41]),
            (guards.MOVES_ALONG_IN_A_FILE, 2, [21]),
            (guards.MOVES_ALONG_WITH_A_TABLE, 3, [2136, 2566, 2567]),
            (guards.LEFT_BEHIND_WITHOUT_MARKERS, -1, [21]),
            (guards.SHRINKING_TAKES_THE_REST, 3, [2]),
            (guards.SHRINKING_TAKES_THE_REST, 4, [2]),
            (guards.ENDS_WITH_MUNMAP, 3, [0, 3]),
            (guards.ENDS_WITH_MMAP_OVER_IT, 2, [0, 3]),
            (guards.ENDS_WITH_A_MOVE_OVER_IT, 4, [20, 23]),
        ],
    )
    def test_after(self, told, steps, after, kept):
        assert told(steps).guards(after) == kept

    def test_fork(self, told):
        records = told(guards.SURVIVES_FORK)
        assert (records.guards(3, process=1), records.guards(5, process=1), records.guards(5)) == ([1], [], [1])
        assert told(guards.SURVIVES_FORK_WHERE_NO_PAGE_IS_COPIED).guards(process=1) == [0, 4, 8]

    def test_wiped_on_fork(self, told):
        records = told(guards.WIPED_ON_FORK)
        assert (records.guards(3), records.guards(3, process=1)) == ([0, 1], [])

    def test_not_forked(self, told):
        assert told(guards.NOT_FORKED).guards(process=1) == [1]

    def test_on_the_model_swap_takes_pages_and_leaves_markers(self):
        mm = Machine(16 * MIB, swap=MIB).mm()
        start = mm.mmap(4 * PAGE, RW)
        mm.write(start, b"x")
        mm.madvise(start + PAGE, PAGE, abi.MADV_GUARD_INSTALL)
        mm.madvise(start, 4 * PAGE, abi.MADV_PAGEOUT)
        kinds = [mm.tables.last_at(start + page * PAGE).kind for page in range(2)]
        assert kinds == [Kind.SWAP, Kind.GUARD]


class TestKernelAccess:
    """Reads by the kernel on the process's behalf (process_vm_readv, MADV_POPULATE, write(2) from there) fail with
    EFAULT. A range with a guard cannot be collapsed into a huge page."""

    def test_efault(self, told):
        records = told(guards.THE_KERNEL_GETS_EFAULT)
        assert records.errors()[3:5] == [errno.EFAULT] * 2
        assert len(records.value(5)) == PAGE
        assert records.errors()[6:] == [errno.EFAULT, errno.EFAULT, 0]

    def test_write_from_there_for_real(self, kernel):
        """write(2) of the running kernel, from a page of this process's own."""
        buffer = mmap.mmap(-1, 2 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        read_end, write_end = os.pipe()
        try:
            madvise(start + PAGE, PAGE, abi.MADV_GUARD_INSTALL)
            libc = ctypes.CDLL(None, use_errno=True)
            assert libc.write(write_end, ctypes.c_void_p(start + PAGE), 1) == -1
            assert ctypes.get_errno() == errno.EFAULT
            madvise(start + PAGE, PAGE, abi.MADV_GUARD_REMOVE)
            assert libc.write(write_end, ctypes.c_void_p(start + PAGE), 1) == 1
        finally:
            os.close(read_end)
            os.close(write_end)

    def test_not_collapsed(self, told):
        records = told(guards.NOT_COLLAPSED)
        assert records.errors()[3:] == [errno.EINVAL, 0, 0, 0]
        assert records.guards(3) == [600]


class TestGapsAndObservation:
    """Ranges over gaps between VMAs: all mapped parts are done, the result is ENOMEM. `pagemap` shows a marker as bits
    62 (swap) and 58 (guard); PAGEMAP_SCAN as PAGE_IS_GUARD (bit 8), `smaps` (newer kernels) as VmFlags `gu`."""

    def test_gaps(self, told):
        records = told(guards.OVER_GAPS)
        assert records.errors()[3] == errno.ENOMEM
        assert records.guards(3) == [0, 1, 4, 5]
        assert records.errors()[6] == errno.ENOMEM
        assert records.guards(6) == [0, 5]

    def test_pagemap_and_scan(self, mm):
        start = mm.mmap(2 * PAGE, RW)
        mm.madvise(start, PAGE, abi.MADV_GUARD_INSTALL)
        word = int(mm.pagemap(start, start + PAGE)[0])
        assert [bit for bit in range(55, 64) if word >> bit & 1] == [58, 62]
        assert mm.scan(start, start + 2 * PAGE)["categories"].tolist() == [GUARD_IN_SCAN | 0x12, 2]  # empty: written

    def test_smaps_for_real(self, kernel):
        """VmFlags of this process's own memory; Linux 6.18."""
        buffer = mmap.mmap(-1, 2 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        madvise(start, PAGE, abi.MADV_GUARD_INSTALL)
        areas = Path("/proc/self/smaps").read_text().split("VmFlags:")
        (flags,) = [
            after.split("\n", 1)[0].split()
            for before, after in pairwise(areas)
            if any(low <= start < high for low, high in _ranges(before))
        ]
        assert "gu" in flags

    def test_pagemap_and_scan_for_real(self, told):
        """A state holds pagemap's bits from 55 on, and the categories from bit 16 on."""
        view = told(guards.INSTALLED_TWICE)._records[3].views[0][""]
        assert view.states[:4].tolist() == [1 << 58 - 55 | 1 << 62 - 55 | (GUARD_IN_SCAN | 0x12) << 16] * 4

    def test_arguments_and_vectors(self, told):
        assert told(guards.ARGUMENTS).errors() == [0, errno.EINVAL, 0, 0, 0]
        records = told(guards.IN_A_VECTOR)
        assert (records.value(2), records.value(4), records.value(6)) == (3 * PAGE, 2 * PAGE, PAGE)
