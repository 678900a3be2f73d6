"""Who may do what: Unicorn's MMU and pagewalk's rules translate the same, and refuse the same."""

from __future__ import annotations

import contextlib
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest

import pagewalk as pw
from pagewalk.formats import from_registers
from pagewalk.formats.access import ACCESSES
from pagewalk.tables import judge
from tests.unicorn.machines import X86, Arm64, Machine, RiscV
from tests.unicorn.world import SIZE, World, build

if TYPE_CHECKING:
    from collections.abc import Iterator

FAMILIES = [(X86, 4), (X86, 5), (Arm64, 39), (Arm64, 48), (RiscV, 3), (RiscV, 4), (RiscV, 5)]
WORLDS = 40


RULES = {X86: {"SMEP", "SMAP", "WP", "AD", "WD"}, Arm64: {"EL0 may write", "WXN", "PAN", "HA"}, RiscV: {"SUM", "MXR"}}
"""The rules that must have had the last word at least once."""


def ours(tables: pw.PageTables, vaddr: int, access: str) -> tuple[int | None, str]:
    """Where an access to one address goes, None if it is refused; and the rule that decided, without its key."""
    try:
        page = tables.translate(vaddr, hardware=True)
    except pw.TranslationError:
        return None, ""
    verdict = judge(list(tables.steps(vaddr)), access, tables.window_of(vaddr))
    return page.paddr if verdict.allowed else None, verdict.rule.name.rstrip("0123456789") if verdict.rule else ""


def steps(tables: pw.PageTables, vaddr: int) -> list[str]:
    """The entries on the way of an address, for messages."""
    found: list[str] = []
    with contextlib.suppress(pw.TranslationError):
        found.extend(map(str, tables.steps(vaddr)))
    return found


def worlds(machine: type[X86 | Arm64 | RiscV], width: int) -> Iterator[tuple[dict[str, int], World]]:
    """Registers, and tables that they lead to."""
    rng = Random(f"{machine.__name__} {width}")
    for _ in range(WORLDS):
        registers = machine.registers(rng, width)
        yield registers, build(from_registers(registers, "none"), machine.base, machine.roots[-1], rng)


def answers(machine: type[Machine], registers: dict[str, int], world: World) -> dict[tuple[int, str], int | None]:
    """What the processor says of each address and each access, its TLB empty for each kind of access."""
    found: dict[tuple[int, str], int | None] = {}
    for access in ACCESSES:
        who, what = access.split("-")
        one = machine(registers, world, user=who == "user")
        found |= {(vaddr, access): one.look(vaddr, what) for vaddr in world.places}
    return found


@pytest.mark.parametrize(("machine", "width"), FAMILIES)
class TestUnicorn:
    """Intel SDM vol. 3A, 5.6; Arm ARM D8.4; RISC-V privileged, "Virtual Address Translation Process"."""

    def test_translates_and_refuses_the_same(self, machine: type[X86 | Arm64 | RiscV], width: int) -> None:
        seen: Counter[tuple[str, bool]] = Counter()
        rules = set()
        for registers, world in worlds(machine, width):
            theirs, tables = answers(machine, registers, world), world.tables
            for access in ACCESSES:
                paddrs, mask = pw.translate(tables, world.places, access=access, findings=[])
                for vaddr, paddr, allowed in zip(world.places, paddrs.tolist(), mask.tolist(), strict=True):
                    wanted = theirs[vaddr, access]
                    where = f"{access} of {vaddr:#x}, {registers}, {steps(tables, vaddr)}"
                    answer, rule = ours(tables, vaddr, access)
                    rules.add(rule)
                    assert answer == wanted, where
                    assert (paddr if allowed else None) == wanted, where
                    seen[access, allowed] += 1
        assert min(seen[access, allowed] for access in ACCESSES for allowed in (True, False)) > 5, seen
        assert rules == RULES[machine] | {""}


class TestWhereUnicornIsWrong:
    """What its answers are not taken for: each is a case, and what is done about it."""

    def test_a_page_that_was_read_is_executed_from_the_tlb(self) -> None:
        """RISC-V privileged, supervisor status register: S-mode never executes a page of the user, whatever SUM says.

        QEMU 5.0.1 refuses the fetch on its way through the tables, but a load with SUM leaves X in the TLB. So each
        kind of access gets a processor of its own.
        """
        registers = {"satp": 8 << 60 | RiscV.roots[0] >> 12, "sstatus": 1 << 18, "menvcfg": 1 << 61}
        world = World(from_registers(registers, "none"), RiscV.base, pw.Ram(SIZE, RiscV.base), RiscV.roots[0])
        world.put(RiscV.roots[0] + 2 * 8, RiscV.base >> 2 | 0xDF)  # a page of 1 GiB: D A U X W R V
        machine = RiscV(registers, world, user=False)
        assert machine.look(RiscV.base, "execute") is None
        assert machine.look(RiscV.base, "read") == RiscV.base
        assert machine.look(RiscV.base, "execute") == RiscV.base
