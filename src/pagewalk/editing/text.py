"""A plan as text, and as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from pagewalk.editing.places import level_of
from pagewalk.formats import NO_PADDR, Kind, rights_text
from pagewalk.formats.flags import GRANTED, Flag

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import numpy.typing as npt

    from pagewalk.editing.flushes import Flush
    from pagewalk.editing.places import TableAt
    from pagewalk.formats import Level
    from pagewalk.tables import PageTables

__all__ = ["plan_json", "plan_text"]

_ROWS: Final = 40
"""Words, tables and invalidations that text shows, at most."""


class Told(Protocol):
    """What is told of a plan: see ``Plan``."""

    tables: PageTables
    twin: int

    @property
    def words(self) -> npt.NDArray[np.void]: ...
    @property
    def added(self) -> tuple[TableAt, ...]: ...
    @property
    def freed(self) -> tuple[TableAt, ...]: ...
    @property
    def flushes(self) -> tuple[Flush, ...]: ...
    @property
    def shared(self) -> tuple[int, ...]: ...
    @property
    def cpus(self) -> tuple[int, ...] | None: ...


def plan_text(plan: Told) -> str:
    """A plan as lines: what changes, which tables come and go, what must be invalidated, in the order of the work."""
    return "\n".join(_lines(plan))


def _lines(plan: Told) -> Iterator[str]:
    words, added, freed = plan.words, plan.added, plan.freed
    if not len(words):
        yield "nothing changes"
        return
    yield f"words that change: {len(words):,}; tables added: {len(added):,}; tables freed: {len(freed):,}"
    shown = words[~(words["fresh"] & (words["new"] == plan.tables.format.last.none))]
    yield from _aligned([_word_cells(plan, word) for word in shown[:_ROWS]])
    yield from _more(len(shown))
    if len(words) > len(shown):
        yield f"  and {len(words) - len(shown):,} words of new tables become empty"
    for verb, tables in (("new", added), ("freed", freed)):
        for table in tables[:_ROWS]:
            span = f"for {table.vaddr:#x}"
            yield f"  {verb} {table.level} table at {table.paddr:#x}, {table.size:#x} bytes, {span}"
        yield from _more(len(tables))
    yield from _flush_lines(plan)


def _word_cells(plan: Told, word: Any) -> tuple[str, ...]:
    """A word, in cells."""
    level = _level(plan, word)
    where = _range(int(word["vaddr"]), int(word["size"])) if level else ""
    old, new = (_said(level, int(word[name])) for name in ("old", "new"))
    return f"{int(word['paddr']):#x}", level.manual if level else "", where, old, "->", new


def _aligned(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """Rows of cells as lines, each column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _more(count: int) -> Iterator[str]:
    """What is not shown."""
    if count > _ROWS:
        yield f"  ... and {count - _ROWS:,} more: JSON has all"


def _many(count: int, what: str) -> str:
    """So many of something."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _range(vaddr: int, size: int) -> str:
    """Addresses, half-open."""
    return f"[{vaddr:#x}, {vaddr + size:#x})"


def _level(plan: Told, word: Any) -> Level | None:
    """The level of a word's table; None: it is of none that is known."""
    depth = int(word["depth"])
    return None if depth < 0 else level_of(plan.tables, depth, int(word["vaddr"]))


def _said(level: Level | None, entry: int) -> str:
    """An entry, in words."""
    if level is None:
        return f"{entry:#x}"
    found = level.decode(entry)
    if found.kind is Kind.NONE:
        return "empty"
    frame = level.frame(entry)
    where = "" if frame == NO_PADDR else f" {int(frame):#x}"
    rights = f" {rights_text(found.flags)}" if found.kind in (Kind.PRESENT, Kind.TABLE) else ""
    state = [(flag.name or "").lower() for flag in Flag if flag & found.flags & ~int(GRANTED)]
    numbers = [f"{name} {number}" for name, number in (("memory", found.memory), ("key", found.key)) if number]
    return f"{found.row.name}{where}{rights}{''.join(f' {word}' for word in (*numbers, *state))} ({entry:#x})"


def _flush_lines(plan: Told) -> Iterator[str]:
    """What must be invalidated, and how."""
    form = plan.tables.format
    rule = form.invalidation
    if rule is None:
        yield f"how CPUs forget translations of {form.name} is not known here: nothing is said of invalidation"
        return
    if not plan.flushes:
        yield "no invalidation is needed: no entry that a CPU may keep changes"
    else:
        who = "one CPU tells all" if rule.everywhere else "on every CPU that may have used these tables"
        yield f"invalidate, {who}{_scope(plan)} ({rule.source}):"
    for flush in plan.flushes[:_ROWS]:
        yield f"  {_flush_text(plan, flush)}"
    yield from _more(len(plan.flushes))
    if plan.shared:
        where = ", ".join(f"{paddr:#x}" for paddr in plan.shared[:3])
        yield f"  {rule.every} instead: shared tables at {where} change at more addresses than are listed"
    if rule.top and any(int(word["depth"]) == 0 for word in plan.words):
        yield f"  {rule.top}: an entry of the top table changes"


def _scope(plan: Told) -> str:
    """On which CPUs and under which numbers translations are kept, and in how many roots."""
    asids = sorted({window.asid for window in plan.tables.windows if window.asid is not None})
    said = f", ASID {', '.join(f'{asid:#x}' for asid in asids)}" if asids else ""
    if plan.cpus:
        said = f", CPU {', '.join(map(str, plan.cpus))} now{said}"
    return f"{said}, of both roots, {plan.tables.root:#x} and {plan.twin:#x}" if plan.twin else said


def _flush_text(plan: Told, flush: Flush) -> str:
    """One invalidation."""
    rule = plan.tables.format.invalidation
    assert rule is not None
    where = f"{rule.page} for {_range(flush.vaddr, flush.size)}, {_many(flush.translations, 'translation')}"
    steps = [*rule.before, where, *rule.after]
    if flush.breaks:
        steps = ["write the entries empty", *steps, "write the new ones"]
    why = " (tables too)" if flush.tables else ""
    why += " (a CPU may keep that nothing was there)" if flush.absent else ""
    return "; ".join(steps) + why


def plan_json(plan: Told) -> dict[str, Any]:
    """A plan as plain data."""
    form = plan.tables.format
    return {
        "format": form.name,
        "os": form.system,
        "words": [_word_json(plan, word) for word in plan.words],
        "added": [_table_json(table) for table in plan.added],
        "freed": [_table_json(table) for table in plan.freed],
        "invalidation": None if form.invalidation is None else form.invalidation._asdict(),
        "flushes": [{**flush._asdict(), "vaddr": f"{flush.vaddr:#x}"} for flush in plan.flushes],
        "shared": [f"{paddr:#x}" for paddr in plan.shared],
        "cpus": None if plan.cpus is None else list(plan.cpus),
        "asids": [f"{window.asid:#x}" for window in plan.tables.windows if window.asid is not None],
        "twin": f"{plan.twin:#x}" if plan.twin else None,
    }


def _word_json(plan: Told, word: Any) -> dict[str, Any]:
    """A word as plain data."""
    level = _level(plan, word)
    old, new = int(word["old"]), int(word["new"])
    return {
        "paddr": f"{int(word['paddr']):#x}",
        "level": None if level is None else level.manual,
        "depth": int(word["depth"]),
        "vaddr": f"{int(word['vaddr']):#x}",
        "size": int(word["size"]),
        "old": f"{old:#x}",
        "new": f"{new:#x}",
        "was": _said(level, old),
        "is": _said(level, new),
    }


def _table_json(table: TableAt) -> dict[str, Any]:
    """A table as plain data."""
    return {**table._asdict(), "paddr": f"{table.paddr:#x}", "vaddr": f"{table.vaddr:#x}"}
