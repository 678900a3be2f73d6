"""How the CPUs of a machine that QEMU emulates are told to forget translations: through its gdb stub.

How it works. A watchpoint that comes or goes has QEMU drop what each CPU keeps of the page that it lies in, large pages
along with it, and of every page if it reaches from one page into the next. So one byte is watched, for no time at all,
in each page that is to be forgotten; or more bytes than a page has, where there are many. Nothing runs meanwhile. CPUs
that KVM runs keep their translations themselves, and no watchpoint reaches those.

Source: QEMU 7.2, softmmu/physmem.c (cpu_watchpoint_insert), accel/tcg/cputlb.c (tlb_flush_page).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pagewalk.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pagewalk.memory.machines.stub import Stub

__all__ = ["forget", "refuse_kept"]

_PAGE: Final = 4096
"""The smallest page that QEMU tells apart, whatever the guest's are."""
_FEW: Final = 64
"""Pages that are forgotten one by one."""
_EVERYWHERE: Final = [(0, 1 << 20)]
"""More bytes than one page has."""


def forget(stub: Stub, ranges: Sequence[tuple[int, int]]) -> int:
    """Have every CPU forget translations.

    Args:
        stub: The stub of the machine, which stands still.
        ranges: ``(vaddr, size)`` in bytes; without any, all addresses are meant.

    Returns:
        How often it was told: once for each page of 4 KiB, or once for all.

    Raises:
        UnsupportedError: It takes no watchpoints.
        TimeoutError, ConnectionError, ImageFormatError: There is no answer, or what comes is none.
    """
    places = _places(ranges)
    questions = [b"%b2,%x,%x" % (which, vaddr, size) for vaddr, size in places for which in (b"Z", b"z")]
    if any(answer != b"OK" for answer in stub.ask_each(questions)):
        raise UnsupportedError(f"{stub.address}: this stub takes no watchpoints, so CPUs cannot be told to forget")
    return len(places)


def _places(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """What is to be watched for it: addresses, and how many bytes at each."""
    if not ranges or sum(-(-size // _PAGE) for _, size in ranges) > _FEW:
        return _EVERYWHERE
    return [(at, 1) for vaddr, size in ranges for at in range(vaddr, vaddr + size, _PAGE)]


def refuse_kept(said: str, address: str) -> None:
    """Refuse a machine whose CPUs keep translations that nobody can take from them.

    Args:
        said: What its monitor says to ``info kvm``.
        address: Where it is, for the message.

    Raises:
        UnsupportedError: It is one.
    """
    if "enabled" in said:
        why = "KVM runs this machine, and its CPUs cannot be told from outside to forget translations"
        raise UnsupportedError(f"{address}: {why}: edit a saved image, or one that QEMU emulates (-accel tcg)")
