"""The simulated address space as a side of a comparison."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, cast

from pagewalk.abi import uffd
from pagewalk.abi.limits import F_GET_SEALS, RLIMIT_AS, RLIMIT_DATA, RLIMIT_MEMLOCK
from pagewalk.conform.sides.books import left_over, wrong_books
from pagewalk.conform.sides.facts import GIGANTIC, HUGETLB, free_hugetlb, running_facts
from pagewalk.conform.sides.side import Model
from pagewalk.conform.sides.swap import SWAP_SIZE, own_swap_is_on
from pagewalk.mm.calls import observe
from pagewalk.mm.state.allowance import mapped

if TYPE_CHECKING:
    from pagewalk.conform.scenarios.target import Target
    from pagewalk.conform.sides.facts import Facts
    from pagewalk.mm.calls.smaps import SmapsRow
    from pagewalk.mm.machine import Machine
    from pagewalk.mm.mm import Mm
    from pagewalk.mm.state.files import File

__all__ = ["HUGETLB", "SimulatedProcess", "free_hugetlb", "simulated"]

_RAM = 256 << 20
_RESOURCES = {"as": RLIMIT_AS, "data": RLIMIT_DATA, "memlock": RLIMIT_MEMLOCK}


class SimulatedProcess:
    """An ``Mm`` as a ``Target``: its own methods, and the files that a scenario asks for."""

    def __init__(self, machine: Machine, mm: Mm, pool: int | None = None) -> None:
        self._machine = machine
        self._mm = mm
        self._unpopulated: bool | None = None
        self._pool = len(machine.hugetlb.get(HUGETLB, ())) if pool is None else pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mm, name)

    def fork(self) -> SimulatedProcess:
        """The child."""
        return SimulatedProcess(self._machine, self._mm.fork(), self._pool)

    def process_madvise(self, ranges: Any, advice: int, whom: SimulatedProcess | None = None) -> int:
        """See ``Calls``."""
        return self._mm.process_madvise(ranges, advice, None if whom is None else whom._mm)

    def limited(self, limit: str, room: int, call: Any) -> Any:
        """See ``Calls``."""
        limits, machine, page = self._mm.limits, self._machine, self._mm.geometry.page_size
        before = dict(limits.soft), limits.ipc_lock, limits.sys_admin, machine.max_map_count
        if limit == "areas":
            machine.max_map_count = len(self._mm.vmas) + room
        elif limit == "admin":
            limits.sys_admin = False
        else:
            soft = mapped(self._mm, _RESOURCES[limit]) + room * page
            self._mm.setrlimit(_RESOURCES[limit], soft or int(limit == "data"))  # no real process has 0 of it
            limits.ipc_lock = limit != "memlock"
        try:
            return call()
        finally:
            limits.soft, limits.ipc_lock, limits.sys_admin, machine.max_map_count = before

    def memfd_create(self, flags: int) -> int:
        """See ``Calls``."""
        return self._mm.fcntl(self._mm.memfd_create(flags), F_GET_SEALS)

    def register_wp(self, addr: int, length: int, unpopulated: bool = False, later: bool = False) -> None:
        """See ``Calls``."""
        if self._unpopulated is None:
            self._unpopulated = unpopulated
        features = uffd.WP_UNPOPULATED * unpopulated | uffd.WP_ASYNC * later
        self._mm.uffdio_register(addr, length, uffd.MODE_WP, features)

    def uffdio_unregister(self, addr: int, length: int) -> None:
        """See ``Calls``.

        Raises:
            OSError: The process has no userfaultfd (EBADF).
        """
        self._opened()
        self._mm.uffdio_unregister(addr, length)

    def writeprotect(self, addr: int, length: int, protect: bool) -> None:
        """See ``Calls``. Errors as ``uffdio_unregister``."""
        self._mm.writeprotect(addr, length, protect=protect, unpopulated=self._opened())

    def _opened(self) -> bool:
        if self._unpopulated is None:
            raise OSError(errno.EBADF, "nothing was registered with userfaultfd")
        return self._unpopulated

    def pages(self, start: int, end: int) -> tuple[Any, Any]:
        """See ``Calls``: one look for both."""
        with self._mm.reading():
            look = observe.look(self._mm, start, end)
            return look.words, observe.regions(self._mm, look)

    def smaps(self, end: int) -> list[SmapsRow]:
        """See ``Calls``."""
        return [row for row in self._mm.smaps_by_vma() if row.start < end]

    def file(self, name: str, data: bytes, kind: str, *, writable: bool = True) -> File:
        """A file on the machine.

        Raises:
            OSError: A kind that a machine does not have (EOPNOTSUPP).
        """
        if kind == "hugetlb":
            return self._machine.file(f"/memfd:{name}", len(data), writable=writable, huge_page_size=HUGETLB)
        if kind == "disk":
            raise OSError(errno.EOPNOTSUPP, f"the model has no {kind} files")
        option: Any = None if kind == "memfd" else kind.removeprefix("huge=")
        return self._machine.file(f"/memfd:{name}", contents=data, writable=writable, huge=option)

    def books(self, *, ended: bool) -> str:
        """What is wrong with the machine's books; once all have ended, what is left over too."""
        return wrong_books(self._machine) or (left_over(self._machine) if ended else "")

    def pool(self) -> bytes:
        """See ``Calls``."""
        machine = self._machine
        more = len(machine.hugetlb.get(HUGETLB, ())) - self._pool
        return b"%+d free, %+d promised" % (more, machine.promised(HUGETLB))

    def swapoff(self) -> None:
        """See ``Calls``."""
        self._machine.swapoff()
        self._machine.swapon(SWAP_SIZE)

    def pread(self, file: File, offset: int, size: int) -> bytes:
        """See ``Calls``."""
        return file.read(offset, size)

    def pwrite(self, file: File, offset: int, data: bytes) -> int:
        """See ``Calls``."""
        file.write(offset, data)
        return len(data)

    def punch_hole(self, file: File, offset: int, length: int) -> None:
        """See ``Calls``."""
        self._machine.punch_hole(file, offset, length)

    def truncate(self, file: File, size: int) -> None:
        """See ``Calls``."""
        self._machine.truncate(file, size)


def simulated(name: str = "model", *, ram: int = _RAM, facts: Facts | None = None) -> Model:
    """A side that starts each scenario on a new machine.

    Args:
        name: What to call it.
        ram: Bytes of its RAM.
        facts: What machine; one like that of the running kernel when not given.
    """
    known = facts or running_facts()

    def make() -> Target:
        from pagewalk.mm.machine import Machine

        pool = free_hugetlb() if known.hugetlb is None else known.hugetlb
        swap = SWAP_SIZE * own_swap_is_on() if known.swap is None else known.swap
        policies: Any = {"thp": known.thp, "shmem_thp": known.shmem_thp, "soft_dirty": known.soft_dirty}
        pools = {HUGETLB: pool} | ({GIGANTIC: known.gigantic} if known.gigantic else {})
        size = ram if not known.gigantic else (known.gigantic + 1) * GIGANTIC  # they lie at multiples of their size
        machine = Machine(size, known.format, hugetlb=pools, pku=known.pku, swap=swap, **policies)
        machine.reclaims_whole, machine.keeps_dirty = known.reclaims_whole, known.keeps_dirty
        machine.lru_gen = known.lru_gen
        return cast("Target", SimulatedProcess(machine, machine.mm()))

    return Model(make, name)
