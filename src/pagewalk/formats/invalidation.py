"""What a CPU keeps of page tables, and how it is told to forget: data of an architecture."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Invalidation"]


class Invalidation(NamedTuple):
    """How translations that a CPU keeps are taken from it.

    Attributes:
        page: The instruction for one address, as the manual writes it.
        every: That for all of them, which is better for many.
        everywhere: One CPU's instruction reaches all of them; else each CPU has to execute its own.
        before, after: Barriers before the first and after the last.
        keeps_absent: A CPU may keep that nothing was there: filling an empty entry needs the instruction too.
        breaks: A present entry that names another frame, is of another size, memory type or scope must be emptied and
            forgotten before the new one is written (break before make).
        top: What has to be executed where an entry of the top table changes, an empty one as well; "": nothing else.
        source: The manual's section.
    """

    page: str
    every: str
    everywhere: bool = False
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    keeps_absent: bool = False
    breaks: bool = False
    top: str = ""
    source: str = ""
