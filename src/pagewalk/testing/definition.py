"""What a format's rows must keep to, by themselves: whatever an entry holds, one row answers for it, and for every bit.

Patterns are compared as sets of entries: nothing here is drawn at random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.formats import ENCRYPTED, Kind, Pattern, Window
from pagewalk.formats.bits import left_over, run
from pagewalk.formats.fields import SWAP_TYPE

if TYPE_CHECKING:
    from pagewalk.formats import Level, PagingFormat, Row

__all__ = ["check_definition", "deepest", "every_level", "real_levels"]

_PAGES = (Kind.PRESENT, Kind.PROT_NONE)


def real_levels(form: PagingFormat, *, layered: bool = True) -> list[Level]:
    """Every level once, those that only other windows than the format's own have, too.

    Args:
        form: The format.
        layered: As they are where the operating system's rows hold; else as they are in windows where these do not.
    """
    windows = (Window(0, 0, layered=layered), *(window for window in form.windows if window.layered is layered))
    levels = {level.shift: level for window in windows for level in form.levels_of(window) if not level.folded}
    return [levels[shift] for shift in sorted(levels, reverse=True)]


def every_level(form: PagingFormat) -> list[Level]:
    """Every level, twice where windows differ in what the operating system says in them."""
    kinds = sorted({window.layered for window in form.windows} | {True}, reverse=True)
    return [level for layered in kinds for level in real_levels(form, layered=layered)]


def deepest(level: Level) -> Level:
    """Of the levels that show the same entries, the one above other entries: where a page is split."""
    while level.below is not None and level.below.folded:
        level = level.below
    return level


def check_definition(form: PagingFormat) -> None:
    """Check the rows of every level.

    Raises:
        AssertionError: They break a promise.
    """
    for level in every_level(form):
        where = f"{form.name}, {level.manual}"
        _rows_do_not_cross(where, level)
        _every_entry_has_a_row(where, level)
        _every_row_has_entries(where, level)
        for row in level.codec.rows:
            _every_bit_is_accounted_for(f"{where}, row {row.name}", form, row)
        _kinds_are_complete(where, level)
        _swap_has_slots(where, level)
        _addresses_fit(where, form, level)


def _rows_do_not_cross(where: str, level: Level) -> None:
    """Of two rows, the earlier lies inside the later, or they share nothing."""
    for at, low in enumerate(level.codec.rows):
        for high in level.codec.rows[at + 1 :]:
            for pattern in low.when:
                shared = next((other for other in high.when if other.meets(pattern)), None)
                outside = left_over(high.when, pattern)
                if shared is not None and outside is not None:
                    both, only = pattern.both(shared).value, outside.value
                    raise AssertionError(
                        f"{where}: rows {low.name} and {high.name} both claim {both:#x}, and {low.name}, the earlier, "
                        f"is no special case of {high.name}: it has {only:#x} as well"
                    )


def _every_entry_has_a_row(where: str, level: Level) -> None:
    patterns = [pattern for row in level.codec.rows for pattern in row.when]
    missing = left_over(patterns, _whole(level))
    if missing is not None:
        raise AssertionError(f"{where}: no row claims {missing.value:#x} (bits {missing.mask:#x} of it matter)")


def _whole(level: Level) -> Pattern:
    """Every entry as wide as the level's word."""
    return Pattern(((1 << 64) - 1) ^ level.word.mask, 0)


def _every_row_has_entries(where: str, level: Level) -> None:
    before: list[Pattern] = []
    for row in level.codec.rows:
        for pattern in row.when:
            if left_over(before, pattern) is None:
                raise AssertionError(
                    f"{where}: row {row.name} never matches {pattern.value:#x} in bits {pattern.mask:#x}: "
                    "the rows before it claim all of that"
                )
        before += row.when


def _every_bit_is_accounted_for(where: str, form: PagingFormat, row: Row) -> None:
    """A bit means something, must have a value, or is said to be ignored."""
    if row.ignored is None:
        if row.kind in (Kind.TABLE, Kind.PRESENT):
            raise AssertionError(f"{where}: say which bits nobody looks at (left are {_free(form, row):#x})")
        return
    if forgotten := _free(form, row) & ~row.ignored:
        raise AssertionError(f"{where}: bits {forgotten:#x} mean nothing, and are not said to be ignored")
    if twice := row.claimed & row.ignored:
        raise AssertionError(f"{where}: bits {twice:#x} are said to be ignored, and mean something")
    addresses = row.must.mask & row.address_bits
    if addresses:
        raise AssertionError(f"{where}: bits {addresses:#x} hold the address, and must have a value as well")


def _free(form: PagingFormat, row: Row) -> int:
    return form.word.mask & ~row.claimed


def _kinds_are_complete(where: str, level: Level) -> None:
    """An empty entry everywhere, tables above the last level, pages at it; what can be split has what it becomes."""
    kinds = {row.kind for row in level.codec.rows}
    needed = {Kind.NONE, Kind.PRESENT if level.is_last else Kind.TABLE}
    if lacking := needed - kinds:
        raise AssertionError(f"{where}: no row is {', '.join(sorted(kind.label for kind in lacking))}")
    if level.is_last and Kind.TABLE in kinds:
        raise AssertionError(f"{where}: the last level has a row for tables, and no level below")
    for row in level.codec.rows:
        below = deepest(level).below
        canonical = row.kind in _PAGES and row.name == row.kind.label and not row.order
        if canonical and below is not None and below.may_be_leaf and below.codec.row(row.name) is None:
            raise AssertionError(f"{where}: a page of row {row.name} cannot be split: {below.manual} has no such row")


def _swap_has_slots(where: str, level: Level) -> None:
    """An entry of swap says which device, and where on it."""
    for row in level.codec.rows:
        if row.kind is Kind.SWAP and not (row.address and row.field(SWAP_TYPE)):
            raise AssertionError(f"{where}, row {row.name}: swap needs an address and a field {SWAP_TYPE!r}")


def _addresses_fit(where: str, form: PagingFormat, level: Level) -> None:
    """Pages name whole pages, tables whole tables, and none more than a physical address has."""
    for row in level.codec.rows:
        if row.kind not in (*_PAGES, Kind.TABLE):
            continue
        _parts_are_apart(f"{where}, row {row.name}", row)
        if row.reach >> form.physical_bits and row.kind is not Kind.PROT_NONE:
            raise AssertionError(f"{where}, row {row.name}: its address has bits {row.reach:#x}: too wide")
        if row.kind is Kind.TABLE:
            continue
        marked = row.field(ENCRYPTED)
        wanted = run(form.physical_bits - 1, level.shift) & ~(marked.mask if marked else 0)
        held = wanted & form.word.mask  # what a word has room for that holds the address as it is
        given = run(level.shift + row.order - 1, level.shift)  # what a group may take from the virtual address
        if row.reach & wanted not in (wanted, wanted & ~given, held):
            why = f"its address has bits {row.reach:#x}, a page's are {wanted:#x}"
            raise AssertionError(f"{where}, row {row.name}: {why}")


def _parts_are_apart(where: str, row: Row) -> None:
    """No bit of the entry, and none of the address, is in two parts."""
    for at, part in enumerate(row.address):
        for other in row.address[at + 1 :]:
            if part.mask & other.mask or part.reach & other.reach:
                raise AssertionError(f"{where}: two parts of the address share bits {part.mask & other.mask:#x}")
