"""Steps that never return: each is a ``Step`` that the worker takes, not one that a scenario's text can name."""

import os
import signal
import struct
from dataclasses import dataclass
from fcntl import ioctl

from pagewalk import abi
from pagewalk.conform.scenarios import At, Exit, Fork, Mmap, Scenario, Step
from pagewalk.conform.sides.kernel import Kernel
from pagewalk.conform.sides.syscalls import _call

USERFAULTFD = 323
UFFDIO_API, UFFDIO_REGISTER, UFFDIO_WRITEPROTECT = 0xC018AA3F, 0xC020AA00, 0xC018AA06
PAGEFAULT_FLAG_WP, WP_HUGETLBFS_SHMEM, USER_MODE_ONLY = 1 << 0, 1 << 12, 1
PAGE = 4096


@dataclass(frozen=True, slots=True, repr=False)
class WaitForEver(Step):
    """Says so, then waits for a signal, again and again."""

    call = "wait"

    def invoke(self, target, resolve):
        os.write(1, b"waiting\n")
        while True:
            signal.pause()


@dataclass(frozen=True, slots=True, repr=False)
class DieAll(Step):
    """Ends the worker, of which this process is a child."""

    call = "die"

    def invoke(self, target, resolve):
        os.kill(os.getppid(), signal.SIGKILL)
        signal.pause()


@dataclass(frozen=True, slots=True, repr=False)
class GuardOverMarker(Step):
    """Write-protects a page of shared memory by userfaultfd, where none is: a marker; then puts a guard there.

    Linux 6.18 finds the marker in the way, zaps what a zap leaves in place, and restarts the system call for ever.
    """

    call = "guard"
    addr: At

    def invoke(self, target, resolve):
        start = resolve(self.addr)
        fd = _call(USERFAULTFD, USER_MODE_ONLY)
        ioctl(fd, UFFDIO_API, struct.pack("QQQ", 0xAA, PAGEFAULT_FLAG_WP | WP_HUGETLBFS_SHMEM, 0))
        ioctl(fd, UFFDIO_REGISTER, struct.pack("QQQQ", start, PAGE, 2, 0))
        ioctl(fd, UFFDIO_WRITEPROTECT, struct.pack("QQQ", start, PAGE, 1))
        target.madvise(start, PAGE, abi.MADV_GUARD_INSTALL)


SHARED = Mmap(PAGE, abi.PROT_READ | abi.PROT_WRITE, abi.MAP_SHARED | abi.MAP_ANONYMOUS | abi.MAP_FIXED, At(0))
GUARD_OVER_MARKER = Scenario((SHARED, GuardOverMarker(At(0))))
ORPHAN_WAITS = Scenario((SHARED, Fork(1), Fork(2, process=1), Exit(process=1), WaitForEver(process=2)))


def hang():
    """Run a scenario that does not end, and would have all the time."""
    with Kernel(timeout=1000) as kernel:
        list(kernel.run(ORPHAN_WAITS).records())
