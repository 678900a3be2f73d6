"""A process as text, captured or of a dump: the totals, its VMAs and what is really in them, and its guard regions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import printable
from pagewalk.query.areas import QUALITIES, guard_ranges, summarize
from pagewalk.query.tables import count_tables
from pagewalk.report.columns import COLOURS, COLUMNS, Choice, choose, headed
from pagewalk.report.fit import wrap
from pagewalk.report.layout import Cells, side_by_side
from pagewalk.report.words import size_text
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pagewalk.errors import TranslationError
    from pagewalk.space import ProcessSpace, Vma

    Paint = Callable[[str, str], str]

__all__ = ["guards_text", "letters", "process_text"]

_ALWAYS: Final = frozenset({"small", "untouched"})
_RANKS: Final = ("guard", "swap", "poison", "write_protected", "thp", "small", "hugetlb", "prot_none", "zero", "other")
"""Where there is too little room these stay longest, the first of them the longest; the rest goes, then the rights."""


def process_text(
    space: ProcessSpace,
    paint: Paint,
    *,
    choice: Choice = Choice(),  # noqa: B008 - frozen
    width: int | None = None,
) -> Iterator[str]:
    """The totals and the notes, then a line a VMA.

    Args:
        space: The process.
        paint: Given a text and a colour's name, the text in that colour.
        choice: Which VMAs, in which order.
        width: Cells that a line may take: names are shortened, then columns left out. None: as many as it takes.

    Columns that are empty everywhere are left out.
    """
    findings: list[TranslationError] = []
    totals = summarize(space, findings=findings)
    kept, order = choose(space, totals, choice)
    vmas = list(space.vmas)
    some, rows = [vmas[at] for at in order], totals[order]
    lines, dropped = side_by_side(_columns(some, rows, space.tables.format.page_size), width)
    for line in (*_head(space, totals, kept, choice), *_malformed(findings), *_missing(dropped), ""):
        yield f"{wrap(line, width)}\n"
    yield f"{lines[0]}\n"
    for line, total in zip(lines[1:], rows, strict=True):
        colour = next((colour for name, colour in COLOURS if total[name]), "")
        yield f"{paint(line, colour) if colour else line}\n"


def guards_text(space: ProcessSpace, *, choice: Choice = Choice(), width: int | None = None) -> Iterator[str]:  # noqa: B008
    """The total and the notes, then a line a guard region with the VMA it is in; arguments as ``process_text``."""
    findings: list[TranslationError] = []
    totals = summarize(space, findings=findings)
    vmas = list(space.vmas)
    place = {vma.start: at for at, vma in enumerate(vmas)}
    of: dict[int, list[tuple[int, int]]] = {}
    for start, end, vma in guard_ranges(space):
        of.setdefault(place[vma.start], []).append((start, end))
    _, order = choose(space, totals, choice._replace(top=None))
    order = [at for at in order if at in of][: choice.top]
    guards = [(start, end, vmas[at]) for at in order for start, end in of[at]]
    size = sum(end - start for start, end, _ in guards)
    lines, dropped = side_by_side(_guard_columns(guards), width)
    head = f"process {space.pid}: {_count(len(guards), 'guard region')}, {size_text(size)}"
    for line in (head, *_notes(space), *_malformed(findings), *_missing(dropped), "", *lines):
        yield f"{wrap(line, width)}\n"


def letters(vma: Vma) -> str:
    """Rights as ``maps`` shows them: a mapping that may be shared is shown as shared."""
    return vma.rights[:3] + "ps"[bool(vma.flags & (VmaFlags.SHARED | VmaFlags.MAYSHARE))]


def _columns(vmas: Sequence[Vma], totals: Any, page_size: int) -> list[Cells]:
    """The table."""
    numbers = [column for column in COLUMNS if column.name in _ALWAYS or totals[column.name].any()]
    return [
        _addresses("ADDRESSES", "START", [(vma.start, vma.end) for vma in vmas]),
        Cells("RIGHTS", [letters(vma) for vma in vmas], rank=2 * len(COLUMNS)),
        Cells("SIZE", [_short(vma.size) for vma in vmas], right=True),
        *(
            Cells(
                headed(column, page_size),
                [_short(size) for size in totals[column.name].tolist()],
                right=True,
                rank=_rank(column.name),
            )
            for column in numbers
        ),
        Cells("NAME", [printable(vma.name) for vma in vmas], elastic=True),
    ]


def _rank(name: str) -> int:
    """How soon a column gives way; the rights go after those that say what is not there."""
    return _RANKS.index(name) + 1 if name in _RANKS else 2 * len(COLUMNS) + 1


def _guard_columns(guards: Sequence[tuple[int, int, Vma]]) -> list[Cells]:
    """The table of guard regions."""
    return [
        _addresses("GUARD", "GUARD", [(start, end) for start, end, _ in guards]),
        Cells("SIZE", [_short(end - start) for start, end, _ in guards], right=True),
        replace(_addresses("IN", "IN", [(vma.start, vma.end) for _, _, vma in guards]), rank=2),
        Cells("RIGHTS", [letters(vma) for _, _, vma in guards], rank=1),
        Cells("NAME", [printable(vma.name) for _, _, vma in guards], elastic=True),
    ]


def _addresses(heading: str, brief: str, ranges: Sequence[tuple[int, int]]) -> Cells:
    """A column of ranges; of where they start, if there is too little room."""
    whole = [f"{start:#014x}-{end:#014x}" for start, end in ranges]
    return Cells(heading, whole, brief=(brief, [f"{start:#014x}" for start, _ in ranges]))


def _short(size: int) -> str:
    """A size in a narrow column: ``4K``, ``12.5M``; ``-`` for nothing."""
    return size_text(size).replace(" ", "")[:-2] if size else "-"


def _head(space: ProcessSpace, totals: Any, kept: Sequence[int], choice: Choice) -> Iterator[str]:
    """How much there is of everything."""
    page_size = space.tables.format.page_size
    yield f"process {space.pid}: {_sums(totals, page_size)}"
    if pages := [f"{name} {size_text(int(totals[name].sum()))}" for name in QUALITIES if totals[name].any()]:
        yield f"pages: {', '.join(pages)}"
    counts = count_tables(space, windows=space.tables.windows[:1])
    tables = ", ".join(f"{count:,} {level}" for level, count in counts.items())
    said = "" if space.page_table_bytes is None else f"{size_text(space.page_table_bytes)} (VmPTE); "
    yield f"page tables: {said}needed, as computed: {tables}"
    if choice.filters:
        yield f"filtered: {_sums(totals[list(kept)], page_size)}"
    if choice.top is not None and choice.top < len(kept):
        yield f"shown: {choice.top:,} of {_count(len(kept), 'VMA')}, by {choice.sort}"
    yield from _notes(space)


def _sums(totals: Any, page_size: int) -> str:
    """Totals of VMAs in a line."""
    columns = [column for column in COLUMNS if column.name != "shared" and totals[column.name].any()]
    parts = [f"{headed(column, page_size)} {size_text(int(totals[column.name].sum()))}" for column in columns]
    size = int((totals["end"] - totals["start"]).sum())
    return f"{_count(len(totals), 'VMA')}, {size_text(size)}" + (f": {', '.join(parts)}" if parts else "")


def _notes(space: ProcessSpace) -> Iterator[str]:
    """What else to know."""
    yield from (f"note: {note}" for note in space.notes)


def _malformed(findings: Sequence[TranslationError]) -> Iterator[str]:
    """That the tables are damaged."""
    if findings:
        yield f"note: {_count(len(findings), 'malformed entry', 'malformed entries')} passed over: {findings[0]}"


def _missing(headings: Sequence[str]) -> Iterator[str]:
    """That columns were left out."""
    if headings:
        yield f"left out, for want of room: {', '.join(headings)} (a wider terminal or a pipe has them)"


def _count(number: int, what: str, many: str = "") -> str:
    """``1 VMA``, ``2 VMAs``."""
    return f"{number:,} {what if number == 1 else many or f'{what}s'}"
