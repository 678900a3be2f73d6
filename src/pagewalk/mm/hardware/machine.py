"""The hardware of a simulated machine: RAM, frames, a zero page, swap, huge page pools, a CPU; and who lives on it.

One lock guards all of it: entries, frames, pools, swap slots, the page cache, a file's list of mappings. ``do`` takes
it for each change, and has the books counted anew if the change is torn off. docs/adr/0004-locks.md has the order of
locks.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, cast, get_args
from weakref import WeakSet

from pagewalk.doors import choice, integer, not_negative, refuse_pickling, shown
from pagewalk.errors import OutOfFrames, PagewalkError
from pagewalk.formats import Flag, find_format
from pagewalk.memory import Ram
from pagewalk.mm.geometry import Geometry
from pagewalk.mm.hardware.cpu import checked_pku
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.hardware.pool import FramePool
from pagewalk.mm.hardware.swap import SwapDevice

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    from pagewalk.formats import PagingFormat
    from pagewalk.space import AddressSpace
    from pagewalk.space import Mapping as FileMapping

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["MOUNT_POLICIES", "Hardware", "MountPolicy", "ShmemPolicy"]

MAP_COUNT: Final = 65_530
"""DEFAULT_MAX_MAP_COUNT."""
Policy = Literal["always", "madvise", "never"]
POLICIES = get_args(Policy)
MountPolicy = Literal["never", "advise", "within_size", "always"]
ShmemPolicy = MountPolicy | Literal["deny", "force"]
MOUNT_POLICIES = get_args(MountPolicy)
SHMEM_POLICIES = (*MOUNT_POLICIES, "deny", "force")


class Hardware(ABC):
    """What the address spaces of a machine share.

    Args:
        ram, format, thp, swap, hugetlb, pku, shmem_thp, soft_dirty: See ``Machine``.

    Attributes:
        geometry: The sizes that follow from the format.
        thp: When anonymous memory gets huge pages by itself.
        shmem_thp: When files and shared memory get huge pages by themselves.
        pku: Whether the CPU has protection keys.
        soft_dirty: Whether the kernel tells what is soft-dirty.
        dirtied: What it notes in an entry whose page is written by way of a fault.
        reclaims_whole, keeps_dirty, lru_gen: See ``Machine``.
        max_map_count: How many areas an address space may have (vm.max_map_count).
        memory, frames, swap: The RAM, its frames, the swap device.
        zero: The zero page; ``huge_zero`` is that of a block, while anybody maps it.
        lock: Held by whoever changes anything on the machine, and by walks while they look at a table.
        spaces, files: The address spaces and files that somebody still has.
        pools: Every page of the hugetlb pools, by size, in use or not.
        hugetlb: Those that are not in use.
        restoring: Those in use that will be promised again once they are not: their owner has let go of them.
    """

    def __init__(
        self,
        ram: int,
        format: str | PagingFormat,  # noqa: A002 - the name users know from --format
        *,
        thp: Policy,
        swap: int,
        hugetlb: Mapping[int, int] | None,
        pku: bool,
        shmem_thp: ShmemPolicy,
        soft_dirty: bool,
    ) -> None:
        self.format = find_format(format)
        self.geometry = Geometry(self.format)
        self.thp = choice(thp, "thp", POLICIES)
        self.shmem_thp = choice(shmem_thp, "shmem_thp", SHMEM_POLICIES)
        pools = _pools(self.geometry, hugetlb)
        self.pku = checked_pku(self.format, pku)
        self.soft_dirty = _checked_soft_dirty(self.geometry, soft_dirty)
        self.dirtied = Flag.DIRTY | Flag.SOFT_DIRTY if soft_dirty else Flag.DIRTY
        self.reclaims_whole = self.keeps_dirty = True
        self.lru_gen = False
        self.max_map_count = MAP_COUNT
        self.memory = Ram(_whole_pages(ram, self.geometry.page_size))
        self.frames = FramePool(self.memory, self.geometry)
        self.swap = SwapDevice(swap, self.frames, self.geometry.last.most_swap_slots)
        self.zero = self.frames.take(Usage.ZERO)
        self.huge_zero: int | None = None
        self._huge_zero_users = 0
        self.lock = threading.RLock()
        self._changing = self._torn = False
        self.spaces: WeakSet[AddressSpace] = WeakSet()
        self.files: WeakSet[FileMapping] = WeakSet()
        self.hugetlb: dict[int, list[int]] = {}
        self.restoring: set[int] = set()
        self._promised: dict[int, int] = {}
        for size, pages in pools.items():
            self.hugetlb[size] = [self.frames.take_run(size, Usage.HUGETLB) for _ in range(pages)]
        self.pools = {size: list(pages) for size, pages in self.hugetlb.items()}

    def do(self, change: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Make a change with the machine's lock held. Nothing waits for another lock in it.

        A change that ends with an error of pagewalk's has left the books right. Any other exception may come from
        anywhere, Ctrl-C for one: then what the page tables, areas and files hold is counted anew.
        """
        with self.lock:
            if self._changing:
                return change(*args, **kwargs)  # part of a larger one
            if self._torn:
                self._recount()
            self._changing = True
            try:
                return change(*args, **kwargs)
            except PagewalkError:
                raise
            except BaseException:
                self._torn = True
                self._recount()
                raise
            finally:
                self._changing = False
                self.frames.recency.drain()

    def hand_out(self, make: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Make an address space or a file. It lives once whoever asked for it has it; what was torn off never did."""
        try:
            made: Any = make(*args, **kwargs)
            made.alive = True
            return cast("R", made)
        except PagewalkError:
            raise
        except BaseException:
            self._torn = True
            self.do(lambda: None)
            raise

    def _recount(self) -> None:
        """Make the books right again. If this is torn off too, the next change begins with it."""
        self.recount()
        self._torn = False

    @abstractmethod
    def recount(self) -> None:
        """Count the books anew, from what page tables, areas and files hold: they are not known here."""

    def __repr__(self) -> str:
        ram, free = self.frames.size, self.frames.free * self.geometry.page_size
        return f"<{type(self).__name__} {self.format.name} of {ram:#x} bytes of RAM, {free:#x} free>"

    def __reduce__(self) -> Any:
        raise refuse_pickling(self, "PageTables(machine.memory, mm.tables.root) can, with a copy of its RAM")

    def take_huge_zero(self) -> int:
        """The huge zero page, for one more mapping.

        Raises:
            OutOfFrames: There was none yet, and no block is free.
        """
        if self.huge_zero is None:
            self.huge_zero = self.frames.take_block(Usage.ZERO)
        self._huge_zero_users += 1
        return self.huge_zero

    @property
    def huge_zero_users(self) -> int:
        """How many mappings the huge zero page has."""
        return self._huge_zero_users

    def drop_huge_zero(self) -> None:
        """One mapping of the huge zero page less; the last one frees it."""
        self._huge_zero_users -= 1
        if not self._huge_zero_users and self.huge_zero is not None:
            self.frames.drop(self.frames.run(self.huge_zero, self.geometry.block_size))
            self.huge_zero = None

    def set_users_of_huge_zero(self, users: int) -> None:
        """Say how many mappings the huge zero page has; without any it is free."""
        self._huge_zero_users = users
        if not users:
            self.huge_zero = None

    def promised(self, size: int) -> int:
        """How many pages of a pool are promised; fewer than none while more are ``restoring`` than owed."""
        return self._promised.get(size, 0)

    def set_promised(self, promised: dict[int, int]) -> None:
        """Say how many pages of each hugetlb pool are promised."""
        self._promised = promised

    def reserve_hugetlb(self, size: int, pages: int) -> None:
        """Promise pages of a pool to an area, or take the promise back (``pages`` < 0).

        Raises:
            OutOfFrames: The pool has not that many unpromised pages.
        """
        promised, there = self.promised(size) + pages, len(self.hugetlb.get(size, ()))
        if pages > 0 and max(pages, promised) > there:
            raise OutOfFrames(f"the pool of {size:#x} byte pages has {there}, {max(pages, promised)} wanted")
        self._promised[size] = promised

    def take_hugetlb(self, size: int, *, promised: bool, file: bool = False) -> int:
        """A page of a hugetlb pool, zeroed, held once: by a mapping, or by the file it belongs to.

        Raises:
            OutOfFrames: No page is left, but for those promised to others.
        """
        pool = self.hugetlb.get(size, [])
        if not pool or (not promised and len(pool) <= self.promised(size)):
            raise OutOfFrames(f"the hugetlb pool of {size:#x} byte pages is empty")
        if promised:
            self._promised[size] = self.promised(size) - 1
        paddr = pool.pop()
        self.frames.clear(paddr, size)
        self.frames.hold(self.frames.run(paddr, size))
        self.frames.use(self.frames.run(paddr, size), Usage.HUGETLB_FILE if file else Usage.HUGETLB)
        return paddr

    def drop_hugetlb(self, paddr: int, size: int) -> None:
        """One mapping of a hugetlb page less, or its file; the last gives it back to its pool, if it has one."""
        self.frames.drop(self.frames.run(paddr, size))
        if paddr not in self.pools[size] or self.frames.shared(paddr)[0]:
            return
        self.frames.use(self.frames.run(paddr, size), Usage.HUGETLB)
        self.hugetlb[size].append(paddr)
        if paddr in self.restoring:
            self.restoring.discard(paddr)
            self._promised[size] = self.promised(size) + 1

    def lose_hugetlb(self, paddr: int, size: int) -> None:
        """Take a page that is in use out of its pool: its frames are single ones once nobody has it any more."""
        self.pools[size].remove(paddr)
        self.frames.drop(self.frames.run(paddr, size))
        if paddr in self.restoring:
            self.restoring.discard(paddr)
            self._promised[size] = self.promised(size) + 1


def _whole_pages(ram: int, page_size: int) -> int:
    """A size of RAM.

    Raises:
        TypeError, ValueError: It is none, or not whole pages.
    """
    ram = integer(ram, "ram")
    if ram % page_size:
        raise ValueError(f"RAM needs whole pages of {page_size:#x} bytes, not {ram:#x} bytes")
    return ram


def _checked_soft_dirty(geometry: Geometry, soft_dirty: object) -> bool:
    """Whether a machine's kernel tells what is soft-dirty, as its maker says.

    Raises:
        TypeError: That is not a bool.
        ValueError: The format has no room for it.
    """
    if not isinstance(soft_dirty, bool):
        raise TypeError(f"soft_dirty is True or False, not {shown(soft_dirty)}")
    if soft_dirty and not geometry.last.has_soft_dirty:
        raise ValueError("the format has no soft-dirty pages: leave soft_dirty out")
    return soft_dirty


def _pools(geometry: Geometry, hugetlb: Mapping[int, int] | None) -> dict[int, int]:
    """How many pages each hugetlb pool has, by their size.

    Raises:
        TypeError, ValueError: It says no such thing.
    """
    if hugetlb is None:
        return {}
    if not isinstance(hugetlb, Mapping):
        raise TypeError(f"hugetlb takes pages by size, such as {{{geometry.block_size:#x}: 8}}, not {shown(hugetlb)}")
    pools = {integer(size, "a huge page's size"): not_negative(pages, "pages") for size, pages in hugetlb.items()}
    sizes = sorted(geometry.huge)
    for size in pools:
        if size not in sizes:
            raise ValueError(f"no huge page has {size:#x} bytes: {' or '.join(map(hex, sizes)) or 'there are none'}")
    return pools
