"""Files that lose pages while they are mapped: punched holes, truncation, MADV_REMOVE."""

from pagewalk import abi
from pagewalk.conform.scenarios import PunchHole, Truncate

from .words import PAGE, advise, fork, guard, lock, private_file, punch, read, shared_file, titled, truncate, write

A_HOLE_TAKES_SHARED_PAGES = shared_file(0, 8), read(0), write(5), punch("a", 2, 4), read(2), read(5), write(3)
A_HOLE_LEAVES_PRIVATE_COPIES = private_file(0, 8), read(0), write(3), punch("a", 2, 4), read(3), read(2)
A_HOLE_LEAVES_GUARDS = (
    shared_file(0, 8), private_file(10, 8), guard(3), guard(13), read(0), read(10), punch("a", 2, 4), read(3),
    read(13), read(4),
)  # fmt: skip
A_HOLE_IN_PART_OF_A_PAGE = (
    shared_file(0, 4), read(0), PunchHole("a", 100, 200), read(0, 400), PunchHole("a", 4000, 5000),
    read(0, 100, 3990), read(2, 400, 800), PunchHole("a", 0, 0), PunchHole("a", 300 * PAGE, PAGE),
)  # fmt: skip
A_SHORTER_FILE_IS_SIGBUS = (
    shared_file(0, 8), read(0), write(6), truncate("a", 4 * PAGE), read(3), read(4), write(6), read(4),
)  # fmt: skip
TRUNCATION_TAKES_PRIVATE_COPIES = (
    private_file(0, 8), write(2), write(6), truncate("a", 4 * PAGE), read(2), read(6), write(6),
)  # fmt: skip
TRUNCATION_LEAVES_GUARDS = (
    shared_file(0, 8), guard(2), guard(6), truncate("a", 4 * PAGE), read(6), read(5), truncate("a", 8 * PAGE),
    read(6), read(5),
)  # fmt: skip
TRUNCATION_INSIDE_A_PAGE = (
    shared_file(0, 8), write(3), truncate("a", 3 * PAGE + 100), read(3), read(3, 100, 90), read(4),
    truncate("a", 8 * PAGE), read(3, 100, 90), read(4),
)  # fmt: skip
A_LONGER_FILE_CAN_BE_TOUCHED = shared_file(0, 6, "b"), read(3), truncate("b", 6 * PAGE), read(3), write(5), read(4)
A_SEALED_FILE_KEEPS_ITS_SIZE = (
    shared_file(0, 4, "sealed", prot=1), read(0), Truncate("sealed", PAGE), PunchHole("sealed", 0, PAGE), read(0),
)  # fmt: skip
A_HOLE_IN_LOCKED_PAGES = shared_file(0, 4), lock(0, 4), punch("a", 1, 2), read(1)
A_HOLE_SEEN_BY_BOTH = (
    shared_file(0, 8), private_file(10, 8), write(12), read(0), read(10), fork(), punch("a", 0, 8, process=1),
    read(0), read(10), read(12), read(12, process=1), read(0, process=1),
)  # fmt: skip
REMOVED_PAGES_ARE_GONE_FOR_ALL = (
    shared_file(0, 8), shared_file(20, 8), write(1), read(21), guard(22), advise(0, 4, abi.MADV_REMOVE), read(21),
    read(22), read(1),
)  # fmt: skip

SCENARIOS = titled(globals())
