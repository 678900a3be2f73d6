"""Guests of many processes, dead ones and noise in their memory: every root is found, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import pagewalk as pw
from tests.conftest import skip_or_fail
from tests.real.architectures import I386
from tests.real.boot import booted
from tests.real.crowd import roots_seen
from tests.real.machines import CROWDS
from tests.real.packages import NotToBeHad

if TYPE_CHECKING:
    from pagewalk.sources import Source
    from tests.real.boot import Guest

GUESTS = (
    "x86_64-7.3",
    "x86_64-7.3-la57",
    "arm64-4k",
    "arm64-16k-lpa2",
    "riscv64-sv39",
    "riscv64-sv48",
    "riscv64-sv57",
    "i386-6.1-pae",
)
"""Each kind of root, and of 64 bits each depth. The others of ``CROWDS`` are to be tried by hand."""
PATIENCE = 60.0
"""Seconds until a CPU must have been seen with the root of every process."""
pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.mark.parametrize("name", GUESTS)
def test_every_root_is_found(name, tmp_path):
    """As many processes as the guest has started, each with the root that the guest itself has for it, and one kernel.

    The guest says it in its own lists, or, where its kernel does not say its types (Debian's i386 has no BTF), by what
    its CPU uses when it runs each process in turn. What the CPU is seen to use in a few seconds is among them anyway.
    """
    try:
        with booted(CROWDS[name], tmp_path) as guest, _memory(guest) as source:
            rows = source.roots()
            _check(guest, source, rows)
            if guest.machine.architecture is I386:
                assert roots_seen(guest, PATIENCE) == _addresses(rows)
            else:
                assert _pairs(rows) == _pairs(source.processes())
                seen = roots_seen(guest)
                assert len(seen) > 3
                assert seen <= _addresses(rows)
    except NotToBeHad as reason:
        skip_or_fail(f"{name} cannot be booted: {reason}")


def _memory(guest: Guest) -> Source:
    """A guest's RAM, whatever its first page has: a program's file is an ELF file too."""
    return pw.source(guest.ram, base=guest.machine.architecture.base, source_type="raw")


def _check(guest: Guest, source: Source, rows) -> None:
    """The rows against what the guest says of itself."""
    assert set(rows["format"].tolist()) == {guest.machine.format}
    assert not rows["kernel"].any()
    users, (kernel,) = rows[rows["kind"] == "process"], rows[rows["kind"] == "kernel"]
    assert len(users) == guest.truth.processes
    assert (users["score"] > 0.5).all()
    if "pti=on" in guest.machine.options.split():  # arm64's kpti=on makes no pair
        assert (users["user_root"] == users["root"] + 4096).all()
    else:
        assert not users["user_root"].any()
    tables = pw.open(source, root=int(kernel["root"]), format=str(kernel["format"]))
    for symbol in guest.truth.symbols.values():
        assert tables.translate(symbol).paddr == kernel["root"]


def _pairs(rows) -> set[tuple[int, int]]:
    """The roots of processes and the user's of each, of rows of either kind; kernel threads have none."""
    mine = rows[rows["kind"] == "process"] if "kind" in rows.dtype.names else rows[rows["root"] != 0]
    return {(int(row["root"]), int(row["user_root"])) for row in mine}


def _addresses(rows) -> set[int]:
    """The roots that a CPU may have while it runs a process."""
    return {address for pair in _pairs(rows) for address in pair} - {0}
