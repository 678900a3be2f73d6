"""What speaks against the system as whose entries rows were read: nothing does where it is their own."""

from __future__ import annotations

import numpy as np
import pytest

from pagewalk.formats import Kind
from pagewalk.report.doubts import Doubts
from pagewalk.report.rows import ROW, rows_of
from pagewalk.sweep.columns import Said
from pagewalk.sweep.listing import iterate
from tests.kept import KEPT, kept

PAGE = 4096


def swapped(*slots: int, device: int = 0) -> np.ndarray:
    state = Said(0, int(Kind.SWAP), device, 4).state
    return np.array([(at * PAGE, slot * PAGE, PAGE, PAGE, 0, state) for at, slot in enumerate(slots)], ROW)


class TestSwap:
    """A device has fewer slots than 2**32, and there are 32 devices at most."""

    def test_slots(self):
        doubts = Doubts()
        doubts.add(swapped(0, (1 << 32) - 1, device=31))
        assert str(doubts) == ""
        doubts.add(swapped(1 << 32))
        assert str(doubts).startswith("1 row names a swap slot that no device has: another kernel version (--os), or")

    def test_devices(self):
        doubts = Doubts()
        doubts.add(swapped(1, 2, device=32))
        assert doubts.slots == 2


@pytest.mark.parametrize("name", KEPT)
def test_nothing_against_ones_own(name):
    """Guests with a guard, a mark, a swapped page and a broken one of each kind that their kernels know."""
    guest = kept(name)
    tables = guest.tables()
    doubts, window = Doubts(tables), tables.windows[0]
    for columns in iterate(tables, window.start, min(window.end, guest.machine.architecture.kernel), findings=[]):
        doubts.add(rows_of(columns))
    assert str(doubts) == ""
