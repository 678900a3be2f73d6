"""Tables that were built, given to a processor: it does what the layout says, and faults elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

import pagewalk as pw
from pagewalk.cli import main
from pagewalk.editing import Layout, Region, build
from pagewalk.editing.building.proof import prove
from pagewalk.formats import find_format, from_registers
from tests.conftest import skip_or_fail
from tests.editing.building.drawn import expected, rights_in
from tests.real.bare import bare
from tests.real.booted import CALL, CODE, DATA, DATA_SIZE, FAULT, READ, TABLES, WRITE, Board, boot
from tests.real.packages import NotToBeHad

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pagewalk.editing import Built

pytestmark = pytest.mark.real

ARM = Board(
    "qemu-system-aarch64", "virt", "cortex-a72", "aarch64-linux-gnu-gcc", (), "arm64.S", 0x4000_0000, 0x900_0000,
    0xD65F_03C0, ("ttbr0_el1", "ttbr1_el1", "tcr_el1", "mair_el1"),
)  # fmt: skip
RISCV = Board(
    "qemu-system-riscv64", "virt", "rv64,svnapot=true,svpbmt=true", "riscv64-linux-gnu-gcc", ("-mcmodel=medany",),
    "riscv64.S", 0x8000_0000, 0x1000_0000, 0x0000_8067, ("satp", "", "", ""),
)  # fmt: skip
PC = Board(
    "qemu-system-x86_64", "q35", "max", "gcc", ("-m32", "-DLONG"), "x86.S", 0, None, 0xC3,
    ("cr0", "cr3", "cr4", "efer", "pat"),
)  # fmt: skip
BOARDS = {
    "arm64-4k": ARM,
    "arm64-16k": ARM._replace(cpu="cortex-a76"),
    "arm64-64k": ARM,
    "arm64-4k-lpa2": ARM._replace(cpu="max"),
    "arm64-16k-lpa2": ARM._replace(cpu="max"),
    "arm64-64k-lpa": ARM._replace(cpu="max"),
    "riscv-sv39": RISCV,
    "riscv-sv48": RISCV,
    "riscv-sv57": RISCV,
    "x86-64": PC,
    "x86-64-la57": PC,
    "pae": PC._replace(options=("-m32",)),
    "ia32": PC._replace(options=("-m32",)),
}
ACCESSES = ("kernel-read", "kernel-write", "kernel-execute")


def layout_for(name: str, board: Board) -> Layout:
    """What the stub needs, mapped to itself; and pages of every size and of all rights, at both ends of each window."""
    page, base = find_format(name, "none").page_size, board.base
    code = "r-x-" if "r-x-" in rights_in(name) else "rwx-"
    data = "rw--" if "rw--" in rights_in(name) else "rwx-"
    regions = [Region("code", base + CODE, 0x1_0000, code), Region("mailbox", base + CODE + 0x1_0000, 0x1_0000, data)]
    if board.uart is not None:
        regions.append(Region("uart", board.uart, 0x1_0000, "rw--", memory=2))
    form = find_format(name, "none")
    for at, window in enumerate(form.windows):
        vaddr = (window.end - window.start) // 4 * 3 + window.start
        for number, rights in enumerate(rights_in(name)):
            regions.append(Region(f"{rights} {at}", vaddr, 3 * page, rights, paddr=base + DATA + number * page))
            vaddr += 5 * page
        for size in (size for size in form.page_sizes if size <= (window.end - window.start) // 8):
            vaddr = -(-vaddr // size) * size
            to = (base + DATA) // size * size
            rights = rights_in(name)[size.bit_length() % len(rights_in(name))]
            regions.append(Region(f"{size:#x} {at}", vaddr, size, rights, paddr=to))
            vaddr += size + page
        regions.append(Region(f"last {at}", window.end - page, page, data, paddr=base + DATA + 7 * page))
    return Layout(format=name, base=base + TABLES, regions=regions)


def asked(built: Built, board: Board) -> Iterator[int]:
    """Addresses whose contents are known, and those beside regions."""
    low, high, page = board.base + DATA, board.base + DATA + DATA_SIZE, built.layout.format.page_size
    for region in built.layout.regions[2 + (board.uart is not None) :]:
        paddr = region.paddr or 0
        first, last = max(paddr, low), min(paddr + region.size, high)
        places = {first, first + page, (first + last) // 2 & -16, last - 16}
        yield from (region.vaddr + at - paddr for at in places if first <= at < last)
        beside = region.vaddr + region.size, region.vaddr - 16
        yield from (at for at in beside if any(window.holds(at) for window in built.layout.windows))


@pytest.mark.parametrize("name", BOARDS)
def test_a_processor_takes_what_was_built(name: str) -> None:
    board = BOARDS[name]
    built = build(layout_for(name, board))
    prove(built)
    vaddrs = list(asked(built, board))
    found = from_registers(built.registers() | ({"sstatus": 0} if "satp" in built.registers() else {}), "none")
    tables = pw.PageTables(built.tables().memory, format=found.format, windows=found.windows)
    to = [paddr if yes else 0 for paddr, yes in zip(*(column.tolist() for column in pw.translate(tables, vaddrs)), strict=True)]  # fmt: skip  # noqa: E501
    accesses = [(what, vaddr, paddr) for what in (READ, WRITE, CALL) for vaddr, paddr in zip(vaddrs, to, strict=True)]
    try:
        results = boot(board, built, accesses)
    except NotToBeHad as reason:
        skip_or_fail(f"{name}: {reason}")
    mask = (1 << 8 * board.word) - 1
    allowed = [yes for access in ACCESSES for yes in pw.translate(tables, vaddrs, access=access)[1].tolist()]
    went = 0
    for (what, vaddr, paddr), may, result in zip(accesses, allowed, results, strict=True):
        said = expected(built.layout, "", vaddr)
        if said is None or said[1][3] == "-":  # what the layout says of the kernel's pages, without pagewalk's own word
            assert may is (said is not None and "rwx"[what] in said[1]), f"{vaddr:#x}"
        wanted = paddr if may else FAULT
        assert result & mask == wanted & mask, f"{ACCESSES[what]} of {vaddr:#x}: {result:#x}, not {wanted:#x}; {said}"
        assert may is False or said is None or said[0] == paddr
        went += may
    assert 10 < went < len(accesses) - 10


def test_a_layout_of_a_machine(tmp_path: Path) -> None:
    """Through the gdb stub of a machine that has the tables, back to a layout, and to the same bytes."""
    regions = [
        Region("low", 0x1000, 0x3F_F000, "rwxu", paddr=0x1000),
        Region("high", 0xFFFF_8000_0000_0000, 3 << 30, "rw--", paddr=0),
    ]
    built = build(Layout(format="x86-64", base=TABLES, regions=regions))
    (tmp_path / "tables").write_bytes(built.data)
    loaded = f"loader,file={tmp_path / 'tables'},addr={TABLES:#x},force-raw=on"
    try:
        with bare(tmp_path, "-device", loaded) as machine:
            source = ["--from", f"gdb:{machine.gdb}", "--root", hex(TABLES), "--tables", hex(TABLES)]
            done = CliRunner().invoke(main, ["build", *source, "-o", str(tmp_path / "back.toml")])
    except NotToBeHad as reason:
        skip_or_fail(f"no machine: {reason}")
    assert not done.exit_code, done.output
    assert build(tmp_path / "back.toml").data == built.data
