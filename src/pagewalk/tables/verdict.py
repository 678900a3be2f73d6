"""Whether an access to a page goes through, and what decides: bits of entries on the way, or of a register."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pagewalk.formats import Rights
from pagewalk.formats.access import right_of
from pagewalk.formats.fields import RIGHTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagewalk.formats import Window
    from pagewalk.formats.access import AccessRule
    from pagewalk.tables.table import Entry

__all__ = ["BitName", "Verdict", "Withheld", "judge", "withheld"]


class BitName(NamedTuple):
    """A bit of an entry.

    Attributes:
        name: What the manual calls it.
        place: Its number.
        is_set: Whether it is set.
    """

    name: str
    place: int
    is_set: bool


class Withheld(NamedTuple):
    """Rights that one entry withholds.

    Attributes:
        entry: The entry.
        rights: The rights.
        bits: By which of its bits.
    """

    entry: Entry
    rights: Rights
    bits: tuple[BitName, ...]


class Verdict(NamedTuple):
    """What became of an access.

    Attributes:
        access: Who does what.
        allowed: Whether it goes through.
        rule: The rule that decides; None: the entries' own rights do.
        by: The entries that withhold the right, where they decide: root first.
    """

    access: str
    allowed: bool
    rule: AccessRule | None
    by: tuple[Withheld, ...]


def judge(entries: Sequence[Entry], access: str, window: Window) -> Verdict:
    """Whether an access goes through.

    Args:
        entries: The entries on the way to a page that is there, root first.
        access: Who does what, such as ``user-write``.
        window: The window that the address is of.

    Raises:
        ValueError: There is no such access.
    """
    right, rights = right_of(access), int(Rights.all())
    if (barred := window.bars(right)) is not None:
        return Verdict(access, False, barred, ())
    for entry in entries:
        rights &= entry.level.decode(entry.value).rights
    level = entries[-1].level
    page = level.decode(entries[-1].value)
    allowed, rule = level.codec.access.decide(right, rights, page.key, page.flags)
    found = () if allowed or rule else tuple(one for entry in entries if (one := withheld(entry, right)))
    return Verdict(access, allowed, rule, found)


def withheld(entry: Entry, asked: Rights) -> Withheld | None:
    """Which of some rights an entry withholds, and by which bits; None: none."""
    value, level = entry.value, entry.level
    found = level.decode(value)
    rights = Rights(asked & ~found.rights)
    if not rights:
        return None
    field, mask = found.row.field(RIGHTS), 0
    for right in rights:
        mask |= 0 if field is None else field.in_the_way(value, right)
    names = () if field is None else tuple(one for one in field.names if one[0] & mask)
    bits = (BitName(name, place.bit_length() - 1, bool(value & place)) for place, name in names)
    return Withheld(entry, rights, tuple(bits))
