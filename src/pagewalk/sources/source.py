"""A source: a memory, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from pagewalk.doors import shortened
from pagewalk.memory import Closable
from pagewalk.sources.where import refuse_outside, where_said
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pagewalk.formats import PagingFormat
    from pagewalk.memory import Memory

__all__ = ["Source"]


@dataclass(frozen=True, slots=True)
class Source:
    """A memory, and what it says of itself. ``pagewalk.source`` opens one; it closes as a context manager.

    Attributes:
        name: What it was opened as.
        type: What it is: ``raw``, ``elf``, ``kdump``, ...
        memory: Its physical memory.
        cpus: The registers of each CPU that say where tables are, by name, if it has them.
        vmcoreinfo: What the kernel says of itself in VMCOREINFO, by key; empty if it has none.
        missing: What it does not have, in a sentence each.
        notes: What else to know of it, in a sentence each.
    """

    name: str
    type: str
    memory: Memory
    cpus: tuple[Mapping[str, int], ...] = ()
    vmcoreinfo: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<Source {self.type} {shortened(self.name, 32)}: {shortened(repr(self.memory), 64)}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of what it holds open. Closing again does nothing."""
        if isinstance(self.memory, Closable):
            self.memory.close()

    def tables(
        self,
        *,
        format: str | PagingFormat | None = None,  # noqa: A002 - the name users know from --format
        root: int | None = None,
        registers: Mapping[str, Any] | str | None = None,
        os: str | None = None,
        encryption_bit: int | None = None,
    ) -> PageTables:
        """The page tables by the address of the top table, or by a CPU's registers: ``pagewalk.open`` has the details.

        Neither given: by the registers of the first CPU, if the source has them.

        Raises:
            BadRoot, UnsupportedError, ValueError, TypeError: As ``pagewalk.open``.
        """
        if root is None and registers is None and self.cpus:
            registers = self.cpus[0]
        where = where_said(format, root, registers, os, encryption_bit)
        tables = PageTables(self.memory, None, where.format, windows=where.windows)
        refuse_outside(self.memory, where)
        return tables
