"""Mappings and holes, as text and as JSON, in blocks that can be written as they come."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from pagewalk.formats import LINUX, NO_PADDR, Flag, Kind, key_of, memory_of, rights_text
from pagewalk.report.words import flag_names, hexed, read_as, size_text, state_names
from pagewalk.sweep.columns import said_by
from pagewalk.sweep.findings import MAX_FINDINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import numpy as np
    import numpy.typing as npt

    from pagewalk.formats import PagingFormat
    from pagewalk.report.rows import Tally

    Rows = npt.NDArray[np.void]
    Paint = Callable[[str, str], str]

__all__ = ["Layout", "json_rows", "summary", "text_blocks"]

_BLOCK = 4096
"""Rows in a block of text."""

_COLOURS = {
    Kind.NONE.value: "bright_black",
    Kind.PROT_NONE.value: "magenta",
    Kind.SWAP.value: "yellow",
    Kind.MIGRATION.value: "yellow",
    Kind.GUARD.value: "red",
    Kind.UFFD_WP.value: "cyan",
    Kind.HWPOISON.value: "red",
    Kind.OTHER.value: "yellow",
}
_LABELS = {kind.value: kind.label for kind in Kind} | {Kind.NONE.value: "hole"}
_HOLE, _SWAP = Kind.NONE.value, Kind.SWAP.value
_REPEATED, _OUTSIDE = Flag.REPEATED.value, Flag.OUTSIDE.value  # plain integers: a line for each of a million rows
_IN_FRAME = _REPEATED | _OUTSIDE
"""Flags that the column of frames shows."""


@dataclass(frozen=True)
class Layout:
    """How a table looks.

    Attributes:
        form: Names the levels of holes.
        paint: Given a text and a colour's name, the text in that colour.
        wide: Addresses have 16 digits, not 12.
        entries: With a column of raw entries.
    """

    form: PagingFormat
    paint: Paint
    wide: bool = False
    entries: bool = False

    def range(self, start: int, size: int) -> str:
        """A range of addresses, as wide as any: the end of the address space has one digit more."""
        if self.wide:
            return f"{f'{start:#018x}-{start + size:#018x}':<38}"
        return f"{start:#014x}-{start + size:#014x}"

    def header(self) -> str:
        """The line over the columns."""
        line = f"{'ADDRESSES':<{38 if self.wide else 29}}  {'SIZE':>9}  {'PAGE':>5}  {'FRAME':<14}  "
        return line + (f"{'ENTRY':<18}  " if self.entries else "") + f"{'RIGHTS':<6}  {'KIND':<9}  STATE"

    def line(self, row: tuple[int, ...]) -> str:
        """A row."""
        vaddr, place, size, page, entry, state = row
        flags, kind, attributes, depth = said_by(state)
        hole = kind == _HOLE
        raw = f"{'' if hole else f'{entry:#018x}':<18}  " if self.entries else ""
        rest = f"{'':6}  hole       empty {self.form.levels[depth].name}" if hole else _words(flags, kind)
        frame = _slot(place, attributes, self.form.page_size) if kind == _SWAP else _frame(place, flags)
        rest += _numbers(attributes, kind)
        line = f"{self.range(vaddr, size)}  {_sizes(size, page)}  {frame:<14}  {raw}{rest}"
        colour = _COLOURS.get(kind)
        return self.paint(line, colour) if colour else line


def _slot(place: int, device: int, page_size: int) -> str:
    """The column of frames, of swap: the device, and the first slot in it."""
    return f"{device}:{place // page_size:#x}"


@lru_cache(maxsize=128)
def _numbers(attributes: int, kind: int) -> str:
    """The numbers of a memory type and a protection key that are not 0."""
    if kind in (_HOLE, _SWAP):
        return ""
    named = (("memory", memory_of(attributes)), ("pkey", key_of(attributes)))
    return "".join(f" {name}={number}" for name, number in named if number)


def _frame(paddr: int, flags: int) -> str:
    """The column of frames: where the first page is, where every page is (``=``), or that it is nowhere in memory."""
    if flags & _OUTSIDE:
        return "outside"
    if paddr == NO_PADDR:
        return "-"
    return f"={paddr:#x}" if flags & _REPEATED else f"{paddr:#x}"


@lru_cache(maxsize=1024)
def _words(flags: int, kind: int) -> str:
    """The columns of rights, kind and state."""
    return f"{rights_text(flags):<6}  {_LABELS[kind]:<9}  {' '.join(state_names(flags & ~_IN_FRAME))}".rstrip()


@lru_cache(maxsize=1024)
def _sizes(size: int, page: int) -> str:
    """The columns of sizes."""
    return f"{size_text(size):>9}  {_short(page):>5}"


def _short(size: int) -> str:
    """A page size in a narrow column: ``4K``, ``2M``."""
    return size_text(size).replace(" ", "")[:-2]


def text_blocks(blocks: Iterable[Rows], layout: Layout, limit: int | None = None) -> Iterator[str]:
    """A header and a line for each row. It begins once the first block is there, so that an error comes before it.

    Args:
        blocks: Rows by address, as ``report.rows`` makes them; all of them are gone through.
        layout: How they look.
        limit: The most lines; None: all.
    """
    blocks = iter(blocks)
    first = [block for block in [next(blocks, None)] if block is not None]
    yield f"{layout.header()}\n"
    shown = 0
    for block in chain(first, blocks):
        some = block if limit is None else block[: limit - shown]
        shown += len(some)
        for at in range(0, len(some), _BLOCK):
            yield "".join(f"{layout.line(row)}\n" for row in some[at : at + _BLOCK].tolist())
        yield ""  # a block is done, shown or not


# -- the last line -----------------------------------------------------------------------------------------------------


def summary(
    tally: Tally,
    *,
    shown: int | None = None,
    findings: int = 0,
    empty: str = "nothing is mapped",
    system: str = LINUX.name,
) -> str:
    """A line: how many rows, and how much of each kind and page size; another, if they speak against the system.

    Args:
        tally: What there is, shown or not.
        shown: Lines shown at most; None: all.
        findings: Malformed entries that were passed over.
        empty: What it means that there is no row.
        system: The operating system as whose the entries were read.
    """
    counts = [_count(tally.mapped, "row")]
    counts += [_count(tally.holes, "hole")] * bool(tally.holes)
    if findings:
        counts.append(
            f"more than {MAX_FINDINGS:,} findings" if findings > MAX_FINDINGS else _count(findings, "finding")
        )
    left = 0 if shown is None else max(tally.mapped + tally.holes - shown, 0)
    more = f" ({left:,} more than shown)" if left else ""
    parts = [_amount(kind, tally) for kind in sorted({kind for kind, _ in tally.sizes} - {Kind.NONE.value})]
    parts = parts or [empty]
    if tally.holes:
        parts.append(f"holes {size_text(sum(size for (kind, _), size in tally.sizes.items() if kind == Kind.NONE))}")
    doubts = f"\n{tally.doubts}" if str(tally.doubts) else ""
    return f"{', '.join(counts)}{more}: {', '.join(parts)}{read_as(system, '; ')}{doubts}"


def _amount(kind: int, tally: Tally) -> str:
    """How much there is of a kind, by page size."""
    sizes = sorted((page, size) for (of, page), size in tally.sizes.items() if of == kind)
    return f"{_LABELS[kind]} " + " + ".join(f"{size_text(size)} in {_short(page)}" for page, size in sizes)


def _count(number: int, what: str) -> str:
    """``1 row``, ``2 rows``."""
    return f"{number:,} {what}{'s' * (number != 1)}"


# -- JSON --------------------------------------------------------------------------------------------------------------


def json_rows(rows: Rows, form: PagingFormat, *, entries: bool = False, told: bool = True) -> Iterator[str]:
    """Each row as one JSON object: addresses and entries are hex strings, sizes are numbers; null where there is none.

    Args:
        rows: As ``report.rows`` makes them.
        form: Names the levels of holes.
        entries: One row an entry: with the raw entry, and its depth.
        told: They are those of the memory, not made from what somebody told of the pages: then they are null.
    """
    for vaddr, place, size, page, entry, state in rows.tolist():
        flags, kind, attributes, depth = said_by(state)
        row: dict[str, Any] = {"vaddr": f"{vaddr:#x}"}
        if kind == _HOLE:
            row |= {"size": size, "depth": depth, "level": form.levels[depth].name}
        else:
            swap = kind == _SWAP
            row |= {"paddr": hexed(None if swap or place == NO_PADDR else place), "size": size, "page_size": page}
            row |= {"flags": flag_names(flags), "kind": _LABELS[kind]}
            row |= {"memory": 0 if swap else memory_of(attributes), "pkey": 0 if swap else key_of(attributes)}
            row |= {"swap_type": attributes if swap else 0, "swap_offset": place // form.page_size if swap else 0}
        if entries and kind != _HOLE:
            row |= {"entry": hexed(entry if told else None), "depth": depth}
        yield json.dumps(row)
