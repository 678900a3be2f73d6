"""A simulated machine: RAM, frames, a zero page, swap, huge page pools; and the address spaces and files on it.

One lock guards all of it: entries, frames, pools, swap slots, the page cache, a file's list of mappings. ``do`` takes
it for each change, and counts the books anew if the change is torn off. docs/adr/0004-locks.md has the order of locks.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast, get_args
from weakref import WeakSet

from pagewalk.doors import choice, integer, integers, not_negative, refuse_pickling, shown
from pagewalk.errors import OutOfFrames, PagewalkError, SystemCallError
from pagewalk.formats import Flag, find_format
from pagewalk.memory import Ram
from pagewalk.mm.files import FILE_END, File
from pagewalk.mm.frames import BLOCK, PAGE, FramePool, Usage
from pagewalk.mm.pkeys import checked_pku
from pagewalk.mm.recount import recount
from pagewalk.mm.swap import SwapDevice

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import ParamSpec, TypeVar

    from pagewalk.formats import PagingFormat
    from pagewalk.mm.mm import Mm

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = ["Machine"]

Policy = Literal["always", "madvise", "never"]
POLICIES = get_args(Policy)


class Machine:
    """A machine that address spaces share.

    Args:
        ram: Bytes of RAM, a multiple of 4096.
        format: A paging format or its name.
        thp: When anonymous memory gets huge pages by itself.
        swap: Bytes of swap.
        hugetlb: Pages set aside for hugetlb, by size: ``{2 << 20: 8}``.
        pku: Whether the CPU has protection keys (CR4.PKE). Memory that may only be executed, PROT_EXEC alone, can then
            not be read either, as on many newer machines. Without them, the default on every machine so that a run
            gives the same everywhere, what may be executed may be read.

    Attributes:
        reclaims_whole: Whether reclaim takes, or keeps, a huge page that is lazily free as a whole (Linux since 6.11);
            other kernels look at its small pages.
        lock: Held by whoever changes anything on the machine, and by walks while they look at a table.
        spaces, files: The address spaces and files that somebody still has.
        pools: Every page of the hugetlb pools, by size, in use or not.
        hugetlb: Those that are not in use.

    Raises:
        TypeError, ValueError: The RAM is not whole pages, ``thp`` is no policy, swap or a pool has no such size;
            ``pku`` is not a bool, or the format has no protection keys.
        OSError: The operating system does not have that much RAM.
        OutOfFrames: The RAM does not hold the huge page pools.
    """

    def __init__(
        self,
        ram: int = 1 << 30,
        format: str | PagingFormat = "x86-64",  # noqa: A002 - the name users know from --format
        *,
        thp: Policy = "madvise",
        swap: int = 0,
        hugetlb: Mapping[int, int] | None = None,
        pku: bool = False,
    ) -> None:
        self.format = find_format(format)
        self.thp = choice(thp, "thp", POLICIES)
        pools = _pools(self.format, hugetlb)
        self.pku = checked_pku(self.format, pku)
        self.reclaims_whole = True
        self.memory = Ram(ram)
        self.frames = FramePool(self.memory)
        self.swap = SwapDevice(swap)
        self.zero = self.frames.take(Usage.ZERO)
        self.zero_entry: int = self.format.leaf_entry(
            self.zero, int(Flag.READ | Flag.EXEC | Flag.USER | Flag.ACCESSED | Flag.SPECIAL)
        )
        self.huge_zero: int | None = None
        self._huge_zero_users = 0
        self.lock = threading.RLock()
        self._changing = self._torn = False
        self.spaces: WeakSet[Mm] = WeakSet()
        self.files: WeakSet[File] = WeakSet()
        self.hugetlb: dict[int, list[int]] = {}
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
        recount(self)
        self._torn = False

    def __repr__(self) -> str:
        ram, free = len(self.frames) * PAGE, self.frames.free * PAGE
        return f"<Machine {self.format.name} of {ram:#x} bytes of RAM, {free:#x} free>"

    def __reduce__(self) -> Any:
        raise refuse_pickling(self, "PageTables(machine.memory, mm.tables.root) can, with a copy of its RAM")

    def mm(self) -> Mm:
        """A new, empty address space.

        Raises:
            OutOfFrames: No frame for its top table.
        """
        from pagewalk.mm.mm import Mm

        return self.hand_out(self.do, Mm, self)

    def file(self, name: str = "/memfd:file", size: int = 0, contents: bytes = b"", *, writable: bool = True) -> File:
        """A new file of ``size`` bytes or its contents', in the page cache.

        Raises:
            TypeError, ValueError: No size, or no bytes.
            SystemCallError: EFBIG.
            OutOfFrames: The contents do not fit.
        """
        return self.hand_out(self.do, File, self, name, size, contents, writable=writable)

    def punch_hole(self, file: File, offset: int, length: int) -> None:
        """Take a range out of a file: its pages go, from every address space; guards and private copies stay.

        Raises:
            SystemCallError: EINVAL, an empty range, or another machine's file. EFBIG.
        """
        self.check_file(file)
        offset, length = integers(offset=offset, length=length)
        if offset < 0 or length <= 0:
            raise SystemCallError(errno.EINVAL, f"no range: {length:#x} bytes from {offset:#x}")
        if offset + length > FILE_END:
            raise SystemCallError(errno.EFBIG, f"{length:#x} bytes from {offset:#x} go beyond every file")
        self.do(self._punch_hole, file, offset, length)

    def _punch_hole(self, file: File, offset: int, length: int) -> None:
        first, last = -(-offset // PAGE), (offset + length) // PAGE
        end = (
            last * PAGE or FILE_END
        )  # as in shmem_fallocate (6.18), whose end wraps when it is 0: all pages but the first
        for vma in file.overlapping(first * PAGE, end):
            vma.mm.unmap_file(vma, *vma.range_of(first * PAGE, end))
        file.discard(first, last)
        file.zero_edges(offset, length)

    def truncate(self, file: File, size: int) -> None:
        """Give a file another size; what lies beyond is gone, private copies too, guards not.

        Raises:
            SystemCallError: EINVAL, no size of a file, or another machine's file.
        """
        self.check_file(file)
        size = integer(size, "size")
        if not 0 <= size < FILE_END:
            raise SystemCallError(errno.EINVAL, f"no file has {size:#x} bytes")
        self.do(self._truncate, file, size)

    def _truncate(self, file: File, size: int) -> None:
        end = -(-size // PAGE) * PAGE
        for vma in file.overlapping(end, FILE_END):
            vma.mm.unmap_file(vma, *vma.range_of(end, FILE_END), private=True)
        file.discard(end // PAGE, FILE_END // PAGE)
        if size < file.size:
            file.zero_edges(size, end - size)
        file.size = size

    def check_file(self, file: File) -> None:
        """Refuse what is no file of this machine.

        Raises:
            TypeError: It is no file.
            SystemCallError: EINVAL: it is another machine's, whose frames are not here.
        """
        if not isinstance(file, File):
            raise TypeError(f"a file is needed, as machine.file() gives it, not {shown(file)}")
        if file.pool is not self.frames:
            raise SystemCallError(errno.EINVAL, f"{shown(file.name)} is a file of another machine")

    def usage(self) -> dict[str, int]:
        """Bytes of RAM by what they are used for: free, anon, file, table, hugetlb, zero."""
        return self.do(lambda: {usage.name.lower(): self.frames.count(usage) * PAGE for usage in Usage})

    def take_huge_zero(self) -> int:
        """The huge zero page, for one more mapping.

        Raises:
            OutOfFrames: There was none yet, and no 2 MiB are free.
        """
        if self.huge_zero is None:
            self.huge_zero = self.frames.take_block(Usage.ZERO)
        self._huge_zero_users += 1
        return self.huge_zero

    def drop_huge_zero(self) -> None:
        """One mapping of the huge zero page less; the last one frees it."""
        self._huge_zero_users -= 1
        if not self._huge_zero_users and self.huge_zero is not None:
            self.frames.drop(self.frames.run(self.huge_zero, BLOCK))
            self.huge_zero = None

    def set_users_of_huge_zero(self, users: int) -> None:
        """Say how many mappings the huge zero page has; without any it is free."""
        self._huge_zero_users = users
        if not users:
            self.huge_zero = None

    def set_promised(self, promised: dict[int, int]) -> None:
        """Say how many pages of each hugetlb pool are promised."""
        self._promised = promised

    def reserve_hugetlb(self, size: int, pages: int) -> None:
        """Promise pages of a pool to an area, or take the promise back (``pages`` < 0).

        Raises:
            OutOfFrames: The pool has not that many unpromised pages.
        """
        promised, there = self._promised.get(size, 0) + pages, len(self.hugetlb.get(size, ()))
        if pages > 0 and promised > there:
            raise OutOfFrames(f"the pool of {size:#x} byte pages has {there}, {promised} wanted")
        self._promised[size] = promised

    def take_hugetlb(self, size: int, *, promised: bool, file: bool = False) -> int:
        """A page of a hugetlb pool, zeroed, held once: by a mapping, or by the file it belongs to.

        Raises:
            OutOfFrames: No page is left, but for those promised to others.
        """
        pool = self.hugetlb.get(size, [])
        if len(pool) <= (0 if promised else self._promised.get(size, 0)):
            raise OutOfFrames(f"the hugetlb pool of {size:#x} byte pages is empty")
        if promised:
            self._promised[size] -= 1
        paddr = pool.pop()
        self.frames.words[paddr // PAGE : (paddr + size) // PAGE] = 0
        self.frames.hold(self.frames.run(paddr, size))
        self.frames.use(self.frames.run(paddr, size), Usage.HUGETLB_FILE if file else Usage.HUGETLB)
        return paddr

    def drop_hugetlb(self, paddr: int, size: int) -> bool:
        """One mapping of a hugetlb page less; whether that was the last, and gave it back to its pool."""
        self.frames.drop(self.frames.run(paddr, size))
        came_back = not self.frames.shared(paddr)[0]
        if came_back:
            self.frames.use(self.frames.run(paddr, size), Usage.HUGETLB)
            self.hugetlb[size].append(paddr)
        return bool(came_back)


def _pools(form: PagingFormat, hugetlb: Mapping[int, int] | None) -> dict[int, int]:
    """How many pages each hugetlb pool has, by their size.

    Raises:
        TypeError, ValueError: It says no such thing.
    """
    if hugetlb is None:
        return {}
    if not isinstance(hugetlb, Mapping):
        raise TypeError(f"hugetlb takes pages by size, such as {{2 << 20: 8}}, not {shown(hugetlb)}")
    sizes = form.page_sizes[1:]
    pools = {integer(size, "a huge page's size"): not_negative(pages, "pages") for size, pages in hugetlb.items()}
    for size in pools:
        if size not in sizes:
            raise ValueError(f"no huge page has {size:#x} bytes: {' or '.join(map(hex, sizes))}")
    return pools
