"""The same pages found by others: libkdumpfile's addrxlat, drgn, volatility3. Each does it in the fastest way it has.

All three answer for one address at a time, and none has a listing. So each is asked twice where it can: for the pages
of a range, holes and all, and for pages that it is told of, which is the lesser work. They do some tables in the middle
of the image, the same bytes mapped; the figure is nanoseconds a page all the same.
"""

from __future__ import annotations

import atexit
import ctypes
import struct
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.frame import Job, Missing
from benchmarks.images import PMD, USER
from benchmarks.native import Limit, Rows, compiled, digest, opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from benchmarks.images import Image

    Words = npt.NDArray[np.uint64]

__all__ = ["PEERS", "pages_of", "volatility_layer"]

TOLD = 16
"""How many times more tables those look at that are told where the pages are."""
MOST = 1 << 15
"""The most pages that they are told of."""


def sample(image: Image, folder: Path, tables: int) -> tuple[int, int, Rows]:
    """The range of some tables in the middle of an image, and what the C walker finds there."""
    walker = Limit(folder, opened(image, folder), image.root)
    tables = min(tables, image.slots // 512)
    start = USER + (image.slots // 1024 - tables // 2 << PMD)
    end = start + (tables << PMD)
    rows = walker.listing(Rows.empty(sum(walker.counts().values())))
    first, last = np.searchsorted(rows["vaddr"], np.array([start, end], np.uint64)).tolist()
    return start, end, Rows({name: rows[name][first:last].copy() for name in ("vaddr", "paddr")})


def known(image: Image, folder: Path, tables: int) -> Rows:
    """Pages that a peer is told of, and their frames."""
    _, _, rows = sample(image, folder, tables * TOLD)
    return Rows({name: column[:MOST] for name, column in rows.items()})


def places(rows: Any) -> list[int]:
    """The digest of pages and their frames."""
    return digest(rows, "vaddr", "paddr")


def addrxlat(image: Image, folder: Path, *, tables: int, told: bool) -> Job:
    """``addrxlat_launch`` and ``addrxlat_step``, called from C: of a range, or of pages that are known to be there."""
    start, end, rows = (0, 0, known(image, folder, tables)) if told else sample(image, folder, tables)
    library = ctypes.CDLL(str(_driver(folder)))
    library.list.restype = ctypes.c_int64
    data = opened(image, folder)
    room = len(rows["vaddr"])
    numbers = [ctypes.c_uint64(number) for number in (image.root, start, end)]

    def work() -> Rows:
        memory = (ctypes.c_uint64 * 2)(data.ctypes.data, data.nbytes)
        found = Rows.empty(room)
        if told:
            found["vaddr"] = rows["vaddr"]
        pointers = [ctypes.c_void_p(found[name].ctypes.data) for name in ("vaddr", "paddr")]
        count = library.list(memory, *numbers, *pointers, ctypes.c_int64(room))
        if count != room:
            raise SystemExit(f"benchmarks: addrxlat finds {count} pages, not {room}")
        return found

    return Job(room, work, places, places(rows))


def _driver(folder: Path) -> Path:
    """The C driver.

    Raises:
        Missing: The library is not installed.
    """
    try:
        return compiled("addrxlat", folder, "-laddrxlat")
    except Missing as why:
        raise Missing(f"addrxlat: apt-get install libkdumpfile-dev ({str(why).splitlines()[0]})") from None


def drgn(image: Image, folder: Path, *, tables: int) -> Job:
    """``follow_phys`` of each page that is there, told where they are, without the object around its answer."""
    try:
        library, helpers = import_module("drgn"), import_module("_drgn")
    except ImportError:
        raise Missing("drgn is not installed: the bench group") from None
    rows = known(image, folder, tables)
    program = library.Program()
    program.set_core_dump(_core(image, folder))
    root = library.Object(program, program.pointer_type(program.void_type()), KERNEL + image.root)
    follow_phys = helpers._linux_helper_follow_phys
    vaddrs = rows["vaddr"].tolist()

    def given(found: list[int]) -> list[int]:
        return places({"vaddr": rows["vaddr"], "paddr": np.array(found, np.uint64)})

    return Job(len(vaddrs), lambda: [follow_phys(program, root, vaddr) for vaddr in vaddrs], given, places(rows))


KERNEL = 0xFFFF_FFFF_8000_0000
VMCOREINFO = """OSRELEASE=6.18.0
PAGESIZE=4096
SYMBOL(swapper_pg_dir)={root:x}
KERNELOFFSET=0
NUMBER(phys_base)=0
NUMBER(pgtable_l5_enabled)=0
"""


def _core(image: Image, folder: Path) -> Path:
    """The tables as an ELF core of a kernel whose own top table is the image's root."""
    path = folder / f"{image.name}.elf"
    if path.exists():
        return path
    text = VMCOREINFO.format(root=KERNEL + image.root).encode()
    note = struct.pack("<III", 11, len(text), 0) + b"VMCOREINFO\0\0" + text + bytes(-len(text) % 4)
    header = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 4, 62, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    notes = struct.pack("<IIQQQQQQ", 4, 0, 64 + 2 * 56, 0, 0, len(note), len(note), 0)
    size = image.tables_size
    load = struct.pack("<IIQQQQQQ", 1, 4, 4096, KERNEL, 0, size, size, 4096)
    with path.open("wb") as file:
        file.write((header + notes + load + note).ljust(4096, b"\0"))
        opened(image, folder)[:size].tofile(file)
    return path


def volatility(image: Image, folder: Path, *, tables: int, told: bool) -> Job:
    """``mapping`` of an Intel32e layer over the file; ``translate`` for pages that are known to be there."""
    start, end, rows = (0, 0, known(image, folder, tables)) if told else sample(image, folder, tables)
    layer = volatility_layer(image.path(folder), image.root)
    vaddrs = rows["vaddr"].tolist()

    def forget() -> None:
        layer._get_valid_table.cache_clear()
        layer._translate_entry.cache_clear()

    def given(found: list[Any]) -> list[int]:
        return places({"vaddr": rows["vaddr"], "paddr": np.array([paddr for paddr, _ in found], np.uint64)})

    if told:
        return Job(len(vaddrs), lambda: [layer.translate(vaddr) for vaddr in vaddrs], given, places(rows), forget)
    find = partial(layer.mapping, start, end - start, ignore_errors=True)
    pieces = lambda found: pages_of(np.array([piece[:3] for piece in found], np.uint64))  # noqa: E731
    return Job(len(vaddrs), lambda: list(find()), pieces, places(rows), forget)


def volatility_layer(path: Path, root: int) -> Any:
    """volatility3's Intel32e layer over a file.

    Raises:
        Missing: It is not installed.
    """
    try:
        from volatility3.framework import contexts
        from volatility3.framework.layers import intel, physical
    except ImportError:
        raise Missing("volatility3 is not installed: the bench group") from None
    context = contexts.Context()
    context.config["memory.location"] = path.as_uri()
    memory = physical.FileLayer(context, "memory", "memory")
    context.add_layer(memory)
    atexit.register(memory.destroy)
    context.config["paging.memory_layer"] = "memory"
    context.config["paging.page_map_offset"] = root
    layer = intel.Intel32e(context, "paging", "paging")
    context.add_layer(layer)
    return layer


def pages_of(pieces: Any) -> list[int]:
    """The digest of pieces, page by page.

    Args:
        pieces: vaddr, size, paddr. Shape (n, 3), uint64.
    """
    pages = (pieces[:, 1] >> 12).astype(np.intp)
    inside = np.arange(pages.sum()) - np.repeat(np.cumsum(pages) - pages, pages)
    offsets = inside.astype(np.uint64) << 12
    return places(
        {"vaddr": np.repeat(pieces[:, 0], pages) + offsets, "paddr": np.repeat(pieces[:, 2], pages) + offsets}
    )


PEERS: tuple[tuple[str, Callable[..., Job]], ...] = (
    ("addrxlat, told the pages", partial(addrxlat, told=True)),
    ("addrxlat, finding them", partial(addrxlat, told=False)),
    ("drgn, told the pages", drgn),
    ("volatility3, told the pages", partial(volatility, told=True)),
    ("volatility3, finding them", partial(volatility, told=False)),
)
