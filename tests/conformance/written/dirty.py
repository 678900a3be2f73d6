"""Pages whose rights change: which are dirty then, which may be written at once, and what is left of what was free."""

from pagewalk import abi
from pagewalk.abi.pagemap import PM_SCAN_WP_MATCHING
from pagewalk.conform.scenarios import At, PagemapScan, Register

from .watched import resume, stop, unwatch, watch
from .words import (
    HUGE,
    NONE,
    PAGE,
    RW,
    R,
    advise,
    exit_,
    fork,
    huge,
    lock,
    move,
    private_file,
    protect,
    read,
    shared,
    shared_file,
    titled,
    truncate,
    write,
)

FREE, PAGEOUT, COLLAPSE = abi.MADV_FREE, abi.MADV_PAGEOUT, abi.MADV_COLLAPSE


def lazy():
    """A huge page that is free lazily, and was written again."""
    return *huge(), advise(HUGE, HUGE, FREE), write(600)


def reclaimed(page=HUGE):
    """What is left of it."""
    return advise(page, HUGE, PAGEOUT), read(page + 88), read(page)


READ_ONLY = *huge(), protect(HUGE, HUGE, R), protect(HUGE, HUGE, RW), read(600), write(600), protect(HUGE, HUGE, NONE)
READ_ONLY_IN_PART = *huge(), protect(HUGE, 4, R), protect(HUGE, HUGE, R), protect(HUGE, HUGE, RW)
LOCKED_AND_READ_ONLY = *huge(), lock(HUGE, HUGE), protect(HUGE, HUGE, R), protect(600, 2, RW), read(600)
FREE_THEN_READ_ONLY = *lazy(), protect(HUGE, HUGE, R), *reclaimed()
FREE_THEN_READ_ONLY_AND_WRITTEN_AGAIN = (
    *lazy(), protect(HUGE, HUGE, R), protect(HUGE, HUGE, RW), write(601), *reclaimed(),
)  # fmt: skip
FREE_THEN_READ_ONLY_AND_SPLIT = *lazy(), protect(HUGE, HUGE, R), protect(700, 2, RW), *reclaimed()
FREE_THEN_READ_ONLY_AND_MOVED = (
    *lazy(), protect(HUGE, HUGE, R), move(HUGE, HUGE, 1024), *reclaimed(1024),
)  # fmt: skip
FREE_THEN_READ_ONLY_AND_SHARED = *lazy(), protect(HUGE, HUGE, R), fork(), *reclaimed(), read(600, process=1)
SHARED_THEN_READ_ONLY = *huge(), fork(), protect(HUGE, HUGE, R), read(600, process=1), protect(HUGE, HUGE, RW)
FREE_THEN_SHARED_THEN_READ_ONLY = *lazy(), fork(), protect(HUGE, HUGE, R), exit_(1), *reclaimed()
WATCHED = *huge(), watch(HUGE, HUGE), stop(HUGE, HUGE), resume(HUGE, HUGE), write(600), stop(HUGE, HUGE)
NOT_WATCHED_ANY_MORE = *huge(), watch(HUGE, HUGE), unwatch(HUGE, HUGE), read(600)
FREE_THEN_WATCHED = *lazy(), watch(HUGE, HUGE), stop(HUGE, HUGE), resume(HUGE, HUGE), *reclaimed()
FREE_THEN_SCANNED = (
    *lazy(), Register(At(HUGE), HUGE * PAGE, later=True),
    PagemapScan(At(HUGE), At(2 * HUGE), PM_SCAN_WP_MATCHING), *reclaimed(),
)  # fmt: skip
MOVED_FROM_WHERE_IT_WAS_WATCHED = (
    *lazy(), watch(HUGE, HUGE), move(HUGE, HUGE, 1024), *reclaimed(1024),
)  # fmt: skip
SHARED_AND_READ_ONLY = (
    shared(HUGE, HUGE), write(HUGE), write(600), advise(HUGE, HUGE, COLLAPSE), protect(HUGE, HUGE, R),
    protect(HUGE, HUGE, RW), read(600), write(601), protect(HUGE, HUGE, R),
)  # fmt: skip
A_FILE_THAT_IS_SMALL = (
    *huge(),
    private_file(0, 4),
    write(0),
    protect(0, 4, R),
    protect(HUGE, HUGE, R),
    protect(0, 4, RW),
)


# -- rights that go and come back -------------------------------------------------------------------------------------


def split():
    """A huge page that is free lazily, and mapped by small entries."""
    return *huge(), advise(HUGE, HUGE, FREE), protect(700, 1, R)


def there_and_back(page, pages, away=R):
    """The rights of pages go and come back."""
    return protect(page, pages, away), protect(page, pages, RW)


def watched_twice(page, pages):
    """Of pages that are protected, and no more."""
    return watch(page, pages), stop(page, pages), resume(page, pages)


def holes():
    """A file's hole, read in two places."""
    first, second = (shared_file(page, 4, offset=30) for page in (0, 8))
    return truncate("a", 40 * PAGE), first, second, read(0), read(8)


POPULATED = advise(HUGE, 2, abi.MADV_POPULATE_WRITE)
WRITABLE_AT_ONCE = *split(), *there_and_back(HUGE, 8), POPULATED
WRITABLE_AT_ONCE_AFTER_NONE = *split(), *there_and_back(HUGE, 8, NONE), POPULATED
WRITABLE_AT_ONCE_TO_A_LOCK = *split(), *there_and_back(HUGE, 8), lock(HUGE, 2)
WRITABLE_AT_ONCE_ELSEWHERE = *split(), move(HUGE, 8, 0), *there_and_back(0, 8), advise(0, 2, abi.MADV_POPULATE_WRITE)
WRITABLE_AT_ONCE_IF_EXECUTABLE = *split(), protect(HUGE, 8, RW | abi.PROT_EXEC), POPULATED
WRITABLE_AT_ONCE_AS_A_WHOLE = (
    *huge(),
    advise(HUGE, HUGE, FREE),
    *there_and_back(HUGE, HUGE),
    protect(700, 1, R),
    POPULATED,
)
NOT_WRITABLE_WHILE_SHARED = *split(), fork(), *there_and_back(HUGE, 8), POPULATED
NOR_WHEN_IT_WAS_SHARED = *split(), fork(), exit_(1), *there_and_back(HUGE, 8), POPULATED
UNLESS_COPIED = *split(), fork(), exit_(1), write(HUGE), advise(HUGE, 1, FREE), *there_and_back(HUGE, 8), POPULATED
WRITABLE_AGAIN_WHEN_RESUMED = *split(), *watched_twice(HUGE, 8), POPULATED
WRITABLE_AGAIN_WHEN_UNWATCHED = *split(), watch(HUGE, 8), stop(HUGE, 8), unwatch(HUGE, 8), POPULATED
WRITABLE_AGAIN_WHILE_WATCHED = *split(), watch(HUGE, 8), *there_and_back(HUGE, 8), POPULATED
NOT_WHILE_STOPPED = *split(), watch(HUGE, 8), stop(HUGE, 8), *there_and_back(HUGE, 8), resume(HUGE, 8), POPULATED
WHOLE_AND_RESUMED = *huge(), advise(HUGE, HUGE, FREE), *watched_twice(HUGE, HUGE), protect(700, 1, R), POPULATED
WHOLE_AND_UNWATCHED = (
    *huge(), advise(HUGE, HUGE, FREE), watch(HUGE, HUGE), stop(HUGE, HUGE), unwatch(HUGE, HUGE), protect(700, 1, R),
    POPULATED,
)  # fmt: skip
ALL_OF_A_FOLIO_WHEN_STOPPED = *split(), write(514), watch(HUGE, 8), stop(HUGE, 8)
ALL_OF_A_FOLIO_WHEN_RESUMED = *split(), watch(HUGE, 8), stop(HUGE, 4), write(517), resume(HUGE, 8)
ALL_OF_A_FOLIO_WHEN_UNWATCHED = *split(), watch(HUGE, 8), write(517), unwatch(HUGE, 8)
A_FILE_TELLS_ITS_OTHER_MAPPING = *holes(), write(0)
A_FILE_THAT_WAS_READ_ONLY = *holes(), *there_and_back(0, 4), write(0)
A_FILE_THAT_WAS_READ_ONLY_IS_POPULATED = *holes(), *there_and_back(0, 4), advise(0, 2, abi.MADV_POPULATE_WRITE)
A_FILE_THAT_IS_MADE_WRITABLE = (
    truncate("a", 40 * PAGE), shared_file(0, 4, offset=30, prot=R), shared_file(8, 4, offset=30), read(0), read(8),
    protect(0, 4, RW), write(0),
)  # fmt: skip
A_FILE_THAT_IS_WATCHED = *holes(), watch(0, 4), *there_and_back(0, 4), write(0)
A_FILE_THAT_WAS_STOPPED = *holes(), *watched_twice(0, 4), write(0)
A_FILE_THAT_WAS_STOPPED_AND_UNWATCHED = *holes(), watch(0, 4), stop(0, 4), unwatch(0, 4), write(0)
A_FILE_THAT_WAS_WATCHED = *holes(), watch(0, 4), unwatch(0, 4), write(0)

SCENARIOS = titled(globals())
