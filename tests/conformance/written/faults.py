"""What the CPU's accesses bring in, and which signal refuses them."""

from pagewalk import abi

from .words import (
    HUGE,
    NONE,
    RW,
    RWX,
    R,
    advise,
    anon,
    execute,
    guard,
    pread,
    private_file,
    protect,
    punch,
    read,
    shared,
    shared_file,
    titled,
    truncate,
    unmap,
    write,
)

ZERO_PAGE_THEN_A_PAGE = anon(0, 2, RWX), read(0), write(0), read(0), write(1), read(1), execute(0)
ONE_ACCESS_OVER_SEVERAL_PAGES = anon(0, 4), write(0, bytes(6000), 100), read(0, 8192, 10), write(2, b"\xc3" * 100, 4090)
BYTES_BEFORE_A_REFUSAL_ARE_DONE = (
    anon(0, 1), anon(1, 1, R), write(0, b"12345678", 4092), read(0, 8, 4088), guard(1), read(0, 8, 4092),
    write(0, b"abcdefgh", 4090), read(0, 6, 4090),
)  # fmt: skip
MAPPING_ERRORS_AND_ACCESS_ERRORS = (
    anon(0, 1, NONE), anon(1, 1, R), read(0), write(0), write(1), execute(1), read(5), write(5), execute(5), guard(1),
    write(1), execute(1),
)  # fmt: skip
A_REFUSED_FETCH_BRINGS_THE_PAGE_IN = (
    anon(0, 2), execute(0), shared_file(4, 4), execute(4), private_file(8, 2), execute(8), execute(9),
)  # fmt: skip
FILE_PAGES_PRIVATE_AND_SHARED = (
    private_file(0, 4), shared_file(8, 4), read(0), write(0), write(8), read(0), read(1), write(9), read(1), read(9),
)  # fmt: skip
FAULT_AROUND_MAPS_SIXTEEN = (
    shared_file(0, 20), read(3), read(18), private_file(32, 20, offset=3), read(40), unmap(33, 2), read(33),
)  # fmt: skip
FAULT_AROUND_STOPS_AT_THE_AREA = shared_file(5, 4, offset=5), read(6), shared_file(20, 8, offset=20), read(20), read(25)
FAULT_AROUND_PASSES_MARKERS_OVER = shared_file(0, 16), guard(2), guard(5), write(7), read(0), read(2)
A_WRITE_FAULT_MAPS_ONE = shared_file(0, 16), write(3), private_file(16, 16), write(20), read(21)
PAST_THE_END_OF_A_FILE = (
    shared_file(0, 6, "b"), read(2), read(3), write(3), private_file(8, 6, "b"), write(8), write(12), read(11),
    execute(11),
)  # fmt: skip
WRITTEN_ONCE_PROTECTED_READ_AGAIN = (
    anon(0, 2), write(0), protect(0, 2, R), read(0), read(1), write(0), protect(0, 2, RW), write(0), write(1),
)  # fmt: skip
A_STACK_GROWS_FOR_READS_TOO = (
    anon(400, 2, flags=abi.MAP_GROWSDOWN), read(395), write(394), read(300), protect(394, 2, R), write(393),
)  # fmt: skip
NOTHING_IS_THERE = (
    read(0), write(0), execute(0), unmap(0, 1), advise(0, 1, abi.MADV_DONTNEED), protect(0, 1, R), read(HUGE),
)  # fmt: skip
SHARED_ANONYMOUS_FAULTS = shared(0, 20), read(0), write(1), read(2), write(17), read(18)
A_FILE_IS_READ = (
    shared_file(0, 4), write(1), pread("a", 0), pread("a", 1, 8192), truncate("a", 5000), pread("a", 1, 8192),
    pread("a", 2), punch("a", 0, 1), pread("a", 0), guard(1), pread("a", 1), pread("sealed", 7, 5000),
)  # fmt: skip

SCENARIOS = titled(globals())
