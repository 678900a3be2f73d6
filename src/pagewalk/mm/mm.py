"""``Mm``: a simulated address space with Linux's system calls.

Each system call checks its arguments, takes ``mmap_lock`` as the kernel does, and leaves the work to the module that
bears its name. What fails raises ``SystemCallError`` with Linux's errno and leaves Linux's partial result. To other
threads a call is one step, but for an access, which is one step a table. After ``exit`` every call is refused
with ESRCH.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from pagewalk import abi
from pagewalk.doors import choice, int32, integer, not_negative, plain, refuse_pickling, words
from pagewalk.errors import SystemCallError
from pagewalk.mm.calls import access, advice, keys, mapping, move, process, protect, seals, uffd
from pagewalk.mm.observed import Observed
from pagewalk.mm.paging.touch import touch
from pagewalk.mm.state.areas import each_mapped
from pagewalk.mm.state.files import check_file
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal

    from pagewalk.mm.state.files import File
    from pagewalk.mm.state.tables import Entries

__all__ = ["Mm"]


class Mm(Observed):
    """An address space of a simulated machine.

    Args:
        machine: The machine.

    Raises:
        OutOfFrames: No frame for the top table.

    Attributes:
        tables: The page tables.
        vmas: The VMAs.
        mmap_lock: The lock that walks demand; the system calls take it themselves.
        events: The latest TLB and cache events, oldest first.
        alive: Somebody has it, and it has not exited.
    """

    def __reduce__(self) -> Any:
        raise refuse_pickling(self, "PageTables(mm.memory, mm.tables.root) can, with a copy of the RAM")

    # -- areas -------------------------------------------------------------------------------------------------------

    def mmap(
        self,
        length: int,
        prot: int,
        flags: int = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS,
        *,
        addr: int = 0,
        file: File | None = None,
        offset: int = 0,
    ) -> int:
        """Map memory; returns its address.

        Raises:
            SystemCallError: EINVAL, ENOMEM, EEXIST, EACCES, EOPNOTSUPP; EBADF without a file or MAP_ANONYMOUS;
                EOVERFLOW; EPERM, something sealed is in the way, or ``addr`` is one of the last 4,095.
        """
        length, prot, flags, addr, offset = words(length=length, prot=prot, flags=flags, addr=addr, offset=offset)
        if file is not None:
            check_file(self.machine, file)
        return self._change(mapping.mmap, self, length, prot, flags, addr, file, offset)

    def munmap(self, addr: int, length: int) -> None:
        """Unmap a range.

        Raises:
            SystemCallError: EINVAL.
        """
        addr, length = words(addr=addr, length=length)
        self._change(mapping.munmap, self, addr, length)

    def mprotect(self, addr: int, length: int, prot: int) -> None:
        """Change the rights of a range.

        Raises:
            SystemCallError: EINVAL, EACCES; ENOMEM at a gap, what lies before it has changed.
        """
        addr, length, prot = words(addr=addr, length=length, prot=prot)
        self._change(protect.mprotect, self, addr, length, prot)

    def pkey_alloc(self, flags: int = 0, rights: int = 0) -> int:
        """Take a protection key, with PKEY_DISABLE_* of what the process may not do to its memory; returns the key.

        Raises:
            SystemCallError: EINVAL, ENOSPC; on a CPU without keys EINVAL the first time, then ENOSPC.
        """
        flags, rights = words(flags=flags, rights=rights)
        return self._change(keys.pkey_alloc, self, flags, rights)

    def pkey_free(self, key: int) -> None:
        """Give a protection key back. Memory that has it keeps it.

        Raises:
            SystemCallError: EINVAL, it is not taken, or that of memory that may only be executed.
        """
        self._change(keys.pkey_free, self, keys.signed(integer(key, "key")))

    def pkey_mprotect(self, addr: int, length: int, prot: int, key: int) -> None:
        """Change the rights of a range and give it a protection key; -1 is ``mprotect``.

        Raises:
            SystemCallError: As ``mprotect``; EINVAL, nobody has the key.
        """
        key = keys.signed(integer(key, "key"))
        addr, length, prot = words(addr=addr, length=length, prot=prot)
        self._change(keys.pkey_mprotect, self, addr, length, prot, key)

    def setrlimit(self, resource: int, soft: int) -> None:
        """Set a soft limit, in bytes: RLIMIT_AS, RLIMIT_DATA, or RLIMIT_MEMLOCK, which binds who is not root.

        ``limits.ipc_lock = False`` makes a process one that is not (CAP_IPC_LOCK; ``sys_admin``: CAP_SYS_ADMIN).

        Raises:
            SystemCallError: EINVAL, no such limit, or above the hard one.
            UnsupportedError: Another limit.
        """
        resource, soft = words(resource=resource, soft=soft)
        self._change(keys.setrlimit, self, resource & (1 << 32) - 1, soft)

    def mseal(self, addr: int, length: int, flags: int = 0) -> None:
        """Seal a range: it can no more be unmapped, moved, protected otherwise, or thrown away.

        Raises:
            SystemCallError: EINVAL; ENOMEM over gaps, nothing has been sealed.
        """
        addr, length, flags = words(addr=addr, length=length, flags=flags)
        self._change(protect.mseal, self, addr, length, flags)

    def mremap(self, addr: int, old_length: int, new_length: int, flags: int = 0, new_addr: int = 0) -> int:
        """Shrink, grow or move a mapping; returns its address.

        Raises:
            SystemCallError: EINVAL, EFAULT, ENOMEM.
        """
        numbers = words(addr=addr, old_length=old_length, new_length=new_length, flags=flags, new_addr=new_addr)
        return self._change(move.mremap, self, *numbers)

    def mlock(self, addr: int, length: int, flags: int = 0) -> None:
        """Lock a range in memory; with MLOCK_ONFAULT only what is touched.

        Raises:
            SystemCallError: EINVAL; ENOMEM at a gap, or where a page cannot be had; EAGAIN when memory is short.
        """
        addr, length, flags = words(addr=addr, length=length, flags=flags)
        self._change(protect.mlock, self, addr, length, int32(flags))

    def munlock(self, addr: int, length: int) -> None:
        """Unlock a range.

        Raises:
            SystemCallError: EINVAL; ENOMEM at a gap.
        """
        addr, length = words(addr=addr, length=length)
        self._change(protect.munlock, self, addr, length)

    def mlockall(self, flags: int) -> None:
        """Lock what is mapped (MCL_CURRENT), and what will be (MCL_FUTURE); what cannot be had is left out.

        Raises:
            SystemCallError: EINVAL.
        """
        (flags,) = words(flags=flags)
        self._change(protect.mlockall, self, protect.checked_mcl(int32(flags)))

    def munlockall(self) -> None:
        """Unlock all, and what will be mapped."""
        self._change(protect.mlockall, self, 0)

    def madvise(self, addr: int, length: int, advice_: int) -> None:
        """Give advice about a range, guard regions among them. A BusError is MADV_HWPOISON's signal: that was done.

        Raises:
            SystemCallError: EINVAL; ENOMEM over gaps (the rest is done); EFAULT, EACCES... as the advice has it.
        """
        addr, length, advice_ = words(addr=addr, length=length, advice_=advice_)
        advice_ = int32(advice_)
        self._lock_for(advice_)(advice.madvise, self, addr, length, advice_)

    def process_madvise(self, ranges: list[tuple[int, int]], advice_: int, process: Mm | None = None) -> int:
        """Give advice about several ranges, on oneself or another process; returns the bytes advised.

        Raises:
            SystemCallError: As ``madvise``, if not even the first range could be advised. EINVAL for more than 1,024
                ranges, EFAULT for one that reaches out of user memory, EINVAL for advice that is not for others (only
                MADV_COLD, MADV_PAGEOUT, MADV_WILLNEED and MADV_COLLAPSE are): nothing has been done.
        """
        advice_ = int32(*words(advice_=advice_))
        plain_ranges = [(addr, size) for addr, size in (words(addr=addr, length=size) for addr, size in ranges)]
        vector, whose = advice.imported(self, plain_ranges), self if process is None else process
        if whose is not self:
            advice.check_remote(advice_)
        return whose._lock_for(advice_)(advice.process_madvise, whose, vector, advice_)

    def memfd_create(self, flags: int = 0) -> File:
        """A new, empty file in memory.

        Raises:
            SystemCallError: EINVAL; ENODEV, no huge pages of such a size.
        """
        (flags,) = words(flags=flags)
        return self._living().hand_out(self._living().do, seals.memfd_create, self.machine, int32(flags))

    def fcntl(self, file: File, command: int, argument: int = 0) -> int:
        """Add seals to a file (F_ADD_SEALS), or ask for them (F_GET_SEALS).

        Raises:
            SystemCallError: EPERM, EINVAL; EBUSY, it is mapped writably.
            UnsupportedError: Another command.
        """
        check_file(self.machine, file)
        command, argument = words(command=command, argument=argument)
        return self._living().do(seals.fcntl, file, int32(command), int32(argument))

    def register_wp(self, addr: int, length: int) -> None:
        """Register a range with userfaultfd for write protection.

        Raises:
            SystemCallError: EINVAL; EPERM where nothing may ever be written.
            UnsupportedError: hugetlb memory.
        """
        addr, length = words(addr=addr, length=length)
        self._change(uffd.register_wp, self, addr, length)

    def uffdio_register(self, addr: int, length: int, mode: int, features: int = 0) -> None:
        """Register a range with userfaultfd, as the ioctl takes it; ``register_wp`` is short for write protection.

        Args:
            addr, length: The range.
            mode: UFFDIO_REGISTER_MODE_*: 2, write protection.
            features: Those that are wanted of the userfaultfd besides: 0x2000, WP_UNPOPULATED; 0x8000, WP_ASYNC. A
                process has one userfaultfd: the first call that registers says what it is asked for.

        Raises:
            SystemCallError: EINVAL, EPERM.
            UnsupportedError: Another mode, another feature, or hugetlb memory.
        """
        addr, length, mode, features = words(addr=addr, length=length, mode=mode, features=features)
        uffd.check_mode(mode, features)
        self._change(uffd.register_wp, self, addr, length, features)

    def uffdio_unregister(self, addr: int, length: int) -> None:
        """Take a range back from userfaultfd: nothing in it is write-protected any more.

        Raises:
            SystemCallError: EINVAL.
            UnsupportedError: hugetlb memory.
        """
        addr, length = words(addr=addr, length=length)
        self._change(uffd.unregister, self, addr, length)

    def writeprotect(self, addr: int, length: int, *, protect: bool, unpopulated: bool = False) -> None:
        """Write-protect the pages of a registered range, or let go of them: a write meanwhile is a SIGBUS.

        Raises:
            SystemCallError: EINVAL, ENOENT, ENOMEM.
        """
        addr, length = words(addr=addr, length=length)
        self._look(uffd.writeprotect, self, addr, length, protect=protect, unpopulated=unpopulated)

    def uffdio_copy(self, to: int, source: int, length: int, mode: int = 0) -> None:
        """Not simulated: raises UnsupportedError, as the next four do."""
        raise uffd.not_simulated("UFFDIO_COPY")

    def uffdio_zeropage(self, addr: int, length: int, mode: int = 0) -> None:
        """As ``uffdio_copy``."""
        raise uffd.not_simulated("UFFDIO_ZEROPAGE")

    def uffdio_move(self, to: int, source: int, length: int, mode: int = 0) -> None:
        """As ``uffdio_copy``."""
        raise uffd.not_simulated("UFFDIO_MOVE")

    def uffdio_continue(self, addr: int, length: int, mode: int = 0) -> None:
        """As ``uffdio_copy``."""
        raise uffd.not_simulated("UFFDIO_CONTINUE")

    def uffdio_poison(self, addr: int, length: int, mode: int = 0) -> None:
        """As ``uffdio_copy``."""
        raise uffd.not_simulated("UFFDIO_POISON")

    def msync(self, addr: int, length: int, flags: int) -> None:
        """Write a range back: here, check it as Linux does.

        Raises:
            SystemCallError: EINVAL; ENOMEM over gaps; EBUSY to invalidate locked memory.
        """
        addr, length, flags = words(addr=addr, length=length, flags=flags)
        flags, both = int32(flags), abi.MS_ASYNC | abi.MS_SYNC
        if flags & ~(both | abi.MS_INVALIDATE) or flags & both == both or addr % self.geometry.page_size:
            raise SystemCallError(errno.EINVAL, f"msync of {addr:#x}, flags {flags:#x}")
        end = addr + self.geometry.length(length)
        if end >= 1 << 64 and end > addr:
            raise SystemCallError(errno.ENOMEM, f"{length:#x} bytes at {addr:#x} are no range")
        self._look(self._msync, addr, end, flags)

    def _msync(self, start: int, end: int, flags: int) -> None:
        for area in each_mapped(self, start, end):
            if flags & abi.MS_INVALIDATE and VmaFlags.LOCKED in area.flags:
                raise SystemCallError(errno.EBUSY, f"the mapping at {area.start:#x} is locked")

    def fork(self) -> Mm:
        """A child's address space, all of it or none.

        Raises:
            OutOfFrames: No frame for a table.
        """
        child = self.machine.hand_out(self._change, process.fork, self)
        assert isinstance(child, Mm)
        return child

    def exit(self) -> None:
        """End the process, once those inside a call are out: everything it had goes back.

        Every later call is refused with ESRCH, but for another ``exit``, which has nothing left to do.

        Raises:
            RuntimeError: This thread holds ``mmap_lock`` for reading: it would wait for itself.
        """
        self.mmap_lock.run(lambda: self.machine.do(process.end, self))

    # -- access ------------------------------------------------------------------------------------------------------

    def read(self, vaddr: int, size: int) -> bytes:
        """Read memory as the CPU does.

        Raises:
            SegmentationFault, BusError: With the address of the first byte that refuses.
            OutOfFrames: No frame is left.
            TypeError, ValueError: No address, no size or no bytes.
        """
        vaddr, size = integer(vaddr, "vaddr"), not_negative(size, "size")
        return self._access(access.read, self, vaddr, access.reachable(self, vaddr, size))

    def write(self, vaddr: int, data: bytes) -> None:
        """Write memory as the CPU does; what lies before a refusal is written. Errors as ``read``."""
        self._access(access.write, self, integer(vaddr, "vaddr"), bytes(plain(data)))

    def execute(self, vaddr: int) -> None:
        """Fetch an instruction as the CPU does. Errors as ``read``."""
        self._access(access.execute, self, integer(vaddr, "vaddr"))

    def touch(self, vaddr: int, size: int, access_: Literal["read", "write"] = "write") -> Entries:
        """Access a byte of every page of a range, without moving data.

        Returns:
            The physical address of each page, shape (pages,), uint64.

        Raises:
            SegmentationFault, BusError, OutOfFrames: As ``read``.
            TypeError, ValueError: No address, no size, or no such access.
        """
        vaddr, size = integer(vaddr, "vaddr"), not_negative(size, "size")
        choice(access_, "access_", ("read", "write"))
        size = access.reachable(self, vaddr, size)
        start, end = self.geometry.page_start(vaddr), self.geometry.page_end(vaddr + size)
        return self._access(touch, self, start, end, access_)

    def kernel_read(self, vaddr: int, size: int) -> bytes:
        """Read on the process's behalf (process_vm_readv): fewer bytes where a page cannot be had.

        Raises:
            SystemCallError: EFAULT, there is not even one.
        """
        return self._look(access.kernel_copy, self, integer(vaddr, "vaddr"), not_negative(size, "size"))

    def kernel_write(self, vaddr: int, data: bytes) -> int:
        """Write on the process's behalf (process_vm_writev): the number of bytes written.

        Raises:
            SystemCallError: EFAULT, there is not even one.
        """
        data = bytes(plain(data))
        return len(self._look(access.kernel_copy, self, integer(vaddr, "vaddr"), len(data), data))

    def _lock_for(self, advice_: int) -> Callable[..., Any]:
        """The way in that an advice needs."""
        return self._look if advice_ in advice.LEAVES_AREAS else self._change
