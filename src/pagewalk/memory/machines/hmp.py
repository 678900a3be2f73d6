"""What QEMU's human monitor says of a machine: where its RAM is, and the registers of its CPUs.

How it works. ``info mtree -f`` is the map of physical memory as CPUs see it, one line a range: what it is, which region
of memory shows there, and from which offset on. RAM is what a memory backend gives (``info memdev`` names these); the
rest of what is called ram is a device's, such as a screen's. A part that the machine has locked, as a PC does with its
BIOS's copy, is called rom, and is RAM all the same.

Source: QEMU 7.2, softmmu/memory.c (mtree_print_flatview), backends/hostmem.c, target/*/cpu_dump_state.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Section", "cpus_of", "ram_of"]

_VIEW: Final = re.compile(r"^FlatView #", re.MULTILINE)
_OF_CPUS: Final = re.compile(r'^\s*AS "memory"', re.MULTILINE)
_LINE: Final = re.compile(
    r"^ *([0-9a-f]{16})-([0-9a-f]{16}) \(prio [0-9-]{1,11}, (?:nv-)?(ram|rom)\): ([^@\n]{1,200}?)"
    r"(?: @([0-9a-f]{16}))?(?: [A-Za-z]+)?$",
    re.MULTILINE,
)
_BACKEND: Final = re.compile(r"^memory backend: (.{1,200})$", re.MULTILINE)
_CPU: Final = re.compile(r"^CPU#[0-9]+$", re.MULTILINE)
_REGISTER: Final = re.compile(r"\b([A-Za-z][A-Za-z0-9_]{1,20}) *[ =] *([0-9a-fA-F]{8,16})\b")
_OBJECTS: Final = "/objects/"
_MOST: Final = 4096
"""Sections and CPUs that are looked at; no machine has as many."""


class Section(NamedTuple):
    """A range of physical memory that shows RAM.

    Attributes:
        start, end: The range, ``[start, end)`` in bytes.
        region: The region of memory that shows there; a backend's has its name.
        offset: From which byte of the region on.
    """

    start: int
    end: int
    region: str
    offset: int


def ram_of(layout: str, backends: str) -> list[Section]:
    """Where RAM is.

    Args:
        layout: What ``info mtree -f`` says.
        backends: What ``info memdev`` says.

    Returns:
        The ranges that memory backends give, ascending; where no backend has a name, all that are called ram.
    """
    view = next((view for view in _VIEW.split(layout) if _OF_CPUS.search(view)), "")
    named = set(_BACKEND.findall(backends))
    found, other = [], []
    for start, end, kind, region, offset in _LINE.findall(view)[:_MOST]:
        one = Section(int(start, 16), int(end, 16) + 1, region.removeprefix(_OBJECTS), int(offset or "0", 16))
        if one.start >= one.end:
            continue
        if one.region in named:
            found.append(one)
        elif kind == "ram":
            other.append(one)
    return sorted(found or other)


def cpus_of(text: str, names: Collection[str]) -> tuple[dict[str, int], ...]:
    """The registers of some names that each CPU has, as ``info registers -a`` says."""
    _, *cpus = _CPU.split(text)[: _MOST + 1]
    found = [{name.lower(): int(value, 16) for name, value in _REGISTER.findall(cpu)} for cpu in cpus]
    return tuple({name: value for name, value in cpu.items() if name in names} for cpu in found)
