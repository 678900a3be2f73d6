"""Frames that the memory does not have: marked where it claims to hold frames, and there only."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk import sweep
from pagewalk.formats import NO_PADDR, Flag, Kind
from pagewalk.memory import FlatMemory, Segment
from pagewalk.sweep import reader
from pagewalk.tables import PageTables
from tests.property.entries import GUARD
from tests.query.test_against_reference import runs_of
from tests.reference import ADDRESS

TABLE = 0x67
SIZE = 1 << 20


class Holding(FlatMemory):
    """A memory that claims to hold frames."""

    holds_frames = True


@st.composite
def images(draw):
    """Tables in the first 16 KiB, and pages around the places where the memory begins and ends."""
    ram = np.zeros(SIZE // 8, np.uint64)
    ram[0], ram[512], ram[1024] = 0x1000 | TABLE, 0x2000 | TABLE, 0x3000 | TABLE
    cuts = sorted(draw(st.sets(st.integers(4, SIZE >> 12).map(lambda page: page << 12), max_size=4)))
    parts = (
        [(0, cuts[0])] + [(low, high) for low, high in zip(cuts[1::2], cuts[2::2], strict=False)]
        if cuts
        else [(0, SIZE)]
    )
    frames = st.sampled_from([0, *cuts]).flatmap(
        lambda at: st.integers(-3, 3).map(lambda off: max(at + (off << 12), 0))
    )
    slot = 0
    for _ in range(draw(st.integers(1, 6))):
        slot += draw(st.integers(0, 2))
        frame, step = draw(frames), draw(st.sampled_from([0, 4096]))
        for at in range(draw(st.integers(1, 8))):
            ram[1536 + slot] = frame + at * step | 0x8000_0000_0000_0067
            slot += 1
        if draw(st.booleans()):
            ram[1536 + slot] = draw(st.sampled_from([GUARD, (frame ^ ADDRESS) & ADDRESS | 0x100]))
            slot += 1
    for at, frame in enumerate(draw(st.lists(st.sampled_from([0, 1 << 21, 1 << 22]), max_size=4))):
        ram[1025 + at] = frame | 0xE7
    data = memoryview(ram.tobytes())
    return [Segment(low, data[low:high]) for low, high in parts]


def is_outside(paddr, size, segments):
    return paddr != NO_PADDR and not any(paddr < one.end and one.start < paddr + size for one in segments)


class TestMarked:
    """ "OUTSIDE marks a frame that a memory which claims to hold frames does not have."""

    @given(images())
    def test_pages(self, engine, segments):
        tables = PageTables(Holding(segments), 0)
        rows = sweep.mappings(tables, coalesce=False)
        expected = [
            is_outside(paddr, size, segments)
            for paddr, size in zip(rows.paddr.tolist(), rows.page_size.tolist(), strict=True)
        ]
        assert (rows.flags & int(Flag.OUTSIDE) != 0).tolist() == expected
        plain = sweep.mappings(PageTables(FlatMemory(segments), 0), coalesce=False)
        assert plain.flags.tolist() == (rows.flags & ~np.uint32(Flag.OUTSIDE)).tolist()

    @given(images(), st.sampled_from([2, 1 << 17]), st.sampled_from([0, 5 << 12, (1 << 21) + (3 << 12)]))
    def test_runs_are_the_pages_joined(self, engine, segments, chunk, start):
        tables = PageTables(Holding(segments), 0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reader, "CHUNK", chunk)
            runs = pw.mappings(tables, start, 1 << 47)
        assert runs.tolist() == runs_of(pw.mappings(tables, start, 1 << 47, coalesce=False))

    def test_a_file_claims_to_hold_frames(self, tmp_path):
        words = np.zeros((4, 512), np.uint64)
        words[0, 0], words[1, 0], words[2, 0] = 0x1000 | TABLE, 0x2000 | TABLE, 0x3000 | TABLE
        words[3, :2] = 0x3000 | TABLE, 0x4000 | TABLE
        (tmp_path / "image").write_bytes(words.tobytes())
        rows = pw.mappings(pw.open(tmp_path / "image", root=0))
        assert (rows["flags"] & int(Flag.OUTSIDE) != 0).tolist() == [False, True]
        assert rows["kind"].tolist() == [Kind.PRESENT] * 2

    def test_a_capture_does_not(self):
        rows = pw.mappings(pw.capture())
        assert not (rows["flags"] & int(Flag.OUTSIDE)).any()
