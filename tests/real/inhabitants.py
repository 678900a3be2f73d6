"""What the program of ``processes/`` says of all processes of its guest, and memories in which the guest lies."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import pagewalk as pw
from pagewalk.memory import Segment

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MARK", "Inhabitants", "Said", "inhabitants", "writable_copy"]

MARK: Final = 0x1000_0000
"""Where each process has a page that begins with its number."""
_GATE: Final = 1 << 63
"""From here on there are no areas of processes: x86 shows a page of the kernel's half in each."""


class Said(NamedTuple):
    """A task, as ``/proc`` has it."""

    tgid: int
    state: str
    name: str


@dataclass
class Inhabitants:
    """The truth.

    Attributes:
        release: The kernel's.
        tasks, again: Tasks by number, before and after the maps were said.
        maps: Lines of maps by process: range, rights and offset, and the name.
        contents: What smaps has of areas, in bytes, by process, start and name; what is 0 is left out.
        tables: What page tables take (VmPTE), in bytes, by process.
    """

    release: str = ""
    tasks: dict[int, Said] = field(default_factory=dict)
    again: dict[int, Said] = field(default_factory=dict)
    maps: dict[int, list[tuple[str, str]]] = field(default_factory=dict)
    contents: dict[tuple[int, int, str], int] = field(default_factory=dict)
    tables: dict[int, int] = field(default_factory=dict)

    @property
    def lasting(self) -> dict[int, Said]:
        """Tasks that were there all the while."""
        return {pid: said for pid, said in self.tasks.items() if pid in self.again}


def inhabitants(console: Path) -> Inhabitants:
    """The truth, from the console's lines."""
    found = Inhabitants()
    text = console.read_bytes().replace(b"\r\n", b"\n").decode("utf-8", "surrogateescape")
    for line in text.split("\n"):
        _, word, *rest = f"{line} ".split(" ", 2)
        if not line.startswith("@ "):
            continue
        if word == "release":
            found.release = rest[0].strip()
        elif word in ("task", "again"):
            tgid, pid, state, name = rest[0][:-1].split(" ", 3)
            getattr(found, "tasks" if word == "task" else word)[int(pid)] = Said(int(tgid), state, name)
        elif word == "map":
            pid, entry = rest[0][:-1].split(" ", 1)
            _take(found.maps.setdefault(int(pid), []), entry)
        elif word == "has":
            pid, start, what, size = rest[0].split()
            found.contents[int(pid), int(start, 16), what.rstrip(":")] = int(size) << 10
        elif word == "tables":
            pid, size = rest[0].split()
            found.tables[int(pid)] = int(size) << 10
    return found


def _take(lines: list[tuple[str, str]], entry: str) -> None:
    """Take a line of maps: ``START-END RIGHTS OFFSET DEVICE INODE   NAME``."""
    where, rights, offset, _, _, *name = entry.split(None, 5)
    if int(where.split("-")[0], 16) < _GATE:
        lines.append((f"{where} {rights} {offset}", name[0] if name else ""))


def writable_copy(ram: Path, base: int, *, vmcoreinfo: bool = True) -> pw.Source:
    """A guest's memory, of which changes stay in this process.

    Args:
        ram: The file.
        base: Physical address of its first byte.
        vmcoreinfo: Leave VMCOREINFO in it, and its copy.
    """
    with ram.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    key = b"OSRELEASE="
    at = -1 if vmcoreinfo else data.find(key)
    while at >= 0:
        data[at : at + len(key)] = bytes(len(key))
        at = data.find(key, at)
    return pw.Source("a copy", "raw", pw.FlatMemory([Segment(base, memoryview(data))]))
