"""Tests of a guest's tables, opened by its registers alone: each architecture's module runs them on its guests."""

from __future__ import annotations

import numpy as np
import pytest

import pagewalk as pw
from pagewalk.formats import NO_PADDR
from pagewalk.report.doubts import Doubts
from pagewalk.report.rows import rows_of
from pagewalk.sweep.listing import iterate
from tests.real.obey import FILLED, filled
from tests.real.pages import differences, leaves, listed, said
from tests.real.plants import absent
from tests.real.truth import FRAME

__all__ = ["TestEveryEntry", "TestKernelHalf", "TestUserHalf"]

RANDOM = 2000
STATE = {"G": pw.Flag.GLOBAL, "D": pw.Flag.DIRTY, "A": pw.Flag.ACCESSED}
RIGHTS = {"r": pw.Flag.READ, "w": pw.Flag.WRITE, "x": pw.Flag.EXEC}


class TestUserHalf:
    """Every page of the program, as its kernel has it in pagemap."""

    def test_the_format_follows(self, guest):
        assert guest.tables().format.name == guest.machine.format

    def test_everything_was_planted(self, guest):
        """What is not is in the table, with the reason."""
        failed = {name for name, plant in guest.truth.plants.items() if plant.error}
        assert failed == set(absent(guest.machine.name))

    def test_frames_and_kinds(self, guest):
        theirs, ours = said(guest), listed(leaves(guest), guest.truth.page)
        assert len(theirs.vaddrs) > 500
        assert differences(ours, theirs) == []

    def test_translate(self, guest):
        theirs = said(guest)
        paddrs, mapped = pw.translate(guest.tables(), theirs.vaddrs)
        assert (mapped == (theirs.paddrs != np.uint64(NO_PADDR))).all()
        assert (paddrs[mapped] == theirs.paddrs[mapped]).all()

    def test_one_by_one(self, guest):
        tables, theirs = guest.tables(), said(guest)
        step = max(1, len(theirs.vaddrs) // RANDOM)
        for vaddr, paddr in zip(theirs.vaddrs[::step].tolist(), theirs.paddrs[::step].tolist(), strict=True):
            if paddr == NO_PADDR:
                with pytest.raises(pw.NotPresent):
                    tables.translate(vaddr)
            else:
                assert tables.translate(vaddr).paddr == paddr, hex(vaddr)

    def test_hugetlb(self, guest):
        """Areas whose pages have a size of their own (``KernelPageSize`` in smaps)."""
        rows = leaves(guest)
        areas = [area for area in guest.truth.areas if area.page_size != guest.truth.page]
        assert areas
        for area in areas:
            inside = (rows["vaddr"] >= area.start) & (rows["vaddr"] < area.end)
            assert set(rows["page_size"][inside].tolist()) == {area.page_size}, hex(area.start)
            assert rows["size"][inside].sum() == area.end - area.start

    def test_transparent_huge_pages(self, guest):
        """Blocks: as many bytes as smaps says for each area, and where PAGEMAP_SCAN says, if the kernel has it."""
        rows, truth = leaves(guest), guest.truth
        blocks = rows[rows["page_size"] == truth.block]
        hugetlb = [area for area in truth.areas if area.page_size != truth.page]
        ours = [int(at) for at in blocks["vaddr"].tolist() if not _inside(hugetlb, at)]
        assert len(ours) * truth.block == sum(area.huge for area in truth.areas)
        assert truth.plants["thp"].start in ours
        assert truth.plants["thp_split"].start not in ours
        if truth.huge:
            assert all(_inside(truth.huge, at) for at in ours)

    def test_groups(self, guest):
        """A page of several entries is aligned, whole, and its frames follow each other."""
        tables, page = guest.tables(), guest.truth.page
        rows = leaves(guest)
        groups = rows[rows["page_size"] > rows["size"]]
        if "riscv64-sv48" in guest.machine.name or "arm64" in guest.machine.name:
            assert len(groups)
        for vaddr, paddr, size in groups[["vaddr", "paddr", "page_size"]].tolist():
            assert (vaddr - paddr) % size == 0, hex(vaddr)
            start = vaddr - vaddr % size
            wanted = paddr - vaddr % size + np.arange(0, size, page, dtype=np.uint64)
            assert (pw.translate(tables, start + np.arange(0, size, page, dtype=np.uint64))[0] == wanted).all()

    def test_swap(self, guest):
        """Type and place, as pagemap has them."""
        words = dict(zip(*(column.tolist() for column in guest.truth.pages()), strict=True))
        rows = leaves(guest)
        rows = rows[(rows["kind"] == int(pw.Kind.SWAP)) & _all_inside([guest.truth.plants["swap"]], rows["vaddr"])]
        assert len(rows)
        for vaddr, type_, offset in rows[["vaddr", "swap_type", "swap_offset"]].tolist():
            assert words[vaddr] & FRAME == type_ | offset << 5, hex(vaddr)

    def test_rights(self, guest):
        """A page grants nothing that its area does not."""
        rows = leaves(guest)
        present = rows[rows["kind"] == int(pw.Kind.PRESENT)]
        assert (present["flags"] & int(pw.Flag.USER) != 0).sum() > len(present) // 2
        for area in guest.truth.areas:
            inside = present[_all_inside([area], present["vaddr"])]
            letters = set(guest.machine.architecture.withheld) - set(area.rights)
            refused = sum(int(RIGHTS[letter]) for letter in letters)
            assert not (inside["flags"] & refused).any(), hex(area.start)

    def test_nothing_speaks_against_its_kernel(self, guest):
        """Not in the kernel's half either, where entries that are not present are none of the system's."""
        doubts = Doubts(tables := guest.tables())
        for columns in iterate(tables, tables.windows[0].start, tables.windows[-1].end, findings=[]):
            doubts.add(rows_of(columns))
        assert str(doubts) == ""

    def test_bytes(self, guest):
        tables = guest.tables()
        for name, step in FILLED.items():
            for vaddr in guest.truth.planted(name)[: 2 * step : step]:
                assert int.from_bytes(tables.read(vaddr, 8), "little") == filled(vaddr), (name, hex(vaddr))


class TestKernelHalf:
    """What the CPU finds there: QEMU's monitor asks its model of the MMU."""

    def test_runs_and_random_pages(self, guest):
        tables, page = guest.tables(), guest.truth.page
        start, end = _kernels(guest)
        with guest.as_kernel():
            runs = pw.mappings(tables, start, end, hardware=True)
            assert len(runs)
            ends = [at for vaddr, size in runs[["vaddr", "size"]].tolist() for at in (vaddr, vaddr + size - page)]
            wanted = _where(tables, sorted({*ends, *_random_pages(runs, page)}))
            wrong = {hex(vaddr): paddr for vaddr, paddr in wanted.items() if guest.monitor.physical(vaddr) != paddr}
        assert wrong == {}

    def test_holes(self, guest):
        tables = guest.tables()
        with guest.as_kernel():
            holes = pw.holes(tables, *_kernels(guest))
            some = np.random.default_rng(1).choice(holes["vaddr"], min(200, len(holes)), replace=False).tolist()
            assert [hex(vaddr) for vaddr in some if guest.monitor.physical(vaddr) is not None] == []


class TestEveryEntry:
    """Both halves, entry by entry, as QEMU's monitor lists them: it does so on x86 alone."""

    def test_all(self, guest):
        with guest.as_kernel():
            rows = pw.mappings(guest.tables(), coalesce=False, hardware=True)
            listed_there = guest.monitor.entries()
        theirs = {(at, to, sum(STATE.get(letter, 0) for letter in bits)) for at, to, bits in listed_there}
        rows["flags"] &= sum(STATE.values())
        assert len(rows) > 500
        assert set(rows[["vaddr", "paddr", "flags"]].tolist()) ^ theirs == set()


def _kernels(guest):
    """The addresses that are the kernel's."""
    window = guest.tables().windows[-1]
    return max(window.start, guest.machine.architecture.kernel), window.end


def _inside(ranges, vaddr):
    """Whether an address lies in one of some areas or plants."""
    return any(one[0] <= vaddr < one[1] for one in ranges)


def _all_inside(ranges, vaddrs):
    """Which of many addresses do."""
    return np.array([_inside(ranges, vaddr) for vaddr in vaddrs.tolist()], bool)


def _random_pages(runs, page):
    """Pages of a listing, each as likely as another."""
    counts = runs["size"] // np.uint64(page)
    ends = np.cumsum(counts)
    chosen = np.random.default_rng(0).integers(0, int(ends[-1]), RANDOM).astype(np.uint64)
    row = np.searchsorted(ends, chosen, side="right")
    return (runs["vaddr"][row] + (chosen - (ends[row] - counts[row])) * np.uint64(page)).tolist()


def _where(tables, vaddrs):
    """Where pagewalk finds some addresses."""
    paddrs, mapped = pw.translate(tables, np.array(vaddrs, np.uint64), hardware=True)
    assert mapped.all()
    return dict(zip(vaddrs, paddrs.tolist(), strict=True))
