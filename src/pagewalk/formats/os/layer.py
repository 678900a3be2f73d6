"""What an operating system adds to a level: rows for what the MMU does not take, fields in bits left to software.

A hardware file says of each level what can stand there (a ``Place``); the layer answers with rows and fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from pagewalk.formats.bits import EVERY, Bits, Pattern
from pagewalk.formats.flags import Kind
from pagewalk.formats.rows import Row

if TYPE_CHECKING:
    from pagewalk.formats.fields import Field

__all__ = ["Layer", "Place", "bare"]


class Place(NamedTuple):
    """What an operating system's rows have to know of a level.

    Attributes:
        last: No table is below.
        pages: A page can stand here.
        frame: Where a page's address sits.
        fields: The hardware's own fields of a page.
        order: log2 of the entries of a group; 0 where there are none.
    """

    last: bool
    pages: bool
    frame: tuple[Bits, ...]
    fields: tuple[Field, ...]
    order: int = 0


Absent: TypeAlias = Callable[[Place], tuple[Row, ...]]


@dataclass(frozen=True)
class Layer:
    """An operating system's part of a format.

    Attributes:
        name: As ``--os`` spells it.
        absent: The rows of entries that the MMU does not take, that of empty ones first.
        state: Fields of a page in bits that the hardware leaves to software.
        user_only: Those rows and fields hold in the user's windows only; in the kernel's, what the MMU does not take is
            *other*, and bits that are left to software mean something else.
    """

    name: str
    absent: Absent
    state: tuple[Field, ...] = ()
    user_only: bool = False

    def __post_init__(self) -> None:
        """Say of its fields whose they are."""
        object.__setattr__(self, "state", tuple(replace(field, system=True) for field in self.state))

    @property
    def owned(self) -> int:
        """The bits of a page that are the operating system's."""
        return reduce(or_, (field.mask for field in self.state), 0)


def bare(valid: int) -> Layer:
    """No operating system: what is not valid is empty, or nobody knows what.

    Args:
        valid: The bit that makes an entry present.
    """
    rows = Row(Kind.NONE, (Pattern(EVERY, 0),)), Row(Kind.OTHER, (Pattern(valid, 0),))
    return Layer("none", lambda place: rows)
