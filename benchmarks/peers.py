"""The user half of a guest's address space, found by pagewalk's walk and by volatility3."""

from __future__ import annotations

import atexit
import lzma
import tempfile
from collections.abc import Callable
from pathlib import Path

import pagewalk as pw
from benchmarks.frame import Benchmark, Case

IMAGE = Path(__file__).parent.parent / "tests" / "data" / "x86_64-7.3-4level.ram.xz"
ROOT = 0x4B24000
END = 1 << 47

Prepared = tuple[int, Callable[[], object]]


def image() -> Path:
    """The guest's RAM, unpacked for as long as this process lives."""
    if not IMAGE.exists():
        raise SystemExit(f"benchmarks: {IMAGE} is missing")
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "guest.ram"
    path.write_bytes(lzma.decompress(IMAGE.read_bytes()))
    return path


def by_walk(tables: pw.PageTables) -> list[tuple[int, int, int]]:
    """Every page that the processor sees: ``(vaddr, size, paddr)``."""
    form, found = tables.format, list[tuple[int, int, int]]()

    def page(entry: pw.Entry, addr: int, next_: int, walk: pw.Walk) -> None:
        value = entry.value
        level = entry.level
        if form.is_valid(value) and not form.is_table(value, level):
            found.append((addr, next_ - addr, form.leaf_paddr(value, level)))

    pw.walk_page_range_novma(tables, 0, END, pw.WalkOps(pud_entry=page, pmd_entry=page, pte_entry=page))
    return found


def volatility_layer(path: Path) -> tuple[object, Callable[[], list[tuple[int, int, int]]]]:
    """volatility3's Intel32e layer over the file, and the same question put to it."""
    from volatility3.framework import contexts  # type: ignore[import-untyped]
    from volatility3.framework.layers import intel, physical  # type: ignore[import-untyped]

    context = contexts.Context()
    context.config["memory.location"] = path.as_uri()
    context.add_layer(physical.FileLayer(context, "memory", "memory"))
    context.config["paging.memory_layer"] = "memory"
    context.config["paging.page_map_offset"] = ROOT
    layer = intel.Intel32e(context, "paging", "paging")
    context.add_layer(layer)

    def ask() -> list[tuple[int, int, int]]:
        pieces = layer.mapping(0, END, ignore_errors=True)
        return [(offset, size, mapped) for offset, size, mapped, _, _ in pieces]

    return context, ask


def pagewalk() -> Prepared:
    tables = pw.PageTables(pw.RawImage(image()), ROOT)
    return len(frames(by_walk(tables))), lambda: by_walk(tables)


def volatility() -> Prepared:
    path = image()
    wanted = frames(by_walk(pw.PageTables(pw.RawImage(path), ROOT)))
    context, ask = volatility_layer(path)

    def work() -> object:
        if frames(ask()) != wanted:
            raise SystemExit("benchmarks: volatility3 and pagewalk do not find the same pages")
        return context

    return len(wanted), work


def frames(pieces: list[tuple[int, int, int]]) -> dict[int, int]:
    """The frame of each page of 4096 bytes; a thousandth of either engine's time."""
    return {vaddr + at: paddr + at for vaddr, size, paddr in pieces for at in range(0, size, 4096)}


BENCHMARK = Benchmark(
    "Every page of the user half of a guest (x86-64, 4 levels)",
    "pages",
    (Case("pagewalk, the scalar walk", pagewalk), Case("volatility3, layer.mapping", volatility)),
)
