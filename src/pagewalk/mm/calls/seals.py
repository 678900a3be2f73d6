"""memfd_create, and fcntl with F_ADD_SEALS and F_GET_SEALS (``mm/memfd.c``, Linux 6.18)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from pagewalk.abi import limits as abi
from pagewalk.errors import SystemCallError, UnsupportedError
from pagewalk.mm.state.files import File
from pagewalk.mm.state.huge_files import HugeFile
from pagewalk.space import VmaFlags

if TYPE_CHECKING:
    from pagewalk.mm.hardware.machine import Hardware

__all__ = ["fcntl", "memfd_create"]

KNOWN: Final = abi.MFD_CLOEXEC | abi.MFD_ALLOW_SEALING | abi.MFD_HUGETLB | abi.MFD_NOEXEC_SEAL | abi.MFD_EXEC
BOTH: Final = abi.MFD_EXEC | abi.MFD_NOEXEC_SEAL
SIZE_SHIFT: Final = 26
SIZES: Final = 0x3F << SIZE_SHIFT
EXECUTABLE: Final = abi.F_SEAL_SHRINK | abi.F_SEAL_GROW | abi.F_SEAL_WRITE | abi.F_SEAL_FUTURE_WRITE
"""What F_SEAL_EXEC means besides, for a file that may be executed."""
ALL: Final = abi.F_SEAL_SEAL | abi.F_SEAL_EXEC | EXECUTABLE
WRITABLE: Final = VmaFlags.SHARED | VmaFlags.MAYWRITE


def memfd_create(machine: Hardware, flags: int) -> File:
    """See ``Mm.memfd_create``."""
    huge = bool(flags & abi.MFD_HUGETLB)
    if flags & ~(KNOWN | SIZES * huge) or flags & (abi.MFD_EXEC | abi.MFD_NOEXEC_SEAL) == BOTH:
        raise SystemCallError(errno.EINVAL, f"memfd_create with flags {flags:#x}")
    file = _huge_file(machine, flags) if huge else File(machine, "/memfd:memfd", 0)
    file.executable = not flags & abi.MFD_NOEXEC_SEAL
    file.seals = 0 if flags & abi.MFD_ALLOW_SEALING else abi.F_SEAL_SEAL
    if not file.executable:
        file.seals = abi.F_SEAL_EXEC
    return file


def _huge_file(machine: Hardware, flags: int) -> HugeFile:
    """A file of huge pages of the size that flags say; the smallest there is where they say none.

    Raises:
        SystemCallError: ENODEV, there are none of that size.
    """
    wanted = flags >> SIZE_SHIFT & 0x3F
    size = 1 << wanted if wanted else min(machine.geometry.huge, default=0)
    if size not in machine.geometry.huge:
        raise SystemCallError(errno.ENODEV, f"no huge page has {size:#x} bytes")
    return HugeFile(machine, "/memfd:memfd", 0, size)


def fcntl(file: File, command: int, argument: int) -> int:
    """See ``Mm.fcntl``."""
    if command == abi.F_GET_SEALS:
        return file.seals
    if command != abi.F_ADD_SEALS:
        raise UnsupportedError(f"fcntl {command} is not simulated, only F_ADD_SEALS and F_GET_SEALS")
    _add(file, argument)
    return 0


def _add(file: File, seals: int) -> None:
    """Seal a file (``memfd_add_seals``).

    Raises:
        SystemCallError: EPERM, EINVAL, EBUSY.
    """
    if not file.writable:
        raise SystemCallError(errno.EPERM, f"{file.name} is not open for writing")
    if seals & ~ALL:
        raise SystemCallError(errno.EINVAL, f"no seals: {seals & ~ALL:#x}")
    if file.seals & abi.F_SEAL_SEAL:
        raise SystemCallError(errno.EPERM, f"{file.name} cannot be sealed, or no more")
    if seals & abi.F_SEAL_EXEC and file.executable:
        seals |= EXECUTABLE
    if seals & abi.F_SEAL_WRITE and not file.seals & abi.F_SEAL_WRITE:
        writers = [vma for vma in file.vmas if vma.flags & WRITABLE == WRITABLE]
        if writers:
            raise SystemCallError(errno.EBUSY, f"{file.name} is mapped writably, at {writers[0].start:#x}: unmap it")
    file.seals |= seals
