"""mremap: shrinking, growing, moving, leaving behind, doubling."""

from pagewalk import abi
from pagewalk.conform.scenarios import At, Mremap

from .words import (
    NONE,
    PAGE,
    RW,
    R,
    advise,
    anon,
    guard,
    leave,
    lock,
    move,
    private_file,
    protect,
    read,
    resize,
    shared,
    shared_file,
    titled,
    unmap,
    write,
)

MAYMOVE = abi.MREMAP_MAYMOVE
SHRINKS_IN_PLACE = anon(0, 8), write(1), write(6), resize(0, 8, 4), resize(0, 4, 4), resize(0, 4, 0)
SHRINKS_OVER_OTHERS = anon(0, 4), anon(4, 2, R), anon(8, 2), write(8), resize(0, 10, 3)
GROWS_IN_PLACE = anon(0, 4), write(3), resize(0, 4, 8), write(7), anon(12, 4), resize(0, 8, 12), resize(0, 12, 20)
A_HEAD_DOES_NOT_GROW = anon(0, 8), write(0), resize(0, 4, 6), resize(4, 2, 4), resize(2, 6, 8)
GROWS_BY_MOVING = anon(0, 2), write(0), anon(2, 2, R), Mremap(At(0), 2 * PAGE, 4 * PAGE, MAYMOVE, name="m"), read(0)
LOCKED_MEMORY_GROWS_POPULATED = anon(0, 2), lock(0, 2), resize(0, 2, 5), move(0, 5, 20, new=7)
MOVES_WITH_ITS_PAGES = (
    anon(0, 8), write(1), read(2), guard(3), advise(4, 1, abi.MADV_POPULATE_WRITE), move(0, 8, 20), read(21), read(1),
    move(22, 2, 0), read(0), read(1),
)  # fmt: skip
MOVES_OVER_WHAT_IS_THERE = anon(0, 2), write(0), anon(20, 4, R), read(20), move(0, 2, 21), read(21), write(20)
MOVES_AND_SHRINKS_AND_GROWS = anon(0, 8), write(0), write(5), move(0, 8, 20, new=4), move(20, 4, 40, new=6), write(45)
FIXED_AND_TOO_NEAR = anon(0, 8), write(2), move(0, 4, 2), move(2, 4, 0), move(0, 2, 2), move(4, 2, 2)
LEAVES_AN_EMPTY_AREA_BEHIND = (
    anon(0, 4), write(1), guard(2), read(3), leave(0, 4, 20), read(1), read(2), read(21), write(0),
)  # fmt: skip
LEAVES_A_FILE_BEHIND = (
    shared_file(0, 4), private_file(8, 4), write(0), write(8), leave(0, 4, 20), leave(8, 4, 28), read(8),
)  # fmt: skip
LEAVES_WHAT_NOBODY_MAY_TOUCH_MLOCKED = (
    anon(0, 4), lock(1, 2), protect(0, 4, NONE), leave(0, 2, 20), advise(0, 4, abi.MADV_FREE),
    advise(0, 4, abi.MADV_PAGEOUT),
)  # fmt: skip
LEAVES_THE_LOCK_BEHIND = anon(0, 4), lock(0, 4), leave(0, 4, 20), unmap(20, 4), write(0)
LEFT_BEHIND_PAGES_STAY_MLOCKED = (
    anon(0, 4), lock(0, 4), leave(0, 1, 20), advise(0, 4, abi.MADV_FREE), advise(0, 4, abi.MADV_PAGEOUT), read(1),
    unmap(0, 4), anon(0, 4), write(1), advise(0, 4, abi.MADV_FREE), advise(0, 4, abi.MADV_PAGEOUT),
)  # fmt: skip
LEAVING_NEEDS_THE_SAME_SIZE = (
    anon(0, 4), leave(0, 4, 20), Mremap(At(0), 4 * PAGE, 2 * PAGE, MAYMOVE | abi.MREMAP_DONTUNMAP, At(30)),
    Mremap(At(0), 4 * PAGE, 4 * PAGE, abi.MREMAP_DONTUNMAP, At(30)),
    Mremap(At(0), 4 * PAGE, 4 * PAGE, MAYMOVE | abi.MREMAP_DONTUNMAP, At(30)),
)  # fmt: skip
DOUBLES_SHARED_MEMORY = (
    shared(0, 4), write(1), move(0, 0, 20, new=4), read(21), write(21, b"\xc3both"), read(1), guard(1), read(21),
)  # fmt: skip
PRIVATE_MEMORY_CANNOT_BE_DOUBLED = (
    anon(0, 4), write(0), move(0, 0, 20, new=4), private_file(8, 2), move(8, 0, 30, new=2),
)  # fmt: skip
MOVES_SEVERAL_AREAS_AND_THEIR_GAPS = (
    anon(0, 2), anon(2, 2, R), private_file(6, 2), write(0), read(3), write(6), guard(7), anon(20, 8), write(24),
    move(0, 8, 20), read(20), read(27),
)  # fmt: skip
SEVERAL_AREAS_CANNOT_CHANGE_SIZE = (
    anon(0, 2), anon(2, 2, R), move(0, 4, 20, new=6), move(0, 4, 20, new=3), move(0, 4, 20, new=2), move(8, 2, 30),
)  # fmt: skip
ARGUMENTS_ARE_CHECKED = (
    anon(0, 4), Mremap(At(0, 16), PAGE, PAGE), Mremap(At(0), PAGE, PAGE, 8), Mremap(At(0), 1, 1), resize(0, 1, 0),
    Mremap(At(0), PAGE, 2 * PAGE, abi.MREMAP_FIXED, At(20)), Mremap(At(0), PAGE, 1 << 56, MAYMOVE),
    Mremap(At(0), PAGE, PAGE, MAYMOVE | abi.MREMAP_FIXED, At(20, 16)), Mremap(At(0), 5000, 100),
)  # fmt: skip
MOVED_RIGHTS_HOLD = (
    anon(0, 4), write(0), protect(0, 2, R), protect(2, 2, NONE), move(0, 4, 20), write(20), read(22),
    protect(20, 4, RW), write(20),
)  # fmt: skip
GROWS_PAST_THE_END_OF_A_FILE = shared_file(0, 2, "b", 1), write(0), resize(0, 2, 4), read(1), read(2)

SCENARIOS = titled(globals())
