"""What a random scenario under construction has probably mapped, and choices of places in it.

How it works: small mappings crowd the first 64 pages of the arena, so that they touch, split and merge; huge ones lie
on 2 MiB blocks above. Some ranges are moved, stretched or misaligned on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from pagewalk.conform.scenarios.arena import At
from pagewalk.conform.scenarios.names import PAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagewalk.conform.scenarios.steps import Step

__all__ = ["BLOCKS", "HUGE", "Draw", "Plan"]

T = TypeVar("T")

CROWDED = 64
HUGE = 512
BLOCKS = 4


class Draw(Protocol):
    """Where choices come from."""

    def integer(self, low: int, high: int) -> int:
        """Of ``low`` to ``high``, both included."""


@dataclass
class Plan:
    """What a scenario under construction has probably made.

    Attributes:
        draw: Where choices come from.
        ranges: Mapped ranges: (first page, pages), the latest last.
        names: Mappings whose place the kernel chose: name and pages.
        processes: Numbers of processes that are alive; ``born`` counts them all.
        process: Who takes the step that is being drawn.
        queue: The rest of a story: steps that come next, mostly.
        at_once: Steps that come next, with nothing between.
        blocks_of_pool: Numbers of the blocks of 2 MiB where hugetlb memory ever was.
        file_is_private: A file of huge pages was mapped privately.
        unpopulated: Whether userfaultfd is to write-protect places without a page.
        later: Whether it is to do so asynchronously.
        guards: Whether guards may come along with other advice: not where userfaultfd protects. A guard over a marker
            in a file is tried for ever, and one that a scan protects has a mark that the model lacks.
        registered: What is registered with it: process, first page, pages.
    """

    draw: Draw
    ranges: list[tuple[int, int]] = field(default_factory=list)
    names: list[tuple[str, int]] = field(default_factory=list)
    processes: list[int] = field(default_factory=lambda: [0])
    born: int = 1
    process: int = 0
    queue: list[Step] = field(default_factory=list)
    at_once: list[Step] = field(default_factory=list)
    blocks_of_pool: set[int] = field(default_factory=set)
    file_is_private: bool = False
    unpopulated: bool = False
    later: bool = False
    guards: bool = True
    registered: list[tuple[int, int, int]] = field(default_factory=list)

    def one_in(self, number: int) -> bool:
        """True once in a while."""
        return self.draw.integer(1, number) == 1

    def choice(self, items: Sequence[T]) -> T:
        """One of them."""
        return items[self.draw.integer(0, len(items) - 1)]

    def pages(self, limit: int = 8) -> int:
        """A number of pages."""
        return self.draw.integer(1, limit)

    def place(self, pages: int) -> int:
        """A page to map at: in the crowd, or on a huge page's border for what is large."""
        if pages >= HUGE:
            return HUGE * self.draw.integer(1, BLOCKS)
        return self.draw.integer(0, CROWDED - 1)

    def spot(self, *, named: bool = True) -> tuple[At, int]:
        """An address and a number of pages, mostly within something mapped."""
        if named and self.names and self.one_in(8):
            name, pages = self.choice(self.names)
            first = self.draw.integer(0, pages - 1)
            return At(first, base=name), self.draw.integer(1, pages - first)
        if not self.ranges or self.one_in(14):
            return At(self.draw.integer(0, CROWDED)), self.pages()
        first, pages = self.choice(self.ranges[-8:])
        if self.one_in(3):
            return At(first), pages
        if self.one_in(8):
            return At(max(first - 2, 0)), pages + self.draw.integer(0, 4)
        start = self.draw.integer(0, pages - 1)
        return At(first + start), self.draw.integer(1, min(pages - start, 9))

    def range(self, *, named: bool = True) -> tuple[At, int]:
        """An address and a length in bytes; seldom misaligned, empty or overlong.

        Args:
            named: Whether it may lie in a mapping whose place the kernel chose. Those are never left, unmapped or
                moved: what is beside them, or comes there later, belongs to the process that runs the scenario.
        """
        at, pages = self.spot(named=named)
        if at.base:
            return at, pages * PAGE
        if self.one_in(50):
            return At(at.page, 16), pages * PAGE
        if self.one_in(50):
            return at, self.choice([0, 1, PAGE - 1, pages * PAGE + 1])
        return at, pages * PAGE

    def blocks(self) -> list[int]:
        """First pages of whole blocks of 2 MiB within what is mapped."""
        firsts = range(HUGE, HUGE * (BLOCKS + 2), HUGE)
        return [f for f in firsts if any(start <= f and f + HUGE <= start + size for start, size in self.ranges)]

    def note(self, first: int, pages: int) -> None:
        """Remember a mapping, in place of what it covers."""
        self.forget(first, pages)
        self.ranges.append((first, pages))

    def forget(self, first: int, pages: int) -> None:
        """Remember that nothing is mapped there."""
        end, kept = first + pages, []
        for start, size in self.ranges:
            pieces = (start, min(start + size, first)), (max(start, end), start + size)
            kept += [(low, high - low) for low, high in pieces if low < high]
        self.ranges = kept
