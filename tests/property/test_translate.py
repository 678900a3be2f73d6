"""One address at a time: against the reference, and against a processor's own MMU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unicorn import UC_ARCH_X86, UC_MODE_64, UC_TLB_CPU, x86_const
from unicorn.unicorn_py3.unicorn import Uc, UcError

import pagewalk as pw
from pagewalk.formats.hardware.x86 import x86_64
from tests.property.entries import ADDRESS, leaf
from tests.property.worlds import RAM_SIZE, World, addresses, hostile_worlds, new_world, worlds

if TYPE_CHECKING:
    from tests.reference import Found

RAISES = {"hole": pw.NotPresent, "absent": pw.NotPresent, "reserved": pw.ReservedBits, "outside": pw.Malformed}


def translation(tables: pw.PageTables, vaddr: int) -> tuple[object, ...]:
    """What the tables say, in the reference's words."""
    try:
        page = tables.translate(vaddr, hardware=True)
    except pw.TranslationError as error:
        return type(error), error.depth, error.entry
    rights = tuple(bool(page.flags & flag) for flag in (pw.Flag.WRITE, pw.Flag.USER, pw.Flag.EXEC))
    return (page.paddr, page.page_size, page.entry.value, *rights)


def wanted(found: Found, vaddr: int) -> tuple[object, ...]:
    if found.what in RAISES:
        return RAISES[found.what], found.depth, found.entry
    offset = vaddr & (found.size - 1)
    return found.paddr | offset, found.size, found.entry, found.write, found.user, found.execute


class TestTranslate:
    """Intel SDM vol. 3A, 5.5.4: the walk from CR3 to a page, and 5.6.1: a right is what every level grants."""

    @given(st.one_of(worlds(), hostile_worlds()), st.data())
    def test_equals_the_reference(self, world: World, data: st.DataObject) -> None:
        tables, _ = world.tables()
        places = [*world.addresses, data.draw(addresses(world.levels))]
        for place in places:
            vaddr = place + data.draw(st.integers(0, 0x1FFF))
            low, high = world.half_of(place)
            if low <= vaddr < high:
                assert translation(tables, vaddr) == wanted(world.hardware().look(vaddr), vaddr)

    @given(worlds(), st.sampled_from([36, 39, 46, 51]), st.data())
    def test_bits_above_the_physical_width_are_reserved(self, world: World, bits: int, data: st.DataObject) -> None:
        tables = pw.PageTables(world.ram, world.root, x86_64(world.levels, bits))
        for vaddr in [*world.addresses, data.draw(addresses(world.levels))]:
            assert translation(tables, vaddr) == wanted(world.hardware(bits).look(vaddr), vaddr)

    @given(st.sampled_from([4, 5]), st.integers(-(1 << 65), 1 << 65))
    def test_addresses_outside_the_halves_are_refused(self, levels: int, vaddr: int) -> None:
        tables, _ = new_world(levels).tables()
        bits = 47 if levels == 4 else 56
        low, high = 0 <= vaddr < 1 << bits, (1 << 64) - (1 << bits) <= vaddr < 1 << 64
        with pytest.raises(pw.NotPresent if low or high else pw.NonCanonical):
            tables.translate(vaddr)


class TestNoPageAboveThePud:
    """Linux 6.18: ``p4d_present`` and ``pgd_present`` look at P alone; PROT_NONE is for what can be a page."""

    @pytest.mark.parametrize("levels", [4, 5])
    @pytest.mark.parametrize("raw", [0x100, 0xC800_0000_0000_0000 | 0x1FE00])
    def test_a_top_entry_is_never_one(self, levels: int, raw: int) -> None:
        world = new_world(levels)
        world.put(world.root, raw)
        tables, _ = world.tables()
        with pytest.raises(pw.NotPresent):
            tables.translate(0)

    @pytest.mark.parametrize("levels", [4, 5])
    @pytest.mark.parametrize("raw", [0x100, 0xCFFF_FFFF_FFDF_FE00])
    def test_a_walk_does_not_split_one(self, levels: int, raw: int) -> None:
        """Nothing there can be split: the entry stays, and the walk says that it is no table."""
        world = new_world(levels)
        world.put(world.root, raw)
        tables, allocator = world.tables()
        space = pw.AddressSpace(tables, [pw.Vma(0, 4096)])
        with pytest.raises(pw.WalkError, match="is no table"):
            pw.walk_page_range(space, 0, 4096, pw.WalkOps(pte_entry=lambda *_: None))
        assert (world.word(world.root), allocator.calls) == (raw, 0)


CODE_AT, LOAD = 0x7000, bytes.fromhex("488b03")  # mov rax, [rbx]


def emulator(world: World) -> Any:
    """A processor with paging on, our RAM as its memory, and a page of code that loads from RBX."""
    code, slot = world.new_table(), world.slot(CODE_AT, 4)
    assert slot is not None
    world.put(slot, code | 0x63)
    world.ram.write(code, LOAD)
    machine: Any = Uc(UC_ARCH_X86, UC_MODE_64)
    machine.ctl_set_tlb_mode(UC_TLB_CPU)
    machine.mem_map(world.base, RAM_SIZE)
    machine.mem_write(world.base, world.snapshot())
    machine.msr_write(0xC000_0080, 1 << 8 | 1 << 10 | 1 << 11)  # EFER: LME LMA NXE
    machine.reg_write(x86_const.UC_X86_REG_CR3, world.root)
    machine.reg_write(x86_const.UC_X86_REG_CR4, 1 << 5 | (1 << 12 if world.levels == 5 else 0))
    machine.reg_write(x86_const.UC_X86_REG_CR0, 1 << 31 | 1 << 16 | 1)
    return machine


class TestProcessor:
    """Unicorn's MMU finds the same bytes behind an address, and refuses the same ones."""

    @given(st.sampled_from([4, 5]), st.data())
    def test_loads_agree(self, levels: int, data: st.DataObject) -> None:
        world = new_world(levels)
        world.slot(CODE_AT, 4)
        for _ in range(data.draw(st.integers(1, 4))):
            vaddr = data.draw(addresses(levels))
            shift = data.draw(st.sampled_from([12, 12, 21]))
            slot = world.slot(vaddr, 4 if shift == 12 else 3)
            if slot is None or world.word(slot):
                continue
            frame = 0 if shift == 21 else data.draw(st.integers(0, (RAM_SIZE >> 12) - 1)) << 12
            page = data.draw(leaf(shift)) & ~(ADDRESS & -(1 << shift)) | frame  # the frame lies in our RAM
            world.put(slot, page if data.draw(st.booleans()) else page & ~1)
            world.addresses.append(vaddr)
        machine = emulator(world)
        tables, _ = world.tables()
        for vaddr in [*world.addresses, data.draw(addresses(levels))]:
            vaddr &= ~(vaddr & 0x100000)  # of a page of 2 MiB, the first: the RAM has no more
            assert processor_load(machine, vaddr) == our_load(tables, vaddr), f"{vaddr:#x}"


def processor_load(machine: Any, vaddr: int) -> bytes | None:
    """The eight bytes at an address as the processor loads them, None on a page fault."""
    machine.reg_write(x86_const.UC_X86_REG_RBX, vaddr)
    before = machine.context_save()
    try:
        machine.emu_start(CODE_AT, CODE_AT + len(LOAD), count=1)
    except UcError:
        machine.context_restore(before)  # or the next fault would be a double fault
        return None
    loaded: int = machine.reg_read(x86_const.UC_X86_REG_RAX)
    return loaded.to_bytes(8, "little")


def our_load(tables: pw.PageTables, vaddr: int) -> bytes | None:
    try:
        page = tables.translate(vaddr, hardware=True)
    except pw.TranslationError:
        return None
    assert page.paddr is not None
    return tables.memory.read(page.paddr, 8)
