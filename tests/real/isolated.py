"""Tests of kernels that keep their tables from programs (PTI on x86, KPTI on arm64): what is in which tables.

That each page of both is where pagewalk says is what ``every_page.py`` tests, by the registers of both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

import pagewalk as pw

if TYPE_CHECKING:
    from tests.real.boot import Guest

__all__ = ["TestIsolation", "sides"]


class Sides(NamedTuple):
    """A guest by its program's registers, and by its kernel's."""

    program: Guest
    kernel: Guest


@pytest.fixture(scope="session")
def sides(vm):
    return Sides(vm, vm.inside())


class TestIsolation:
    """A program's tables have of the kernel what leads into it, and nothing else."""

    def test_registers(self, sides):
        """Of two top tables, or two ASIDs, the kernel's is the even one; that is all of what registers say."""
        isolation = sides.program.machine.architecture.isolation
        register, bit = isolation.register, isolation.program
        program, kernel = sides.program.registers, sides.kernel.registers
        assert program[register] & bit
        assert not kernel[register] & bit
        assert {name for name in program if program[name] != kernel[name]} == {register}
        assert sides.kernel.tables().format.name == sides.program.machine.format

    def test_what_leads_into_the_kernel(self, sides):
        """Each frame that a program's tables have of it, of those that the kernel's own have for it, and no other."""
        shown, own = (kernel_pages(guest) for guest in sides)
        ways = [_frames(sides.kernel, *ends) for ends in sides.program.machine.architecture.isolation.shared]
        assert all(ways)
        assert set(shown["paddr"].tolist()) == set().union(*ways)
        assert len(own) > 100 * len(shown)

    def test_the_same_for_both(self, sides):
        shown = kernel_pages(sides.program)["vaddr"]
        places = [pw.translate(guest.tables(), shown, hardware=True) for guest in sides]
        assert all(mapped.all() for _, mapped in places)
        assert (places[0][0] == places[1][0]).all()

    def test_nothing_else_is_there_for_the_program(self, sides):
        """By its registers the CPU finds none of the kernel's other pages."""
        shown, own = (kernel_pages(guest)["vaddr"] for guest in sides)
        hidden = own[~np.isin(own, shown)]
        some = np.random.default_rng(0).choice(hidden, min(2000, len(hidden)), replace=False).tolist()
        with sides.program.as_kernel():
            assert [hex(vaddr) for vaddr in some if sides.program.monitor.physical(vaddr) is not None] == []

    def test_a_process_has_both(self, sides):
        """As its kernel's list of processes has it."""
        program, kernel = (guest.tables().windows[0].root for guest in sides)
        with pw.source(sides.program.ram, base=sides.program.machine.architecture.base) as source:
            rows = source.processes()
        (row,) = rows[np.where(rows["user_root"], rows["user_root"], rows["root"]) == program]
        assert row["root"] == kernel


def kernel_pages(guest):
    """Entries of the kernel's half by which the CPU finds pages."""
    tables = guest.tables()
    window = tables.windows[-1]
    start = max(window.start, guest.machine.architecture.kernel)
    return pw.mappings(tables, start, window.end, coalesce=False, hardware=True)


def _frames(guest, *ends):
    """The frames of a part of the kernel's half, by whole entries."""
    start, end = (guest.truth.symbols[at] if isinstance(at, str) else at for at in ends)
    rows = kernel_pages(guest)
    inside = (rows["vaddr"] < end) & (rows["vaddr"] + rows["size"] > start)
    return set(rows["paddr"][inside].tolist())
