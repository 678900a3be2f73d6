"""Which rows are wanted: tested on states before addresses are worked out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pagewalk.doors import integer, integers
from pagewalk.formats import NO_PADDR, Flag, Kind
from pagewalk.formats.codec import KIND_SHIFT, KINDS

if TYPE_CHECKING:
    from collections.abc import Collection

    import numpy.typing as npt

    from pagewalk.formats import Level
    from pagewalk.formats.arrays import States

    Words = npt.NDArray[np.uint64]
    Mask = npt.NDArray[np.bool_]

__all__ = ["Filter"]

_OF_ROWS: Final = int(Flag.REPEATED | Flag.OUTSIDE)


def _flags_of(value: Any, what: str) -> int:
    """``Flag`` bits.

    Raises:
        TypeError, ValueError: It is none.
    """
    bits = integer(value, what)
    if bits >> 32:
        raise ValueError(f"{what} takes Flag bits, not {bits:#x}")
    return bits


def _range_of(start: Any, end: Any) -> tuple[int, int]:
    """A physical range.

    Raises:
        TypeError, ValueError: It is none.
    """
    start, end = integers(start=start, end=end)
    if not 0 <= start < end:
        raise ValueError(f"not a physical range: [{start:#x}, {end:#x})")
    return start, end


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Only the entries that pass every test.

    Attributes:
        having: ``Flag`` bits that must all be set (effective rights).
        lacking: ``Flag`` bits that must all be clear.
        kinds: Kinds that pass; None: all.
        page_sizes: Page sizes in bytes that pass; None: all.
        frames: ``(start, end)`` in bytes: pages that lie in it, in part at least; None: all. What has no frame, fails.

    Raises:
        ValueError: No entry could pass: a flag is asked for and against, or is one that only rows have.
    """

    having: Flag | int = 0
    lacking: Flag | int = 0
    kinds: Collection[Kind | int] | None = None
    page_sizes: Collection[int] | None = None
    frames: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Take every number as a plain one.

        Raises:
            TypeError, ValueError: One is no integer, no kind, no physical range; or flags contradict each other.
        """
        kinds, sizes, frames = self.kinds, self.page_sizes, self.frames
        having, lacking = _flags_of(self.having, "having"), _flags_of(self.lacking, "lacking")
        if both := having & lacking:
            raise ValueError(f"no entry both has and lacks {_names(both)}")
        if rows_only := (having | lacking) & _OF_ROWS:
            raise ValueError(
                f"{_names(rows_only)} is said of rows, not of entries: select the rows of the answer by it"
            )
        plain = {
            "having": having,
            "lacking": lacking,
            "kinds": None if kinds is None else frozenset(Kind(integer(kind, "a kind")) for kind in kinds),
            "page_sizes": None if sizes is None else frozenset(integer(size, "a page size") for size in sizes),
            "frames": None if frames is None else _range_of(*frames),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    @property
    def everything(self) -> bool:
        """Whether all entries pass."""
        return self == _EVERYTHING

    @property
    def by_level_only(self) -> bool:
        """Whether flags and kinds do not matter."""
        return not self.having and not self.lacking and self.kinds is None

    @property
    def only_present(self) -> bool:
        """Whether only present pages can pass."""
        return self.kinds is not None and {int(kind) for kind in self.kinds} == {Kind.PRESENT.value}

    def level_passes(self, level: Level) -> bool:
        """Whether any page of a level can pass."""
        return self.page_sizes is None or bool({level.span, *level.page_sizes} & set(self.page_sizes))

    def splits_groups(self, level: Level) -> bool:
        """Whether pages of groups pass where single pages do not, or the other way round."""
        sizes = self.page_sizes
        return sizes is not None and any((size in sizes) != (level.span in sizes) for size in level.page_sizes)

    def by_state(self, states: States, level: Level) -> Any:
        """Whether entries of a level pass by flags, kind and page size: a bool for all, or a mask."""
        required = int(self.having)
        passes: Any = states & (required | int(self.lacking)) == required
        if self.kinds is not None:
            kinds = states >> KIND_SHIFT & KINDS
            wanted = [int(kind) for kind in self.kinds]
            if isinstance(kinds, int):
                passes = passes and kinds in wanted
            else:
                passes &= kinds == wanted[0] if len(wanted) == 1 else np.isin(kinds, wanted)
        if self.splits_groups(level):
            grouped = states & int(Flag.GROUPED) != 0
            passes &= grouped != (self.page_sizes is not None and level.span in self.page_sizes)
        return passes

    def by_frame(self, places: Words, kinds: npt.NDArray[np.uint8], span: int) -> Mask:
        """Which pages lie in the physical range, if one is asked for."""
        start, end = self.frames or (0, NO_PADDR)
        low = max(start - span + 1, 0)
        inside = (places >= np.uint64(low)) & (places < np.uint64(min(end, NO_PADDR))) & (places != np.uint64(NO_PADDR))
        return inside & (kinds != Kind.SWAP)


_EVERYTHING: Final = Filter()


def _names(flags: int) -> str:
    """Flags by name."""
    return " and ".join(flag.name or "" for flag in Flag if flags & flag)
