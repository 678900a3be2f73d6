"""Tables built from a layout: Unicorn's MMU reads every page where it should be, and refuses every other access."""

from __future__ import annotations

import contextlib
import ctypes
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from pagewalk.editing import build
from pagewalk.memory import FlatMemory, Segment
from tests.editing.building.drawn import Drawing, expected, places
from tests.unicorn.machines import X86, Arm64, Machine, RiscV
from tests.unicorn.world import SIZE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pagewalk.editing import Built

LAYOUTS = 25
FAMILIES = {
    (X86, "x86-64", None): {"pkru": 0},
    (X86, "x86-64-la57", None): {"pkru": 0},
    (Arm64, "arm64-4k", 39): {"sctlr_el1": 0xC5_0839, "pstate": 0},
    (Arm64, "arm64-4k", 48): {"sctlr_el1": 0xC5_0839, "pstate": 0},
    (RiscV, "riscv-sv39", None): {"sstatus": 1 << 18, "menvcfg": 1 << 61},
    (RiscV, "riscv-sv48", None): {"sstatus": 1 << 18, "menvcfg": 1 << 61},
    (RiscV, "riscv-sv57", None): {"sstatus": 1 << 18, "menvcfg": 1 << 61},
}
"""A processor, a format, the width of addresses; and the registers that a layout has no part in."""
HALF = SIZE // 2


class Filled(NamedTuple):
    """The processor's memory: tables in its first half; behind, each frame says its own address."""

    ram: FlatMemory


def filled(base: int, built: Built) -> Filled:
    """The memory with these tables."""
    data = bytearray(np.arange(base, base + SIZE, 8, dtype="<u8").tobytes())
    start = built.base - base
    assert start + built.size <= HALF
    data[start : start + built.size] = built.data
    return Filled(FlatMemory([Segment(base, memoryview(data))]))


def read(one: Machine, vaddr: int) -> int | None:
    """Eight bytes, read through the MMU."""
    from unicorn.unicorn_py3.unicorn import uclib

    data = ctypes.create_string_buffer(8)
    size = ctypes.c_size_t(8)
    failed = uclib.uc_vmem_read(one.engine._uch, ctypes.c_uint64(vaddr), ctypes.c_uint32(1), data, size)
    return None if failed else int.from_bytes(data.raw, "little")


def built_by_chance(machine: type[Machine], name: str, bits: int | None) -> Iterator[Built]:
    """Layouts, built where the processor has memory."""
    rng = Random(f"{name} {bits}")
    count = 0
    while count < LAYOUTS:
        end = rng.choice((machine.base + SIZE, machine.base + (1 << 32)))  # larger pages, most of which lead nowhere
        drawing = Drawing(name, bits, (machine.base + HALF, end), groups=machine is not RiscV, roots=2)
        with contextlib.suppress(AssertionError):
            built = build(drawing.layout(rng, base=machine.base + 0x1000))
            assert built.size <= HALF - 0x1000
            count += 1
            yield built


def asked(built: Built) -> list[int]:
    """Addresses of the first pages of each region, one each, its ends, and those beside it."""
    regions = built.layout.regions
    found = {at for region in regions for at in places(built.layout, region)}
    page = built.layout.format.page_size
    found |= {at for region in regions for at in range(region.vaddr, region.vaddr + min(region.size, 40 * page), page)}
    found |= {at for region in regions for at in (region.vaddr - 8, region.vaddr + region.size)}
    windows = built.layout.windows
    return sorted(at & -8 for at in found if any(window.holds(at) for window in windows))


LETTERS = {"read": "r", "write": "w", "execute": "x"}


def allowed(rights: str, who: str, what: str) -> bool | None:
    """Whether an access goes through, by the rights that were written; None: the rights do not tell."""
    user = rights[3] == "u"
    if user and who == "kernel":
        return None
    return (user or who == "kernel") and LETTERS[what] in rights


@pytest.mark.parametrize(("machine", "name", "bits"), FAMILIES)
class TestBuilt:
    def test_what_is_mapped_is_there_and_nothing_else(self, machine, name, bits):
        seen: Counter[tuple[str, str, bool]] = Counter()
        for built in built_by_chance(machine, name, bits):
            for root in built.roots:
                registers = built.registers(root) | FAMILIES[machine, name, bits]
                for who, what in ((who, what) for who in ("user", "kernel") for what in LETTERS):
                    one = machine(registers, filled(machine.base, built), user=who == "user")
                    for vaddr in asked(built):
                        self.check(one, built, root, vaddr, (who, what), seen)
        assert min(seen[who, what, yes] for who in ("user", "kernel") for what in LETTERS for yes in (True, False)) > 50

    def check(self, one, built, root, vaddr, access, seen) -> None:
        """One access to one address."""
        who, what = access
        paddr, rights = expected(built.layout, root, vaddr) or (0, "----")
        may = allowed(rights, who, what)
        if may is None:
            return
        seen[who, what, may] += 1
        where = f"{who} {what} of {vaddr:#x}: {rights} of {paddr:#x}"
        assert one.look(vaddr, what) == (paddr if may else None), where
        if what == "read" and paddr < one.base + SIZE:
            assert read(one, vaddr) == (paddr if may else None), where
