"""Real guests' tables that are kept: every page against their kernels' word, and every entry against an oracle.

What was asked of them while they ran: ``real/every_page.py``.
"""

from __future__ import annotations

import pytest

import pagewalk as pw
from tests.kept import KEPT, kept
from tests.real.every_page import TestUserHalf
from tests.reference.families import FAMILIES

__all__ = ["TestUserHalf"]


@pytest.fixture(scope="module", params=KEPT)
def guest(request):
    return kept(request.param)


def word_of(memory, size):
    """A word of a memory as an oracle reads it: None where there is no memory."""

    def read(paddr):
        found = memory.view(paddr, size)
        return None if found is None else int.from_bytes(found, "little")

    return read


def test_every_entry_of_every_window(guest):
    """What the processor finds, the kernel's half as well."""
    tables = guest.tables()
    family = FAMILIES[tables.format.name]
    read = word_of(guest.memory, family.empty().word)
    for window in tables.windows:
        wanted = [
            (one.vaddr, one.size, one.entry, one.paddr)
            for one in family.walker(read, window).everything(window.start, window.end)
            if one.what == "leaf"
        ]
        rows = pw.mappings(tables, window.start, window.end, coalesce=False, hardware=True)
        assert rows[["vaddr", "size", "entry", "paddr"]].tolist() == wanted
        assert len(wanted) > 100
