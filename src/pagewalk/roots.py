"""What a top table says of itself: whether it can be one, and whether it maps the page tables themselves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from pagewalk.errors import BadRoot
from pagewalk.memory import Flat

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.formats import Level
    from pagewalk.tables import PageTables

__all__ = ["check_root", "notes_of"]

_GOOD, _OUTSIDE, _RESERVED, _ABSENT = range(4)
_RECURSIONS: Final = 4
"""Slots that are told one by one."""
_WRONG: Final = {
    _RESERVED: "set reserved bits",
    _ABSENT: "are neither present nor empty",
    _OUTSIDE: "point outside the memory",
}


def check_root(tables: PageTables) -> None:
    """Refuse a root that is hardly one: by its bits, its entries are mostly none of a top table, or none is right.

    Tables outside the memory alone are no reason while one is inside: of some images only a part is at hand.

    Raises:
        BadRoot: The message says what is wrong with the entries, and the likely causes.
    """
    verdicts = [_verdict(tables, level, value) for level, _, value in _held(tables)]
    count = Counter(verdicts)
    odd = count[_RESERVED] + count[_ABSENT]
    if not verdicts or (count[_GOOD] and 2 * odd <= len(verdicts)):
        return
    wrong = ", ".join(f"{count[what]} {words}" for what, words in _WRONG.items() if count[what])
    hint = _encryption(tables) if count[_OUTSIDE] == len(verdicts) else ""
    causes = f"{hint}is the root wrong, the base, or the format ({tables.format.name})?"
    raise BadRoot(
        tables.root, f"is hardly a top table: of {len(verdicts)} entries that are not empty, {wrong}: {causes}"
    )


def notes_of(tables: PageTables) -> list[str]:
    """What is legal, and good to know, of a top table: it is empty, or has slots that show the page tables themselves.

    Raises:
        BadRoot: The root is outside the memory.
    """
    form, held = tables.format, list(_held(tables))
    if not held:
        return [f"the top table at {tables.root:#x} is empty: is that the root?"]
    again = [
        (_address(tables, level, slot), level.span)
        for level, slot, value in held
        if form.is_table(value, level) and form.table_paddr(value) == tables.root
    ]
    many = [f"and {len(again) - _RECURSIONS:,} more slots point to the top table"] if len(again) > _RECURSIONS else []
    return [
        f"from {vaddr:#x} on, {span:#x} bytes show the page tables: a recursive slot, which points to the top table"
        for vaddr, span in again[:_RECURSIONS]
    ] + many


def _held(tables: PageTables) -> Iterator[tuple[Level, int, int]]:
    """The entries of the top table that are not empty: the level that they are of, the slot, the raw value."""
    form = tables.format
    top = tables.root_table
    level = next(level for level in form.levels if not form.folds_into_next(level))
    for slot in range(top.level.entries):
        value = top.slots[slot]
        if not form.is_none(value):
            yield level, slot, value


def _verdict(tables: PageTables, level: Level, value: int) -> int:
    """What is to be said of an entry of the top table."""
    form, memory = tables.format, tables.memory
    if not form.is_valid(value):
        return _GOOD if level.may_be_leaf else _ABSENT
    if form.reserved(value, level):
        return _RESERVED
    if not form.is_table(value, level) or not isinstance(memory, Flat):
        return _GOOD
    return _GOOD if _is_inside(memory, tables, form.table_paddr(value)) else _OUTSIDE


def _is_inside(memory: Flat, tables: PageTables, paddr: int) -> bool:
    """Whether a table at an address would be in the memory."""
    return memory.view(paddr, tables.format.page_size) is not None


def _encryption(tables: PageTables) -> str:
    """What to say if all entries would be right but for one bit: it marks encrypted memory."""
    form, memory = tables.format, tables.memory
    paddrs = [form.table_paddr(value) for level, _, value in _held(tables) if form.is_table(value, level)]
    for bit in reversed(range(form.physical_bits)):
        plain = [paddr & ~(1 << bit) for paddr in paddrs if paddr >> bit & 1]
        if (
            len(plain) == len(paddrs)
            and isinstance(memory, Flat)
            and all(_is_inside(memory, tables, at) for at in plain)
        ):
            return f"without bit {bit}, which all of them set, they would be inside: an encryption bit (SEV, TDX)? or "
    return ""


def _address(tables: PageTables, level: Level, slot: int) -> int:
    """The first address that a slot of the top table translates."""
    (_, low), (high, _) = tables.format.halves
    vaddr = slot << level.shift
    return vaddr if vaddr < low else vaddr - low + high
