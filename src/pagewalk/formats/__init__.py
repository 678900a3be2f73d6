"""Paging formats: frozen data about entries, and the one place that knows architectures by name."""

from __future__ import annotations

import difflib

from pagewalk.doors import shown
from pagewalk.errors import UnsupportedError
from pagewalk.formats.bits import AddressField, BitTest, FlagBit, SwapField
from pagewalk.formats.flags import Flag, Kind
from pagewalk.formats.paging import NO_PADDR, Level, PagingFormat
from pagewalk.formats.software import Marker, SoftwareLayer, SwapTypes
from pagewalk.formats.x86 import linux_x86, x86_64

__all__ = [
    "FORMATS",
    "NO_PADDR",
    "AddressField",
    "BitTest",
    "Flag",
    "FlagBit",
    "Kind",
    "Level",
    "Marker",
    "PagingFormat",
    "SoftwareLayer",
    "SwapField",
    "SwapTypes",
    "find_format",
    "linux_x86",
    "x86_64",
]

FORMATS: dict[str, PagingFormat] = {form.name: form for form in (x86_64(4), x86_64(5))}
"""Every format by the name that ``--format`` takes."""


def find_format(name: str | PagingFormat) -> PagingFormat:
    """The format of a name; a format is handed back as it is.

    Raises:
        UnsupportedError: No format of that name.
        TypeError: Neither a format nor a name.
    """
    if isinstance(name, PagingFormat):
        return name
    if not isinstance(name, str):
        raise TypeError(f"a paging format or its name is needed, not {shown(name)}")
    try:
        return FORMATS[name]
    except KeyError:
        near = difflib.get_close_matches(name, FORMATS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UnsupportedError(f"unknown format {shown(name)}: {hint}known are {', '.join(FORMATS)}") from None
