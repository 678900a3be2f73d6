"""Tests that change one entry of a running guest: each architecture's module runs them on its guests.

Each leaves the tables as they were: the guest is asked by other tests as well.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager

import pytest

import pagewalk as pw
from tests.real.obey import filled
from tests.real.plants import absent
from tests.real.truth import GUARD, PRESENT

__all__ = ["TestByHand", "TestByTheGuest"]


@pytest.fixture
def holes(guest):
    """Pages of which every other one is there, and filled."""
    return guest.truth.planted("holes")


def entry_at(tables, vaddr):
    """The entry that the way to an address ends at."""
    (*_, entry) = tables.steps(vaddr)
    return entry


def kind_of(guest, vaddr):
    """What the next listing says of a page."""
    rows = pw.mappings(guest.tables(), vaddr, vaddr + guest.truth.page)
    return pw.Kind(rows["kind"][0]) if len(rows) else pw.Kind.NONE


@contextmanager
def changed(guest, vaddr, value):
    """An entry that has another value for a while."""
    with guest.tables(writable=True) as tables:
        entry = entry_at(tables, vaddr)
        before, entry.value = entry.value, value
        guest.stub.forget(vaddr)
        try:
            yield
        finally:
            entry.value = before
            guest.stub.forget(vaddr)


class TestByHand:
    """What is written into the image is what the next listing says, and what the guest finds."""

    def test_an_empty_entry_is_filled(self, guest, control, holes):
        tables = guest.tables()
        page = tables.translate(holes[2])
        with changed(guest, holes[1], page.entry.value):
            assert guest.tables().translate(holes[1]).paddr == page.paddr
            assert control.read(holes[1]) == (filled(holes[2]), 0, 0)
            (word,) = control.pagemap(holes[1])
            assert word & PRESENT
        assert kind_of(guest, holes[1]) is pw.Kind.NONE
        assert control.pagemap(holes[1])[0] & PRESENT == 0

    def test_a_page_leads_elsewhere(self, guest, control, holes):
        tables = guest.tables()
        page = tables.translate(holes[2])
        assert control.read(holes[4]) == (filled(holes[4]), 0, 0)
        with changed(guest, holes[4], page.entry.value):
            assert guest.tables().translate(holes[4]).paddr == page.paddr
            assert control.read(holes[4]) == (filled(holes[2]), 0, 0)
        assert control.read(holes[4]) == (filled(holes[4]), 0, 0)

    def test_a_guard(self, guest, control, holes):
        if "guard" in absent(guest.machine.name):
            return  # the kernel knows no marker: nothing to copy
        marker = entry_at(guest.tables(), guest.truth.planted("guard")[4]).value
        with changed(guest, holes[3], marker):
            assert kind_of(guest, holes[3]) is pw.Kind.GUARD
            assert control.read(holes[3]).signal == signal.SIGSEGV
            assert control.pagemap(holes[3])[0] & GUARD
        assert kind_of(guest, holes[3]) is pw.Kind.NONE

    def test_memory_through_the_stub(self, guest, holes):
        """The image is the memory that the machine has."""
        paddr = guest.tables().translate(holes[6]).paddr
        assert int.from_bytes(guest.stub.read(paddr, 8), "little") == filled(holes[6])


class TestByTheGuest:
    """What the guest does to its tables is what the next listing says."""

    def test_a_guard_that_is_set_and_cleared(self, guest, control, holes):
        said = control.madvise(holes[7], guest.truth.page, pw.MADV_GUARD_INSTALL)
        if why := absent(guest.machine.name).get("guard"):
            assert said.error, why
            return
        assert said == (0, 0, 0)
        assert kind_of(guest, holes[7]) is pw.Kind.GUARD
        assert control.write(holes[7], 1).signal == signal.SIGSEGV
        assert control.madvise(holes[7], guest.truth.page, pw.MADV_GUARD_REMOVE) == (0, 0, 0)
        assert kind_of(guest, holes[7]) is pw.Kind.NONE

    def test_protect(self, guest, control, holes):
        page = guest.truth.page
        paddr = guest.tables().translate(holes[8]).paddr
        assert control.mprotect(holes[8], page, pw.PROT_NONE) == (0, 0, 0)
        shut = guest.tables().translate(holes[8])
        assert (shut.kind, shut.paddr) == (pw.Kind.PROT_NONE, paddr)
        assert control.read(holes[8]).signal == signal.SIGSEGV
        assert control.mprotect(holes[8], page, pw.PROT_READ | pw.PROT_WRITE) == (0, 0, 0)
        assert control.read(holes[8]) == (filled(holes[8]), 0, 0)
        assert guest.tables().translate(holes[8]).kind is pw.Kind.PRESENT

    def test_pages_come_and_go(self, guest, control, holes):
        assert control.write(holes[9], 7).signal == 0
        assert guest.tables().read(holes[9], 8) == (7).to_bytes(8, "little")
        assert control.madvise(holes[9], guest.truth.page, pw.MADV_DONTNEED) == (0, 0, 0)
        assert kind_of(guest, holes[9]) is pw.Kind.NONE
