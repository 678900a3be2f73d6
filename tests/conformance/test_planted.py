"""The comparison finds real mistakes: each is planted into the model, and random sequences must run into it soon."""

import errno

import numpy as np
import pytest

from pagewalk.conform.campaign.campaign import run_campaign
from pagewalk.conform.campaign.compare import What
from pagewalk.conform.campaign.text import campaign_text
from pagewalk.conform.sides.model import simulated
from pagewalk.errors import SystemCallError
from pagewalk.formats import Flag, Kind
from pagewalk.mm.calls import move
from pagewalk.mm.mm import Mm
from pagewalk.mm.paging import copying, file_folios
from pagewalk.mm.state import areas
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


def tables_kept_by_a_collapse(monkeypatch):
    """Who maps a file's block by small pages goes on to, after another has made it huge."""
    monkeypatch.setattr(file_folios, "_retract_tables", lambda file, block: None)


@pytest.mark.parametrize(
    ("plant", "shows", "size", "first"),
    [
        (guards_lost_on_mremap, {What.PAGES}, 3, 60),
        (histories_merged, {What.MAPS}, 5, 40),
        (dirty_bit_lost_in_a_split, {What.PAGES, What.SMAPS}, 8, 235),
        (writable_page_shared_by_fork, {What.PAGES, What.SMAPS, What.OUTCOME, What.CONTENTS}, 4, 0),
        (wrong_errno, {What.OUTCOME}, 1, 0),
        (tables_kept_by_a_collapse, {What.PAGES}, 6, 0),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_mistake_is_found(kernel, monkeypatch, plant, shows, size, first):
    """``first``: a seed shortly before the one that was seen to find it, to spare time."""
    plant(monkeypatch)
    result = run_campaign(kernel, simulated(), seed=first, sequences=SEQUENCES)
    text = campaign_text(result, ("kernel", "model"))
    print(text)
    assert result.disagreement is not None, text
    assert result.disagreement.what in shows, text
    assert len(result.disagreement.scenario.steps) <= size, text
