"""The user half of a real guest's address space: every page that the processor sees; and of guests of other formats."""

from __future__ import annotations

import json
import lzma
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import pagewalk as pw
from benchmarks import engine
from benchmarks.frame import Benchmark, Case, Job, Missing
from benchmarks.native import Limit, Rows
from benchmarks.peers import pages_of, volatility_layer
from pagewalk.formats import NO_PADDR
from tests.kept import KEPT, kept
from tests.real.machines import MACHINES
from tests.real.pages import said

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.frame import Scale

DATA = Path(__file__).parent.parent / "tests" / "data"
IMAGE = DATA / "x86_64-7.3-4level.ram.xz"
GUESTS = {"x86-64": "x86_64-7.3-4level", "arm64-4k": "aarch64-7.2-4k-48", "riscv-sv39": "riscv64-7.2-sv39"}
REGISTERS = {"cr3": "cr3", "satp": "satp", "ttbr0": "ttbr0_el1", "ttbr1": "ttbr1_el1", "tcr": "tcr_el1"}
"""What the files of truth call them, and what QEMU and gdb do."""
ROOT = 0x4B24000
END = 1 << 47
PRESENT = 1
PRESENT_BIT = 63
SPANS = np.array([1 << 39, 1 << 39, 1 << 30, 1 << 21, 1 << 12], np.uint64)


def image(folder: Path) -> Path:
    """The guest's RAM, unpacked.

    Raises:
        Missing: Not in this checkout.
    """
    path = folder / "guest.ram"
    if not IMAGE.exists():
        raise Missing(f"there is no {IMAGE.name}")
    if not path.exists():
        path.write_bytes(lzma.decompress(IMAGE.read_bytes()))
    return path


def expected(path: Path) -> list[int]:
    """What the C walker finds, page by page."""
    limit = Limit(path.parent, np.asarray(np.memmap(path, np.uint8, "r")), ROOT)
    rows = limit.listing(Rows.empty(sum(limit.counts().values())))
    wanted = (rows["kind"] == PRESENT) & (rows["vaddr"] < END)
    return pages_of(np.stack([rows["vaddr"], SPANS[rows["depth"]], rows["paddr"]], axis=1)[wanted])


def job(path: Path, work: Callable[[], Any], reset: Callable[[], None] | None = None) -> Job:
    """A job that finds ``(vaddr, size, paddr)``."""
    wanted = expected(path)
    return Job(wanted[0], work, lambda found: pages_of(np.array(found, np.uint64)), wanted, reset)


def by_walk(folder: Path) -> Job:
    """The walk, with a callback that collects."""
    path = image(folder)
    tables = pw.PageTables(pw.RawImage(path), ROOT)

    def work() -> list[tuple[int, int, int]]:
        found = []

        def page(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
            level, value = entry.level, entry.value
            if level.is_valid(value) and not level.is_table(value):
                found.append((addr, next_ - addr, level.frame(value)))

        pw.walk_page_range_novma(tables, 0, END, pw.WalkOps(pud_entry=page, pmd_entry=page, pte_entry=page))
        return found

    return job(path, work)


def by_sweep(folder: Path) -> Job:
    """The bulk engine."""
    path = image(folder)
    tables = pw.PageTables(pw.RawImage(path), ROOT)
    engine.checked(lambda: engine.sweep.mappings(engine.small(), hardware=True))

    def work() -> Any:
        found = engine.sweep.mappings(tables, 0, END, coalesce=False, hardware=True)
        return np.stack([found.vaddr, found.size, found.paddr], axis=1)

    return job(path, work)


def by_volatility(folder: Path) -> Job:
    """volatility3's ``mapping``."""
    path = image(folder)
    layer = volatility_layer(path, ROOT)

    def forget() -> None:
        layer._get_valid_table.cache_clear()
        layer._translate_entry.cache_clear()

    find = partial(layer.mapping, 0, END, ignore_errors=True)
    return job(path, lambda: [piece[:3] for piece in find()], forget)


def of_format(name: str, folder: Path) -> Job:
    """The bulk engine on the guest of a format; what it finds is compared with what the guest said in pagemap.

    Raises:
        Missing: Not in this checkout.
    """
    packed, path = DATA / f"{GUESTS[name]}.ram.xz", folder / f"{GUESTS[name]}.ram"
    if not packed.exists():
        raise Missing(f"there is no {packed.name}")
    if not path.exists():
        path.write_bytes(lzma.decompress(packed.read_bytes()))
    truth = json.loads(lzma.decompress((DATA / f"{GUESTS[name]}.truth.json.xz").read_bytes()))
    registers = {told: truth[ours] for ours, told in REGISTERS.items() if ours in truth}
    tables = pw.open(path, registers=registers, base=truth["ram_base"])
    here = {int(vaddr): (entry & (1 << 55) - 1) << 12 for vaddr, entry in truth["pm"].items() if entry >> PRESENT_BIT}
    pages = np.array([(vaddr, 4096, paddr) for vaddr, paddr in sorted(here.items())], np.uint64)
    return there(tables, tables.windows[0].end, pages)


def of_kept(name: str, folder: Path) -> Job:
    """The same on a guest of which the tables are kept, in memory.

    Raises:
        Missing: Not in this checkout.
    """
    try:
        guest = kept(name)
    except FileNotFoundError as error:
        raise Missing(str(error)) from None
    tables, theirs = guest.tables(), said(guest)
    sizes = np.full(theirs.vaddrs.shape, guest.truth.page, np.uint64)
    pages = np.stack([theirs.vaddrs, sizes, theirs.paddrs], axis=1)[theirs.paddrs != np.uint64(NO_PADDR)]
    return there(tables, min(tables.windows[0].end, guest.machine.architecture.kernel), pages)


def there(tables: pw.PageTables, end: int, pages: np.ndarray) -> Job:
    """A list of the pages of a program that are in memory.

    Args:
        tables: Its tables.
        end: Where its addresses end.
        pages: What must be found, as vaddr, size, paddr. Shape (n, 3), uint64.
    """
    wanted = pages_of(pages)
    where = engine.sweep.Filter(kinds={pw.Kind.PRESENT, pw.Kind.PROT_NONE})
    engine.checked(lambda: engine.sweep.mappings(engine.small()))

    def work() -> Any:
        return engine.sweep.mappings(tables, 0, end, coalesce=False, where=where)

    def digest(found: Any) -> list[int]:
        return pages_of(np.stack([found.vaddr, found.size, found.paddr], axis=1))

    return Job(wanted[0], work, digest, wanted)


def benchmarks(scale: Scale) -> list[Benchmark]:
    """Two."""
    cases = (
        Case("pagewalk, the scalar walk", by_walk),
        Case("pagewalk, NumPy, sweep.mappings", by_sweep, {"PAGEWALK_ENGINE": "numpy"}),
        Case("volatility3, layer.mapping", by_volatility),
    )
    jobs = {name: partial(of_format, name) for name in GUESTS}
    jobs |= {MACHINES[name].format: partial(of_kept, name) for name in KEPT}
    formats = tuple(Case(name, job, {"PAGEWALK_ENGINE": "numpy"}) for name, job in jobs.items())
    return [
        Benchmark("The user half of a real guest", "pages", cases),
        Benchmark("Guests of several formats, sweep.mappings", "pages", formats),
    ]
