"""The shape of a root page: by what a top table is known in memory of which nothing else is known."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["RootPage"]


class RootPage(NamedTuple):
    """What an operating system leaves in a top table of its processes, and in its own.

    Attributes:
        slots: Slots of which one at least holds a table, in each of them; negative ones count from the end.
        kernel: Where the kernel's addresses begin in a window that has both; None: it has a window of its own.
        twin: How far behind the kernel's top table of a process its user's lies, where a process has two (PTI); the
            first is aligned to twice that. 0: none has two.
        made_empty: Directories are made with the root, and may be empty.
        below: The same as ``slots`` of a process, of the table that its first slots lead to; (): nothing is known.
    """

    slots: tuple[int, ...]
    kernel: int | None = None
    twin: int = 0
    made_empty: bool = False
    below: tuple[int, ...] = ()
