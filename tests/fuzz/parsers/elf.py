"""ELF cores."""

from __future__ import annotations

from pagewalk.memory.dumps.elf import ElfCore
from tests.fuzz.target import Target
from tests.memory.cores import HIGH, Load, core, note, qemu_state, vmcoreinfo


def _seeds() -> list[bytes]:
    page = bytes(range(256)) * 16
    notes = (
        note(b"CORE", 1, bytes(336)) + qemu_state(cr3=0x1000, cr4=0x20) + vmcoreinfo("OSRELEASE=6.12", "PAGESIZE=4096")
    )
    loads = [Load(0x1000, page), Load(0x3000, page * 2, size=0x4000), Load(0x2800, page)]
    xen = core([Load(0, page)], count=0, extended=True)
    return [
        core(loads, notes),
        core(loads, notes, bits=32, machine=3),
        core(loads * 8, notes, extended=True),
        core(loads, notes, bits=32, extended=True),
        core(loads, notes, headers_last=True),
        core([Load(0, page, vaddr=HIGH + at) for at in (0x1000, 0x5000, 0x5800)], notes),
        core([Load(0, page * 3), Load(0x2000, b"", stored=4096, offset=0x2200)], notes),
        xen.replace(b"\x01\x02\x03", b".xen_pfn\0", 1),
        core(loads, order=">", machine=22),
    ]


TARGET = Target(
    _seeds,
    ElfCore,
    header=24,
    modules=("pagewalk.memory.dumps.elf_headers", "pagewalk.memory.dumps.elf_notes", "pagewalk.memory.files.layout"),
)
