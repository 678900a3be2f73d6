"""Files of huge pages: memfds with MFD_HUGETLB, mapped shared and privately, cut, punched. The pool has a few pages."""

from pagewalk import abi
from pagewalk.conform import scenarios as do
from pagewalk.conform.scenarios import At, File

from .words import (
    HUGE,
    HUGETLB,
    PAGE,
    RW,
    R,
    advise,
    anon,
    core,
    exit_,
    fork,
    hugetlb,
    kernel_read,
    kernel_write,
    lock,
    move,
    pool,
    private_file,
    protect,
    punch,
    read,
    shared_file,
    sync,
    titled,
    truncate,
    unmap,
    write,
)

FILES = (
    File("h", 2 * HUGE, "hugetlb"), File("i", 0, "hugetlb"), File("kept", 2 * HUGE, "hugetlb", writable=False),
    File("a", 24),
)  # fmt: skip
SIZE = HUGE * PAGE

MAPPED = (
    shared_file(HUGE, 2 * HUGE, "h"), pool(), write(HUGE), pool(), private_file(2048, 2 * HUGE, "h"), pool(),
    read(2048), read(2560), pool(), write(2048), pool(), read(HUGE), unmap(2048, 2 * HUGE), pool(),
    unmap(HUGE, 2 * HUGE), pool(),
    shared_file(1024, HUGE, "h"), read(1024), pool(),
)  # fmt: skip
KEPT_BY_THE_FILE = (
    shared_file(HUGE, 2 * HUGE, "h"), write(HUGE), unmap(HUGE, 2 * HUGE), pool(), anon(0, 1), hugetlb(HUGE, 3 * HUGE),
    hugetlb(HUGE, 2 * HUGE), pool(), shared_file(2048, HUGE, "h"), read(2048),
)  # fmt: skip
TWO_MAPPINGS = (
    shared_file(HUGE, 2 * HUGE, "h"), shared_file(2048, HUGE, "h", HUGE), pool(), write(2048), read(1024), pool(),
    unmap(HUGE, 2 * HUGE), pool(), read(2048), advise(2048, HUGE, abi.MADV_REMOVE), pool(), read(2048), pool(),
)  # fmt: skip
GROWN_BY_A_MAPPING = (
    shared_file(HUGE, HUGE, "i", 0, R), read(HUGE), pool(), shared_file(1024, HUGE, "i", 0, RW), read(HUGE), pool(),
    shared_file(1024, HUGE, "i", 2 * HUGE, R), read(1024), private_file(1024, HUGE, "i", 2 * HUGE, RW), pool(),
    write(1024), pool(), shared_file(1536, HUGE, "i", HUGE, R), read(1536),
)  # fmt: skip
NOT_GROWN_BY_MPROTECT = shared_file(HUGE, HUGE, "i", 0, R), protect(HUGE, HUGE, RW), write(HUGE), read(HUGE), pool()
TRUNCATED = (
    shared_file(HUGE, 2 * HUGE, "h"), write(HUGE), write(1024), pool(), truncate("h", SIZE), pool(), read(1024),
    write(1024), read(HUGE), truncate("h", 2 * SIZE), read(1024), pool(), truncate("h", 100), truncate("h", 0), pool(),
    read(HUGE), truncate("h", 3 * SIZE), write(HUGE), pool(),
)  # fmt: skip
TRUNCATED_BEFORE_THE_TOUCH = (
    shared_file(HUGE, 2 * HUGE, "h"), truncate("h", 0), pool(), hugetlb(2048, 4 * HUGE), truncate("h", 2 * SIZE),
    write(HUGE), unmap(2048, 4 * HUGE), write(HUGE), pool(), unmap(HUGE, 2 * HUGE), pool(),
)  # fmt: skip
PRIVATE_TRUNCATED = (
    private_file(HUGE, 2 * HUGE, "h"), write(HUGE), write(1024), pool(), truncate("h", SIZE), pool(), read(1024),
    read(HUGE), truncate("h", 2 * SIZE), read(1024), pool(),
)  # fmt: skip
PUNCHED = (
    shared_file(HUGE, 2 * HUGE, "h"), write(HUGE), write(1024), pool(), punch("h", 0, HUGE), pool(), read(HUGE), pool(),
    punch("h", HUGE + 4, 10), read(1028), read(1040), punch("h", 0, 2 * HUGE), pool(), punch("h", 0, 2 * HUGE), pool(),
)  # fmt: skip
PUNCHED_IN_PARTS = (
    shared_file(HUGE, 2 * HUGE, "h"), write(HUGE), write(HUGE + 100), write(HUGE + 300), write(1024), write(1500),
    punch("h", 50, 100), read(HUGE), read(HUGE + 100), read(HUGE + 300), punch("h", 200, HUGE + 88), read(HUGE + 300),
    read(1024), read(1500), do.PunchHole("h", 5, 1000), do.PunchHole("h", 0, 0), read(HUGE), pool(),
)  # fmt: skip
PRIVATE_COPIES_ARE_PUNCHED = (
    shared_file(HUGE, 2 * HUGE, "h"), write(HUGE), private_file(2048, 2 * HUGE, "h"), write(2048), read(2560), pool(),
    punch("h", 0, HUGE), pool(), read(2048), pool(), read(HUGE), punch("h", HUGE, HUGE), pool(), read(2560), pool(),
)  # fmt: skip
PRIVATE_FORKED = (
    shared_file(HUGE, HUGE, "h"), write(HUGE), private_file(2048, 2 * HUGE, "h"), read(2048), fork(), core(2048, 4),
    read(2048, process=1), pool(), write(2048), pool(), read(2048, process=1), write(2048, process=1), pool(),
    fork(2), read(2048, process=2), write(2048, process=2), exit_(1), pool(),
)  # fmt: skip
PRIVATE_FROM_THE_PROMISE = (
    shared_file(HUGE, 2 * HUGE, "h"), write(HUGE), write(1024), private_file(2048, 2 * HUGE, "h"), pool(), read(2048),
    write(2048), pool(), advise(2048, HUGE, abi.MADV_DONTNEED), pool(), read(2048), pool(), write(2560), pool(),
    unmap(2048, 2 * HUGE), pool(),
)  # fmt: skip
PRIVATE_WITHOUT_A_PROMISE = (
    shared_file(HUGE, 2 * HUGE, "h"), write(HUGE), hugetlb(3072, 2 * HUGE), write(3072),
    private_file(2048, 2 * HUGE, "h", flags=abi.MAP_NORESERVE), pool(), read(2048), write(2048), read(2560), pool(),
    unmap(3072, 2 * HUGE), write(2048), pool(),
)  # fmt: skip
READ_ONLY = (
    shared_file(HUGE, 2 * HUGE, "kept"), shared_file(HUGE, 2 * HUGE, "kept", 0, R), pool(), read(HUGE), pool(),
    protect(HUGE, HUGE, RW), private_file(2048, HUGE, "kept"), write(2048), pool(), unmap(HUGE, 2 * HUGE), pool(),
    advise(HUGE, HUGE, abi.MADV_REMOVE), punch("kept", 0, HUGE), truncate("kept", 0),
    shared_file(HUGE, HUGE, "kept", 0, R), advise(HUGE, HUGE, abi.MADV_REMOVE), fork(), read(HUGE, process=1),
    core(HUGE, 2), pool(),
)  # fmt: skip
ODD_OFFSETS = (
    anon(HUGE, HUGE), shared_file(HUGE, HUGE, "h", 1), read(HUGE), shared_file(HUGE, HUGE, "h", 2 * HUGE, R),
    read(HUGE), do.Mmap(SIZE, RW, abi.MAP_SHARED | abi.MAP_FIXED, At(HUGE), "h", (1 << 63) - SIZE),
    do.Mmap(SIZE, RW, abi.MAP_SHARED | abi.MAP_FIXED, At(HUGE), "h", 100),
    do.Mmap(SIZE, R, abi.MAP_SHARED | abi.MAP_FIXED, At(HUGE), "h", 1 << 62), read(HUGE), pool(),
)  # fmt: skip
ODD_MAPPINGS = (
    shared_file(HUGE, 3, "h"), shared_file(600, HUGE, "h"), shared_file(1024, HUGE, "h", flags=HUGETLB),
    shared_file(1536, 4, "a", flags=HUGETLB), shared_file(1536, HUGE, "h", flags=abi.MAP_LOCKED), pool(),
    do.Mmap(PAGE, RW, abi.MAP_SHARED, 0, "h", name="m"), shared_file(HUGE, HUGE, "h", flags=abi.MAP_POPULATE), pool(),
    shared_file(HUGE, HUGE, "h", flags=abi.MAP_SHARED_VALIDATE | abi.MAP_SYNC), read(HUGE),
)  # fmt: skip
OVER_ITSELF = (
    shared_file(HUGE, 2 * HUGE, "h"), write(HUGE), shared_file(HUGE, 2 * HUGE, "h"), pool(), read(HUGE),
    shared_file(HUGE, 2 * HUGE, "i"), pool(), shared_file(HUGE, 4 * HUGE, "i"), pool(), read(HUGE),
    private_file(HUGE, 3 * HUGE, "h"), pool(), private_file(HUGE, 3 * HUGE, "h"), pool(), write(HUGE), pool(),
)  # fmt: skip
IN_CORE_AND_SYNCED = (
    shared_file(HUGE, HUGE, "h"), write(HUGE), shared_file(1024, 2 * HUGE, "h"), core(1024, 4), core(1536, 4),
    read(1024), core(1024, 4), sync(HUGE, HUGE, abi.MS_SYNC), lock(1024, 2 * HUGE), core(1536, 4), pool(),
)  # fmt: skip
THE_KERNEL_READS_AND_WRITES = (
    shared_file(HUGE, HUGE, "h"), write(HUGE), private_file(1024, HUGE, "h"), kernel_read(1024), pool(),
    kernel_write(1024), pool(), read(HUGE), fork(), kernel_read(1024, process=1), pool(), kernel_write(HUGE, process=1),
    read(HUGE),
)  # fmt: skip
FORKED_SHARED = (
    shared_file(HUGE, 2 * HUGE, "h"), fork(), write(HUGE, process=1), pool(), read(HUGE), truncate("h", 0), read(HUGE),
    read(HUGE, process=1), exit_(1), pool(), unmap(HUGE, 2 * HUGE), pool(),
)  # fmt: skip
MOVED = (
    shared_file(HUGE, 2 * HUGE, "h"), write(HUGE), move(HUGE, 2 * HUGE, 2048), read(2048), pool(),
    private_file(HUGE, 2 * HUGE, "h"), write(HUGE), pool(), move(HUGE, 2 * HUGE, 4096), write(4608), pool(),
    punch("h", 0, 2 * HUGE), pool(), read(4096), pool(),
)  # fmt: skip
THE_CHILD_OF_A_FILE_IS_ROBBED = (
    private_file(HUGE, 2 * HUGE, "h"), write(HUGE), write(1024), fork(), pool(), write(HUGE), write(1024), pool(),
    hugetlb(2048, HUGE), read(HUGE, process=1), exit_(1), unmap(HUGE, 2 * HUGE), pool(),
)  # fmt: skip

SCENARIOS = titled(globals(), FILES)
