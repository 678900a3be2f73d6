"""A source: a memory, and what it says of itself."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, Self

from pagewalk.doors import integer, shortened, shown
from pagewalk.errors import UnsupportedError
from pagewalk.formats import PagingFormat, find_format, from_registers, parsed
from pagewalk.memory import Closable
from pagewalk.sources.where import Where, refuse_beside_pid, refuse_outside, where_said
from pagewalk.sources.whose import RELEASE, contradiction, differing, reading
from pagewalk.tables import PageTables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import numpy as np
    import numpy.typing as npt

    from pagewalk.formats import Window
    from pagewalk.formats.registers import Paging
    from pagewalk.memory import Memory
    from pagewalk.sources.linux.linux import Linux
    from pagewalk.space import ProcessSpace

    Rows = npt.NDArray[np.void]

__all__ = ["Source"]

_SAID: Final = ("cpus", "vmcoreinfo", "missing", "notes")
"""What a memory may say of itself."""
_KERNELS: Final = "kernels"
"""What the kernels that were found are kept as."""


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
        packing: What it is compressed by: ``gz``, ``xz``, ``zst``, ``lz4``; empty: it is not.
        kept: What was found in it and is not looked for again.
    """

    name: str
    type: str
    memory: Memory
    cpus: tuple[Mapping[str, int], ...] = ()
    vmcoreinfo: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    packing: str = ""
    kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, name: str, type_: str, memory: Memory) -> Self:
        """A source with what its memory says of itself, in attributes of the same names."""
        said = {what: getattr(memory, what) for what in _SAID if hasattr(memory, what)}
        return cls(name, type_, memory, **said)

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
        root: int | Literal["auto"] | None = None,
        registers: Mapping[str, Any] | str | None = None,
        os: str | None = None,
        encryption_bit: int | None = None,
        pid: int | None = None,
        notes: list[str] | None = None,
    ) -> PageTables:
        """The page tables by the top table's address, a CPU's registers, or a process: ``pagewalk.open`` says more.

        None of them given: by the registers of the first CPU that translates, if the source has any. Registers that are
        given stand beside those of that CPU, each instead of its own. ``auto``: by the root that is found.

        Raises:
            BadRoot, UnsupportedError, ProcessError, ValueError, TypeError: As ``pagewalk.open``.
        """
        if pid is not None:
            refuse_beside_pid(root, registers, encryption_bit)
            return self._tables_of(integer(pid, "pid"), format, os, notes)
        if root is None and self.cpus:
            registers = self._complemented(registers)
        if root == "auto":
            where = self._found(format, registers, os, encryption_bit)
        else:
            where = where_said(format, root, registers, os, encryption_bit)
        own, told = self._own(where.format, given=os is not None or isinstance(format, PagingFormat))
        if own:
            form = find_format(where.format.name, own, encryption_bit=encryption_bit)
            again = where._replace(format=form)
            where = again if root == "auto" else where_said(format, root, registers, own, encryption_bit)
        if notes is not None:
            notes += told
        tables = PageTables(self.memory, None, where.format, windows=where.windows)
        if root != "auto":
            refuse_outside(self.memory, where)
        return tables

    def _own(self, form: PagingFormat, *, given: bool) -> tuple[str, list[str]]:
        """The kernel's own system, if its entries are to be read as that and not as they would be; and what to know."""
        release = self.vmcoreinfo.get(RELEASE, "")
        own = differing(release, form)
        if own and given:
            return "", [contradiction(release, form)]
        return own, [reading(release, own)] if own else []

    def processes(
        self,
        *,
        threads: bool = False,
        cost: bool = False,
        sweep: bool = False,
        os: str | None = None,
        notes: list[str] | None = None,
    ) -> npt.NDArray[np.void]:
        """The processes of the Linux in it: ``pagewalk.processes`` has the details.

        Raises:
            UnsupportedError, MemoryReadError: As there.
        """
        from pagewalk.sources.rows import process_rows

        linux = self._linux(os)
        try:
            return process_rows(linux, threads=threads, cost=cost, sweep=sweep)
        finally:
            self._tell(linux, notes)

    def space(self, pid: int, *, os: str | None = None) -> ProcessSpace:
        """A process of the Linux in it as an address space: ``pagewalk.open_space`` has the details.

        Raises:
            ProcessError, UnsupportedError, MemoryReadError, BadRoot: As there.
        """
        from pagewalk.sources.rows import process_space

        linux = self._linux(os)
        return process_space(linux, integer(pid, "pid"), self.kept[_KERNELS].told)

    def _tables_of(
        self, pid: int, given: str | PagingFormat | None, os: str | None, notes: list[str] | None
    ) -> PageTables:
        """The page tables of a process."""
        linux = self._linux(os)
        form = linux.paging.format
        if given is not None and find_format(given).name != form.name:
            raise UnsupportedError(f"the kernel's page tables are {form.name}: leave the format {shown(given)} out")
        try:
            return linux.tables(pid)
        finally:
            self._tell(linux, notes)

    def _linux(self, os: str | None) -> Linux:
        """The Linux in it, looked for once."""
        from pagewalk.sources.rows import Kernels

        if _KERNELS not in self.kept:
            self.kept[_KERNELS] = Kernels.of(self.memory, self.vmcoreinfo)
        linux: Linux = self.kept[_KERNELS].linux(self.memory, os)
        return linux

    def _tell(self, linux: Linux, notes: list[str] | None) -> None:
        """Hand on what else there is to know."""
        if notes is not None:
            notes += self.kept[_KERNELS].told(linux)

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

        said = [from_registers(registers, os)] if registers is not None else [*self._translating(os)]
        if formats is None and said:
            formats = tuple(dict.fromkeys(replace(one.format, windows=_bare(one.windows)) for one in said))
        used = {window.root: at for at, one in reversed([*enumerate(said)]) for window in one.windows}
        return rows_of(find(self.memory, searchable(formats, os), progress), used)

    def _translating(self, os: str | None) -> Iterator[Paging]:
        """What the registers of each CPU say that translates: one that has not been started yet does not."""
        for cpu in self.cpus:
            with suppress(UnsupportedError):
                yield from_registers(cpu, os)

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
    return tuple(window._replace(root=0, asid=None) for window in windows)
