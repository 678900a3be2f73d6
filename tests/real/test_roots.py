"""Guests of many processes, dead ones and noise in their memory: every root is found, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import pagewalk as pw
from tests.conftest import skip_or_fail
from tests.real.boot import booted
from tests.real.crowd import roots_seen
from tests.real.machines import CROWDS
from tests.real.packages import NotToBeHad

if TYPE_CHECKING:
    from tests.real.boot import Guest

GUESTS = ("x86_64-7.3", "arm64-4k", "arm64-16k-lpa2", "riscv64-sv48", "i386-6.1-pae")
"""One a kind of root: each takes half a minute to a minute. The others of ``CROWDS`` are to be tried by hand."""
pytestmark = [pytest.mark.real, pytest.mark.slow]


@pytest.mark.parametrize("name", GUESTS)
def test_every_root_is_found(name, tmp_path):
    """As many processes as the guest has started, all those among them that its CPU is seen to run, and one kernel.

    The CPU is looked at for seconds, so it shows some of them; since the number is right too, no other is missing.
    """
    try:
        with booted(CROWDS[name], tmp_path) as guest:
            seen = roots_seen(guest)
            rows = pw.roots(guest.ram, base=guest.machine.architecture.base)
            _check(guest, rows, seen)
    except NotToBeHad as reason:
        skip_or_fail(f"{name} cannot be booted: {reason}")


def _check(guest: Guest, rows, seen) -> None:
    """The rows against what the guest says, and its CPU."""
    assert set(rows["format"].tolist()) == {guest.machine.format}
    assert not rows["kernel"].any()
    users, (kernel,) = rows[rows["kind"] == "process"], rows[rows["kind"] == "kernel"]
    assert len(users) == guest.truth.processes
    assert seen <= {int(root) for name in ("root", "user_root") for root in users[name]} - {0}
    assert len(seen) > 3
    assert (users["score"] > 0.5).all()
    if "pti=on" in guest.machine.options.split():  # arm64's kpti=on makes no pair
        assert (users["user_root"] == users["root"] + 4096).all()
    else:
        assert not users["user_root"].any()
    base = guest.machine.architecture.base
    tables = pw.open(guest.ram, root=int(kernel["root"]), base=base, format=str(kernel["format"]))
    for symbol in guest.truth.symbols.values():
        assert tables.translate(symbol).paddr == kernel["root"]
