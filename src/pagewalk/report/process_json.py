"""A process as JSON, captured or of a dump: addresses are hex strings, sizes and counts are numbers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pagewalk.query.areas import MARKS, PARTS, QUALITIES, guard_ranges, summarize
from pagewalk.query.tables import count_tables
from pagewalk.report.columns import Choice, choose
from pagewalk.report.process import letters
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.errors import TranslationError
    from pagewalk.space import ProcessSpace, Vma

__all__ = ["process_json"]

_FIGURES = (*PARTS, *QUALITIES, *MARKS)


def process_json(space: ProcessSpace, *, choice: Choice = Choice()) -> Iterator[str]:  # noqa: B008 - frozen
    """One object: everything that is known; a line a VMA and a guard region.

    ``totals`` are those of the process, ``filtered`` those of the VMAs that pass; ``vmas``, and ``guards`` in them, are
    the ones that were asked for, in that order. Whose the pages are is null where nobody told.
    """
    findings: list[TranslationError] = []
    totals = summarize(space, findings=findings)
    kept, order = choose(space, totals, choice)
    vmas = list(space.vmas)
    head = {
        "pid": space.pid,
        "format": space.tables.format.name,
        "frames_known": space.frames_known,
        "complete": space.complete,
        "changed": [{"vaddr": hex(start), "size": end - start} for start, end in space.changed],
        "notes": list(space.notes),
        "page_table_bytes": space.page_table_bytes,
        "tables": count_tables(space, windows=space.tables.windows[:1]),
        "findings": len(findings),
        "totals": _sums(totals, space),
        "filtered": _sums(totals[kept], space),
    }
    yield json.dumps(head)[:-1]
    yield from _json_list("vmas", (_vma_data(vmas[at], totals[at], space) for at in order))
    yield from _json_list("guards", _guards(space, [vmas[at] for at in order]))
    yield "}\n"


def _sums(totals: Any, space: ProcessSpace) -> dict[str, int | None]:
    """Totals of VMAs."""
    size = int((totals["end"] - totals["start"]).sum())
    return {"vmas": len(totals), "size": size, **_figures({name: totals[name].sum() for name in _FIGURES}, space)}


def _figures(total: Any, space: ProcessSpace) -> dict[str, int | None]:
    """The figures of a VMA, or of many."""
    return {name: int(total[name]) if space.synthetic or name not in QUALITIES else None for name in _FIGURES}


def _guards(space: ProcessSpace, vmas: list[Vma]) -> Iterator[dict[str, Any]]:
    """The guard regions of these VMAs, in their order."""
    place = {vma.start: at for at, vma in enumerate(vmas)}
    mine = [guard for guard in guard_ranges(space) if guard[2].start in place]
    for start, end, vma in sorted(mine, key=lambda guard: (place[guard[2].start], guard[0])):
        yield {"vaddr": hex(start), "size": end - start, "vma": hex(vma.start), "name": vma.name}


def _vma_data(vma: Vma, total: Any, space: ProcessSpace) -> dict[str, Any]:
    """One VMA as plain data."""
    return {
        "vaddr": hex(vma.start),
        "size": vma.size,
        "rights": letters(vma),
        "offset": hex(vma.offset),
        "name": vma.name,
        "flags": [flag.name.lower() for flag in VmaFlags if flag in vma.flags and flag.name],
        "huge_page_size": vma.huge_page_size,
        **_figures(total, space),
    }


def _json_list(name: str, rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """A list inside the object, a line a row."""
    yield f',\n"{name}": ['
    for at, row in enumerate(rows):
        yield f"{',' if at else ''}\n{json.dumps(row)}"
    yield "]"
