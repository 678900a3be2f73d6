"""What the kernel reads and writes for a process: EFAULT, or fewer bytes, where the CPU would get a signal."""

from pagewalk import abi

from .words import (
    NONE,
    R,
    W,
    advise,
    anon,
    exit_,
    fork,
    guard,
    kernel_read,
    kernel_write,
    lock,
    private_file,
    read,
    shared_file,
    titled,
    write,
)

READS_FAULT_PAGES_IN = (
    anon(0, 4), kernel_read(0, 8192), kernel_write(1), kernel_read(1), shared_file(8, 4), kernel_read(9),
    kernel_write(8),
)  # fmt: skip
A_GUARD_IS_EFAULT = (
    anon(0, 4), write(0), guard(1), kernel_read(1), kernel_write(1), kernel_read(0, 8192),
    kernel_write(0, bytes(16), 4088), read(0, 8, 4088),
)  # fmt: skip
RIGHTS_ARE_EFAULT = (
    anon(0, 1, NONE), anon(1, 1, R), anon(2, 1, W), anon(3, 1, abi.PROT_EXEC),
    *(access(page) for page in range(4) for access in (kernel_read, kernel_write)),
)  # fmt: skip
NOTHING_THERE_IS_EFAULT = (
    kernel_read(0), kernel_write(0), anon(1, 1), kernel_read(0, 8192), kernel_read(1, 8192),
    kernel_write(1, bytes(100), 4090),
)  # fmt: skip
PAST_THE_END_IS_EFAULT = (
    shared_file(0, 6, "b"), kernel_read(2, 8192), kernel_read(3), kernel_write(3), kernel_write(2, bytes(20), 4090),
)  # fmt: skip
POPULATING_A_GUARD_IS_EFAULT = (
    anon(0, 4), guard(2), advise(0, 4, abi.MADV_POPULATE_READ), advise(0, 4, abi.MADV_POPULATE_WRITE), lock(0, 4),
)  # fmt: skip
A_STACK_DOES_NOT_GROW_FOR_THE_KERNEL = (
    anon(400, 2, flags=abi.MAP_GROWSDOWN), kernel_write(399), kernel_read(399), kernel_write(400),
)  # fmt: skip
PRIVATE_FILES_ARE_COPIED = (
    private_file(0, 2), kernel_write(0), kernel_read(1), private_file(4, 2, prot=R), kernel_write(4), kernel_read(4),
)  # fmt: skip
WRITTEN_BY_THE_KERNEL_IS_KNOWN_TO_BE_DIRTY = (
    anon(0, 4), kernel_write(0), fork(), advise(0, 1, abi.MADV_FREE), exit_(1), advise(0, 1, abi.MADV_PAGEOUT),
    kernel_write(1), advise(1, 1, abi.MADV_FREE), advise(1, 1, abi.MADV_PAGEOUT),
)  # fmt: skip
A_PAGE_THAT_A_PARENT_LOCKED_IS_LEFT_TO_ITS_CHILD = (
    anon(35, 1), lock(35, 1), fork(), write(35), kernel_read(35, 4096, process=1),
)  # fmt: skip

SCENARIOS = titled(globals())
