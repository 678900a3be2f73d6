"""RAM and image files: what is refused, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import pagewalk as pw
from pagewalk.memory import Segment

if TYPE_CHECKING:
    from pathlib import Path


class TestRam:
    @pytest.mark.parametrize(("size", "base"), [(0, 0), (-4096, 0), (100, 0), (4096, 1), (4096, -4096)])
    def test_sizes_are_whole_pages(self, size: int, base: int) -> None:
        with pytest.raises(ValueError, match="whole pages"):
            pw.Ram(size, base)

    def test_starts_zeroed(self) -> None:
        assert pw.Ram(8192).read(0, 8192) == bytes(8192)

    def test_messages_say_where_there_is_memory(self) -> None:
        ram = pw.Ram(4096, 0x1000)
        with pytest.raises(
            pw.MemoryReadError, match=r"read 8 bytes at physical 0x1ffc: .*\[0x1000, 0x2000\)"
        ) as caught:
            ram.read(0x1FFC, 8)
        assert (caught.value.paddr, caught.value.size) == (0x1FFC, 8)
        with pytest.raises(pw.MemoryWriteError, match="write 1 bytes at physical 0x0"):
            ram.write(0, b"x")

    @pytest.mark.parametrize(("start", "size"), [(0x2000, 0x2000), (0x2004, 0x1234), (0x2000, 0)])
    def test_what_is_cleared_is_zero(self, start: int, size: int) -> None:
        ram = pw.Ram(0x4000, 0x1000)
        ram.write(0x1000, b"x" * 0x4000)
        ram.clear(start, size)
        left = b"x" * (start - 0x1000), bytes(size), b"x" * (0x5000 - start - size)
        assert ram.read(0x1000, 0x4000) == b"".join(left)
        ram.write(start, b"y")
        assert ram.read(start, 1) == b"y"

    @pytest.mark.parametrize(("start", "size"), [(0, 0x2000), (0x4000, 0x2000), (0x2000, -0x1000)])
    def test_nothing_is_cleared_outside(self, start: int, size: int) -> None:
        ram = pw.Ram(0x4000, 0x1000)
        with pytest.raises(pw.MemoryWriteError, match="outside the memory"):
            ram.clear(start, size)


class TestRawImage:
    def test_no_such_file(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            pw.RawImage(tmp_path / "none")

    def test_a_directory(self, tmp_path: Path) -> None:
        with pytest.raises(IsADirectoryError):
            pw.RawImage(tmp_path)

    def test_an_empty_file(self, tmp_path: Path) -> None:
        path = tmp_path / "empty"
        path.touch()
        with pytest.raises(pw.ImageFormatError, match="empty"):
            pw.RawImage(path)

    @pytest.mark.parametrize("part", [(0, 0, 0x2000), (0, 0x800, 0x1000), (0, 0x1000, 1), (0, -1, 8), (0, 0, 0)])
    def test_a_truncated_segment(self, tmp_path: Path, part: tuple[int, int, int]) -> None:
        path = tmp_path / "image"
        path.write_bytes(bytes(0x1000))
        with pytest.raises(pw.ImageFormatError, match=r"truncated.*0x1000 bytes"):
            pw.RawImage(path, segments=[part])

    def test_overlapping_segments(self, tmp_path: Path) -> None:
        path = tmp_path / "image"
        path.write_bytes(bytes(0x1000))
        with pytest.raises(pw.ImageFormatError, match=r"overlap: \[0x0, 0x800\) and \[0x7ff, 0xfff\)"):
            pw.RawImage(path, segments=[(0x7FF, 0, 0x800), (0, 0, 0x800)])

    def test_read_only_unless_asked(self, tmp_path: Path) -> None:
        path = tmp_path / "image"
        path.write_bytes(bytes(0x1000))
        with pytest.raises(pw.MemoryWriteError, match="writable=True"):
            pw.RawImage(path).write(0, b"x")
        pw.RawImage(path, writable=True).write(4, b"x")
        assert path.read_bytes()[4:5] == b"x"

    def test_any_length_will_do(self, tmp_path: Path) -> None:
        path = tmp_path / "image"
        path.write_bytes(b"abc")
        assert pw.RawImage(path, base=7).read(8, 2) == b"bc"


def test_segments_may_be_given_in_any_order() -> None:
    parts = [Segment(0x3000, memoryview(b"cd")), Segment(0x1000, memoryview(b"ab")), Segment(0x2000, memoryview(b""))]
    memory = pw.FlatMemory(parts)
    assert [segment.start for segment in memory.segments] == [0x1000, 0x3000]
    assert memory.read(0x3000, 2) == b"cd"


def test_no_view_of_a_negative_size() -> None:
    assert pw.Ram(4096).view(8, -4) is None
