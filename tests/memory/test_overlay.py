"""A memory over another: it keeps what is written, tells what has changed, and takes an attempt back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.memory import Segment
from pagewalk.memory.overlay import Overlay
from pagewalk.testing import check_memory

SIZE = 40 << 10


class Asked:
    """A memory that is asked, and not shown: the least that one must be able to do."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, paddr: int, size: int) -> bytes:
        if not 0 <= paddr <= paddr + size <= len(self.data):
            raise pw.MemoryReadError(paddr, size)
        return self.data[paddr : paddr + size]


def contents() -> bytes:
    return np.random.default_rng(5).integers(0, 256, SIZE, np.uint8).tobytes()


@pytest.mark.parametrize("block", [4096, 8192])
@pytest.mark.parametrize("flat", [True, False])
def test_it_keeps_what_a_memory_promises(flat: bool, block: int) -> None:
    below = pw.FlatMemory([Segment(0, memoryview(contents()))]) if flat else Asked(contents())
    check_memory(Overlay(below, block), 0, SIZE, writable=True)


writes = st.lists(st.tuples(st.integers(0, SIZE - 1), st.binary(min_size=1, max_size=9000)), max_size=8)


@given(writes=writes, flat=st.booleans())
def test_what_is_written_stays_above(writes: list[tuple[int, bytes]], flat: bool) -> None:
    was = contents()
    below = pw.FlatMemory([Segment(0, memoryview(was))]) if flat else Asked(was)
    overlay, now = Overlay(below), bytearray(was)
    for paddr, data in writes:
        data = data[: SIZE - paddr]
        overlay.write(paddr, data)
        now[paddr : paddr + len(data)] = data
        assert overlay.read(0, SIZE) == now
    assert below.read(0, SIZE) == was == overlay.as_it_was().read(0, SIZE)
    found = bytearray(was)
    changed = overlay.changed()
    assert (np.diff(changed.paddrs.astype(np.int64)) > 0).all()
    for paddr, before, after in zip(changed.paddrs.tolist(), changed.was, changed.now, strict=True):
        assert before.tobytes() == was[paddr : paddr + 4096] != after.tobytes()
        found[paddr : paddr + 4096] = after.tobytes()
    assert found == now


@given(kept=writes, lost=writes)
def test_an_attempt_that_fails_is_taken_back(kept: list[tuple[int, bytes]], lost: list[tuple[int, bytes]]) -> None:
    overlay = Overlay(Asked(contents()))
    for paddr, data in kept:
        overlay.write(paddr, data[: SIZE - paddr])
    before, told = overlay.read(0, SIZE), overlay.changed()

    def attempt() -> None:
        with overlay.attempt():
            for paddr, data in lost:
                overlay.write(paddr, data[: SIZE - paddr])
            raise KeyError

    with pytest.raises(KeyError):
        attempt()
    assert overlay.read(0, SIZE) == before
    again = overlay.changed()
    assert (again.paddrs == told.paddrs).all()
    assert (again.was == told.was).all()
    assert (again.now == told.now).all()
    with overlay.attempt():
        overlay.write(0, b"stays")
    assert overlay.read(0, 5) == b"stays"


def test_what_it_was_is_what_it_was_when_it_was_first_needed() -> None:
    data = bytearray(contents())
    overlay = Overlay(pw.FlatMemory([Segment(0, memoryview(data))]))
    overlay.write(0, b"x")
    first = bytes(data)
    data[:8192] = bytes(8192)
    assert overlay.as_it_was().read(0, 4096) == first[:4096], "kept"
    assert overlay.as_it_was().read(4096, 4096) == bytes(4096), "not needed yet"
    assert overlay.as_it_was().read_many([0, 4096], 2) == [first[:2], bytes(2)]


def test_what_is_outside() -> None:
    overlay = Overlay(Asked(contents()))
    with pytest.raises(pw.MemoryWriteError, match="outside the memory below"):
        overlay.write(SIZE - 1, b"ab")
    assert not len(overlay.changed().paddrs)
    with pytest.raises(pw.MemoryReadError):
        overlay.hold(np.array([1 << 40], np.uint64))


def test_far_memory_is_asked_once_for_many_blocks() -> None:
    class Counting(Asked):
        journeys = 0

        def read_many(self, paddrs, size):
            self.journeys += 1
            return [self.read(paddr, size) for paddr in paddrs]

    below = Counting(contents())
    Overlay(below).hold(np.arange(0, SIZE, 4096, dtype=np.uint64)[::-1])
    assert below.journeys == 1


def test_there_is_an_end_to_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pagewalk.memory.overlay._ROOM", 1 << 14)
    overlay = Overlay(Asked(contents()))
    with pytest.raises(pw.UnsupportedError, match="commit it in parts"):
        overlay.write(0, bytes(SIZE))
    overlay.write(0, bytes(1 << 14))
