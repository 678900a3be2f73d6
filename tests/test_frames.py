"""Frame allocators."""

from __future__ import annotations

import errno

import pytest

import pagewalk as pw


class TestRangeAllocator:
    def test_lowest_first_a_freed_one_next(self) -> None:
        frames = pw.RangeAllocator((0x1000, 0x3000), (0x8000, 0x9000))
        assert [frames.allocate() for _ in range(3)] == [0x1000, 0x2000, 0x8000]
        frames.free(0x2000)
        assert frames.in_use == {0x1000, 0x8000}
        assert frames.allocate() == 0x2000

    def test_none_left_is_enomem(self) -> None:
        frames = pw.RangeAllocator((0, 0x1000))
        frames.allocate()
        with pytest.raises(pw.OutOfFrames, match="all 1 frames are in use") as caught:
            frames.allocate()
        assert caught.value.errno == errno.ENOMEM
        assert caught.value.exit_code == 6
        frames.free(0)
        assert frames.allocate() == 0

    def test_many_are_those_that_one_at_a_time_would_be(self) -> None:
        single, many = (pw.RangeAllocator((0x1000, 0x5000), (0x8000, 0xA000)) for _ in range(2))
        for frames in (single, many):
            for _ in range(3):
                frames.allocate()
            frames.free(0x2000)
            frames.free(0x1000)
        assert many.allocate_many(4) == [single.allocate() for _ in range(4)] == [0x1000, 0x2000, 0x4000, 0x8000]
        assert many.in_use == single.in_use

    def test_all_of_many_or_none(self) -> None:
        frames = pw.RangeAllocator((0, 0x3000))
        frames.allocate()
        with pytest.raises(pw.OutOfFrames, match="3 frames wanted, 2 of 3 free"):
            frames.allocate_many(3)
        assert frames.in_use == {0}
        assert frames.allocate_many(2) == [0x1000, 0x2000]

    @pytest.mark.parametrize("paddr", [0x1000, 0x800, 0x2000])
    def test_only_what_was_given_out_comes_back(self, paddr: int) -> None:
        frames = pw.RangeAllocator((0, 0x2000))
        frames.allocate()
        with pytest.raises(ValueError, match=f"frame {paddr:#x} is not in use"):
            frames.free(paddr)

    def test_not_twice(self) -> None:
        frames = pw.RangeAllocator((0, 0x2000))
        frames.free(frames.allocate())
        with pytest.raises(ValueError, match="freed twice"):
            frames.free(0)

    @pytest.mark.parametrize("bad", [(0, 0), (0x2000, 0x1000), (0x10, 0x1000), (0, 0x1800), (-0x1000, 0x1000)])
    def test_ranges_are_whole_frames(self, bad: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="not a range of whole frames"):
            pw.RangeAllocator((0x10000, 0x11000), bad)

    def test_other_frame_sizes(self) -> None:
        frames = pw.RangeAllocator((0x4000, 0xC000), frame_size=0x4000)
        assert [frames.allocate(), frames.allocate()] == [0x4000, 0x8000]


class TestCountingAllocator:
    def test_fails_when_told_and_goes_on(self) -> None:
        frames = pw.CountingAllocator(pw.RangeAllocator((0, 0x3000)), fail_at=(2,))
        assert frames.allocate() == 0
        with pytest.raises(pw.OutOfFrames, match="allocation 2"):
            frames.allocate()
        assert frames.allocate() == 0x1000
        assert (frames.calls, frames.allocated) == (3, [0, 0x1000])

    def test_outstanding(self) -> None:
        frames = pw.CountingAllocator(pw.RangeAllocator((0, 0x3000)))
        first, second = frames.allocate(), frames.allocate()
        frames.free(first)
        assert frames.outstanding == {second}
        assert frames.allocate() == first
        assert frames.outstanding == {first, second}
        with pytest.raises(ValueError, match="not in use"):
            frames.free(0x2000)
        assert frames.freed == [first]
