"""Golden entries: raw entries with their meaning, written down from manuals, headers and real machines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pagewalk.formats import NO_PADDR, Flag, Kind

if TYPE_CHECKING:
    from pagewalk.formats import Level

__all__ = ["FLAGS", "Golden", "meaning", "read_golden"]

FLAGS: Final = (
    Flag.rights()
    | Flag.GLOBAL
    | Flag.ACCESSED
    | Flag.DIRTY
    | Flag.SPECIAL
    | Flag.SOFT_DIRTY
    | Flag.UFFD_WP
    | Flag.EXCLUSIVE
    | Flag.SAVED_DIRTY
)
"""What a golden entry tells of an entry's flags."""
_PAGES: Final = (Kind.PRESENT, Kind.PROT_NONE)


class Golden(NamedTuple):
    """One raw entry, and what it means.

    Attributes:
        shift: The level: log2 of the bytes that one of its entries covers.
        entry: The raw entry.
        kind: What it is. Of an empty or a reserved one nothing more is told.
        frame: The physical address that it names; None: none.
        flags: Rights and state; of a table, the rights that it passes on.
        memory, pkey: The numbers of its memory type and protection key.
        swap: The type and the offset of a swap entry.
        order: log2 of the entries of its group.
        source: Who says so: a machine, a section of a manual, a header.
    """

    shift: int
    entry: int
    kind: Kind
    frame: int | None = None
    flags: Flag = Flag(0)
    memory: int = 0
    pkey: int = 0
    swap: tuple[int, int] | None = None
    order: int = 0
    source: str = ""


def read_golden(path: str | Path) -> list[Golden]:
    """The golden entries of a JSON file: ``{"entries": [{"shift": 12, "entry": "0x...", "kind": "present", ...}]}``.

    Keys are named as ``Golden``'s attributes; numbers that are addresses or entries are hex strings, flags a list of
    names. What is left out is empty or 0.
    """
    return [_golden(row) for row in json.loads(Path(path).read_text())["entries"]]


def _golden(row: dict[str, Any]) -> Golden:
    flags = Flag(0)
    for name in row.get("flags", ()):
        flags |= Flag[name]
    return Golden(
        row["shift"],
        int(row["entry"], 16),
        Kind[row["kind"].upper()],
        int(row["frame"], 16) if "frame" in row else None,
        flags,
        row.get("memory", 0),
        row.get("pkey", 0),
        (row["swap"][0], row["swap"][1]) if "swap" in row else None,
        row.get("order", 0),
        row["source"],
    )


def meaning(level: Level, entry: int) -> Golden:
    """What a format says of an entry, in the same words."""
    found = level.decode(entry)
    wrong = level.wrong(entry) and found.kind in (Kind.PRESENT, Kind.TABLE)
    if wrong or found.kind in (Kind.NONE, Kind.RESERVED):
        return Golden(level.shift, entry, Kind.RESERVED if wrong else found.kind)
    frame, page = level.frame(entry), found.kind in _PAGES
    return Golden(
        level.shift,
        entry,
        found.kind,
        None if frame == NO_PADDR else frame,
        found.flags & FLAGS,
        found.memory if page else 0,
        found.key if page else 0,
        level.swap_slot(entry) if found.kind is Kind.SWAP else None,
        found.row.order,
    )
