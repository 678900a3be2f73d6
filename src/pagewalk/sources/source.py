"""A source: a memory, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from pagewalk.doors import shortened
from pagewalk.formats import find_format, from_registers, parsed
from pagewalk.memory import Closable
from pagewalk.sources.where import Where, refuse_outside, where_said
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    import numpy.typing as npt

    from pagewalk.formats import PagingFormat, Window
    from pagewalk.memory import Memory

    Rows = npt.NDArray[np.void]

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
    """

    name: str
    type: str
    memory: Memory
    cpus: tuple[Mapping[str, int], ...] = ()
    vmcoreinfo: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

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
        root: int | Literal["auto"] | None = None,
        registers: Mapping[str, Any] | str | None = None,
        os: str | None = None,
        encryption_bit: int | None = None,
    ) -> PageTables:
        """The page tables by the address of the top table, or by a CPU's registers: ``pagewalk.open`` has the details.

        Neither given: by the registers of the first CPU, if the source has them. ``auto``: by the best root found.

        Raises:
            BadRoot, UnsupportedError, ValueError, TypeError: As ``pagewalk.open``.
        """
        if root is None and registers is None and self.cpus:
            registers = self.cpus[0]
        if root == "auto":
            where = self._found(format, registers, os, encryption_bit)
            return PageTables(self.memory, None, where.format, windows=where.windows)
        where = where_said(format, root, registers, os, encryption_bit)
        tables = PageTables(self.memory, None, where.format, windows=where.windows)
        refuse_outside(self.memory, where)
        return tables

    def roots(
        self,
        *,
        registers: Mapping[str, Any] | str | None = None,
        os: str | None = None,
        formats: Iterable[str | PagingFormat] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Rows:
        """Every process's root and the kernel's, found in the memory alone: ``pagewalk.roots`` has the details."""
        from pagewalk.sources.finding import find, rows_of, searchable  # they need NumPy

        cpus = self.cpus if registers is None else (parsed(registers),)
        said = [from_registers(one, os) for one in cpus]
        if formats is None and said:
            formats = tuple(dict.fromkeys(replace(one.format, windows=_bare(one.windows)) for one in said))
        used = {window.root: at for at, one in reversed([*enumerate(said)]) for window in one.windows}
        return rows_of(find(self.memory, searchable(formats, os), progress), used)

    def _found(
        self,
        format: str | PagingFormat | None,  # noqa: A002 - the name users know from --format
        registers: Mapping[str, Any] | str | None,
        os: str | None,
        encryption_bit: int | None,
    ) -> Where:
        """Where the tables are whose root is found.

        Raises:
            UnsupportedError: It is not clear which is meant, or none is found.
            ValueError: Registers are given as well.
        """
        from pagewalk.sources.finding import clear_one, searchable, windows_at

        if registers is not None:
            raise ValueError("a root and registers contradict each other: give one or the other")
        asked = None if format is None else [find_format(format, os, encryption_bit=encryption_bit)]
        forms = searchable(asked, os)
        process, kernel = clear_one(self.roots(formats=forms))
        name = (kernel if process is None else process)["format"]
        form = next(one for one in forms if one.name == name)
        windows = windows_at(form, process, kernel)
        return Where(form, windows, ("root",) * len(windows))


def _bare(windows: tuple[Window, ...]) -> tuple[Window, ...]:
    """Windows without their roots."""
    return tuple(window._replace(root=0) for window in windows)
