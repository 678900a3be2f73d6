"""Arguments and options that mean the same in every command."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, Final

import click

from pagewalk.doors import shown
from pagewalk.formats import DEFAULT, FORMATS, LINUX, SETTINGS, SPELLINGS, encryption_mask
from pagewalk.numbers import MOST, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = [
    "ADDRESS",
    "LAST_PID",
    "NUMBER",
    "Extent",
    "Names",
    "Number",
    "file_options",
    "json_option",
    "memory_options",
    "source_options",
    "system_option",
    "where_options",
]

LAST_PID: Final = (1 << 31) - 1
"""What a ``pid_t`` holds."""


class Number(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions of click only
    """A number in any form of ``numbers``: a size or a count, or an address.

    Args:
        address: An address: hexadecimal may stand without 0x.
        least, most: The smallest and the largest that make sense.
    """

    name = "number"

    def __init__(self, *, address: bool = False, least: int = 0, most: int = MOST) -> None:
        self.address = address
        self.least = least
        self.most = most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number that a text stands for."""
        if isinstance(value, int):
            return value
        try:
            number = parse(value, address=self.address)
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)
        if number < self.least:
            self.fail(f"{value} is too small: at least {self.least} is needed.", param, ctx)
        if number > self.most:
            self.fail(f"{value} is too large: at most {self.most} is possible.", param, ctx)
        return number


class Root(Number):
    """The address of a top table, or ``auto``."""

    name = "root"

    def __init__(self) -> None:
        super().__init__(address=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The address, or the word."""
        return value if value == "auto" else super().convert(value, param, ctx)


class Extent(click.ParamType):  # type: ignore[type-arg]  # as Number
    """Numbers with colons between them: an address first, then offsets and sizes.

    Args:
        form: How to write it, as in ``PADDR:OFFSET:SIZE``; the last is a size, and never 0.
        optional: What the last one is where it is left out; None: it must be there.
    """

    name = "extent"

    def __init__(self, form: str, optional: int | None = None) -> None:
        self.form = form
        self.optional = optional

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Its numbers."""
        if isinstance(value, tuple):
            return value
        wanted, parts = self.form.count(":") + 1, value.split(":")
        if len(parts) == wanted - 1 and self.optional is not None:
            parts.append(str(self.optional))
        if len(parts) != wanted:
            self.fail(f"{shown(value)} is not {self.form}.", param, ctx)
        address, *sizes = parts
        types = (ADDRESS, *[NUMBER] * (wanted - 2), _SIZE)
        return tuple(type_.convert(part, param, ctx) for type_, part in zip(types, (address, *sizes), strict=True))


class Names(click.ParamType):  # type: ignore[type-arg]  # as Number
    """Names out of a list, with commas between them.

    Args:
        known: All of them.
    """

    name = "names"

    def __init__(self, known: Iterable[str]) -> None:
        self.known = tuple(known)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names, each known."""
        if isinstance(value, tuple):
            return value
        names = tuple(value.split(","))
        for name in names:
            if name not in self.known:
                near = difflib.get_close_matches(name.lower(), self.known, n=1, cutoff=0.5)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                self.fail(f"{shown(name)} is not one of {', '.join(self.known)}.{hint}", param, ctx)
        return names


NUMBER = Number()
ADDRESS = Number(address=True)
_SIZE = Number(least=1)


def _registers(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> dict[str, int] | None:
    """The registers of all ``--registers``, by name; None: there are none."""
    from pagewalk.formats.registers import parsed

    try:
        return parsed(",".join(texts)) if texts else None
    except ValueError as error:
        raise click.BadParameter(f"{error}.", ctx, param) from None


def _encryption_bit(ctx: click.Context, param: click.Parameter, bit: int | None) -> int | None:
    """The bit of ``--encryption-bit``, if it can be one."""
    try:
        encryption_mask(bit)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", ctx, param) from None
    return bit


_ARGUMENT = click.argument("source", metavar="SOURCE")
_BYTES_OPTIONS = (
    click.option(
        "--base", type=ADDRESS, metavar="PADDR", help="Physical address of the image's first byte.  [default: 0]"
    ),
    click.option(
        "--segment",
        type=Extent("PADDR:OFFSET:SIZE"),
        metavar="PADDR:OFFSET:SIZE",
        multiple=True,
        help="A part of the image, for one that is not one run from --base; repeatable.",
    ),
    click.option(
        "--part",
        metavar="FILE",
        multiple=True,
        help="Another file of a SOURCE that has several: of a split dump, in any order; of Firecracker, a differential "
        "snapshot over it, the newest last. Repeatable.",
    ),
    click.option(
        "--source-type",
        metavar="TYPE",
        help="What the file is, where its content misleads: raw, elf, kdump, lime, ...; of a compressed one, what is "
        "inside.",
    ),
    click.option("--stop", is_flag=True, help="Hold a running machine while it is looked at."),
)
system_option = click.option(
    "--os",
    metavar="NAME[,OPTION=yes|no]...",
    help=f"Whose entries stand beside the hardware's: {SPELLINGS}; options of a kernel are {', '.join(SETTINGS)}.  "
    f"[default: what the kernel of --pid says, else {LINUX.name}, the newest]",
)
_REGISTERS = click.option(
    "--registers",
    metavar="NAME=VALUE,...",
    multiple=True,
    callback=_registers,
    help="Instead of --root: the registers that say where an image's tables are, and of which format: "
    "cr3 (cr0, cr4, efer, pkru, pat); tcr_el1, ttbr0_el1, ttbr1_el1 (sctlr_el1, pan, mair_el1); satp (sstatus).",
)
_FORMAT = click.option(
    "--format",
    help=f"An image's paging format: {', '.join(FORMATS)}.  [default: what registers say, else {DEFAULT}]",
)
_WHERE_OPTIONS = (
    click.option(
        "--root",
        type=Root(),
        metavar="PADDR|auto",
        help="An image's top table (x86: CR3, flags off); auto: the one that is found, if it is clear which is meant.  "
        "[default: what the registers in a dump say]",
    ),
    _REGISTERS,
    click.option(
        "--pid",
        type=Number(most=LAST_PID),
        metavar="N",
        help="Instead of --root: a process of the Linux in the image, as ps lists them; 0 is the kernel.",
    ),
    _FORMAT,
    system_option,
    click.option(
        "--encryption-bit",
        type=NUMBER,
        metavar="BIT",
        callback=_encryption_bit,
        help="Of x86-64, the bit of addresses that marks encrypted memory (SEV, TDX), 32 to 51.",
    ),
)

json_option = click.option(
    "--json", "as_json", is_flag=True, help="JSON: addresses and entries as hex strings, sizes in bytes as numbers."
)


def source_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the SOURCE argument and the options that say how to read it, and where its tables are."""
    return _decorated(command, (_ARGUMENT, *_WHERE_OPTIONS, *_BYTES_OPTIONS))


def where_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of ``source_options`` without its SOURCE."""
    return _decorated(command, (*_WHERE_OPTIONS, *_BYTES_OPTIONS))


def memory_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the SOURCE argument, the options that say how to read it, and those of its CPU and its system."""
    return _decorated(command, (_ARGUMENT, _REGISTERS, _FORMAT, system_option, *_BYTES_OPTIONS))


def file_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the SOURCE argument and the options that say how to read it."""
    return _decorated(command, (_ARGUMENT, *_BYTES_OPTIONS))


def _decorated(command: Callable[..., Any], options: Iterable[Callable[..., Any]]) -> Callable[..., Any]:
    for decorate in reversed(tuple(options)):
        command = decorate(command)
    return command
