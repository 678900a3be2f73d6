"""What top tables say of themselves: whether they can be such, and whether they map the page tables themselves."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.errors import BadRoot
from pagewalk.formats import Kind, encryption_bits
from pagewalk.memory import is_flat
from pagewalk.sources.likeness import more_like

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.formats import Level, Window
    from pagewalk.memory import Flat
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


class _Top(NamedTuple):
    """A top table.

    Attributes:
        root: Its address.
        level: Its level.
        windows: The windows that it translates.
        held: Its entries that are not empty: the slot, the raw value.
    """

    root: int
    level: Level
    windows: tuple[Window, ...]
    held: tuple[tuple[int, int], ...]


def check_root(tables: PageTables) -> None:
    """Refuse a root that is hardly one: by its bits, its entries are mostly none of a top table, or none is right.

    Tables outside the memory alone are no reason while one is inside: of some images only a part is at hand. But
    tables are that look like those of another format, and hardly like those of this one.

    Raises:
        BadRoot: The message says what is wrong with the entries, and the likely causes.
    """
    for top in _tops(tables):
        _check(tables, top)


def notes_of(tables: PageTables) -> list[str]:
    """What is legal, and good to know, of top tables: one is empty, or has slots that show the page tables themselves.

    Raises:
        BadRoot: A root is outside the memory.
    """
    return [note for top in _tops(tables) for note in _notes(top)]


def _tops(tables: PageTables) -> Iterator[_Top]:
    """Each top table once, however many windows it translates."""
    shared: dict[tuple[int, int, int | None], list[Window]] = {}
    for window in tables.windows:
        shared.setdefault((window.root, window.level, window.bits), []).append(window)
    for windows in shared.values():
        table = tables.top(windows[0])
        table.keep()
        words = ((slot, table.slots[slot]) for slot in range(table.level.entries))
        held = tuple((slot, word) for slot, word in words if not table.level.is_none(word))
        yield _Top(table.paddr, table.level, tuple(windows), held)


def _check(tables: PageTables, top: _Top) -> None:
    """Refuse one that is hardly a top table."""
    verdicts = [_verdict(tables, top.level, value) for _, value in top.held]
    count = Counter(verdicts)
    odd = count[_RESERVED] + count[_ABSENT]
    other = more_like(tables.memory, tables.format, top.windows[0]) if is_flat(tables.memory) else ""
    if not verdicts or (count[_GOOD] and 2 * odd <= len(verdicts)):
        if other:
            raise BadRoot(top.root, f"is hardly a top table: {other}")
        return
    wrong = ", ".join(f"{count[what]} {words}" for what, words in _WRONG.items() if count[what])
    hint = _encryption(tables, top) if count[_OUTSIDE] == len(verdicts) else ""
    causes = f"{other} or {hint}" if other else hint
    causes += f"is the root wrong, the base, or the format ({tables.format.name})?"
    raise BadRoot(top.root, f"is hardly a top table: of {len(verdicts)} entries that are not empty, {wrong}: {causes}")


def _notes(top: _Top) -> list[str]:
    """What to know of a top table."""
    level, root = top.level, top.root
    if not top.held:
        return [f"the top table at {root:#x} is empty: is that the root?"]
    slots = [slot for slot, value in top.held if level.is_table(value) and level.frame(value) == root]
    again = [vaddr for slot in slots for vaddr in _addresses(top, slot)]
    many = [f"and {len(again) - _RECURSIONS:,} more slots point to the top table"] if len(again) > _RECURSIONS else []
    what = f"on, {level.span:#x} bytes show the page tables: a recursive slot, which points to the top table"
    return [f"from {vaddr:#x} {what}" for vaddr in again[:_RECURSIONS]] + many


def _verdict(tables: PageTables, level: Level, value: int) -> int:
    """What is to be said of an entry of the top table."""
    kind, memory = level.kind(value), tables.memory
    if kind is Kind.RESERVED or level.wrong(value):
        return _RESERVED
    if kind is Kind.OTHER:
        return _GOOD if level.may_be_leaf else _ABSENT
    if kind is not Kind.TABLE or not is_flat(memory):
        return _GOOD
    return _GOOD if _is_inside(memory, level, level.frame(value)) else _OUTSIDE


def _is_inside(memory: Flat, level: Level, paddr: int) -> bool:
    """Whether a table below an entry would be in the memory."""
    assert level.below is not None
    return memory.view(paddr, level.below.table_bytes) is not None


def _encryption(tables: PageTables, top: _Top) -> str:
    """What to say if all entries would be right but for one bit: it marks encrypted memory."""
    form, memory, level = tables.format, tables.memory, top.level
    named = [level.frame(value) for _, value in top.held if level.is_table(value)]
    for bit in reversed(encryption_bits(form)):
        plain = [paddr & ~(1 << bit) for paddr in named if paddr >> bit & 1]
        if len(plain) == len(named) and is_flat(memory) and all(_is_inside(memory, level, at) for at in plain):
            what = f"an encryption bit (SEV, TDX: --encryption-bit {bit})"
            return f"without bit {bit}, which all of them set, they would be inside: {what}? or "
    return ""


def _addresses(top: _Top, slot: int) -> Iterator[int]:
    """The first address that a slot translates, in the window that has it."""
    whole = 1 << top.level.shift + top.level.index_bits
    for window in top.windows:
        vaddr = (window.start & ~(whole - 1)) + (slot << top.level.shift)
        if window.start <= vaddr < window.end:
            yield vaddr
