"""The journal of a commit: what memory was and what it is to be, on disk before the first word is written.

A file: one line that says what it is, the length of a head, the head as JSON, the runs, a digest of all that; then one
line for each state that was reached. A journal whose digest is missing or wrong was never whole: then nothing was
written to memory either. Whoever writes to memory has the journal on disk first, and a state is on disk before it
counts.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pagewalk.doors import shown
from pagewalk.errors import EditError, ImageFormatError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["COMMITTED", "UNDOING", "UNDONE", "WRITING", "Journal", "Run"]

MAGIC: Final = b"pagewalk journal 1\n"
WRITING, COMMITTED, UNDOING, UNDONE = "writing", "committed", "undoing", "undone"
"""States: memory may be old, new, or in between; new; in between again; old."""
_LENGTH: Final = struct.Struct("<Q")
_RUN: Final = struct.Struct("<QQ")
_DIGEST: Final = hashlib.sha256
_MOST_HEAD: Final = 1 << 20


class Run(NamedTuple):
    """Words next to each other.

    Attributes:
        paddr: The physical address of the first, in bytes.
        old, new: What they were, and what they are to be.
    """

    paddr: int
    old: bytes
    new: bytes


@dataclass
class Journal:
    """A journal on disk.

    Attributes:
        path: Where it is.
        head: What it says of the memory.
        runs: What was to be written, in that order; empty if it was never whole.
        state: The last state that was reached; empty if it was never whole.
        size: Bytes of the file that count: what follows is a line that was never whole.
    """

    path: Path
    head: dict[str, Any]
    runs: tuple[Run, ...]
    state: str
    size: int = 0

    @classmethod
    def begin(cls, path: str | os.PathLike[str], head: dict[str, Any], runs: Iterable[Run]) -> Journal:
        """Write a journal, on disk when this returns; nothing is left of one that cannot be written.

        Raises:
            EditError: The file is there already.
            OSError: It cannot be written.
        """
        journal = cls(Path(path), head, tuple(runs), WRITING)
        try:
            fd = os.open(journal.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        except FileExistsError:
            why = "is there already, perhaps the journal of a change that is to be undone: give another name"
            raise EditError(f"{shown(str(path))} {why}") from None
        try:
            try:
                journal._write(fd)
            finally:
                os.close(fd)
            _sync_folder(journal.path)
        except BaseException:
            with suppress(OSError):
                journal.path.unlink()
            raise
        return journal

    def _write(self, fd: int) -> None:
        """Write all but states."""
        digest = _DIGEST()
        head = json.dumps(self.head).encode()
        for part in (MAGIC, _LENGTH.pack(len(head)), head, _LENGTH.pack(len(self.runs)), *map(_packed, self.runs)):
            digest.update(part)
            _write_all(fd, part)
            self.size += len(part)
        _write_all(fd, digest.digest())
        self.size += digest.digest_size
        os.fsync(fd)

    def reach(self, state: str) -> None:
        """Note a state, on disk when this returns.

        Raises:
            OSError: It cannot be written.
        """
        line = f"{state}\n".encode()
        fd = os.open(self.path, os.O_WRONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            os.ftruncate(fd, self.size)
            os.lseek(fd, self.size, os.SEEK_SET)
            _write_all(fd, line)
            os.fsync(fd)
        finally:
            os.close(fd)
        self.state, self.size = state, self.size + len(line)

    def drop(self) -> None:
        """Remove it."""
        self.path.unlink()
        _sync_folder(self.path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Journal:
        """Read a journal; one that was never whole has no state.

        Raises:
            OSError: It cannot be read.
            ImageFormatError: It is none.
        """
        path = Path(path)
        data = path.read_bytes()
        if not MAGIC.startswith(data[: len(MAGIC)]):
            raise ImageFormatError(f"{path}: no journal of a change of page tables")
        try:
            head, runs, end = _parsed(data)
        except (struct.error, ValueError, IndexError):
            return cls(path, {}, (), "")
        digest = _DIGEST(data[:end]).digest()
        if data[end : end + len(digest)] != digest:
            return cls(path, {}, (), "")
        end += len(digest)
        whole = data.rfind(b"\n", end) + 1 or end
        states = data[end:whole].decode("ascii", "replace").splitlines()
        if any(state not in (COMMITTED, UNDOING, UNDONE) for state in states):
            raise ImageFormatError(f"{path}: it ends with what no journal says: {shown(states[-1])}")
        return cls(path, head, runs, states[-1] if states else WRITING, whole)


def _packed(run: Run) -> bytes:
    """A run as bytes."""
    return _RUN.pack(run.paddr, len(run.new)) + run.old + run.new


def _parsed(data: bytes) -> tuple[dict[str, Any], tuple[Run, ...], int]:
    """The head, the runs, and where they end.

    Raises:
        struct.error, ValueError: It ends too early, or is none.
    """
    at = len(MAGIC)
    (length,) = _LENGTH.unpack_from(data, at)
    if length > _MOST_HEAD:
        raise ValueError("a head of that length")
    at += _LENGTH.size
    head = json.loads(data[at : at + length])
    (count,) = _LENGTH.unpack_from(data, at + length)
    at += length + _LENGTH.size
    runs = []
    for _ in range(count):
        paddr, size = _RUN.unpack_from(data, at)
        at += _RUN.size
        if at + 2 * size > len(data):
            raise ValueError("it ends in a run")
        runs.append(Run(paddr, data[at : at + size], data[at + size : at + 2 * size]))
        at += 2 * size
    return head, tuple(runs), at


def _write_all(fd: int, data: bytes) -> None:
    """Write all of some bytes."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _sync_folder(path: Path) -> None:
    """Have the file's name on disk, where folders can be synced."""
    with suppress(OSError):
        fd = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
