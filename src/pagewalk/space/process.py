"""The address space of a process: of one that lives, or of one in a dump."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pagewalk.space.space import AddressSpace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pagewalk.space.vma import Vma
    from pagewalk.tables import PageTables

__all__ = ["ProcessSpace"]


class ProcessSpace(AddressSpace):
    """A process's page tables and VMAs, as they were at one time. A snapshot.

    Args:
        tables: The page tables; the first window is the process's own.
        vmas: Its VMAs, in any order.
        pid: The process.
        name: What it calls itself.
        zero_frames: As ``AddressSpace``.

    Attributes:
        pid, process_name: As given.
        frames_known: Whether the tables have the real frame numbers and swap slots.
        changed: ``(start, end)`` ranges that are known to have changed while they were read.
        page_table_bytes: What the kernel counts for its page tables (VmPTE); None if it did not say.
        notes: What could not be known, or is doubtful, in a sentence each.
    """

    def __init__(
        self, tables: PageTables, vmas: Iterable[Vma], pid: int, name: str = "", *, zero_frames: Iterable[int] = ()
    ) -> None:
        super().__init__(tables, vmas, zero_frames=zero_frames)
        self.pid = pid
        self.process_name = name
        self.frames_known = True
        self.changed: list[tuple[int, int]] = []
        self.page_table_bytes: int | None = None
        self.notes: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Nothing is known to have changed while it was read."""
        return not self.changed
