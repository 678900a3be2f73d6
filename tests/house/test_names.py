"""Rule: "no name of an architecture, no level's number or name, no shift or mask on a raw entry" outside ``formats/``.

``abi/`` has the kernel's own numbers, of one machine where the kernel numbers by machine; the contract's own names
(``pmd_entry``, ``pte_hole``) may be used by everybody. Identifiers and strings count, so that nothing can be decided by
them, error messages among them: they are made from the format's data. Prose does not count: comments, docstrings, and
the help texts of options, in which an example says more than a definition.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.house.names import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(__file__).parents[2] / "src" / "pagewalk"
FREE = {"formats", "abi"}
NOT_CLEAN_YET = {"source.py"}
"""Rooms that still break a rule."""
EXCEPTIONS = {("walk/ops.py", "a level", "pgd"): "`struct mm_walk` has a member of this name"}

PLANTED = {
    "an architecture": [
        'if form.name == "x86-64": pass',
        "if is_arm64(form): pass",
        "from pagewalk.formats import linux_x86",
        'form = find_format("sv39")',
        "def walk(la57=False): pass",
        'raise ValueError(f"{root:#x} is not in CR3")',
        'registers["ttbr0_el1"]',
        "class RiscvTables: pass",
        "match form.name:\n    case 'x86-64-la57': pass",
    ],
    "a level": [
        'if level.name != "PUD": pass',
        "PMD, PTE = 3, 4",
        "level = form.levels[4]",
        "level = form.real_levels[2]",
        "if entry.level.depth == 3: pass",
        "if 4 > depth: pass",
        "def at_pmd(entry): pass",
        "from pagewalk.mm.tables import PTE",
        'say("the PTE-mapped ones")',
        "shift = pml4_shift",
        "if depth < LAST_DEPTH: pass",
    ],
    "bits of an entry": [
        "there = entry & 1",
        "frame = entry.value & 0x000F_FFFF_FFFF_F000",
        "frames = entries & np.uint64(FRAME)",
        "number = entries[at] >> np.uint64(12)",
        "if slots[at] & VALID: pass",
        "entry |= 1 << 63",
        "entries[:, 0] ^= np.uint64(1 << 8)",
        "key = entry >> 59 & 15",
        "there = pmd.value & P | RW",
        "used = entries != 0",
        "if entry.value == 0: pass",
        "flag = int(raw) & Bits.PRESENT",
        "if value >> form.valid & 1: pass",
    ],
}
HARMLESS = [
    '"""x86-64: CR3 has the PML4 (bit 12 up)."""',
    "ops = WalkOps(pmd_entry=look, pte_hole=hole)  # x86 has PUDs too",
    'option("--root", help="The top table (x86: CR3, flags off).")',
    "walk(tables, pte_tables=look)",
    'raise WalkError(22, "install_pte is not permitted here")',
    "level = form.levels[0], form.levels[-1], form.levels[depth], form.levels[level.depth + 1]",
    "if depth == -1 or level.depth == 0: pass",
    "there = entries & level.significant != 0",
    "if walk.action is not Action.CONTINUE and entry.value != before: pass",
    "index = vaddr >> level.shift & level.entries - 1",
    "word = words & np.uint64(PM_PRESENT)",
    "flags = entry.flags & Flag.WRITE",
    "armed, warm, harm = charm(1), alarm, swarm",
    "count = len(entries) >> 1",
    "if value < 0 or value >> 64: pass",
]


def breaches(room: str) -> Iterator[str]:
    """Where a room, or a file beside the rooms, breaks a rule."""
    path = PACKAGE / room
    for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        tree = ast.parse(file.read_text())
        for what, rule in RULES.items():
            found = ((line, text) for line, text in rule(tree) if (name, what, text) not in EXCEPTIONS)
            yield from (f"{name}:{line} names {what}: {text}" for line, text in found)


def rooms() -> list[str]:
    there = (path.name for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists())
    return sorted(set(there) - FREE)


@pytest.mark.parametrize("room", sorted(set(rooms()) - NOT_CLEAN_YET))
def test_a_room_names_none_of_it(room: str) -> None:
    assert list(breaches(room)) == []


@pytest.mark.parametrize("room", sorted(NOT_CLEAN_YET))
def test_the_list_holds_no_clean_room(room: str) -> None:
    assert list(breaches(room))


def test_every_exception_is_needed() -> None:
    for name, what, text in EXCEPTIONS:
        assert text in [found for _, found in RULES[what](ast.parse((PACKAGE / name).read_text()))]


@pytest.mark.parametrize(("what", "code"), [(what, code) for what, codes in PLANTED.items() for code in codes])
def test_a_planted_breach_is_found(what: str, code: str) -> None:
    assert list(RULES[what](ast.parse(code)))


@pytest.mark.parametrize("code", HARMLESS)
@pytest.mark.parametrize("what", RULES)
def test_what_is_harmless_is_none(what: str, code: str) -> None:
    assert list(RULES[what](ast.parse(code))) == []
