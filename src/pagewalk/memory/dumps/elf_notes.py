"""The notes of an ELF core: the registers of its CPUs, and what the kernel says of itself."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from pagewalk.abi.elf import NT_PRSTATUS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.abi.elf import Machine

__all__ = ["Notes", "notes_of", "vmcoreinfo_of"]

MOST: Final = 1 << 17
"""Notes of a core at most: some thousand CPUs have a handful each."""
_STATE_VERSION: Final = 1


class Notes(NamedTuple):
    """What notes say.

    Attributes:
        cpus: The registers of each CPU that say where tables are.
        vmcoreinfo: The kernel's own words, by key.
        states: CPUs of which there are general registers.
        cut: Why the rest of the notes was not read, if it was not.
    """

    cpus: tuple[dict[str, int], ...]
    vmcoreinfo: dict[str, str]
    states: int
    cut: str


def notes_of(data: bytes, order: str, machine: Machine | None) -> Notes:
    """Read notes.

    Args:
        data: The bytes of a PT_NOTE segment.
        order: Their byte order, as ``struct`` has it.
        machine: Whose registers they hold, if it is known.
    """
    cpus: list[dict[str, int]] = []
    states, cut = 0, ""
    vmcoreinfo: dict[str, str] = {}
    for count, (name, kind, body) in enumerate(_notes(data, order)):
        if count == MOST:
            cut = f"there are more than {MOST:,} notes"
        elif body is None:
            cut = "a note ends beyond its segment"
        elif name == b"VMCOREINFO" and not vmcoreinfo:
            vmcoreinfo = vmcoreinfo_of(bytes(body))
        elif name == b"QEMU" and machine is not None:
            cpus += _state(body, order, machine)
        elif name == b"CORE" and kind == NT_PRSTATUS:
            states += 1
        if cut:
            break
    return Notes(tuple(cpus), vmcoreinfo, states, cut)


def vmcoreinfo_of(text: bytes) -> dict[str, str]:
    """The lines ``KEY=VALUE`` of a VMCOREINFO by their keys, the first of each; other lines are passed over."""
    found: dict[str, str] = {}
    for line in text.rstrip(b"\0").decode("utf-8", "replace").split("\n"):
        key, sign, value = line.partition("=")
        if sign and key.isprintable():
            found.setdefault(key, value)
    return found


def _notes(data: bytes, order: str) -> Iterator[tuple[bytes, int, memoryview | None]]:
    """The name, the type and the body of each note; a body of None: it is not all there.

    Each begins with the sizes of name and body and its type, 4 bytes each in both classes; all parts fill up words of
    4 bytes. Kernels and QEMU do so whatever the class; the ABI's 8 bytes are nobody's.
    """
    view, head, at = memoryview(data), struct.Struct(f"{order}3I"), 0
    while at + head.size <= len(data):
        name_size, size, kind = head.unpack_from(data, at)
        if not name_size and not size and not kind:  # the zeros that fill a page of notes up
            return
        start = at + head.size + (name_size + 3 & ~3)
        name = bytes(view[at + head.size : at + head.size + min(name_size, 64)]).rstrip(b"\0")
        whole = start + size <= len(data)
        yield name, kind, view[start : start + size] if whole else None
        at = start + (size + 3 & ~3)


def _state(body: memoryview, order: str, machine: Machine) -> Iterator[dict[str, int]]:
    """The registers in QEMU's state of a CPU, if it is one that is known."""
    if not machine.state or len(body) < max(machine.state.values()) + 8:
        return
    version, _ = struct.unpack_from(f"{order}2I", body)
    if version == _STATE_VERSION:
        named = {name: struct.unpack_from(f"{order}Q", body, offset)[0] for name, offset in machine.state.items()}
        yield named | dict(machine.implied)
