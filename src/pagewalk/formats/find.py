"""Formats by name, and operating systems' layers by name."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pagewalk.doors import shown
from pagewalk.errors import UnsupportedError
from pagewalk.formats.encryption import encrypted, encryption_mask
from pagewalk.formats.hardware import MODELS, REGISTERS
from pagewalk.formats.os.layer import bare
from pagewalk.formats.os.systems import SYSTEMS, System, near, system
from pagewalk.formats.paging import PagingFormat
from pagewalk.formats.registers import Paging, parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pagewalk.formats.os.layer import Layer
    from pagewalk.formats.os.linux import Linux
    from pagewalk.formats.window import Window

__all__ = ["DEFAULT", "FORMATS", "find_format", "from_registers", "systems_of", "to_registers", "windows_of"]

DEFAULT: Final = "x86-64"
"""The format where nothing says otherwise."""
FORMATS: Final = tuple(MODELS)
"""The names that ``--format`` takes."""


def find_format(name: str | PagingFormat, os: str | None = None, *, encryption_bit: int | None = None) -> PagingFormat:
    """The format of a name; a format is handed back as it is.

    Args:
        name: A name out of ``FORMATS``, or a format.
        os: The operating system whose entries stand in it, as ``system`` takes it; None: the newest Linux.
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
        raise UnsupportedError(f"unknown format {shown(name)}: {near(name, FORMATS)}known are {', '.join(FORMATS)}")
    asked, known = system(os), systems_of(name)
    if asked.family not in known:
        if os is not None:
            raise UnsupportedError(f"{name} has no rows for the entries of {shown(os)}: known are {', '.join(known)}")
        asked = System("none", "none")
    return encrypted(_made(name, asked), encryption_bit)


def systems_of(name: str) -> tuple[str, ...]:
    """The operating systems that have rows in the format of a name, out of ``SYSTEMS``."""
    model = MODELS[name]
    has = {"linux": model.linux is not None, "windows": model.windows is not None, "none": True}
    return tuple(one for one in SYSTEMS if has[one])


@lru_cache(maxsize=256)
def _made(name: str, asked: System) -> PagingFormat:
    """The format of a name with a system's entries, made once."""
    model = MODELS[name]
    if asked.family == "linux" and model.linux is not None:
        return model.make(model.linux(asked.linux))
    return model.make(model.windows if asked.family == "windows" and model.windows is not None else bare(model.valid))


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
    values, asked = parsed(registers), system(os)
    known = [file for file in REGISTERS if set(values) & set(file.names)]
    strange = set(values) - {name for file in known for name in file.names}
    if strange or not known:
        every = tuple(name for file in REGISTERS for name in file.names)
        name = sorted(strange)[0]
        raise UnsupportedError(f"unknown register {shown(name)}: {near(name, every)}known are {', '.join(every)}")
    if len(known) > 1:
        raise UnsupportedError(
            f"{', '.join(sorted(values))} are registers of different architectures: give one's alone"
        )
    (file,) = known
    file.check(values)

    def choose(linux: Callable[[Linux], Layer] | None = None, windows: Layer | None = None) -> Layer:
        if asked.family == "linux" and linux is not None:
            return linux(asked.linux)
        if asked.family == "windows" and windows is not None:
            return windows
        if asked.family != "none" and os is not None:
            raise UnsupportedError(f"the format of {', '.join(values)} has no rows for the entries of {shown(os)}")
        return bare(1)

    found = file.read(values, choose)
    mask = encryption_mask(encryption_bit)
    windows = tuple(window._replace(root=window.root & ~mask) for window in found.windows)
    return found._replace(format=encrypted(found.format, encryption_bit), windows=windows)


def to_registers(form: PagingFormat, windows: Sequence[Window]) -> dict[str, int]:
    """What to load into registers for windows to be translated as a format says: the reverse of ``from_registers``.

    Args:
        form: A format that has a name.
        windows: Its windows, or some of them, with their roots.

    Raises:
        UnsupportedError: Nobody has said which registers the format has.
    """
    if form.name not in MODELS:
        raise UnsupportedError(f"nobody has said which registers the format {form.name} has")
    return MODELS[form.name].registers.write(form, windows)


def windows_of(form: PagingFormat, bits: int | tuple[int, ...] | None = None) -> tuple[Window, ...]:
    """A format's windows, or those of another width.

    Args:
        form: The format.
        bits: log2 of the bytes of each window, one number for all or one for each; None: as the format has them.

    Raises:
        UnsupportedError: The format's addresses have one width.
        ValueError: They cannot be so wide.
    """
    if bits is None:
        return form.windows
    narrowed = MODELS[form.name].narrowed if form.name in MODELS else None
    if narrowed is None:
        raise UnsupportedError(f"the width of {form.name}'s addresses is not chosen: leave bits out")
    return narrowed(form, bits if isinstance(bits, tuple) else (bits,) * len(form.windows))
