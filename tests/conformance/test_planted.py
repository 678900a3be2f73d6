"""The comparison finds real mistakes: each is planted into the model, and random sequences must run into it soon."""

import errno
from functools import partial

import numpy as np
import pytest

from pagewalk.conform.campaign.campaign import run_campaign
from pagewalk.conform.campaign.compare import What
from pagewalk.conform.campaign.text import campaign_text
from pagewalk.conform.scenarios.generate import generate
from pagewalk.conform.sides.model import simulated
from pagewalk.errors import SystemCallError
from pagewalk.formats import Flag, Kind
from pagewalk.mm.calls import move, smaps
from pagewalk.mm.calls import scan as scanning
from pagewalk.mm.entries import LevelEntries
from pagewalk.mm.hardware.machine import Hardware
from pagewalk.mm.mm import Mm
from pagewalk.mm.paging import copying, file_folios, pins, protection, zap
from pagewalk.mm.state import areas
from pagewalk.mm.state.files import File
from pagewalk.mm.state.tables import MmTables

pytestmark = pytest.mark.slow

SEQUENCES = 250
"""What ``pagewalk conform`` runs through in well under a minute."""


def guards_lost_on_mremap(monkeypatch):
    move_entries = move._move_entries

    def forgetful(mm, pieces):
        move_entries(mm, pieces)
        for piece in pieces:
            for _, entries in mm.tables.slices(piece.target, piece.target + piece.size):
                entries[mm.format.kind(entries) == Kind.GUARD] = 0

    monkeypatch.setattr(move, "_move_entries", forgetful)


def histories_merged(monkeypatch):
    """Neighbours become one VMA although their pages have different histories."""
    monkeypatch.setattr(areas, "_same_history", lambda target, source: True)


def dirty_bit_lost_in_a_split(monkeypatch):
    split = MmTables.split

    def forgetful(self, pmd, addr, *more):
        result = split(self, pmd, addr, *more)
        start = addr - addr % pmd.level.span
        clean = np.uint64((1 << 64) - 1 - self.format.last.codec.switch(Flag.DIRTY)[0])
        if pmd.is_table:  # a file's huge page leaves none
            self.slice(pmd, start, start + pmd.level.span).entries[:] &= clean
        return result

    monkeypatch.setattr(MmTables, "split", forgetful)


def writable_page_shared_by_fork(monkeypatch):
    shared_entries = copying._shared_entries
    monkeypatch.setattr(
        copying, "_shared_entries", lambda parent, source, *, private: shared_entries(parent, source, private=False)
    )


def wrong_errno(monkeypatch):
    """mprotect says EINVAL over a gap."""
    mprotect = Mm.mprotect

    def mistaken(self, addr, length, prot):
        try:
            mprotect(self, addr, length, prot)
        except SystemCallError as error:
            code = errno.EINVAL if error.errno == errno.ENOMEM else error.errno
            raise SystemCallError(code, str(error)) from error

    monkeypatch.setattr(Mm, "mprotect", mistaken)


def markers_lost_in_a_zap(monkeypatch):
    """Part 2: what userfaultfd protects in a file is forgotten with its page."""
    monkeypatch.setattr(zap, "remembers_protection", lambda area: False)


def mask_taken_for_any(monkeypatch):
    """Part 3: PAGEMAP_SCAN takes a page of one of the categories that it must be of all of."""

    def mistaken(self, categories):
        seen = categories ^ np.uint64(self.inverted)
        found = seen & np.uint64(self.mask) != 0 if self.mask else np.ones(len(seen), bool)
        return found & (seen & np.uint64(self.anyof) != 0) if self.anyof else found

    monkeypatch.setattr(scanning.Request, "matching", mistaken)


def exclusive_in_swap_after_a_fork(monkeypatch):
    """Part 4: both sides of a fork think that a page in swap is theirs alone."""
    without = LevelEntries.swapped_without

    def forgetful(self, swapped, flags):
        return swapped if flags is Flag.EXCLUSIVE else without(self, swapped, flags)

    monkeypatch.setattr(LevelEntries, "swapped_without", forgetful)


def whole_pages_locked(monkeypatch):
    """Part 5: Locked counts pages, not shares."""
    pages = smaps._Sums._pages

    def mistaken(self, numbers, flags):
        pages(self, numbers, flags)
        self.counts["Locked"] = self.counts["Rss"] << smaps.SHARE_BITS if self.locked else 0

    monkeypatch.setattr(smaps._Sums, "_pages", mistaken)


def pins_not_noted(monkeypatch):
    """Part 5 too: nobody notes that a page was used by the kernel on the process's behalf."""
    monkeypatch.setattr(pins, "mark_accessed", lambda *arguments, **options: None)


def promises_kept_too_long(monkeypatch):
    """Part 6: a page that is taken because it was promised stays promised."""
    take = Hardware.take_hugetlb

    def forgetful(self, size, *, promised, file=False):
        paddr = take(self, size, promised=promised, file=file)
        if promised:
            self._promised[size] += 1
        return paddr

    monkeypatch.setattr(Hardware, "take_hugetlb", forgetful)


def seals_ignored(monkeypatch):
    """Part 7: a sealed file is written and cut all the same."""
    monkeypatch.setattr(File, "refuse_sealed", lambda self, size=None: None)


def frames_leaked(monkeypatch):
    """Part 9: a fork takes a reference that nobody gives back, which only the books show."""
    copy_pages = copying.copy_pages

    def forgetful(parent, child, area):
        copy_pages(parent, child, area)
        parent.machine.frames.hold(parent.machine.zero)

    monkeypatch.setattr("pagewalk.mm.calls.process.copy_pages", forgetful)


def look_where(what):
    """The campaign that looks into a part."""
    return partial(generate, **{what: True}) if what else generate


@pytest.mark.parametrize(
    ("plant", "shows", "size", "where"),
    [
        (markers_lost_in_a_zap, {What.PAGES}, 5, "uffd"),
        (mask_taken_for_any, {What.OUTCOME}, 6, ""),
        (exclusive_in_swap_after_a_fork, {What.PAGES, What.SMAPS, What.CONTENTS, What.OUTCOME}, 8, "swap"),
        (whole_pages_locked, {What.SMAPS}, 5, ""),
        (pins_not_noted, {What.SMAPS}, 6, ""),
        (promises_kept_too_long, {What.OUTCOME}, 5, "hugetlb"),
        (seals_ignored, {What.OUTCOME}, 4, ""),
        (frames_leaked, {What.BOOKS}, 4, ""),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_one_of_every_part_is_found(kernel, monkeypatch, request, plant, shows, size, where):
    """Of the parts that the model has; those above are of huge pages, areas, guards, forks and arguments."""
    for name, fixture in (("swap", "swap"), ("hugetlb", "huge_pool")):
        if where == name:
            request.getfixturevalue(fixture)
    plant(monkeypatch)
    result = run_campaign(kernel, simulated(), sequences=SEQUENCES, make=look_where(where))
    text = campaign_text(result, ("kernel", "model"))
    print(result.seed, text)
    assert result.disagreement is not None, text
    assert result.disagreement.what in shows, text
    assert len(result.disagreement.scenario.steps) <= size, text


def tables_kept_by_a_collapse(monkeypatch):
    """Who maps a file's block by small pages goes on to, after another has made it huge."""
    monkeypatch.setattr(file_folios, "_retract_tables", lambda file, block: None)


def writable_only_after_a_fault(monkeypatch):
    """A page that may be written again is read-only until it is."""

    def mistaken(mm, area, entries, pages, flags, level):
        return level.flags(entries) & int(Flag.WRITE) != 0

    monkeypatch.setattr(protection, "_writable", mistaken)


@pytest.mark.parametrize(
    ("plant", "shows", "size", "first"),
    [
        (guards_lost_on_mremap, {What.PAGES}, 3, 23),
        (histories_merged, {What.MAPS}, 5, 18),
        (dirty_bit_lost_in_a_split, {What.PAGES, What.SMAPS}, 8, 28),
        (writable_page_shared_by_fork, {What.PAGES, What.SMAPS, What.OUTCOME, What.CONTENTS}, 4, 3),
        (wrong_errno, {What.OUTCOME}, 1, 4),
        (tables_kept_by_a_collapse, {What.PAGES}, 6, 4),
        (writable_only_after_a_fault, {What.SMAPS}, 8, 21),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_mistake_is_found(kernel, monkeypatch, plant, shows, size, first):
    """``first``: a seed that was seen to find it, to spare time."""
    plant(monkeypatch)
    result = run_campaign(kernel, simulated(), seed=first, sequences=SEQUENCES)
    text = campaign_text(result, ("kernel", "model"))
    print(text)
    assert result.disagreement is not None, text
    assert result.disagreement.what in shows, text
    assert len(result.disagreement.scenario.steps) <= size, text
