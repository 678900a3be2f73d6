"""A paging format: what the hardware says about an entry, and the operating system's own part of it, as frozen data.

How it works. A format is a few ``Level``s, and a level is a few ``Row``s: an entry *is* the first row of its level that
it matches, and the row says the rest. Nothing outside ``formats/`` knows an architecture, a level's name or a bit.

To add an architecture, write one new file in ``hardware/``:

1. Its rows, level by level, the manual's section beside each: table, page, what is reserved. Say every bit.
2. Its windows: which addresses are translated, by which level first.
3. Where an operating system runs on it, that system's rows in ``os/``; else ``bare``.
4. Its registers, and its name in ``hardware/__init__.py``.
   The shape of its root pages, if they are to be found in bare memory.
5. Golden entries in ``tests/formats/golden``, a slow walker in ``tests/reference``, both from the manual. Then the
   suite runs on it: ``pagewalk.testing.check_format`` proves it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pagewalk.formats.bits import ANY, Pattern
from pagewalk.formats.flags import Kind
from pagewalk.formats.rows import Row
from pagewalk.formats.window import placed

if TYPE_CHECKING:
    from pagewalk.formats.invalidation import Invalidation
    from pagewalk.formats.level import Level
    from pagewalk.formats.root_page import RootPage
    from pagewalk.formats.window import Window
    from pagewalk.formats.word import Word

__all__ = ["PagingFormat"]


@dataclass(frozen=True, repr=False)
class PagingFormat:
    """What the hardware says, and the operating system's own layer on it.

    The methods that take an entry take one raw value, or a ``uint64`` array of them, and answer in kind. They ask the
    level: the last one unless said.

    Attributes:
        name: As ``--format`` spells it.
        word: An entry as it lies in memory.
        hardware: The levels that the hardware has, root first.
        windows: Which addresses are translated, and by which level first; their roots are 0.
        physical_bits: Width of a physical address.
        system: The operating system's layer, as ``--os`` spells it.
        memory_types: What the numbers of memory types stand for; empty where no register says so.
        root_page: By what its top tables are known in bare memory; None: nobody has said.
        tells_outside: Whether a fault at an address that no window has tells it.
        invalidation: How a CPU is told to forget translations; None: nobody has said.
    """

    name: str
    word: Word
    hardware: tuple[Level, ...]
    windows: tuple[Window, ...]
    physical_bits: int
    system: str
    memory_types: tuple[str, ...] = ()
    root_page: RootPage | None = None
    tells_outside: bool = True
    invalidation: Invalidation | None = None

    def __repr__(self) -> str:
        return f"<PagingFormat {self.name}: {len(self.real_levels)} levels, {self.physical_bits} physical bits>"

    def __hash__(self) -> int:
        return hash((self.name, self.physical_bits, self.system))

    def __getstate__(self) -> dict[str, Any]:
        """Its data; what was worked out from it is worked out again."""
        return {name: value for name, value in vars(self).items() if name in self.__dataclass_fields__}

    # -- levels and addresses ----------------------------------------------------------------------------------------

    def levels_of(self, window: Window) -> tuple[Level, ...]:
        """The kernel's five levels in a window, PGD to PTE."""
        key = window.level, window.bits, window.layered
        if key not in self._placed:
            self._placed[key] = placed(self.hardware if window.layered else self._without_layer, window)
        return self._placed[key]

    @cached_property
    def _placed(self) -> dict[tuple[int, int | None, bool], tuple[Level, ...]]:
        return {}

    @cached_property
    def _without_layer(self) -> tuple[Level, ...]:
        """The levels that the hardware has, in windows of which the operating system says nothing."""
        return tuple(_without_layer(level) for level in self.hardware)

    def head_of(self, window: Window) -> Level:
        """The first level of a window with the window's own entries only, as if they were a table: x86 has two in one.

        The level itself where those are not a power of two, or not aligned to that.
        """
        key = window.start, window.end, window.level, window.bits, window.layered
        if key not in self._heads:
            top, size = self.levels_of(window)[0], window.end - window.start
            bits = size.bit_length() - 1 - top.shift
            whole = size & (size - 1) or window.start % size or not 0 < bits < top.index_bits
            self._heads[key] = top if whole else replace(top, index_bits=bits)
        return self._heads[key]

    @cached_property
    def _heads(self) -> dict[tuple[int, int, int, int | None, bool], Level]:
        return {}

    @cached_property
    def has_one_root(self) -> bool:
        """Whether one top table translates all windows, each by slots of its own."""
        slots: set[int] = set()
        for window in self.windows:
            level = self.levels_of(window)[0]
            mine = range(level.index(window.start), level.index(window.end - 1) + 1)
            if not slots.isdisjoint(mine):
                return False
            slots.update(mine)
        return True

    @cached_property
    def levels(self) -> tuple[Level, ...]:
        """The kernel's five levels in the first window, PGD to PTE."""
        return self.levels_of(self.windows[0])

    @cached_property
    def real_levels(self) -> tuple[Level, ...]:
        """Those of them that the hardware has, root first."""
        return tuple(level for level in self.levels if not level.folded)

    @cached_property
    def last(self) -> Level:
        """The last level: that of the smallest pages."""
        return self.levels[-1]

    @cached_property
    def page_size(self) -> int:
        """Bytes in the smallest page."""
        return self.last.span

    @cached_property
    def page_sizes(self) -> tuple[int, ...]:
        """Every size a page can have, ascending."""
        return tuple(sorted({size for level in self.hardware for size in level.page_sizes}))

    def window_of(self, vaddr: int) -> Window | None:
        """The window that an address is of; None if it is of none."""
        return next((window for window in self.windows if window.holds(vaddr)), None)

    # -- looking at an entry -----------------------------------------------------------------------------------------

    def is_valid(self, entry: Any, level: Level | None = None) -> Any:
        """Whether the hardware takes the entry as present."""
        return (level or self.last).is_valid(entry)

    def is_none(self, entry: Any, level: Level | None = None) -> Any:
        """Whether the entry is empty, as the kernel's ``pte_none``."""
        return (level or self.last).is_none(entry)

    def is_present(self, entry: Any, level: Level | None = None) -> Any:
        """Whether a page or table is there for the kernel (``pte_present``): PROT_NONE counts."""
        kind = self.kind(entry, level)
        return (kind == Kind.PRESENT) | (kind == Kind.PROT_NONE) | (kind == Kind.TABLE)

    def is_table(self, entry: Any, level: Level) -> Any:
        """Whether an entry of this level points to a table."""
        return level.is_table(entry)

    def kind(self, entry: Any, level: Level | None = None) -> Any:
        """The ``Kind`` of an entry; of an array, numbers: shape (n,), uint8."""
        return (level or self.last).kind(entry)

    def flags(self, entry: Any, level: Level | None = None) -> Any:
        """``Flag`` bits of whatever the entry holds; of an array, shape (n,), uint32."""
        return (level or self.last).flags(entry)

    def frame(self, entry: Any, level: Level) -> Any:
        """The address of the frame that an entry names, page or not; ``NO_PADDR`` where it names none."""
        return level.frame(entry)

    @cached_property
    def guard_entry(self) -> int:
        """The raw entry of a guard marker (Linux 6.13).

        Raises:
            ValueError: The system has none.
        """
        return self.last.marked(Kind.GUARD.label)

    # -- making an entry ---------------------------------------------------------------------------------------------

    def table_entry(self, paddr: Any, level: Level | None = None) -> Any:
        """An entry that points to the table at ``paddr``, granting every right (the pages below decide)."""
        return (level or self.levels[0]).table(paddr)

    def leaf_entry(self, paddr: Any, flags: Any, level: Level | None = None) -> Any:
        """An entry that maps the page at ``paddr`` with ``flags``.

        Raises:
            ValueError: The level holds no page, or the address is misaligned or too wide.
        """
        return (level or self.last).page(paddr, flags)


_HARDWARE: Final = (Kind.TABLE, Kind.PRESENT, Kind.RESERVED)
"""Kinds of entries that the MMU takes."""


def _without_layer(level: Level) -> Level:
    """A level of which the operating system says nothing: what is neither empty nor for the MMU is *other*.

    Its fields in bits that are left to software are gone as well. The level itself where it is so anyway, or no one
    pattern tells what the MMU takes.
    """
    mask, value = level.codec.visible or ANY
    unseen = tuple(Pattern(place, place & ~value) for place in (1 << at for at in range(64)) if mask & place)
    empty, seen = ([row for row in level.rows if row.kind in kinds] for kinds in ((Kind.NONE,), _HARDWARE))
    if not unseen or len(empty) + len(seen) == len(level.rows):
        return level
    rows = (*empty, Row(Kind.OTHER, unseen), *map(_hardware_alone, seen))
    fresh: Any = {"rows": rows, "codec": None}
    return level if rows == level.rows else replace(level, **fresh)


def _hardware_alone(row: Row) -> Row:
    """A row without the operating system's fields: nobody looks at their bits."""
    system = sum(field.mask for field in row.fields if field.system)
    ignored = None if row.ignored is None else row.ignored | system
    return replace(row, fields=tuple(field for field in row.fields if not field.system), ignored=ignored)
