"""A swap file that is switched on for a campaign, and off after it, however that ends.

How it works: a keeper (``keeper``) makes the file, switches swap on, and sets ``vm.page-cluster`` to 0, so that no
neighbours are read with a page. What a process of the campaign has in swap comes back when it puts that back.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pagewalk.abi.mman import MADV_COLLAPSE
from pagewalk.abi.swap import HEADER_SIZE, header
from pagewalk.conform.sides.keeper import keep, kept
from pagewalk.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SWAP_SIZE", "Quiet", "is_own", "off_and_on", "own_swap_is_on", "swap_file"]

SWAP_SIZE = 64 << 20
"""Bytes of the file."""
_NAME = "pagewalk-swap-"
_SWAPS = Path("/proc/swaps")
_CLUSTER = Path("/proc/sys/vm/page-cluster")
_ZSWAP = Path("/sys/module/zswap/parameters/enabled")
_REFRESH, _VMSTAT = Path("/proc/sys/vm/stat_refresh"), Path("/proc/vmstat")
_WRITTEN = 0.02
"""Seconds in which a page should be written."""
_BLOCK = 2 << 20


def own_swap_is_on() -> bool:
    """Whether a campaign has switched swap on."""
    return bool(_own())


def _lines() -> list[str]:
    try:
        return _SWAPS.read_text().splitlines()[1:]
    except OSError:
        return []


def _own() -> list[bytes]:
    """The files that campaigns have switched on."""
    return [os.fsencode(line.split()[0]) for line in _lines() if is_own(line)]


def is_own(line: str) -> bool:
    """Whether a line of ``/proc/swaps`` is that of a campaign's file."""
    return f"/{_NAME}" in line


def off_and_on() -> None:
    """Bring all that is in the campaign's file back in, and go on with it empty.

    Raises:
        OSError: Not permitted, or memory is short; EINVAL: no campaign has one.
    """
    paths = _own()
    if not paths:
        raise OSError(errno.EINVAL, "no campaign has switched swap on")
    for path in paths:
        _call("swapoff", path)
        _call("swapon", path, 0)


class Quiet:
    """Waits until what was swapped out is written, and no list of a CPU holds it.

    What a CPU has on a list of pages to see to has one more reference: it is neither written nor taken over. Pages come
    onto one when they have been written. MADV_COLLAPSE empties all CPUs' lists before it does anything.
    """

    def __init__(self) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._memory = mmap.mmap(-1, 3 * _BLOCK, flags)
        self._memory[0] = 1  # what was never touched is refused at once
        self._block = ctypes.addressof(ctypes.c_char.from_buffer(self._memory)) // _BLOCK * _BLOCK + _BLOCK
        self._madvise = ctypes.CDLL(None).madvise
        self._madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
        self._written = _counter("pswpout")

    def wait(self) -> None:
        """Wait, if anything was written, though not for long: others write too."""
        written, over = _counter("pswpout"), time.monotonic() + _WRITTEN
        if written == self._written:
            return
        self._written = written
        while time.monotonic() < over and _is_writing():
            pass
        self._madvise(self._block, _BLOCK, MADV_COLLAPSE)


def _is_writing() -> bool:
    """Whether anything is being written back; the CPUs' counts are summed up first."""
    _REFRESH.read_bytes()
    return _counter("nr_writeback") > 0


def _counter(name: str) -> int:
    """A line of vmstat."""
    text = _VMSTAT.read_text()
    return int(text[text.index(f"\n{name} ") + len(name) + 2 :].partition("\n")[0])


def _call(name: str, *args: bytes | int) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*args):
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


@contextmanager
def swap_file() -> Iterator[None]:
    """Let the machine swap to a file of ``SWAP_SIZE`` bytes in the folder for temporary files.

    Raises:
        UnsupportedError: It cannot; the message says why.
    """
    if _lines():
        raise UnsupportedError("swap is on, and a campaign needs a file of its own: swapoff -a")
    if _ZSWAP.exists() and _ZSWAP.read_text().strip() == "Y":
        raise UnsupportedError(f"{_ZSWAP} is Y: pages would be compressed in place of being written: write N there")
    with kept("pagewalk.conform.sides.swap") as why:
        if why:
            raise UnsupportedError(f"swap cannot be switched on: {why}; it takes root, and a TMPDIR on a disk")
        yield


def _switch_on(after: contextlib.ExitStack) -> None:
    """Switch swap on; ``after`` is told how to undo it."""
    file, path = tempfile.mkstemp(prefix=_NAME)
    after.callback(os.unlink, path)
    with os.fdopen(file, "wb") as stream:
        stream.write(header(SWAP_SIZE))
        for _ in range(SWAP_SIZE // HEADER_SIZE - 1):
            stream.write(bytes(HEADER_SIZE))  # a hole cannot be swapped to
        stream.flush()
        os.fsync(stream.fileno())
    before = _CLUSTER.read_text()
    after.callback(_CLUSTER.write_text, before)
    _CLUSTER.write_text("0")
    _call("swapon", os.fsencode(path), 0)
    after.callback(_call, "swapoff", os.fsencode(path))


if __name__ == "__main__":
    keep(_switch_on)
