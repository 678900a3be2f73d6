"""32-bit x86: Unicorn's own page walk, given drawn tables, goes to the same addresses and refuses the same accesses."""

from __future__ import annotations

import ctypes
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pagewalk import NotPresent
from pagewalk.formats import Flag
from pagewalk.formats.hardware.ia32 import ia32, pae
from pagewalk.formats.os.linux_ia32 import linux_ia32
from pagewalk.testing.drawn import draw_tables
from tests.conftest import skip_or_fail

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.formats import PagingFormat
    from pagewalk.testing.drawn import Drawn

READ, WRITE, EXEC = 1, 2, 4  # UC_PROT_*
EFER, CR0 = 0xC000_0080, 0x8001_0011  # the register's number; PG, WP, PE


class Mode(NamedTuple):
    """A format, and the control registers that say it."""

    form: PagingFormat
    cr4: int
    efer: int


MODES = {
    "two levels": Mode(ia32(linux_ia32(wide=False)), 0x10, 0),
    "two levels without PSE": Mode(ia32(linux_ia32(wide=False), large_pages=False), 0, 0),
    # its CPU has 36 physical bits outside 64-bit mode
    "PAE": Mode(pae(linux_ia32(wide=True), 36), 0x20, 0x800),
}


def mmu(drawn: Drawn, mode: Mode) -> Callable[[int, int], int | None]:
    """``(vaddr, access) -> paddr`` of the kernel, None where its MMU faults."""
    try:
        from unicorn import UC_ARCH_X86, UC_MODE_32, UC_TLB_CPU
        from unicorn.unicorn_py3.unicorn import Uc, uclib
        from unicorn.x86_const import UC_X86_REG_CR0, UC_X86_REG_CR3, UC_X86_REG_CR4
    except ImportError as error:
        skip_or_fail(f"no Unicorn: {error}")
    machine: Any = Uc(UC_ARCH_X86, UC_MODE_32)
    machine.ctl_set_tlb_mode(UC_TLB_CPU)  # the CPU's own page walk, not the emulator's flat map
    machine.mem_map(drawn.base, drawn.size)
    machine.mem_write(drawn.base, bytes(drawn.memory.read(drawn.base, drawn.size)))
    machine.msr_write(EFER, mode.efer)
    machine.reg_write(UC_X86_REG_CR4, mode.cr4)
    machine.reg_write(UC_X86_REG_CR3, drawn.windows[0].root)
    machine.reg_write(UC_X86_REG_CR0, CR0)

    def look(vaddr: int, access: int) -> int | None:
        paddr = ctypes.c_uint64()
        how = ctypes.c_uint64(vaddr), ctypes.c_uint32(access), ctypes.byref(paddr)
        return None if uclib.uc_vmem_translate(machine._uch, *how) else paddr.value

    return look


@pytest.mark.parametrize("name", MODES)
def test_the_kernels_accesses(name: str) -> None:
    mode, rng, there = MODES[name], Random(32), 0
    for _ in range(60):
        drawn = draw_tables(mode.form, rng)
        look = mmu(drawn, mode)
        near = [place ^ 0x1000 for place in drawn.places]
        for vaddr in (*drawn.places, *near, *(rng.getrandbits(32) for _ in range(10))):
            try:
                page = drawn.tables.translate(vaddr, hardware=True)
            except NotPresent:
                assert look(vaddr, READ) is None
                continue
            there += 1
            assert look(vaddr, READ) == page.paddr
            for access, right in ((WRITE, Flag.WRITE), (EXEC, Flag.EXEC)):
                assert (look(vaddr, access) == page.paddr) is (right in page.flags), f"{vaddr:#x} in {drawn!r}"
    assert there > 20
