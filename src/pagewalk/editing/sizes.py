"""Operations that change the size of pages and nothing else: split, and merge, its reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.editing.draft import PAGES, page_bytes
from pagewalk.errors import EditError, UnsupportedError
from pagewalk.formats import Flag, Level, joined
from pagewalk.tables.groups import standing_alone

if TYPE_CHECKING:
    from pagewalk.editing.draft import Draft
    from pagewalk.formats import Row
    from pagewalk.tables import Entry

__all__ = ["merge", "split"]

_SEEN = Flag.ACCESSED | Flag.DIRTY


def split(draft: Draft, span: tuple[int, int], page_size: int | None) -> None:
    """Make the pages of a range smaller.

    Args:
        draft: What is changed.
        span: The range's start and end; pages that reach out of it are split as well.
        page_size: Bytes that a page shall have at most; None: each page is split once.

    Raises:
        EditError: No page there is larger.
        UnsupportedError: The format has no pages of that size.
        OutOfFrames: No frame for a table.
    """
    sizes = draft.tables.format.page_sizes
    if page_size is not None and page_size not in sizes:
        raise UnsupportedError(
            f"{draft.tables.format.name} has no pages of {page_size:#x} bytes: it has {_text(sizes)}"
        )
    larger = _larger(draft, span, page_size)
    if not larger:
        what = "can be split" if page_size is None else f"is larger than {page_size:#x} bytes"
        raise EditError(f"no page in [{span[0]:#x}, {span[1]:#x}) {what}", span[0])
    while larger:
        for entry, vaddr, size in larger:
            if entry.is_leaf and page_bytes(entry.level, entry.value) == size:  # not split with others of its group
                draft.divide_entry(entry, vaddr)
        larger = [] if page_size is None else _larger(draft, span, page_size)


def _larger(draft: Draft, span: tuple[int, int], page_size: int | None) -> list[tuple[Entry, int, int]]:
    """The pages that are to be split: each of their entries, its address, and the page's size."""
    least = draft.tables.format.page_size if page_size is None else page_size
    found = []
    for slots in draft.slots(*span):
        pages = slots.of(PAGES)
        if not len(pages) or pages.level.page_sizes[-1] <= least:
            continue
        sizes = [page_bytes(pages.level, entry) for entry in pages.entries.tolist()]
        vaddrs = pages.vaddrs.tolist()
        found += [(draft.entry(pages, at), vaddrs[at], size) for at, size in enumerate(sizes) if size > least]
    return found


def merge(draft: Draft, span: tuple[int, int], page_size: int | None) -> list[int]:
    """Make one page out of many that follow each other and say the same; what they say of accessed and dirty, it says.

    Args:
        draft: What is changed.
        span: The range's start and end, whole pages of the new size.
        page_size: Bytes of the new pages; None: the next larger size than each has.

    Returns:
        Where the tables are that were unlinked.

    Raises:
        EditError: Pages there do not follow each other, do not say the same, or are not all there.
        UnsupportedError: The format has no pages of that size.
    """
    start, end = span
    freed: list[int] = []
    level, order = _target(draft, start, page_size)
    size = level.span << order
    if (start | end) % size:
        raise EditError(f"[{start:#x}, {end:#x}) is not whole pages of {size:#x} bytes", start)
    for vaddr in range(start, end, size):
        if order:
            _join_group(draft, vaddr, level, order)
        else:
            freed += _join_table(draft, vaddr, level)
    return freed


def _target(draft: Draft, vaddr: int, page_size: int | None) -> tuple[Level, int]:
    """The level of the new pages, and log2 of the entries that one spans."""
    form = draft.tables.format
    if page_size is None:
        (*_, entry) = draft.tables.steps(vaddr)
        now = page_bytes(entry.level, entry.value) if entry.is_leaf else form.page_size
        page_size = next((size for size in form.page_sizes if size > now), None)
        if page_size is None:
            raise EditError(f"pages of {now:#x} bytes are the largest that {form.name} has", vaddr)
    for level in draft.tables.format.levels_of(draft.tables.window_of(vaddr)):
        if not level.folded and page_size in level.page_sizes:
            return level, (page_size >> level.shift).bit_length() - 1
    raise UnsupportedError(f"{form.name} has no pages of {page_size:#x} bytes: it has {_text(form.page_sizes)}")


def _at(draft: Draft, vaddr: int, level: Level) -> Entry:
    """The entry of a level for an address.

    Raises:
        EditError: A page above covers it, or nothing does.
    """
    for entry in draft.tables.steps(vaddr):
        if entry.level.shift == level.shift:
            return entry
    raise EditError(f"{entry.kind.label} stands above: there is nothing to merge", vaddr)


def _join_table(draft: Draft, vaddr: int, level: Level) -> list[int]:
    """Make one page out of a full table; the table, and those of groups that were unfolded first."""
    entry, below = _at(draft, vaddr, level), level.beneath
    if below is None or not entry.is_table:
        raise EditError(f"the {level.real_name} entry is {entry.name}: only the pages of a table become one", vaddr)
    frame = int(level.frame(entry.value))
    table = draft.tables.table_at(frame, below)
    alone = [_alone(below, table.slots, at) for at in range(below.entries)]
    row = level.codec.row(below.decode(alone[0]).row.name)
    if row is None or below.decode(alone[0]).kind not in PAGES:
        raise EditError(f"the {below.real_name} entry {alone[0]:#x} is none of a page that could be larger", vaddr)
    made = _enlarged(below, alone, level, row, vaddr)
    first, step = level.split(made)
    seen = below.decode(first).flags & _SEEN
    for at, value in enumerate(alone):
        if below.with_flags(value, seen) != first + step * at & below.word.mask:
            raise _breaks_off(value, alone[0], vaddr + at * below.span)
    entry.value = made
    return [frame]


def _alone(level: Level, slots: object, index: int) -> int:
    """A slot's entry as it would stand alone."""
    value: int = slots[index]  # type: ignore[index]
    return standing_alone(level, slots, index)[index] if level.decode(value).row.order else value  # type: ignore[arg-type]


def _enlarged(below: Level, alone: list[int], level: Level, row: Row, vaddr: int) -> int:
    """The larger page's entry, by the first of the smaller ones.

    Raises:
        EditError: Its frame is not aligned for it.
    """
    small = below.decode(alone[0]).row
    frame = joined(small.address, alone[0])
    if frame & ~row.reach:
        raise EditError(f"its frame {frame:#x} is not aligned to pages of {level.span:#x} bytes", vaddr)
    seen = _seen(below, alone)
    return int(level.with_flags(level.codec.converted(int(below.with_flags(alone[0], seen)), small, row, frame), seen))


def _join_group(draft: Draft, vaddr: int, level: Level, order: int) -> None:
    """Make entries that stand alone one group."""
    entry = _at(draft, vaddr, level)
    slots, first = entry.table.slots, entry.index
    values = [slots[first + at] for at in range(1 << order)]
    seen = _seen(level, values)
    alone = [int(level.with_flags(value, seen)) for value in values]
    own = level.decode(alone[0]).row
    group = next((row for row in level.codec.rows if row.order == order and row.kind is own.kind), None)
    if group is None or own.order or own.kind not in PAGES:
        raise EditError(f"the {level.real_name} entry {values[0]:#x} is none of a page that could be larger", vaddr)
    frame = joined(own.address, alone[0])
    if frame % (level.span << order):
        raise EditError(f"its frame {frame:#x} is not aligned to pages of {level.span << order:#x} bytes", vaddr)
    grouped = []
    for at, value in enumerate(alone):
        part = frame + at * level.span
        grouped.append(int(level.codec.converted(alone[0], own, group, part)))
        if level.alone(grouped[-1], vaddr + at * level.span) != value:
            raise _breaks_off(values[at], values[0], vaddr + at * level.span)
    for at, value in enumerate(grouped):
        slots[first + at] = value


def _seen(level: Level, values: list[int]) -> Flag:
    """What any of some entries says of accessed and dirty."""
    seen = Flag(0)
    for value in values:
        seen |= level.decode(value).flags & _SEEN
    return seen


def _breaks_off(value: int, first: int, vaddr: int) -> EditError:
    """The error for an entry that says something else than those before it."""
    return EditError(f"its entry {value:#x} does not go on what the first, {first:#x}, begins", vaddr)


def _text(sizes: tuple[int, ...]) -> str:
    """Sizes, for messages."""
    return ", ".join(f"{size:#x}" for size in sizes)
