"""Files inside a compressed one: unpacked to a temporary file that has no name, and goes with whoever holds it.

How it works: one block after the other, so that memory stays small whatever the file promises. A block of zeros is not
written but skipped, which leaves a hole: an image of much memory and little content takes little of the disk. What is
stored is held against the disk's free space, what it would be in all against ``MOST``. zstd and lz4 have no decoder in
the standard library; cramjam's runs in a child, whose output can be stopped.
"""

from __future__ import annotations

import errno
import gzip
import importlib.util
import lzma
import os
import subprocess
import sys
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from pagewalk.errors import ImageFormatError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["MOST", "PACKINGS", "unpacked"]

PACKINGS: Final = ("gz", "xz", "zst", "lz4")
MOST: Final = 1 << 40
"""Bytes that a file may be when it is unpacked."""
_BLOCK: Final = 1 << 18
_HOLE: Final = 1 << 12
_ZEROS: Final = bytes(_BLOCK)
_SPARE: Final = 64 << 20
"""Bytes of the disk that are left to others."""
_WINDOW: Final = 192 << 20
"""Bytes of memory that xz may take; ``xz -9`` needs 65 MiB."""
_CHILD: Final = """
import cramjam, mmap, os, resource, sys
packing, path = sys.argv[1:]
file = os.open(path, os.O_RDONLY)
source = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
most = len(source) + (1 << 30)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
target = cramjam.File("/dev/fd/1", read=False, write=True, truncate=False, append=True)
getattr(cramjam, packing).decompress_into(source, target)
"""
"""A program that unpacks a file to its standard output, in an address space of its own and of a limited size."""


@contextmanager
def unpacked(
    path: Path, packing: str, *, most: int = MOST, progress: Callable[[int, int], None] | None = None
) -> Iterator[Path]:
    """What is inside a compressed file, as a path that can be opened while this is entered.

    Args:
        path: The compressed file.
        packing: What it is compressed by, of ``PACKINGS``.
        most: Bytes that it may be when it is unpacked.
        progress: Told how many bytes have been unpacked, and how many are on the disk, block by block.

    Raises:
        OSError: The file cannot be read; there is no room for a temporary file (``TMPDIR`` says where it is made).
        ImageFormatError: It is damaged or cut off, or is more than ``most`` bytes when it is unpacked.
        UnsupportedError: cramjam is needed and not installed.
    """
    with tempfile.TemporaryFile(prefix="pagewalk-") as file:
        with _READERS[packing](path, packing) as read:
            _copy(path, read, file, most, progress)
        yield Path(f"/dev/fd/{file.fileno()}")


def _copy(
    path: Path,
    read: Callable[[int], bytes],
    file: Any,
    most: int,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Copy everything to a file, leaving holes where there are zeros only."""
    done = stored = 0
    fd = file.fileno()
    while block := read(_BLOCK):
        if done + len(block) > most:
            raise ImageFormatError(f"{path}: more than {most:#x} bytes when it is unpacked: is it what it should be?")
        for start, end in _runs(block):
            if stored % (_BLOCK * 64) < end - start:
                _check_room(fd, path)
            _write(fd, memoryview(block)[start:end], done + start, path)
            stored += end - start
        done += len(block)
        if progress is not None:
            progress(done, stored)
    os.ftruncate(fd, done)


def _runs(block: bytes) -> Iterator[tuple[int, int]]:
    """What of a block is to be stored: all but pages of zeros."""
    if block == _ZEROS[: len(block)]:
        return
    start = -1
    for at in range(0, len(block), _HOLE):
        page = block[at : at + _HOLE]
        if page != _ZEROS[: len(page)]:
            start = at if start < 0 else start
        elif start >= 0:
            yield start, at
            start = -1
    if start >= 0:
        yield start, len(block)


def _check_room(fd: int, path: Path) -> None:
    """Refuse to fill the disk up."""
    disk = os.fstatvfs(fd)
    if disk.f_bavail * disk.f_frsize < _SPARE:
        raise _no_room(path)


def _write(fd: int, data: memoryview, at: int, path: Path) -> None:
    """Write all of it."""
    try:
        while data:
            written = os.pwrite(fd, data, at)
            data, at = data[written:], at + written
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise _no_room(path) from None
        raise


def _no_room(path: Path) -> OSError:
    where = tempfile.gettempdir()
    why = f"no room in {where} to unpack it: unpack it yourself, or set TMPDIR to a folder on a larger disk"
    return OSError(errno.ENOSPC, why, str(path))


# -- one reader a packing ----------------------------------------------------------------------------------------------


@contextmanager
def _gzip(path: Path, _: str) -> Iterator[Callable[[int], bytes]]:
    """What is inside a gzip file, all of its members."""
    with gzip.open(path) as file:
        yield _named(path, file.read)


@contextmanager
def _xz(path: Path, _: str) -> Iterator[Callable[[int], bytes]]:
    """What is inside an xz file, all of its streams."""
    with path.open("rb") as file:
        blocks = _xz_blocks(file)
        yield _named(path, lambda _: next(blocks, b""))


def _xz_blocks(file: BinaryIO) -> Iterator[bytes]:
    """The same, a block at a time."""
    decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_WINDOW)
    data = b""
    while True:
        data = data or (file.read(_BLOCK) if decoder.needs_input or decoder.eof else b"")
        if decoder.eof:
            data = (decoder.unused_data + data).lstrip(b"\0")  # padding between streams
            if not data and not (data := file.read(_BLOCK).lstrip(b"\0")):
                return
            decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_WINDOW)
        elif not data and decoder.needs_input:
            raise EOFError("it ends in the middle")
        block = decoder.decompress(data, _BLOCK)
        data = b""
        if block:
            yield block


def _named(path: Path, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """A reader whose errors say which file it is."""

    def named(size: int) -> bytes:
        try:
            return read(size)
        except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
            raise ImageFormatError(f"{path}: it cannot be unpacked, being damaged or cut off: {error}") from None

    return named


@contextmanager
def _by_child(path: Path, packing: str) -> Iterator[Callable[[int], bytes]]:
    """What is inside a zstd or lz4 file."""
    if importlib.util.find_spec("cramjam") is None:
        raise UnsupportedError(f"{path}: to unpack {packing}, install pagewalk[snappy], or unpack it yourself")
    module = {"zst": "zstd"}.get(packing, packing)
    words = [sys.executable, "-I", "-c", _CHILD, module, str(path.absolute())]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:  # noqa: S603 - our own words
        try:
            assert child.stdout is not None
            assert child.stderr is not None
            stdout, stderr = child.stdout, child.stderr

            def read(size: int) -> bytes:
                block = stdout.read(size)
                if len(block) < size and child.wait():
                    said = stderr.read().decode("utf-8", "replace").strip().rsplit("\n", 1)[-1]
                    raise ImageFormatError(f"{path}: it cannot be unpacked, being damaged or cut off: {said}")
                return block

            yield read
        finally:
            child.kill()


_READERS: Final = {"gz": _gzip, "xz": _xz, "zst": _by_child, "lz4": _by_child}
