"""Rights, state, a memory type, a key: what the value of some bits of an entry means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pagewalk.formats.bits import Pattern, left_over
from pagewalk.formats.flags import Flag, Rights, flags_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ENCRYPTED", "KEY", "MEMORY", "RIGHTS", "SWAP_TYPE", "Field", "Meaning", "flag", "number"]

Meaning: TypeAlias = Flag | Rights | int

_RIGHTS: Final = int(Flag.rights())

RIGHTS, MEMORY, KEY, SWAP_TYPE, ENCRYPTED = "rights", "memory", "key", "type", "encrypted"
"""Fields that pagewalk asks for by name. Each of these names has one sense, whatever the format."""


@dataclass(frozen=True)
class Field:
    """Some bits of an entry, and what each value of them means.

    Attributes:
        name: What it is called; the same field has the same name in every row.
        mask: The bits.
        meanings: ``(bits, meaning)``: rights, flags, or a number. The first one is written unasked, and of several bits
            with one meaning the first are. Without meanings the bits, one run of them, are a number.
        strict: A value without a meaning is a reserved encoding.
        derived: Read off bits that other fields own, and never written.
        names: What the manual calls its bits, each with its mask; where they have names of their own.
        system: It is the operating system's, in a bit left to software: of no account where its rows do not hold.
    """

    name: str
    mask: int
    meanings: tuple[tuple[int, Meaning], ...] = ()
    strict: bool = False
    derived: bool = False
    names: tuple[tuple[int, str], ...] = ()
    system: bool = False

    @cached_property
    def lowest(self) -> int:
        """Where its lowest bit is."""
        return (self.mask & -self.mask).bit_length() - 1

    @cached_property
    def known(self) -> dict[int, Meaning]:
        """The meaning of each value."""
        return dict(self.meanings)

    @cached_property
    def written(self) -> dict[Meaning, int]:
        """How each meaning is written."""
        return {meaning: bits for bits, meaning in reversed(self.meanings)}

    @cached_property
    def flags(self) -> Flag:
        """Every flag that it can hold."""
        found = Flag(0)
        for _, meaning in self.meanings:
            found |= meaning if isinstance(meaning, Flag) else 0
        return found

    def get(self, entry: int) -> Meaning | None:
        """What an entry says; None if the value means nothing."""
        bits = entry & self.mask
        return self.known.get(bits) if self.meanings else bits >> self.lowest

    def put(self, meaning: Any) -> Any:
        """The bits of a meaning; of a number, an array of numbers as well."""
        return self.written[meaning] if self.meanings else meaning << self.lowest & self.mask

    def in_the_way(self, entry: int, right: Rights) -> int:
        """The bits of an entry that withhold a right: the fewest that would have to be otherwise."""
        changes = ((bits ^ entry) & self.mask for bits, meaning in self.meanings if int(meaning) & right)
        return min(changes, key=lambda change: (change.bit_count(), change), default=0)

    @cached_property
    def by_rights(self) -> tuple[int, ...]:
        """How a field of rights writes each set of READ, WRITE, EXEC and USER: as nearly as it can."""

        def distance(wanted: int, meaning: Meaning) -> tuple[int, int]:
            has = int(flags_of(int(meaning)))
            return (wanted & ~has).bit_count(), (has & ~wanted).bit_count()

        return tuple(min(self.meanings, key=lambda one: distance(wanted, one[1]))[0] for wanted in range(16))

    def said(self, flags: int) -> int:
        """The bits that say these flags, as far as the field can."""
        if self.name == RIGHTS:
            return self.by_rights[flags & _RIGHTS]
        wanted = flags & self._asked
        return self.written.get(wanted, self.unasked) if wanted else self.unasked

    @cached_property
    def _asked(self) -> int:
        """The flags that it can hold, as a plain number: an enum takes its time."""
        return int(self.flags)

    @property
    def unasked(self) -> int:
        """The bits that are written where nothing is said."""
        return self.meanings[0][0] if self.meanings else 0

    def settled(self, among: Sequence[Pattern], before: Sequence[Pattern]) -> Field:
        """The field without the meanings that no entry has which matches ``among`` and nothing of ``before``."""

        def possible(bits: int) -> bool:
            value = Pattern(self.mask, bits)
            return any(left_over(before, one.both(value)) is not None for one in among if one.meets(value))

        return replace(self, meanings=tuple(one for one in self.meanings if possible(one[0])))


def flag(name: str, place: int, means: Flag, *, clear: bool = False) -> Field:
    """A flag and the bit that holds it; ``clear`` when the bit takes the flag away."""
    on, off = (0, 1 << place) if clear else (1 << place, 0)
    return Field(name, 1 << place, ((off, Flag(0)), (on, means)))


def number(name: str, high: int, low: int) -> Field:
    """A number in one run of bits."""
    return Field(name, (1 << high + 1) - (1 << low))
