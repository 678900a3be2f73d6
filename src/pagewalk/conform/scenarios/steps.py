"""The steps of a scenario: system calls and accesses at symbolic addresses, as frozen dataclasses.

A step's ``repr`` is there to be pasted into a test.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from pagewalk.conform.scenarios.arena import Who
from pagewalk.conform.scenarios.names import PAGE, advice_text, flags_text
from pagewalk.conform.scenarios.target import DEFAULT_MAP

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.conform.scenarios.arena import Where
    from pagewalk.conform.scenarios.target import Calls

__all__ = [
    "STEPS", "ClearRefs", "Execute", "Exit", "Fcntl", "Fork", "KernelRead", "KernelWrite", "Limited", "Madvise",
    "MemfdCreate",
    "Mincore", "Mlock", "Mlockall", "Mmap", "Mprotect", "Mremap", "Mseal", "Msync", "Munlock", "Munlockall",
    "Munmap", "PagemapScan", "PkeyAlloc", "PkeyFree", "PkeyMprotect", "Pool", "Pread", "ProcessMadvise", "PunchHole",
    "Pwrite", "Read", "Register", "Step", "Swapoff", "Truncate", "Unregister", "Write", "WriteProtect",
]  # fmt: skip


def _shown(prefix: str, **how: Any) -> Any:
    """A field whose number ``repr`` shows by the names that begin with ``prefix``."""
    return field(metadata={"prefix": prefix}, **how)


@dataclass(frozen=True, slots=True, repr=False)
class Step:
    """One system call or access, by one of the processes.

    Attributes:
        process: Who: 0 is the first, others are those a ``Fork`` named.
    """

    call: ClassVar[str]
    process: int = field(default=0, kw_only=True)

    def __repr__(self) -> str:
        shown = []
        for f in sorted(fields(self), key=lambda f: bool(f.kw_only)):
            value = getattr(self, f.name)
            if f.default is not MISSING and value == f.default:
                continue
            text = _text(value, f.metadata.get("prefix"))
            shown.append(text if f.default is MISSING and not f.kw_only else f"{f.name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def invoke(self, target: Calls, resolve: Callable[[Any], Any]) -> Any:
        """Take the step; ``resolve`` turns symbolic addresses and file names into real ones."""
        values = (resolve(getattr(self, f.name)) for f in fields(self) if f.name not in ("process", "name"))
        return getattr(target, self.call)(*values)


def _text(value: Any, prefix: str | None) -> str:
    if prefix is not None:
        return (advice_text if prefix == "MADV_" else flags_text)(prefix, value)
    if isinstance(value, tuple) and len(value) > 4 and len(set(value)) == 1:
        return f"({value[0]!r},) * {len(value)}"
    return hex(value) if isinstance(value, int) and value >= PAGE else repr(value)


@dataclass(frozen=True, slots=True, repr=False)
class Mmap(Step):
    """``mmap``; ``name`` is what later steps call a place that the kernel chose.

    Such a mapping must not be unmapped or moved: its place would be taken by the process that runs the scenario.
    """

    call = "mmap"
    length: int
    prot: int = _shown("PROT_")
    flags: int = _shown("MAP_", default=DEFAULT_MAP)
    addr: Where = 0
    file: str = ""
    offset: int = 0
    name: str = ""

    def invoke(self, target: Calls, resolve: Callable[[Any], Any]) -> Any:
        """See ``Step``."""
        addr, file = resolve(self.addr), resolve(self.file) if self.file else None
        return target.mmap(self.length, self.prot, self.flags, addr=addr, file=file, offset=self.offset)


@dataclass(frozen=True, slots=True, repr=False)
class Munmap(Step):
    """``munmap``."""

    call = "munmap"
    addr: Where
    length: int


@dataclass(frozen=True, slots=True, repr=False)
class Mprotect(Step):
    """``mprotect``."""

    call = "mprotect"
    addr: Where
    length: int
    prot: int = _shown("PROT_")


@dataclass(frozen=True, slots=True, repr=False)
class Mremap(Step):
    """``mremap``; ``name`` as in ``Mmap``."""

    call = "mremap"
    addr: Where
    old_length: int
    new_length: int
    flags: int = _shown("MREMAP_", default=0)
    new_addr: Where = 0
    name: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Mlock(Step):
    """``mlock2``."""

    call = "mlock"
    addr: Where
    length: int
    flags: int = _shown("MLOCK_", default=0)


@dataclass(frozen=True, slots=True, repr=False)
class Munlock(Step):
    """``munlock``."""

    call = "munlock"
    addr: Where
    length: int


@dataclass(frozen=True, slots=True, repr=False)
class Mlockall(Step):
    """``mlockall``."""

    call = "mlockall"
    flags: int = _shown("MCL_")


@dataclass(frozen=True, slots=True, repr=False)
class Munlockall(Step):
    """``munlockall``."""

    call = "munlockall"


@dataclass(frozen=True, slots=True, repr=False)
class Mseal(Step):
    """``mseal``."""

    call = "mseal"
    addr: Where
    length: int
    flags: int = 0


@dataclass(frozen=True, slots=True, repr=False)
class Msync(Step):
    """``msync``."""

    call = "msync"
    addr: Where
    length: int
    flags: int = _shown("MS_")


@dataclass(frozen=True, slots=True, repr=False)
class Mincore(Step):
    """``mincore``."""

    call = "mincore"
    addr: Where
    length: int


@dataclass(frozen=True, slots=True, repr=False)
class Madvise(Step):
    """``madvise``."""

    call = "madvise"
    addr: Where
    length: int
    advice: int = _shown("MADV_")


@dataclass(frozen=True, slots=True, repr=False)
class ProcessMadvise(Step):
    """``process_madvise``; ``ranges`` are (address, length), ``whom`` is a process's number; -1: oneself."""

    call = "process_madvise"
    ranges: tuple[tuple[Where, int], ...]
    advice: int = _shown("MADV_")
    whom: int = -1

    def invoke(self, target: Calls, resolve: Callable[[Any], Any]) -> Any:
        """See ``Step``."""
        whom = resolve(Who(self.whom)) if self.whom >= 0 else None
        return target.process_madvise(resolve(self.ranges), self.advice, whom)


@dataclass(frozen=True, slots=True, repr=False)
class Limited(Step):
    """A step with a limit in force, which leaves room for so much more than there is.

    Attributes:
        limit: "as" and "data" (RLIMIT_AS and RLIMIT_DATA, in pages), "memlock" (RLIMIT_MEMLOCK, without CAP_IPC_LOCK),
            "areas" (vm.max_map_count), "admin" (no CAP_SYS_ADMIN).
        room: In pages, or areas.
        taken: What is done.
    """

    call = "limited"
    limit: str
    room: int
    taken: Step

    def invoke(self, target: Calls, resolve: Callable[[Any], Any]) -> Any:
        """See ``Step``."""
        return target.limited(self.limit, self.room, lambda: self.taken.invoke(target, resolve))


@dataclass(frozen=True, slots=True, repr=False)
class PkeyAlloc(Step):
    """``pkey_alloc``."""

    call = "pkey_alloc"
    flags: int = 0
    rights: int = _shown("PKEY_DISABLE_", default=0)


@dataclass(frozen=True, slots=True, repr=False)
class PkeyFree(Step):
    """``pkey_free``."""

    call = "pkey_free"
    key: int


@dataclass(frozen=True, slots=True, repr=False)
class PkeyMprotect(Step):
    """``pkey_mprotect``."""

    call = "pkey_mprotect"
    addr: Where
    length: int
    prot: int = _shown("PROT_")
    key: int = -1


@dataclass(frozen=True, slots=True, repr=False)
class MemfdCreate(Step):
    """``memfd_create``; its value is the seals of the new file, which is closed again."""

    call = "memfd_create"
    flags: int = _shown("MFD_", default=0)


@dataclass(frozen=True, slots=True, repr=False)
class Fcntl(Step):
    """``fcntl``, for seals: F_ADD_SEALS, F_GET_SEALS."""

    call = "fcntl"
    file: str
    command: int
    argument: int = _shown("F_SEAL_", default=0)


@dataclass(frozen=True, slots=True, repr=False)
class PagemapScan(Step):
    """PAGEMAP_SCAN; its value is where the scan ended and the regions, as bytes."""

    call = "pagemap_scan"
    start: Where
    end: Where
    flags: int = 0
    max_pages: int = 0
    inverted: int = 0
    mask: int = 0
    anyof: int = 0
    returns: int = 0x1FF
    vector: int = 64

    def invoke(self, target: Calls, resolve: Callable[[Any], Any]) -> Any:
        """See ``Step``."""
        rest = self.flags, self.max_pages, self.inverted, self.mask, self.anyof, self.returns, self.vector
        ended, rows = target.pagemap_scan(resolve(self.start), resolve(self.end), *rest)
        return b"".join(number.to_bytes(8, "big") for number in (ended, *(part for row in rows for part in row)))


@dataclass(frozen=True, slots=True, repr=False)
class ClearRefs(Step):
    """A number written to ``/proc/PID/clear_refs``: 4 has pages be soft-dirty no more, where the kernel knows that."""

    call = "clear_refs"
    value: int = 4


@dataclass(frozen=True, slots=True, repr=False)
class Register(Step):
    """UFFDIO_REGISTER for write protection.

    ``unpopulated``: whether that is of places without a page too; ``later``: asynchronously. The first one of a process
    says both for all.
    """

    call = "register_wp"
    addr: Where
    length: int
    unpopulated: bool = False
    later: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Unregister(Step):
    """UFFDIO_UNREGISTER."""

    call = "uffdio_unregister"
    addr: Where
    length: int


@dataclass(frozen=True, slots=True, repr=False)
class WriteProtect(Step):
    """UFFDIO_WRITEPROTECT."""

    call = "writeprotect"
    addr: Where
    length: int
    protect: bool = True


@dataclass(frozen=True, slots=True, repr=False)
class Fork(Step):
    """``fork``; later steps call the child ``child``."""

    call = "fork"
    child: int


@dataclass(frozen=True, slots=True, repr=False)
class Exit(Step):
    """``exit``."""

    call = "exit"


@dataclass(frozen=True, slots=True, repr=False)
class Read(Step):
    """A read by the CPU."""

    call = "read"
    addr: Where
    size: int = 8


@dataclass(frozen=True, slots=True, repr=False)
class Write(Step):
    """A write by the CPU."""

    call = "write"
    addr: Where
    data: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Execute(Step):
    """One instruction fetched by the CPU. What is there must begin with a 0 byte or 0xC3 (``ret``): it really runs."""

    call = "execute"
    addr: Where


@dataclass(frozen=True, slots=True, repr=False)
class KernelRead(Step):
    """A read by the kernel: ``process_vm_readv`` on oneself."""

    call = "kernel_read"
    addr: Where
    size: int = 8


@dataclass(frozen=True, slots=True, repr=False)
class KernelWrite(Step):
    """A write by the kernel: ``process_vm_writev`` on oneself."""

    call = "kernel_write"
    addr: Where
    data: bytes


@dataclass(frozen=True, slots=True, repr=False)
class Pool(Step):
    """A look at the hugetlb pool of 2 MiB pages: how many are free and promised, since the scenario began.

    All processes of a machine share it: only for one that runs alone.
    """

    call = "pool"


@dataclass(frozen=True, slots=True, repr=False)
class Swapoff(Step):
    """``swapoff`` of the campaign's swap file, and ``swapon`` again: all that was there is back in memory.

    All processes of a machine share it: only for one that runs alone.
    """

    call = "swapoff"


@dataclass(frozen=True, slots=True, repr=False)
class Pread(Step):
    """``pread``, in bytes."""

    call = "pread"
    file: str
    offset: int
    size: int = 8


@dataclass(frozen=True, slots=True, repr=False)
class Pwrite(Step):
    """``pwrite``, in bytes."""

    call = "pwrite"
    file: str
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True, repr=False)
class PunchHole(Step):
    """``fallocate`` with PUNCH_HOLE and KEEP_SIZE, in bytes."""

    call = "punch_hole"
    file: str
    offset: int
    length: int


@dataclass(frozen=True, slots=True, repr=False)
class Truncate(Step):
    """``ftruncate``, to a size in bytes."""

    call = "truncate"
    file: str
    size: int


STEPS: dict[str, type[Step]] = {cls.__name__: cls for cls in Step.__subclasses__()}
