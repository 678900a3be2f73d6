"""Which CPUs have page tables loaded, by the registers that came with the memory."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from pagewalk.errors import PagewalkError
from pagewalk.formats import from_registers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pagewalk.tables import PageTables

__all__ = ["loaded"]


def loaded(tables: PageTables, twin: int, vaddrs: Iterable[int]) -> tuple[int, ...] | None:
    """The CPUs that have page tables loaded.

    Args:
        tables: The page tables, over the memory that may know the CPUs' registers.
        twin: Their other root; 0: they have one.
        vaddrs: What is asked about: the kernel's addresses are every CPU's, whatever the tables.

    Returns:
        Their numbers, ascending; None: nobody knows their registers.
    """
    cpus: tuple[Mapping[str, int], ...] = getattr(tables.memory, "cpus", ())
    if not cpus:
        return None
    shape, first = tables.format.root_page, tables.windows[0]
    kernel = first.end if shape is None or shape.kernel is None else shape.kernel
    if any(vaddr >= kernel for vaddr in vaddrs):
        return tuple(range(len(cpus)))
    roots = {first.root, twin or first.root}
    return tuple(number for number, registers in enumerate(cpus) if _root(registers) in roots)


def _root(registers: Mapping[str, int]) -> int | None:
    """The root of the first window; None: the registers say of none."""
    with suppress(PagewalkError, ValueError):
        return from_registers(registers).windows[0].root
    return None
