"""The conformance kit: what keeps the promises passes, and what breaks one is told which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import pagewalk as pw
from pagewalk.memory import Segment
from pagewalk.testing import check_memory

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 0x21000


class Recording:
    """The smallest memory there is: bytes, and one method."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, paddr: int, size: int) -> bytes:
        if paddr < 0 or paddr + size > len(self.data):
            raise pw.MemoryReadError(paddr, size)
        return self.data[paddr : paddr + size]


def noise(size: int) -> bytes:
    return bytes(at * 7 + (at >> 8) & 0xFF for at in range(size))


class TestKeepers:
    @pytest.mark.parametrize("base", [0, 0x4000_0000, (1 << 52) - SIZE])
    def test_ram(self, base: int) -> None:
        ram = pw.Ram(SIZE, base)
        ram.write(base, noise(SIZE))
        check_memory(ram, base, SIZE, writable=True)
        assert ram.read(base, SIZE) == noise(SIZE)

    def test_a_part_of_a_run(self) -> None:
        check_memory(pw.Ram(SIZE), 0x1234, SIZE - 0x1234)
        check_memory(pw.Ram(4096), 4095, 1)

    def test_six_lines_of_somebody_else(self) -> None:
        check_memory(Recording(noise(SIZE)), 0, SIZE, writable=False)
        check_memory(Recording(noise(SIZE)), 0, SIZE)

    @pytest.mark.parametrize("writable", [False, True])
    def test_raw_image(self, tmp_path: Path, writable: bool) -> None:
        path = tmp_path / "ram"
        path.write_bytes(noise(SIZE))
        check_memory(pw.RawImage(path, base=0x8000_0000, writable=writable), 0x8000_0000, SIZE, writable=writable)
        check_memory(pw.RawImage(path, writable=writable), 0, SIZE)
        assert path.read_bytes() == noise(SIZE)

    @pytest.mark.parametrize("writable", [False, True])
    def test_segments_with_holes(self, tmp_path: Path, writable: bool) -> None:
        path = tmp_path / "ram"
        path.write_bytes(noise(0x4000))
        parts = [(0x9000, 0, 0x1000), (0x1_0000, 0x1000, 0x1800), (0x1_1800, 0x2800, 0x800)]
        image = pw.RawImage(path, segments=parts, writable=writable)
        check_memory(image, 0x9000, 0x1000, writable=writable)
        check_memory(image, 0x1_0000, 0x2000, writable=writable)  # two segments that touch
        assert image.view(0x1_1000, 0x1000) is None
        assert image.read(0x1_1000, 0x1000) == noise(0x4000)[0x2000:0x3000]

    def test_nothing_to_check(self) -> None:
        for start, size in ((0, 0), (-1, 8), (0, -1)):
            with pytest.raises(ValueError, match="not a run of memory"):
                check_memory(pw.Ram(4096), start, size)


class Broken(Recording):
    """Writable bytes; each subclass breaks one promise."""

    def __init__(self) -> None:
        self.bytes = bytearray(noise(SIZE))

    def read(self, paddr: int, size: int) -> bytes:
        if paddr < 0 or paddr + size > len(self.bytes):
            raise pw.MemoryReadError(paddr, size)
        return bytes(self.bytes[paddr : paddr + size])

    def write(self, paddr: int, data: bytes) -> None:
        if paddr < 0 or paddr + len(data) > len(self.bytes):
            raise pw.MemoryWriteError(paddr, len(data))
        self.bytes[paddr : paddr + len(data)] = data


class Pads(Broken):
    def read(self, paddr: int, size: int) -> bytes:
        return bytes(self.bytes[max(paddr, 0) : paddr + size]).ljust(size, b"\0")


class Shortens(Broken):
    def read(self, paddr: int, size: int) -> bytes:
        return super().read(paddr, size)[:4096]


class Changes(Broken):
    reads = 0

    def read(self, paddr: int, size: int) -> bytes:
        self.reads += 1
        data = super().read(paddr, size)
        return data if self.reads % 2 or not data else bytes(len(data))


class Shifts(Broken):
    def read(self, paddr: int, size: int) -> bytes:
        data = super().read(paddr, size)
        return data[::-1] if size == 511 else data


class GivesAnArray(Broken):
    def read(self, paddr: int, size: int) -> Any:
        return bytearray(super().read(paddr, size))


class RaisesIndexError(Broken):
    def read(self, paddr: int, size: int) -> bytes:
        if paddr < 0 or paddr + size > len(self.bytes):
            raise IndexError(paddr)
        return super().read(paddr, size)


class SaysTheWrongPlace(Broken):
    def read(self, paddr: int, size: int) -> bytes:
        if paddr < 0 or paddr + size > len(self.bytes):
            raise pw.MemoryReadError(len(self.bytes), 1)
        return super().read(paddr, size)


class FillsEmptyReads(Broken):
    def read(self, paddr: int, size: int) -> bytes:
        return super().read(paddr, size or 1)


class WritesHalf(Broken):
    def write(self, paddr: int, data: bytes) -> None:
        fits = max(0, len(self.bytes) - paddr)
        if paddr >= 0:
            self.bytes[paddr : paddr + min(fits, len(data))] = data[:fits]
        super().write(paddr, data)


class ForgetsWrites(Broken):
    def write(self, paddr: int, data: bytes) -> None:
        super().write(paddr, b"")
        super().write(paddr, super().read(paddr, len(data)))


class WritesTooMuch(Broken):
    def write(self, paddr: int, data: bytes) -> None:
        super().write(paddr, data)
        if paddr + len(data) < len(self.bytes):
            self.bytes[paddr + len(data)] ^= 1


class Grows(Broken):
    def write(self, paddr: int, data: bytes) -> None:
        if paddr >= 0:
            self.bytes[paddr : paddr + len(data)] = data


class RefusesButWrites(Broken):
    def write(self, paddr: int, data: bytes) -> None:
        super().write(paddr, data)
        if data != noise(SIZE)[paddr : paddr + len(data)]:
            raise pw.MemoryWriteError(paddr, len(data))


BREAKERS = [
    (Pads, None, "a read outside raises MemoryReadError"),
    (Shortens, None, "a read has the size asked for"),
    (Changes, None, "a repeated read gives the same bytes"),
    (Shifts, None, "a part reads as in the whole"),
    (GivesAnArray, None, "read returns bytes, not bytearray"),
    (RaisesIndexError, None, "a read outside raises MemoryReadError: IndexError"),
    (SaysTheWrongPlace, None, "MemoryReadError carries the paddr and size that were asked for"),
    (FillsEmptyReads, None, "a read of 0 bytes is empty"),
    (WritesHalf, None, "a write outside changes nothing"),
    (ForgetsWrites, None, "what is written is read back"),
    (WritesTooMuch, None, "what is written is read back, and no more"),
    (Grows, None, "a write outside raises MemoryWriteError"),
    (RefusesButWrites, False, "a write to a read-only memory changes nothing"),
    (Broken, False, "a write to a read-only memory raises MemoryWriteError"),
]


@pytest.mark.parametrize(("kind", "writable", "promise"), BREAKERS, ids=lambda one: getattr(one, "__name__", ""))
def test_a_broken_promise_is_named(kind: type[Broken], writable: bool | None, promise: str) -> None:
    with pytest.raises(AssertionError, match=f"broken promise: {promise}"):
        check_memory(kind(), 0, SIZE, writable=writable)


def test_a_memory_without_write_cannot_be_writable() -> None:
    with pytest.raises(AssertionError, match="a writable memory has a write method"):
        check_memory(Recording(noise(SIZE)), 0, SIZE, writable=True)


class Flat(Broken):
    """Shows its bytes too; each subclass shows the wrong ones."""

    @property
    def segments(self) -> list[Segment]:
        return [Segment(0, memoryview(self.bytes))]

    def view(self, paddr: int, size: int) -> memoryview | None:
        return memoryview(self.bytes)[paddr : paddr + size] if 0 <= paddr <= SIZE - size else None


class ViewsElsewhere(Flat):
    def view(self, paddr: int, size: int) -> memoryview | None:
        return super().view(0, size) if super().view(paddr, size) else None


class ViewsACopy(Flat):
    def view(self, paddr: int, size: int) -> memoryview | None:
        return memoryview(noise(SIZE))[paddr : paddr + size] if super().view(paddr, size) else None


class ViewsTooFar(Flat):
    def view(self, paddr: int, size: int) -> memoryview | None:
        return memoryview(self.bytes)[paddr : paddr + size]


class ViewsNothing(Flat):
    def view(self, paddr: int, size: int) -> memoryview | None:
        return None


class LacksASegment(Flat):
    @property
    def segments(self) -> list[Segment]:
        return [Segment(0, memoryview(self.bytes)[:4096])]


class Unordered(Flat):
    @property
    def segments(self) -> list[Segment]:
        return [Segment(4096, memoryview(self.bytes)[4096:]), Segment(0, memoryview(self.bytes)[:4096])]


class ShowsMore(Flat):
    @property
    def segments(self) -> list[Segment]:
        return [Segment(0, memoryview(self.bytes)), Segment(SIZE, memoryview(b"more"))]


class ShowsWords(Flat):
    @property
    def segments(self) -> list[Segment]:
        return [Segment(0, memoryview(self.bytes).cast("Q"))]


FLAT_BREAKERS = [
    (ViewsElsewhere, "a view shows what read gives"),
    (ViewsACopy, "a view shows what was written"),
    (ViewsTooFar, "a view outside is None"),
    (ViewsNothing, "a whole segment can be viewed"),
    (LacksASegment, "segments cover what can be read"),
    (Unordered, "segments ascend and do not overlap"),
    (ShowsMore, "segments hold only what can be read"),
    (ShowsWords, "a segment is a plain run of bytes"),
]


@pytest.mark.parametrize(("kind", "promise"), FLAT_BREAKERS, ids=lambda one: getattr(one, "__name__", ""))
def test_a_flat_memory_that_breaks_a_promise_is_told_which(kind: type[Flat], promise: str) -> None:
    check_memory(Flat(), 0, SIZE, writable=True)
    with pytest.raises(AssertionError, match=f"broken promise: {promise}"):
        check_memory(kind(), 0, SIZE)
