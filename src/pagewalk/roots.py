"""What a top table says of itself: whether it can be one, and whether it maps the page tables themselves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from pagewalk.errors import BadRoot
from pagewalk.formats import Kind
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
    held = list(_held(tables))
    if not held:
        return [f"the top table at {tables.root:#x} is empty: is that the root?"]
    again = [
        (_address(tables, level, slot), level.span)
        for level, slot, value in held
        if level.is_table(value) and level.frame(value) == tables.root
    ]
    many = [f"and {len(again) - _RECURSIONS:,} more slots point to the top table"] if len(again) > _RECURSIONS else []
    return [
        f"from {vaddr:#x} on, {span:#x} bytes show the page tables: a recursive slot, which points to the top table"
        for vaddr, span in again[:_RECURSIONS]
    ] + many


def _held(tables: PageTables) -> Iterator[tuple[Level, int, int]]:
    """The entries of the top table that are not empty: the level that they are of, the slot, the raw value."""
    top = tables.root_table
    for slot, value in enumerate(top.slots[at] for at in range(top.level.entries)):
        if not top.level.is_none(value):
            yield top.level, slot, value


def _verdict(tables: PageTables, level: Level, value: int) -> int:
    """What is to be said of an entry of the top table."""
    kind, memory = level.kind(value), tables.memory
    if kind is Kind.RESERVED or level.wrong(value):
        return _RESERVED
    if kind is Kind.OTHER:
        return _GOOD if level.may_be_leaf else _ABSENT
    if kind is not Kind.TABLE or not isinstance(memory, Flat):
        return _GOOD
    return _GOOD if _is_inside(memory, level, level.frame(value)) else _OUTSIDE


def _is_inside(memory: Flat, level: Level, paddr: int) -> bool:
    """Whether a table below an entry would be in the memory."""
    assert level.below is not None
    return memory.view(paddr, level.below.table_bytes) is not None


def _encryption(tables: PageTables) -> str:
    """What to say if all entries would be right but for one bit: it marks encrypted memory."""
    form, memory = tables.format, tables.memory
    named = [(level, level.frame(value)) for level, _, value in _held(tables) if level.is_table(value)]
    for bit in reversed(range(form.physical_bits)):
        plain = [(level, paddr & ~(1 << bit)) for level, paddr in named if paddr >> bit & 1]
        if len(plain) == len(named) and isinstance(memory, Flat) and all(_is_inside(memory, *at) for at in plain):
            return f"without bit {bit}, which all of them set, they would be inside: an encryption bit (SEV, TDX)? or "
    return ""


def _address(tables: PageTables, level: Level, slot: int) -> int:
    """The first address that a slot of the top table translates."""
    whole = 1 << level.shift + level.index_bits
    vaddrs = ((window.start & ~(whole - 1)) + (slot << level.shift) for window in tables.windows)
    return next(vaddr for vaddr, window in zip(vaddrs, tables.windows, strict=True) if window.holds(vaddr))
