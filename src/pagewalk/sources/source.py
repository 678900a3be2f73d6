"""A source: a memory, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from pagewalk.doors import shortened
from pagewalk.errors import UnsupportedError
from pagewalk.formats import from_registers
from pagewalk.formats.registers import parsed
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
        packing: What it is compressed by: ``gz``, ``xz``, ``zst``, ``lz4``; empty: it is not.
    """

    name: str
    type: str
    memory: Memory
    cpus: tuple[Mapping[str, int], ...] = ()
    vmcoreinfo: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    packing: str = ""

    def __repr__(self) -> str:
        packing = f"{self.packing} of " if self.packing else ""
        return f"<Source {packing}{self.type} {shortened(self.name, 32)}: {shortened(repr(self.memory), 64)}>"

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

        Neither given: by the registers of the first CPU that translates, if the source has any. Registers that are
        given stand beside those of that CPU, each instead of its own.

        Raises:
            BadRoot, UnsupportedError, ValueError, TypeError: As ``pagewalk.open``.
        """
        if root is None and self.cpus:
            registers = self._complemented(registers)
        where = where_said(format, root, registers, os, encryption_bit)
        tables = PageTables(self.memory, None, where.format, windows=where.windows)
        refuse_outside(self.memory, where)
        return tables

    def _complemented(self, registers: Mapping[str, Any] | str | None) -> Mapping[str, Any]:
        """The registers of the first CPU that translates, with those that are given; if none does, those of the first.

        A CPU that has not been started yet says that paging is off.
        """
        given = {} if registers is None else parsed(registers)
        for cpu in self.cpus:
            try:
                from_registers({**cpu, **given})
            except UnsupportedError:
                continue
            return {**cpu, **given}
        return {**self.cpus[0], **given}
