"""Numbers, flags and names in words."""

from __future__ import annotations

from functools import lru_cache

from pagewalk.formats import LINUX, Flag
from pagewalk.formats.flags import GRANTED

__all__ = ["columns", "flag_names", "hexed", "read_as", "size_text", "state_names"]

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size_text(size: int) -> str:
    """A number of bytes as people read it: ``4 KiB``, ``12.5 MiB``; the unit never rounds up to the next."""
    step = min(max(size.bit_length() - 1, 0) // 10, len(_UNITS) - 1)
    whole, rest = divmod(size, 1 << 10 * step)
    tenths = rest * 10 >> 10 * step
    return f"{whole}.{tenths} {_UNITS[step]}" if tenths else f"{whole} {_UNITS[step]}"


def hexed(number: int | None) -> str | None:
    """A 64-bit word as JSON carries it: a string, since many readers keep numbers as doubles; None stays None."""
    return None if number is None else f"{number:#x}"


def read_as(system: str, before: str) -> str:
    """Whose entries were read, behind something; nothing where it is what is read unasked."""
    return "" if system == LINUX.name else f"{before}read as {system}"


@lru_cache(maxsize=1024)
def flag_names(flags: int) -> tuple[str, ...]:
    """The names of all flags that are set, in lower case, lowest bit first."""
    return tuple((flag.name or "").lower() for flag in Flag if flag & flags)


def state_names(flags: int) -> tuple[str, ...]:
    """The names of the flags that are not rights."""
    return flag_names(flags & ~int(GRANTED))


def columns(rows: list[tuple[str, ...]], right: frozenset[int] = frozenset()) -> list[str]:
    """Rows of cells as lines with aligned columns.

    Args:
        rows: Cells, as many in every row.
        right: Which columns are flush right.
    """
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if at in right else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
