"""``Machine``: simulated hardware, with the address spaces and files that are made on it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from pagewalk.doors import choice
from pagewalk.formats import DEFAULT
from pagewalk.mm.calls import files, swapping
from pagewalk.mm.hardware.frames import Usage
from pagewalk.mm.hardware.machine import MOUNT_POLICIES, Hardware
from pagewalk.mm.mm import Mm
from pagewalk.mm.state.files import File
from pagewalk.mm.state.recount import recount

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pagewalk.formats import PagingFormat
    from pagewalk.mm.hardware.machine import MountPolicy, Policy, ShmemPolicy

__all__ = ["Machine"]


class Machine(Hardware):
    """A machine that address spaces share.

    Args:
        ram: Bytes of RAM, a multiple of the format's page.
        format: A paging format or its name.
        thp: When anonymous memory gets huge pages by itself.
        swap: Bytes of swap.
        hugetlb: Pages set aside for hugetlb, by size: ``{2 << 20: 8}`` on x86-64.
        pku: Whether the CPU has protection keys (CR4.PKE). Memory that may only be executed, PROT_EXEC alone, can then
            not be read either, as on many newer machines. Without them, the default on every machine so that a run
            gives the same everywhere, what may be executed may be read.
        shmem_thp: When shared memory and files in memory get huge pages by themselves (``shmem_enabled``): the default,
            never; where it is advised; also, or for files only, within their size; always; ``deny`` and ``force`` hold
            whatever a file says, and ``deny`` for MADV_COLLAPSE too.
        soft_dirty: Whether the kernel tells, in ``pagemap``, ``scan`` and ``smaps``, what was written since
            ``Mm.clear_refs(4)`` (CONFIG_MEM_SOFT_DIRTY). Debian's does; by default nothing is ever soft-dirty.

    Attributes:
        reclaims_whole: Whether reclaim takes, or keeps, a huge page that is lazily free as a whole (Linux since 6.11);
            other kernels look at its small pages.
        keeps_dirty: Whether a huge page stays dirty when its rights are changed. x86-64's kernels since 6.6 lose that
            (docs/kernel-bugs.md), those that have the mend of 7.3 do not.
        lru_gen: Whether the kernel sorts pages by generations (lru_gen/enabled), as many distributions' do: then a page
            that is used again stays referenced, which smaps tells.
        max_map_count: How many areas an address space may have: 65,530, or as many as one says.
        lock: Held by whoever changes anything on the machine, and by walks while they look at a table.
        spaces, files: The address spaces and files that somebody still has.
        pools: Every page of the hugetlb pools, by size, in use or not.
        hugetlb: Those that are not in use.

    Raises:
        TypeError, ValueError: The RAM is not whole pages, ``thp`` or ``shmem_thp`` is no policy, swap or a pool has no
            such size; ``pku`` or ``soft_dirty`` is not a bool, or the format has no such thing.
        OSError: The operating system does not have that much RAM.
        OutOfFrames: The RAM does not hold the huge page pools.
    """

    def __init__(
        self,
        ram: int = 1 << 30,
        format: str | PagingFormat = DEFAULT,  # noqa: A002 - the name users know from --format
        *,
        thp: Policy = "madvise",
        swap: int = 0,
        hugetlb: Mapping[int, int] | None = None,
        pku: bool = False,
        shmem_thp: ShmemPolicy = "never",
        soft_dirty: bool = False,
    ) -> None:
        more: Any = {"hugetlb": hugetlb, "pku": pku, "shmem_thp": shmem_thp, "soft_dirty": soft_dirty}
        super().__init__(ram, format, thp=thp, swap=swap, **more)

    def mm(self) -> Mm:
        """A new, empty address space.

        Raises:
            OutOfFrames: No frame for its top table.
        """
        return self.hand_out(self.do, Mm, self)

    def file(
        self,
        name: str = "/memfd:file",
        size: int = 0,
        contents: bytes = b"",
        *,
        writable: bool = True,
        readable: bool = True,
        huge_page_size: int = 0,
        huge: MountPolicy | None = None,
    ) -> File:
        """A new file of ``size`` bytes or its contents', in the page cache, open for writing, for reading, or both.

        With a ``huge_page_size`` it is a file of huge pages (a memfd with MFD_HUGETLB): those come from the pool of
        that size when they are touched. It has no contents yet, is whole pages long, and grows with what is mapped.
        With ``huge`` it is on a tmpfs mounted with that option (``huge=``); without it is as a memfd is.

        Raises:
            TypeError, ValueError: No size, or no bytes; no such option.
            SystemCallError: EFBIG; EINVAL for a file of huge pages of no such size, or with contents.
            OutOfFrames: The contents do not fit.
        """
        if huge_page_size:
            make = partial(files.huge_file, writable=writable, readable=readable)
            return self.hand_out(self.do, make, self, name, size, huge_page_size, contents)
        option: Any = None if huge is None else choice(huge, "huge", MOUNT_POLICIES)
        plain = partial(File, writable=writable, readable=readable, huge=option)
        return self.hand_out(self.do, plain, self, name, size, contents)

    def punch_hole(self, file: File, offset: int, length: int) -> None:
        """Take a range out of a file: its pages go, from every address space; guards and private copies stay.

        Raises:
            SystemCallError: EINVAL, an empty range, or another machine's file; EBADF, not open for writing; EFBIG.
        """
        files.punch_hole(self, file, offset, length)

    def truncate(self, file: File, size: int) -> None:
        """Give a file another size; what lies beyond is gone, private copies too, guards not.

        Raises:
            SystemCallError: EINVAL, no size of a file, not open for writing, or another machine's file.
        """
        files.truncate(self, file, size)

    def swapon(self, size: int) -> None:
        """Give a machine that has no swap some: ``size`` bytes.

        Raises:
            TypeError, ValueError: No such size.
            SystemCallError: EBUSY, it has some.
        """
        self.do(swapping.swapon, self, size)

    def swapoff(self) -> None:
        """Bring all that is in swap back into memory, and take the swap device away.

        Raises:
            SystemCallError: EINVAL, there is none; ENOMEM, memory is short: some of it is back.
        """
        self.do(swapping.swapoff, self)

    def usage(self) -> dict[str, int]:
        """Bytes of RAM by what they are used for: free, anon, file, table, hugetlb, zero, swap_cache, poisoned..."""
        page = self.geometry.page_size
        return self.do(lambda: {usage.name.lower(): self.frames.count(usage) * page for usage in Usage})

    def recount(self) -> None:
        """See ``Hardware.recount``."""
        recount(self)
