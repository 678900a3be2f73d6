"""The kernels in a memory.

How it works. A pass over memory finds what can be known by sight (``anchors``); VMCOREINFO, where the source gives it,
says where the kernel's image is, and the pass is short. From the name of the first task it is a fixed way back to the
task, which points to itself: so its virtual address is known, and how far that is from its physical one. The kernel's
root follows from VMCOREINFO, or is searched for; either way it is proved by a walk. Memory that a reset left behind may
hold another kernel: whatever proves itself is a kernel, and the one whose lists are sound and longest is the best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pagewalk.errors import MemoryReadError, UnsupportedError
from pagewalk.formats import KERNELS, TOP, KernelTables
from pagewalk.memory import BadAnswer, extents_of, read_exactly
from pagewalk.sources.linux.anchors import IDLE_ALONE, Anchors, find_anchors
from pagewalk.sources.linux.btf import HEADER, Btf, BtfError, size_of_btf
from pagewalk.sources.linux.kernel import Idle, Kernel, Proof, behind, paging_of, prove
from pagewalk.sources.linux.layout import Layout, offset_of
from pagewalk.sources.linux.search import IMAGE, roots_anywhere, roots_near
from pagewalk.sources.linux.tasks import Tasks
from pagewalk.sources.linux.vmcoreinfo import Vmcoreinfo, read_vmcoreinfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pagewalk.formats.registers import Paging
    from pagewalk.memory import Memory

    Search = Callable[[Memory, Paging, int, int], list[int]]

__all__ = ["find_kernels"]

_MOST: Final = 8
"""Kernels that are looked into."""
_BYTES: Final = 48 << 20
"""Of BTF that are read, all together: a hostile memory may be full of it."""
_KERNEL_HALF: Final = 1 << 47
"""Every kernel's addresses are above."""
_NEEDED: Final = (b"\0task_struct\0", b"\0mm_struct\0", b"\0pt_regs\0")


def find_kernels(memory: Memory, said: Mapping[str, str], notes: list[str]) -> list[Kernel]:
    """The kernels of a memory, the best first.

    Args:
        memory: The memory.
        said: What is known of VMCOREINFO, by key; may be empty.
        notes: Told what else to know.

    Raises:
        UnsupportedError: There is none that can be read; the message says what is missing.
        MemoryReadError: What the memory says it has cannot be read.
    """
    given = [Vmcoreinfo(said)] if said else []
    anchors = _anchors(memory, given)
    given += [one for at in anchors.vmcoreinfo if (one := read_vmcoreinfo(memory, at)) is not None and one not in given]
    types = list(_types(memory, anchors.btf))
    if not types:
        raise UnsupportedError(_without_types(given, anchors))
    idles = list(_idles(memory, types, anchors.idle))
    if not idles:
        idles = list(_idles(memory, types, find_anchors(memory, idle=IDLE_ALONE).idle))
    if not idles:
        raise UnsupportedError("the kernel's types (BTF) are in this memory, its first task is not: was it cut off?")
    kernels = list(_kernels(memory, idles[:_MOST], given))
    if not kernels:
        where = ", ".join(f"{idle.vaddr:#x}" for idle in idles[:_MOST])
        raise UnsupportedError(f"no page tables in this memory lead to the kernel's first task ({where})")
    return _ranked(memory, kernels, notes)


def _anchors(memory: Memory, given: list[Vmcoreinfo]) -> Anchors:
    """What is known by sight: in the kernel's image if it is said where that is, else in all of the memory."""
    for said in given:
        begin = said.symbol("_stext")
        for row in KERNELS:
            offset = row.image_offset(said.number)
            if begin is None or offset is None or begin < offset:
                continue
            found = find_anchors(memory, first=begin - offset, end=begin - offset + IMAGE)
            if found.btf and found.idle:
                return found
    return find_anchors(memory)


def _without_types(given: list[Vmcoreinfo], anchors: Anchors) -> str:
    """What to say of a memory without a kernel's types."""
    release = next((said.release for said in given), "")
    what = f"the kernel {release} in this memory" if release else "what is in this memory"
    seen = "" if release or anchors.idle else ", and no Linux kernel is seen in it"
    return f"{what} does not say its types (no BTF){seen}: its processes cannot be listed; give a root or registers"


def _types(memory: Memory, places: list[int]) -> Iterator[tuple[Btf, KernelTables]]:
    """Each kernel's types, and the row of its architecture."""
    left = _BYTES
    for paddr in places:
        size = size_of_btf(_bytes(memory, paddr, HEADER.size) or bytes(HEADER.size))
        data = _bytes(memory, paddr, size) if 0 < size <= left else None
        if data is None or any(name not in data for name in _NEEDED):
            continue
        left -= size
        try:
            btf = Btf(data)
            for row in KERNELS:
                if btf.field("pt_regs", row.member) is not None:
                    yield btf, row
        except BtfError:
            continue


def _idles(memory: Memory, types: list[tuple[Btf, KernelTables]], names: list[int]) -> Iterator[Idle]:
    """The first tasks: each that points to itself, where its name was found."""
    seen: set[int] = set()
    members = ("group_leader", "real_parent", "parent", "pid", "mm", "tasks.next")
    for btf, row in types:
        try:
            layout = Layout(btf, "task_struct", members)
            name, node = (offset_of(btf, "task_struct", member) for member in ("comm", "tasks"))
        except BtfError:
            continue
        first, size = layout.extent
        for at in names:
            paddr = at - name
            data = _bytes(memory, paddr + first, size)
            if data is None or paddr in seen:
                continue
            itself, *others, pid, mm, following = layout.of(data)
            if itself >= _KERNEL_HALF and not itself & 7 and others == [itself, itself] and not pid and not mm:
                seen.add(paddr)
                yield Idle(btf, row, paddr, itself, itself + node, following)


def _kernels(memory: Memory, idles: list[Idle], given: list[Vmcoreinfo]) -> Iterator[Kernel]:
    """The kernel of each first task that proves itself. All of the memory is searched only if none is found near."""
    found = 0
    for idle in idles:
        said = _said_of(idle, given)
        for kernel in (_by_vmcoreinfo(memory, idle, said), _searched(memory, idle, said, roots_near)):
            if kernel is not None:
                found += 1
                yield kernel
                break
    for idle in () if found else idles:
        kernel = _searched(memory, idle, _said_of(idle, given), roots_anywhere)
        if kernel is not None:
            yield kernel


def _said_of(idle: Idle, given: list[Vmcoreinfo]) -> Vmcoreinfo | None:
    """The VMCOREINFO of a first task's kernel: it knows how far that is from where the kernel has it."""
    offset = idle.vaddr - idle.paddr & (1 << 64) - 1
    return next((said for said in given if idle.tables.image_offset(said.number) == offset), None)


def _regimes(idle: Idle, said: Vmcoreinfo | None) -> Iterator[tuple[str, Paging]]:
    """The ways in which it may translate addresses: the registers that say so, and what they say."""
    for regime in idle.tables.regimes:
        if said is None or regime.fits(said.number):
            yield regime.registers, paging_of(regime.registers)


def _by_vmcoreinfo(memory: Memory, idle: Idle, said: Vmcoreinfo | None) -> Kernel | None:
    """A kernel whose root is where VMCOREINFO says."""
    top = None if said is None else said.symbol(TOP)
    if said is None or top is None:
        return None
    root = top - (idle.vaddr - idle.paddr) & (1 << 64) - 1
    for registers, paging in _regimes(idle, said):
        if prove(behind(memory), paging, root, idle):
            return Kernel(idle, registers, root, "by VMCOREINFO", said, _size(memory))
    return None


def _searched(memory: Memory, idle: Idle, said: Vmcoreinfo | None, search: Search) -> Kernel | None:
    """A kernel whose root translates its first task to where that is: of several, the one in its image."""
    cached = behind(memory)
    for registers, paging in _regimes(idle, said):
        proved: tuple[int, int] = (Proof.NONE, 0)
        for root in search(memory, paging, idle.vaddr, idle.paddr):
            proved = max(proved, (prove(cached, paging, root, idle), -root))
            if proved[0] is Proof.IMAGE:
                break
        if proved[0]:
            return Kernel(idle, registers, -proved[1], "by what it translates", said, _size(memory))
    return None


def _ranked(memory: Memory, kernels: list[Kernel], notes: list[str]) -> list[Kernel]:
    """The kernels, the one with the soundest and longest list of tasks first."""
    if len(kernels) == 1:
        return kernels
    told: list[tuple[int, int, int, Kernel]] = []
    for at, kernel in enumerate(kernels):
        wrong: list[str] = []
        many = sum(1 for _ in Tasks(kernel, kernel.virtual(behind(memory)), wrong).processes(threads=False))
        told.append((len(wrong), -many, at, kernel))
    told.sort(key=lambda one: one[:3])
    each = "; ".join(
        f"the first task at {kernel.idle.paddr:#x} with {-many:,} processes and {wrong:,} faults in its lists"
        for wrong, many, _, kernel in told
    )
    notes.append(f"{len(told)} kernels are in this memory: {each}. The first of these is taken")
    return [kernel for *_, kernel in told]


def _size(memory: Memory) -> int:
    """Bytes of a memory."""
    runs = extents_of(memory)
    return int((runs[:, 1] - runs[:, 0]).sum())


def _bytes(memory: Memory, paddr: int, size: int) -> bytes | None:
    """Bytes of a memory; None if it does not have all of them."""
    try:
        return read_exactly(memory, paddr, size) if paddr >= 0 else None
    except BadAnswer:
        raise
    except MemoryReadError:
        return None
