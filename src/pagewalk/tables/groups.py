"""Groups of entries that the hardware may hold as one: contiguous entries of arm64, NAPOT pages of RISC-V.

None of a group may change alone: a TLB may hold the page that all of them are. So a group is *unfolded* first, as the
kernel does it (``arch/arm64/mm/contpte.c: contpte_convert``, 6.9): every entry is emptied, and only then does each get
a page of its own (break before make: Arm ARM D8.16.1). Who changes a running machine's tables flushes in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pagewalk.formats import Flag

if TYPE_CHECKING:
    from pagewalk.formats import Level

__all__ = ["Slots", "standing_alone", "unfold"]


class Slots(Protocol):
    """The raw values of a table."""

    def __getitem__(self, index: int, /) -> int: ...
    def __setitem__(self, index: int, value: int, /) -> None: ...


def standing_alone(level: Level, slots: Slots, index: int) -> dict[int, int]:
    """The entries of a slot's group, by slot, as each would stand alone; empty where the slot is of none.

    What one of them says of accessed and dirty it says for all of them, so each says it.
    """
    order = level.decode(slots[index]).row.order
    if not order:
        return {}
    first = index >> order << order
    folded = {at: slots[at] for at in range(first, first + (1 << order))}
    folded = {at: value for at, value in folded.items() if level.decode(value).row.order == order}
    seen = Flag(0)
    for value in folded.values():
        seen |= level.decode(value).flags & (Flag.ACCESSED | Flag.DIRTY)
    return {at: level.with_flags(level.alone(value, (at - first) << level.shift), seen) for at, value in folded.items()}


def unfold(level: Level, slots: Slots, index: int) -> None:
    """Let each page of the group that a slot is of stand alone, if it is of one. Changes the memory.

    Args:
        level: The table's level.
        slots: Its slots. If one cannot be written, those that were are as they were before.
        index: The slot.
    """
    alone = standing_alone(level, slots, index)
    folded = {at: slots[at] for at in alone}
    try:
        for at in alone:
            slots[at] = level.none
        for at, value in alone.items():
            slots[at] = value
    except BaseException:
        for at, value in folded.items():
            slots[at] = value
        raise
