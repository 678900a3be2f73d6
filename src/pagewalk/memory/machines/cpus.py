"""Which registers of a machine's CPUs say where tables are, and whether they say enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pagewalk.formats.hardware import REGISTERS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["NAMES", "are_enough", "notes_of_cpus"]

NAMES: Final = frozenset(name for file in REGISTERS for name in file.names)
"""Every register that some format knows."""
_PLACES: Final = tuple(name for file in REGISTERS for names in file.needed for name in names)
"""Those that say where tables are; the others say what becomes of rights, and change all the time."""


def are_enough(cpus: Sequence[Mapping[str, int]]) -> bool:
    """Whether the registers of the first CPU say where its tables are."""
    return bool(cpus) and any(
        all(any(name in cpus[0] for name in names) for names in file.needed) for file in REGISTERS
    )


def notes_of_cpus(cpus: Sequence[Mapping[str, int]]) -> tuple[str, ...]:
    """A note where CPUs do not have the same tables."""
    said = [{name: cpu[name] for name in _PLACES if name in cpu} for cpu in cpus]
    if all(one == said[0] for one in said):
        return ()
    others = "; ".join(",".join(f"{name}={value:#x}" for name, value in one.items()) for one in said[1:4])
    more = ", ..." if len(said) > 4 else ""
    return (f"these are the tables of the first of {len(said)} CPUs; the registers of others: {others}{more}",)
