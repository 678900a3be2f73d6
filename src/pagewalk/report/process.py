"""A captured process as text and as JSON: its VMAs, what is really in them, and its guard regions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from pagewalk.live.summary import PARTS, QUALITIES, guard_ranges, summarize
from pagewalk.report.words import columns, printable, size_text
from pagewalk.vma import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pagewalk.live.capture import Capture
    from pagewalk.vma import Vma

    Paint = Callable[[str, str], str]

__all__ = ["guards_text", "process_json", "process_text"]

_HEADINGS: Final = {
    "small": "4K",
    "thp": "THP",
    "hugetlb": "HUGETLB",
    "prot_none": "NO RIGHTS",
    "zero": "ZERO",
    "guard": "GUARD",
    "swap": "SWAP",
    "other": "OTHER",
    "untouched": "UNTOUCHED",
    "hidden": "UNKNOWN",
    "shared": "SHARED",
}
_ALWAYS: Final = frozenset({"small", "untouched"})
_BEFORE: Final = 3
"""Columns before the numbers: addresses, rights, size. The size is flush right, as the numbers are."""
_COLOURS: Final = (("guard", "red"), ("swap", "yellow"), ("thp", "green"))


def process_text(space: Capture, paint: Paint) -> Iterator[str]:
    """A line a VMA, the totals, and the notes.

    Args:
        space: The capture.
        paint: Given a text and a colour's name, the text in that colour.

    Columns that are empty everywhere are left out.
    """
    totals = summarize(space)
    shown = [name for name in _HEADINGS if name in _ALWAYS or totals[name].any()]
    rows: list[tuple[str, ...]] = [("ADDRESSES", "RIGHTS", "SIZE", *(_HEADINGS[name] for name in shown), "NAME")]
    rows += [_line(vma, total, shown) for vma, total in zip(space.vmas, totals, strict=True)]
    numbers = frozenset(range(_BEFORE - 1, _BEFORE + len(shown)))
    header, *lines = columns(rows, numbers)
    yield f"{header}\n"
    for line, total in zip(lines, totals, strict=True):
        colour = next((colour for name, colour in _COLOURS if total[name]), "")
        yield f"{paint(line, colour) if colour else line}\n"
    yield f"\n{_totals_line(space, totals)}\n"
    yield from _notes(space)


def guards_text(space: Capture) -> Iterator[str]:
    """A line a guard region, with the VMA it is in, the total, and the notes."""
    guards = guard_ranges(space)
    rows: list[tuple[str, ...]] = [("GUARD", "SIZE", "IN", "RIGHTS", "NAME")]
    rows += [
        (_range(start, end), size_text(end - start), _range(vma.start, vma.end), _rights(vma), printable(vma.name))
        for start, end, vma in guards
    ]
    yield from (f"{line}\n" for line in columns(rows, frozenset({1})))
    size = sum(end - start for start, end, _ in guards)
    yield f"\nprocess {space.pid}: {_count(len(guards), 'guard region')}, {size_text(size)}\n"
    yield from _notes(space)


def process_json(space: Capture) -> Iterator[str]:
    """One object: everything that is known, sizes and addresses in bytes; a line a VMA and a guard region."""
    totals = summarize(space)
    head = {
        "pid": space.pid,
        "format": space.tables.format.name,
        "frames_known": space.frames_known,
        "complete": space.complete,
        "changed": [{"start": start, "end": end} for start, end in space.changed],
        "notes": list(space.notes),
        "totals": {"size": _size(totals), **{name: int(totals[name].sum()) for name in (*PARTS, *QUALITIES)}},
    }
    yield json.dumps(head)[:-1]
    vmas = (_vma_data(vma, total) for vma, total in zip(space.vmas, totals, strict=True))
    yield from _json_list("vmas", vmas)
    guards = guard_ranges(space)
    yield from _json_list("guards", ({"start": s, "end": e, "vma": v.start, "name": v.name} for s, e, v in guards))
    yield "}\n"


def _line(vma: Vma, total: Any, shown: list[str]) -> tuple[str, ...]:
    """The cells of one VMA."""
    cells = (size_text(int(total[name])) if total[name] else "-" for name in shown)
    return (_range(vma.start, vma.end), _rights(vma), size_text(vma.size), *cells, printable(vma.name))


def _totals_line(space: Capture, totals: Any) -> str:
    """How much there is of everything."""
    sums = {name: int(totals[name].sum()) for name in (*PARTS, *QUALITIES)}
    parts = [f"{_HEADINGS[name]} {size_text(sums[name])}" for name in PARTS if sums[name]]
    pages = [f"{name} {size_text(sums[name])}" for name in QUALITIES if sums[name]]
    head = f"process {space.pid}: {_count(len(totals), 'VMA')}, {size_text(_size(totals))}"
    return f"{head}: {', '.join(parts)}" + (f"\npages: {', '.join(pages)}" if pages else "")


def _notes(space: Capture) -> Iterator[str]:
    """What else to know."""
    yield from (f"note: {note}\n" for note in space.notes)


def _size(totals: Any) -> int:
    """Bytes in all VMAs."""
    return int((totals["end"] - totals["start"]).sum())


def _range(start: int, end: int) -> str:
    """A range of addresses."""
    return f"{start:#014x}-{end:#014x}"


def _rights(vma: Vma) -> str:
    """As ``maps`` shows them: a mapping that may be shared is shown as shared."""
    return vma.rights[:3] + "ps"[bool(vma.flags & (VmaFlags.SHARED | VmaFlags.MAYSHARE))]


def _count(number: int, what: str) -> str:
    """``1 VMA``, ``2 VMAs``."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def _vma_data(vma: Vma, total: Any) -> dict[str, Any]:
    """One VMA as plain data."""
    return {
        "start": vma.start,
        "end": vma.end,
        "rights": _rights(vma),
        "offset": vma.offset,
        "name": vma.name,
        "flags": [flag.name.lower() for flag in VmaFlags if flag in vma.flags and flag.name],
        "huge_page_size": vma.huge_page_size,
        **{name: int(total[name]) for name in (*PARTS, *QUALITIES)},
    }


def _json_list(name: str, rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """A list inside the object, a line a row."""
    yield f',\n"{name}": ['
    for at, row in enumerate(rows):
        yield f"{',' if at else ''}\n{json.dumps(row)}"
    yield "]"
