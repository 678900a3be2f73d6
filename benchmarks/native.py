"""Our own C, compiled on the spot: the limit that everything else is measured against."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.frame import Missing

if TYPE_CHECKING:
    import numpy.typing as npt

    from benchmarks.images import Image

    Words = npt.NDArray[np.uint64]

__all__ = ["Limit", "Rows", "compiled", "digest"]

COLUMNS = {"vaddr": "u8", "paddr": "u8", "flags": "u4", "kind": "u1", "depth": "u1", "size": "u8"}
KINDS, DEPTHS = 9, 5
_PIECE = 1 << 20
_MIX = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5)


def compiled(source: str, folder: Path, *arguments: str) -> Path:
    """A shared library made of a C file beside this one.

    Raises:
        Missing: There is no C compiler.
    """
    library = folder / f"{source}.so"
    if not library.exists():
        compiler = shutil.which("gcc") or shutil.which("cc")
        if compiler is None:
            raise Missing("no C compiler; apt-get install gcc libc6-dev")
        path = Path(__file__).with_name(f"{source}.c")
        command = [compiler, "-O3", "-march=native", "-Wall", "-Wextra", "-shared", "-fPIC", "-o", str(library)]
        result = subprocess.run([*command, str(path), *arguments], capture_output=True, text=True)
        if result.returncode:
            raise Missing(f"{source}.c does not compile:\n{result.stderr}")
    return library


class Rows(dict[str, Any]):
    """Columns of the same length, by name."""

    @classmethod
    def empty(cls, rows: int, *, sizes: bool = False) -> Rows:
        """Columns to be filled, cut from one piece of memory, a little apart so that they do not meet in the cache."""
        names = [name for name in COLUMNS if sizes or name != "size"]
        width = [rows * np.dtype(COLUMNS[name]).itemsize + 1088 & -64 for name in names]
        block = np.empty(sum(width), np.uint8)
        parts = np.split(block, np.cumsum(width)[:-1])
        return cls({name: part.view(COLUMNS[name])[:rows] for name, part in zip(names, parts, strict=True)})


class _Memory(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_void_p), ("size", ctypes.c_uint64))


class _Rows(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_void_p) for name in COLUMNS),
        ("count", ctypes.c_uint64),
        ("room", ctypes.c_uint64),
        ("malformed", ctypes.c_uint64),
        ("place", ctypes.c_uint64),
        ("attributes", ctypes.c_uint64),
    )


class Limit:
    """The C walker over a memory.

    Args:
        folder: Where the compiled walker is kept.
        data: The memory, from physical address 0.
        root: The top table.

    Raises:
        Missing: There is no C compiler.
    """

    def __init__(self, folder: Path, data: npt.NDArray[np.uint8], root: int) -> None:
        self.library = ctypes.CDLL(str(compiled("walker", folder)))
        self.library.install.restype = ctypes.c_uint64
        self.data = data
        self.root = ctypes.c_uint64(root)
        self.memory = _Memory(data.ctypes.data, data.nbytes)

    def listing(self, into: Rows) -> Rows:
        """Pages, or runs where ``into`` has sizes, as columns; the result shows the part that was filled."""
        pointers = {name: column.ctypes.data for name, column in into.items()}
        rows = _Rows(**pointers, room=len(into["vaddr"]))
        work = self.library.list_runs if "size" in into else self.library.list_pages
        work(ctypes.byref(self.memory), self.root, ctypes.byref(rows))
        if rows.malformed or rows.count > rows.room:
            raise ValueError(f"{rows.malformed} malformed entries, {rows.count} rows for {rows.room} places")
        return Rows({name: column[: rows.count] for name, column in into.items()})

    def counts(self) -> dict[tuple[int, int], int]:
        """How many entries there are of each kind and depth."""
        counts = np.zeros((KINDS, DEPTHS), np.uint64)
        self.library.count(ctypes.byref(self.memory), self.root, ctypes.c_void_p(counts.ctypes.data))
        return {(int(kind), int(depth)): int(counts[kind, depth]) for kind, depth in np.argwhere(counts)}

    def translate(self, vaddrs: Words) -> tuple[Words, npt.NDArray[np.bool_]]:
        """Physical addresses, and which are mapped."""
        paddrs, mapped = np.empty(len(vaddrs), np.uint64), np.empty(len(vaddrs), np.bool_)
        pointers = [ctypes.c_void_p(column.ctypes.data) for column in (vaddrs, paddrs, mapped)]
        size = ctypes.c_uint64(len(vaddrs))
        self.library.translate(ctypes.byref(self.memory), self.root, pointers[0], size, *pointers[1:])
        return paddrs, mapped

    def install(self, start: int, end: int, value: int, first_free: int) -> int:
        """Fill the empty slots of a range; tables come from ``first_free`` on. Returns how many were filled."""
        bounds = [ctypes.c_uint64(number) for number in (start, end, value)]
        free = ctypes.c_uint64(first_free)
        filled: int = self.library.install(
            ctypes.c_void_p(self.data.ctypes.data), self.root, *bounds, ctypes.byref(free)
        )
        return filled

    def touch(self, pages: int) -> None:
        """Write a byte to each page of the memory."""
        self.library.touch(ctypes.c_void_p(self.data.ctypes.data), ctypes.c_uint64(pages))


def opened(image: Image, folder: Path) -> npt.NDArray[np.uint8]:
    """An image's file, mapped, its tables in memory."""
    data: npt.NDArray[np.uint8] = np.asarray(np.memmap(image.path(folder), np.uint8, "r"))
    data[: image.tables_size : 4096].sum()
    return data


def digest(rows: Any, *names: str) -> list[int]:
    """A number of rows, and a checksum of columns that the order counts in.

    Args:
        rows: Columns by name: a mapping, a structured array, or an object with attributes.
        names: Which columns.
    """
    columns = [rows[name] if hasattr(rows, "__getitem__") else getattr(rows, name) for name in names]
    count, total = len(columns[0]), 0
    for first in range(0, count, _PIECE):
        mixed: Any = np.arange(first, min(first + _PIECE, count), dtype=np.uint64) * 2 + 1
        word = sum(
            column[first : first + _PIECE].astype(np.uint64) * np.uint64(_MIX[at % 4] + 2 * at)
            for at, column in enumerate(columns)
        )
        total += int(((word ^ word >> np.uint64(29)) * mixed).sum(dtype=np.uint64))
    return [count, total % (1 << 64)]
