"""Formats by name, and operating systems' layers by name."""

from __future__ import annotations

import difflib
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import shown
from pagewalk.errors import UnsupportedError
from pagewalk.formats.encryption import encrypted, encryption_mask
from pagewalk.formats.hardware import MODELS, REGISTERS
from pagewalk.formats.os.layer import bare
from pagewalk.formats.os.linux import LINUX, Linux
from pagewalk.formats.paging import PagingFormat
from pagewalk.formats.registers import Paging, parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pagewalk.formats.os.layer import Layer

__all__ = ["DEFAULT", "FORMATS", "SYSTEMS", "find_format", "from_registers", "systems_of"]

DEFAULT: Final = "x86-64"
"""The format where nothing says otherwise."""
FORMATS: Final = tuple(MODELS)
"""The names that ``--format`` takes."""
_KERNELS: Final = {
    kernel.name: kernel for kernel in (LINUX, Linux((7, 3), name="linux-7.3"), Linux((7, 2), name="linux-7.2"))
}
SYSTEMS: Final = (*_KERNELS, "none")
"""The names that ``--os`` takes."""


def find_format(name: str | PagingFormat, os: str | None = None, *, encryption_bit: int | None = None) -> PagingFormat:
    """The format of a name; a format is handed back as it is.

    Args:
        name: A name out of ``FORMATS``, or a format.
        os: The operating system whose entries stand in it, a name out of ``SYSTEMS``; None: the newest Linux.
        encryption_bit: The bit of addresses that marks encrypted memory, as ``encrypted`` has it; None: there is none.

    Raises:
        UnsupportedError: No format or system of that name; a system beside a format that has one; an encryption bit of
            a format that has none.
        ValueError: That bit is none of 32 to 51.
        TypeError: Neither a format nor a name.
    """
    if isinstance(name, PagingFormat):
        if os is not None and os != name.system:
            raise UnsupportedError(f"{name.name} is given with {name.system}'s entries: {shown(os)} contradicts that")
        return encrypted(name, encryption_bit)
    if not isinstance(name, str):
        raise TypeError(f"a paging format or its name is needed, not {shown(name)}")
    if name not in MODELS:
        raise UnsupportedError(f"unknown format {shown(name)}: {_near(name, FORMATS)}known are {', '.join(FORMATS)}")
    system = _system(os)
    if os is not None and system not in (known := systems_of(name)):
        raise UnsupportedError(f"{name} has no rows for {shown(os)}'s entries: known are {', '.join(known)}")
    return encrypted(_made(name, system), encryption_bit)


def systems_of(name: str) -> tuple[str, ...]:
    """The operating systems that have rows in the format of a name."""
    return SYSTEMS if MODELS[name].linux is not None else ("none",)


def _system(os: str | None) -> str:
    """The name of a system that is known."""
    if os is None:
        return LINUX.name
    if not isinstance(os, str):
        raise TypeError(f"the name of an operating system is needed, not {shown(os)}")
    if os not in SYSTEMS:
        raise UnsupportedError(f"unknown system {shown(os)}: {_near(os, SYSTEMS)}known are {', '.join(SYSTEMS)}")
    return os


@cache
def _made(name: str, os: str) -> PagingFormat:
    """The format of a name with a system's entries, made once."""
    model = MODELS[name]
    if os == "none" or model.linux is None:
        return model.bare()
    return model.make(model.linux(_KERNELS[os]))


def from_registers(
    registers: Mapping[str, Any] | str, os: str | None = None, *, encryption_bit: int | None = None
) -> Paging:
    """The format and the windows that registers say.

    Args:
        registers: By name, as QEMU and gdb print them, in any case; or as text: ``name=value,...``.
        os, encryption_bit: As ``find_format``; the bit is taken off roots too.

    Raises:
        UnsupportedError: Registers that are not known, belong to two architectures, contradict each other, or say
            something that cannot be; or a system of no such name.
        ValueError, TypeError: A value is no number of 64 bits.
    """
    values, system = parsed(registers), _system(os)
    known = [file for file in REGISTERS if set(values) & set(file.names)]
    strange = set(values) - {name for file in known for name in file.names}
    if strange or not known:
        every = tuple(name for file in REGISTERS for name in file.names)
        name = sorted(strange)[0]
        raise UnsupportedError(f"unknown register {shown(name)}: {_near(name, every)}known are {', '.join(every)}")
    if len(known) > 1:
        raise UnsupportedError(
            f"{', '.join(sorted(values))} are registers of different architectures: give one's alone"
        )
    (file,) = known
    file.check(values)

    def choose(linux: Callable[[Linux], Layer]) -> Layer:
        return bare(1) if system == "none" else linux(_KERNELS[system])

    found = file.read(values, choose)
    mask = encryption_mask(encryption_bit)
    windows = tuple(window._replace(root=window.root & ~mask) for window in found.windows)
    return found._replace(format=encrypted(found.format, encryption_bit), windows=windows)


def _near(name: str, known: tuple[str, ...]) -> str:
    """What may have been meant."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"did you mean {near[0]!r}? " if near else ""
