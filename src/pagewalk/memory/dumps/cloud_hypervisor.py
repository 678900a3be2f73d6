"""cloud-hypervisor's snapshots: a directory with a file of memory, and a table of it in a file of JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pagewalk.abi.snapshots import CPUS, MEMORY, RANGES, REGISTERS, STATE
from pagewalk.errors import ImageFormatError
from pagewalk.memory.files.layered import MappedFiles
from pagewalk.memory.files.mapped import MappedFile
from pagewalk.memory.protocol import Segment

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

__all__ = ["CloudHypervisorSnapshot"]

_MOST: Final = 64 << 20
"""Bytes of a state; that of a machine with hundreds of CPUs has a few million."""


class CloudHypervisorSnapshot(MappedFiles):
    """The memory of a cloud-hypervisor snapshot, in place.

    Args:
        path: Its directory.

    Raises:
        OSError: A file of it cannot be opened.
        ImageFormatError: Its state has no table of ranges, or one that the file of memory does not have.

    Attributes:
        cpus: The registers of each CPU that say where tables are, if its state has them.
        missing: What it does not have, in a sentence each.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        folder = Path(path)
        folder = folder.parent if folder.name == RANGES else folder
        state = _state(folder / STATE)
        file = MappedFile(folder / RANGES)
        told = _told(state, folder)
        ranges = [_pair(one, "length", folder) for one in _rows(told.get("memory_ranges"), "data", folder)]
        mapped = told.get("guest_ram_mappings")  # old states have none
        mappings = [_pair(one, "size", folder) for one in (mapped if isinstance(mapped, list) else [])]
        self.cpus = tuple(_registers(_part(state, CPUS)))
        self.missing = tuple(_missing(ranges, mappings, bool(self.cpus)))
        super().__init__([file], _segments(file, ranges))


def _segments(file: MappedFile, ranges: list[tuple[int, int]]) -> Iterator[Segment]:
    """The ranges, one after the other in the file.

    Raises:
        ImageFormatError: It ends before they do.
    """
    at = 0
    for paddr, size in ranges:
        if at + size > file.size:
            what = f"truncated: {size:#x} bytes of memory at {paddr:#x} do not fit in {file.size:#x} bytes"
            raise ImageFormatError(f"{file.path}: {what} from offset {at:#x} on")
        yield Segment(paddr, file.read(at, size))
        at += size


def _missing(ranges: list[tuple[int, int]], mappings: list[tuple[int, int]], registers: bool) -> Iterator[str]:
    """What is not in the snapshot."""
    for paddr, size in mappings:
        if not any(start < paddr + size and paddr < start + length for start, length in ranges):
            yield f"{size:#x} bytes of memory at {paddr:#x} are not in it: they are in the file behind the machine"
    if not registers:
        yield "it has no registers that say where page tables are: give --root or --registers"


def _state(path: Path) -> Any:
    """What a state says.

    Raises:
        OSError: It cannot be read.
        ImageFormatError: It is no JSON.
    """
    with path.open("rb") as file:
        text = file.read(_MOST + 1)
    if len(text) > _MOST:
        raise ImageFormatError(f"{path}: more than {_MOST:#x} bytes: no state of a snapshot")
    return _json(text, path)


def _json(text: str | bytes, path: Path) -> Any:
    """A text of JSON.

    Raises:
        ImageFormatError: It is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ImageFormatError(f"{path}: no JSON: {type(error).__name__}") from None


def _part(state: Any, name: str) -> Any:
    """A part of a state, empty if it has none."""
    parts = state.get("snapshots") if isinstance(state, dict) else None
    return parts.get(name, {}) if isinstance(parts, dict) else {}


def _told(state: Any, folder: Path) -> dict[str, Any]:
    """What the state says of memory. It is JSON in a text, or in a list of that text's bytes.

    Raises:
        ImageFormatError: It says nothing.
    """
    found = _unwrapped(_part(state, MEMORY), folder)
    if not isinstance(found, dict):
        raise ImageFormatError(f"{folder / STATE}: it says nothing of {MEMORY}: no snapshot, or one that is not known")
    return found


def _unwrapped(part: Any, folder: Path) -> Any:
    """The data of a part; None if it has none."""
    data = part.get("snapshot_data") if isinstance(part, dict) else None
    text = data.get("state") if isinstance(data, dict) else None
    if isinstance(text, list):
        try:
            text = bytes(text)
        except (TypeError, ValueError):
            return None
    return _json(text, folder / STATE) if isinstance(text, str | bytes) else None


def _rows(table: Any, name: str, folder: Path) -> list[Any]:
    """The rows of a table.

    Raises:
        ImageFormatError: There is none.
    """
    rows = table.get(name) if isinstance(table, dict) else None
    if not isinstance(rows, list) or not rows:
        raise ImageFormatError(f"{folder / STATE}: it has no table of memory ranges")
    return rows


def _pair(row: Any, size: str, folder: Path) -> tuple[int, int]:
    """A row's address and size.

    Raises:
        ImageFormatError: It has none, or none that is one.
    """
    found = (row.get("gpa"), row.get(size)) if isinstance(row, dict) else ()
    numbers = [one for one in found if isinstance(one, int) and not isinstance(one, bool) and 0 <= one < 1 << 64]
    if len(numbers) != 2:
        raise ImageFormatError(f"{folder / STATE}: a range of memory has no address, or no size")
    return numbers[0], numbers[1]


def _registers(part: Any) -> Iterator[dict[str, int]]:
    """The registers of each CPU in a part of the state, wherever they stand in it."""
    parts = part.get("snapshots") if isinstance(part, dict) else None
    parts = parts if isinstance(parts, dict) else {}
    for name in sorted(parts, key=lambda one: (len(one), one)):  # "2" before "10"
        todo = [_unwrapped(parts[name], Path())]
        while todo:
            one = todo.pop()
            if isinstance(one, dict) and all(isinstance(one.get(register), int) for register in REGISTERS):
                yield {register: one[register] for register in REGISTERS}
                break
            todo += one.values() if isinstance(one, dict) else ()
