"""Where the page tables of a memory are said to be: a format, windows and their roots, checked against the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pagewalk.doors import integer
from pagewalk.errors import BadRoot, MemoryReadError, PageNotInDump, UnsupportedError
from pagewalk.formats import DEFAULT, PagingFormat, encryption_bits, encryption_mask, find_format, from_registers
from pagewalk.memory import is_flat, read_each, read_exactly

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pagewalk.formats import Window
    from pagewalk.memory import Memory

__all__ = ["Where", "refuse_beside_pid", "refuse_outside", "where_said"]


class Where(NamedTuple):
    """Where page tables are.

    Attributes:
        format: What their entries are.
        windows: Which addresses are translated, by which roots.
        names: What the root of each window was given as: ``root``, or a register.
    """

    format: PagingFormat
    windows: tuple[Window, ...]
    names: tuple[str, ...]


def where_said(
    format: str | PagingFormat | None,  # noqa: A002 - the name users know from --format
    root: int | None,
    registers: Mapping[str, Any] | str | None,
    os: str | None,
    encryption_bit: int | None,
) -> Where:
    """Where the tables are, by a root or by registers: ``Source.tables`` has the arguments and the errors."""
    if root is not None and registers is not None:
        raise ValueError("a root and registers contradict each other: give one or the other")
    if registers is None:
        if root is None:
            raise TypeError("where the tables are is not said: give a root, or registers")
        form = find_format(DEFAULT if format is None else format, os, encryption_bit=encryption_bit)
        root = integer(root, "root") & ~encryption_mask(encryption_bit)
        windows = tuple(window._replace(root=root) for window in form.windows)
        return Where(form, windows, ("root",) * len(windows))
    given = None if format is None else find_format(format, os, encryption_bit=encryption_bit)
    own = isinstance(format, PagingFormat)
    found = from_registers(registers, None if own else os, encryption_bit=encryption_bit)
    if given is not None and given.name != found.format.name:
        raise UnsupportedError(
            f"the registers say {found.format.name}, and the format {given.name} contradicts them: give one alone"
        )
    return Where(given if given is not None and own else found.format, found.windows, found.registers)


def refuse_beside_pid(root: object, registers: object, encryption_bit: int | None) -> None:
    """Refuse what contradicts that a process says where the tables are.

    Raises:
        ValueError: A root or registers.
        UnsupportedError: An encryption bit: the kernel's own memory is not read through one.
    """
    if root is not None or registers is not None:
        what = "a root" if root is not None else "registers"
        raise ValueError(f"a process and {what} contradict each other: give one or the other")
    if encryption_bit is not None:
        raise UnsupportedError("processes are not found in encrypted memory: give a root beside the encryption bit")


def refuse_outside(memory: Memory, where: Where) -> None:
    """Refuse roots outside the memory.

    One of two as well, such as the user's root of a kernel thread: an address space of which half is missing without a
    word is worse than a line that says how to open the rest.

    Raises:
        BadRoot: One is.
    """
    form = where.format
    given = dict(zip(where.windows, where.names, strict=True))
    outside = {
        name: window.root
        for window, name in given.items()
        if not _is_inside(memory, window.root, form.levels_of(window)[0].table_bytes)
    }
    for name, root in outside.items():
        place, what = ("", "the root") if name == "root" else (f"of {name} ", name)
        if left_out := _left_out(memory, root, form.word.size):
            raise BadRoot(root, f"{place}is not in the dump: {left_out}")
        hint = _encryption(memory, form, root)
        why = f"{place}is outside the memory, which has {getattr(memory, 'extent', 'other addresses')}"
        rest = f"; without {name} the rest can be opened" if len(outside) < len(set(given.values())) else ""
        raise BadRoot(root, f"{why}: {hint}the image is truncated, or its base (--base) or {what} is wrong{rest}")


def _is_inside(memory: Memory, paddr: int, size: int) -> bool:
    """Whether a memory has all of some bytes."""
    if is_flat(memory):
        return memory.view(paddr, size) is not None
    return read_each(memory, [paddr], size) != [None]


def _left_out(memory: Memory, paddr: int, size: int) -> str:
    """Why a dump does not have some bytes that the machine had; nothing if it had none there."""
    try:
        read_exactly(memory, paddr, size)
    except PageNotInDump as error:
        return str(error)
    except MemoryReadError:
        pass
    return ""


def _encryption(memory: Memory, form: PagingFormat, root: int) -> str:
    """What to say of a root that would be inside but for one bit: it marks encrypted memory."""
    for bit in encryption_bits(form):
        if root >> bit & 1 and _is_inside(memory, root & ~(1 << bit), form.word.size):
            return f"bit {bit} is an encryption bit (--encryption-bit {bit}), or "
    return ""
