"""Every call there is, drawn at random: on a few processes, a few files and one small machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pagewalk as pw
from pagewalk import abi

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from pagewalk.mm import File, Mm
    from tests.mm.fuzz import Tank

__all__ = ["CALLS", "Draw", "begin"]

BLOCKS: Final = 4
PROCESSES: Final = 5
RW: Final = abi.PROT_READ | abi.PROT_WRITE
ANONYMOUS: Final = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS
ADVICE: Final = [getattr(abi, name) for name in dir(abi) if name.startswith("MADV_")]
PROTS: Final = (RW, RW, RW, abi.PROT_READ, abi.PROT_NONE, RW | abi.PROT_EXEC)


@dataclass
class Draw:
    """What a call is drawn from.

    Attributes:
        rng: The dice, one a thread.
        tank: The machine; its first process never exits.
    """

    rng: Random
    tank: Tank

    @property
    def window(self) -> int:
        """Where the blocks begin that are used."""
        return 64 * self.block

    @property
    def small(self) -> int:
        """Bytes in a page."""
        return self.tank.machine.geometry.page_size

    @property
    def block(self) -> int:
        """Bytes in a block."""
        return self.tank.machine.geometry.block_size

    @property
    def mm(self) -> Mm:
        """A process; it may be ending just now, and one in twenty has ended long ago."""
        living = [mm for mm in self.tank.mms if mm.alive or self.rng.random() < 0.05]
        return self.rng.choice(living)

    @property
    def file(self) -> File:
        """A file."""
        return self.rng.choice(self.tank.files)

    @property
    def page(self) -> int:
        """The address of a page, a block's first one more often than not."""
        at, pages = self.window + self.rng.randrange(BLOCKS) * self.block, self.block // self.small
        return at if self.rng.random() < 0.6 else at + self.rng.choice((1, 7, pages - 7, pages - 2)) * self.small

    @property
    def size(self) -> int:
        """Bytes: a few pages, or whole blocks."""
        return self.rng.choice((self.small, 3 * self.small, 12 * self.small, self.block, 2 * self.block))

    @property
    def prot(self) -> int:
        """Rights."""
        return self.rng.choice(PROTS)

    @property
    def yes(self) -> bool:
        """Heads or tails."""
        return self.rng.random() < 0.5


def _mmap(d: Draw) -> None:
    """Anonymous memory, mostly; or a file, or hugetlb pages."""
    shared, more = d.yes, d.rng.choice((0, 0, 0, abi.MAP_POPULATE, abi.MAP_NORESERVE, abi.MAP_LOCKED))
    kind = (abi.MAP_SHARED if shared else abi.MAP_PRIVATE) | abi.MAP_FIXED | more
    match d.rng.randrange(6):
        case 0 | 1:
            offset = d.rng.randrange(4) * d.small
            d.mm.mmap(min(d.size, d.block), d.prot, kind, addr=d.page, file=d.file, offset=offset)
        case 2:
            d.mm.mmap(d.block, RW, kind | abi.MAP_ANONYMOUS | abi.MAP_HUGETLB, addr=d.page // d.block * d.block)
        case 3:
            d.mm.mmap(min(d.size, d.block), RW, abi.MAP_SHARED | abi.MAP_ANONYMOUS | abi.MAP_FIXED, addr=d.page)
        case _:
            d.mm.mmap(d.size, d.prot, ANONYMOUS | abi.MAP_FIXED | more, addr=d.page)


def _mremap(d: Draw) -> None:
    old, flags = d.size, d.rng.choice((0, abi.MREMAP_FIXED, abi.MREMAP_FIXED | abi.MREMAP_DONTUNMAP))
    new = old if flags & abi.MREMAP_DONTUNMAP or d.yes else d.size
    d.mm.mremap(d.page, old, new, flags | abi.MREMAP_MAYMOVE, d.page)


def _fork(d: Draw) -> None:
    if sum(mm.alive for mm in d.tank.mms) < PROCESSES:
        d.tank.fork(d.mm)


def _exit(d: Draw) -> None:
    """End a process that others may be in."""
    mm = d.mm
    if mm is not d.tank.mms[0]:
        mm.exit()


def _walk(d: Draw) -> None:
    """As anyone may: huge pages are split on the way."""
    mm, start = d.mm, d.page
    with mm.mmap_lock.read():
        pw.walk_page_range(mm, start, start + d.size, pw.WalkOps(pte_entry=lambda entry, *_: None))


def _walk_vma(d: Draw) -> None:
    """With the VMA's own lock only."""
    for vma in list(d.mm.vmas):
        with vma.lock.read() as had:  # type: ignore[union-attr]
            if had and vma.mm is not None:
                ops = pw.WalkOps(pmd_entry=lambda *_: None, walk_lock=pw.PGWALK_VMA_RDLOCK_VERIFY)
                pw.walk_page_vma(vma, ops)


def _walk_file(d: Draw) -> None:
    pw.walk_page_mapping(d.file, d.rng.randrange(8), 4, pw.WalkOps(pte_entry=lambda entry, *_: None))


def _swapoff(d: Draw) -> None:
    """Off, and on again."""
    d.tank.machine.swapoff()
    d.tank.machine.swapon(1 << 20)


CALLS: Final[dict[str, Callable[[Draw], Any]]] = {
    "mmap": _mmap,
    "munmap": lambda d: d.mm.munmap(d.page, d.size),
    "mprotect": lambda d: d.mm.mprotect(d.page, d.size, d.prot),
    "mremap": _mremap,
    "mlock": lambda d: d.mm.mlock(d.page, d.size, int(d.yes)),
    "mseal": lambda d: d.mm.mseal(d.page, d.small * d.yes),
    "mlockall": lambda d: d.mm.mlockall(d.rng.choice([1, 2, 3, 5, 6, 7])),
    "munlockall": lambda d: d.mm.munlockall(),
    "munlock": lambda d: d.mm.munlock(d.page, d.size),
    "madvise": lambda d: d.mm.madvise(d.page, d.size, d.rng.choice(ADVICE)),
    "process_madvise": lambda d: d.mm.process_madvise([(d.page, d.size)] * 2, d.rng.choice(ADVICE)),
    "register_wp": lambda d: d.mm.register_wp(d.page, d.size),
    "uffdio_register": lambda d: d.mm.uffdio_register(d.page, d.size, 2),
    "uffdio_unregister": lambda d: d.mm.uffdio_unregister(d.page, d.size),
    "writeprotect": lambda d: d.mm.writeprotect(d.page, d.size, protect=d.yes, unpopulated=d.yes),
    "msync": lambda d: d.mm.msync(d.page, d.size, abi.MS_SYNC),
    "mincore": lambda d: d.mm.mincore(d.page, d.size),
    "fork": _fork,
    "exit": _exit,
    "read": lambda d: d.mm.read(d.page, d.size),
    "write": lambda d: d.mm.write(d.page, b"w" * d.size),
    "execute": lambda d: d.mm.execute(d.page),
    "touch": lambda d: d.mm.touch(d.page, d.size, "write" if d.yes else "read"),
    "kernel_read": lambda d: d.mm.kernel_read(d.page, min(d.size, 12 * d.small)),
    "kernel_write": lambda d: d.mm.kernel_write(d.page, b"k" * min(d.size, 12 * d.small)),
    "maps": lambda d: d.mm.maps(),
    "pagemap": lambda d: d.mm.pagemap(d.window, d.window + d.size),
    "scan": lambda d: d.mm.scan(d.window, d.window + BLOCKS * d.block),
    "pagemap_scan": lambda d: d.mm.pagemap_scan(d.window, d.window + BLOCKS * d.block, mask=2 * d.yes, max_pages=9),
    "smaps": lambda d: d.mm.smaps(),
    "smaps_by_vma": lambda d: d.mm.smaps_by_vma(),
    "punch_hole": lambda d: d.tank.machine.punch_hole(d.file, d.rng.randrange(4) * d.small + d.yes * 9, d.size),
    "truncate": lambda d: d.tank.machine.truncate(d.file, d.rng.randrange(20) * d.small + d.yes * 9),
    "swapoff": _swapoff,
    "pkey_alloc": lambda d: d.mm.pkey_alloc(),
    "pkey_free": lambda d: d.mm.pkey_free(1),
    "pkey_mprotect": lambda d: d.mm.pkey_mprotect(d.page, d.size, d.prot, -1),
    "setrlimit": lambda d: d.mm.setrlimit(8, 1 << 20),
    "memfd_create": lambda d: d.mm.memfd_create(d.rng.choice((0, 2))),
    "fcntl": lambda d: d.mm.fcntl(d.file, d.rng.choice((1033, 1034)), 0),
    "swapon": lambda d: d.tank.machine.swapon(1 << 20),
    "usage": lambda d: d.tank.machine.usage(),
    "file.write": lambda d: d.file.write(d.rng.randrange(12) * d.small, b"f" * 5000),
    "file.read": lambda d: d.file.read(0, 12 * d.small),
    "walk": _walk,
    "walk with a VMA's lock": _walk_vma,
    "walk of a file": _walk_file,
}
"""The calls by name: every one that ``Mm``, ``Machine`` and ``File`` have, and the walks of others."""

OFTEN: Final = [*CALLS, *["mmap"] * 4, *["write", "touch", "madvise"] * 2]
"""The names, those more than once without which the others find nothing to do."""


def begin(tank: Tank) -> None:
    """Give a machine a process with memory of every kind, and three files."""
    page, block = tank.machine.geometry.page_size, tank.machine.geometry.block_size
    mm, window = tank.mm(), 64 * block
    for number in range(3):
        tank.file(f"/memfd:{number}", contents=b"file" * 3 * page)
    mm.mmap(BLOCKS * block, RW, ANONYMOUS | abi.MAP_FIXED, addr=window)
    for number, file in enumerate(tank.files):
        kind = (abi.MAP_SHARED if number else abi.MAP_PRIVATE) | abi.MAP_FIXED
        mm.mmap(8 * page, RW, kind, addr=window + number * block + 8 * page, file=file)
