"""Processes of Linux guests, with and without VMCOREINFO, against what the guests say of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

import pagewalk as pw
from pagewalk.formats import from_registers
from pagewalk.query import count_tables, summarize
from tests.conftest import skip_or_fail
from tests.real.boot import booted
from tests.real.inhabitants import MARK, Inhabitants, inhabitants, writable_copy
from tests.real.machines import PROCESSES
from tests.real.packages import NotToBeHad

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.real.boot import Guest

SMAPS = ("Rss", "Swap", "Private_Hugetlb", "Shared_Hugetlb")

pytestmark = [pytest.mark.real, pytest.mark.slow]


class Home(NamedTuple):
    """A guest, its truth, and its memory."""

    guest: Guest
    truth: Inhabitants
    source: pw.Source


@pytest.fixture(scope="module", params=PROCESSES)
def booted_home(request, tmp_path_factory) -> Iterator[tuple[Guest, Inhabitants]]:
    """A guest with processes, which stands still."""
    try:
        with booted(PROCESSES[request.param], tmp_path_factory.mktemp("vm")) as guest:
            yield guest, inhabitants(guest.console)
    except NotToBeHad as reason:
        skip_or_fail(f"{request.param} cannot be booted: {reason}")


@pytest.fixture(scope="module", params=[True, False], ids=["vmcoreinfo", "without"])
def home(request, booted_home) -> Iterator[Home]:
    guest, truth = booted_home
    with writable_copy(guest.ram, guest.machine.architecture.base, vmcoreinfo=request.param) as source:
        notes: list[str] = []
        source.processes(notes=notes)
        assert ("by VMCOREINFO" in "".join(notes)) == request.param
        yield Home(guest, truth, source)


def user(source: pw.Source) -> np.ndarray:
    """The processes that have page tables."""
    rows = source.processes()
    return rows[rows["root"] != 0]


class TestProcesses:
    """`ps` agrees with the guest's own process list (pid, thread group, threads, name, root)."""

    def test_tasks(self, home):
        found = {int(row["pid"]): row for row in home.source.processes(threads=True)}
        assert not set(home.truth.lasting) - set(found)
        assert not set(found) - set(home.truth.tasks) - set(home.truth.again)
        for pid, said in home.truth.lasting.items():
            assert (found[pid]["tgid"], found[pid]["ended"]) == (said.tgid, said.state == "Z")
            # The names of the kernel's workers are longer in /proc than what the task itself has.
            same = said.name.startswith if found[pid]["kernel_thread"] else said.name.__eq__
            assert same(str(found[pid]["name"]))

    def test_threads(self, home):
        said = [one.tgid for one in home.truth.lasting.values()]
        for row in user(home.source):
            assert row["threads"] == said.count(row["pid"])

    def test_nothing_is_doubtful(self, home):
        notes: list[str] = []
        home.source.processes(notes=notes, cost=True)
        assert [note for note in notes if not re.match(r"the kernel('s page tables| is )", note)] == []

    def test_roots(self, home):
        """Each root leads to the page in which the process has written its number; a vforked one has its parent's."""
        rows = {int(row["pid"]): row for row in user(home.source)}
        sharing = {pid for pid, row in rows.items() if row["name"] == "vforked"}
        (lender,) = (pid for pid, row in rows.items() if row["name"] == "vforker")
        assert len(sharing) == 1
        for pid in rows:
            mark = pw.open(home.source, pid=pid).read(MARK, 8)
            assert int.from_bytes(mark, "little") == (lender if pid in sharing else pid)

    def test_the_root_of_the_running_process(self, home):
        root = from_registers(home.guest.registers).windows[0].root
        (busy,) = (row for row in user(home.source) if row["name"] == "busy")
        assert root == (busy["user_root"] or busy["root"])

    def test_the_system(self, home):
        notes: list[str] = []
        tables = pw.open(home.source, pid=1, notes=notes)
        release = re.match(r"\d+\.\d+", home.truth.release)
        assert release is not None
        assert tables.format.system.split(",")[0] == f"linux-{release[0]}"
        assert any(home.truth.release in note for note in notes)
        assert tables.format.name == home.guest.machine.format

    def test_the_kernel(self, home):
        """PID 0 is the kernel: its half is the same in each process."""
        kernel, one = (pw.open(home.source, pid=pid) for pid in (0, 1))
        start = kernel.windows[-1].start
        runs = [tables for tables in pw.mappings(kernel, start) if tables["flags"] & int(pw.Flag.EXEC)]
        assert runs
        for run in runs[:10]:
            vaddr = int(run["vaddr"])
            assert one.translate(vaddr).paddr == kernel.translate(vaddr).paddr


class TestVmas:
    """VMAs agree with the guest's maps line for line, for all processes."""

    def test_lines(self, home):
        total = 0
        for row in user(home.source):
            space = pw.open_space(home.source, pid=int(row["pid"]))
            found = [
                (f"{vma.start:08x}-{vma.end:08x} {vma.rights} {vma.offset:08x}", vma.name.replace("\n", "\\012"))
                for vma in space.vmas
            ]
            said = home.truth.maps.get(int(row["pid"]), [])
            if not row["ended"]:  # of a leader that has ended, /proc shows nothing, though its threads go on
                assert found == said
            total += len(found)
        assert total > 2000

    def test_pages_lie_in_vmas(self, home):
        for row in user(home.source):
            space = pw.open_space(home.source, pid=int(row["pid"]))
            window = space.tables.windows[0]
            runs = pw.mappings(space.tables, window.start, window.end)
            starts = np.array([vma.start for vma in space.vmas], np.uint64)
            ends = np.array([vma.end for vma in space.vmas], np.uint64)
            pages = pw.mappings(space.tables, window.start, window.end, coalesce=False)
            at = np.searchsorted(starts, pages["vaddr"], "right") - 1
            assert len(runs)
            assert (at >= 0).all()
            assert (pages["vaddr"] + pages["size"] <= ends[at]).all()

    def test_a_walk(self, home):
        """`walk_page_range` works on a process of a dump: each VMA is asked for, and holes are told within them."""
        (row,) = (row for row in user(home.source) if row["name"] == "odd areas")
        space = pw.open_space(home.source, pid=int(row["pid"]))
        seen, entries = [], []
        ops = pw.WalkOps(
            test_walk=lambda addr, next_, walk: seen.append(walk.vma.name) or 0,
            pte_entry=lambda entry, addr, next_, walk: entries.append(addr),
        )
        vmas = list(space.vmas)
        pw.walk_page_range(space, vmas[0].start, vmas[-1].end, ops)
        assert "/init" in seen
        assert MARK in entries


class TestContents:
    """The listing by VMA works on a dump: each area holds what the guest's smaps says, tables take what VmPTE says."""

    def test_areas(self, home):
        total = there = 0
        for row in user(home.source):
            pid = int(row["pid"])
            space = pw.open_space(home.source, pid=pid)
            for vma, found in zip(space.vmas, summarize(space), strict=True):
                if vma.flags & (pw.VmaFlags.PFNMAP | pw.VmaFlags.MIXEDMAP) or row["ended"]:
                    continue  # smaps counts no page of theirs
                if (pid, vma.name) == (1, "[stack]"):
                    continue  # whoever says it goes on
                said = {name: home.truth.contents.get((pid, vma.start, name), 0) for name in SMAPS}
                assert sum(int(found[part]) for part in ("small", "thp", "prot_none")) == said["Rss"], (pid, vma)
                assert found["hugetlb"] == said["Private_Hugetlb"] + said["Shared_Hugetlb"]
                assert found["swap"] == said["Swap"]
                total, there = total + 1, there + bool(said["Rss"])
        assert total > 2000
        assert there > 50

    def test_page_tables(self, home):
        """The kernel counts tables of the last three levels (``mm_inc_nr_puds``), and not the top one."""
        for row in user(home.source):
            space = pw.open_space(home.source, pid=int(row["pid"]))
            assert space.page_table_bytes == home.truth.tables.get(int(row["pid"]), space.page_table_bytes)
            counts = count_tables(space, windows=space.tables.windows[:1])
            needed = sum(list(counts.values())[-min(3, len(counts) - 1) :]) * space.tables.format.page_size
            assert 0 < needed <= (space.page_table_bytes or 0)


class TestBroken:
    """Torn and hostile images: what can be known, with warnings; lost tasks by a sweep."""

    @pytest.fixture
    def copy(self, booted_home) -> Iterator[pw.Source]:
        guest, _ = booted_home
        with writable_copy(guest.ram, guest.machine.architecture.base) as source:
            yield source

    @staticmethod
    def neighbours(source: pw.Source, name: str) -> tuple[pw.PageTables, int, int, int]:
        """The kernel's tables; the node of a process in the list of tasks, the one before and the one behind."""
        (row,) = (row for row in source.processes() if row["name"] == name)
        kernel = source._linux(None)
        offset = kernel.kernel.idle.node - kernel.kernel.idle.vaddr
        tables, node = pw.open(source, pid=0), int(row["task"]) + offset
        following, before = (int.from_bytes(tables.read(node + at, 8), "little") for at in (0, 8))
        return tables, node, before, following

    @staticmethod
    def put(source: pw.Source, tables: pw.PageTables, vaddr: int, value: int) -> None:
        assert isinstance(source.memory, pw.FlatMemory)
        source.memory.write(tables.translate(vaddr).paddr or 0, value.to_bytes(8, "little"))

    def test_a_hidden_process(self, copy):
        tables, _, before, following = self.neighbours(copy, "files")
        self.put(copy, tables, before, following)
        self.put(copy, tables, following + 8, before)
        assert "files" not in copy.processes()["name"]
        rows = copy.processes(sweep=True)
        assert rows["name"][~rows["listed"]].tolist() == ["files"]

    def test_a_torn_list(self, copy):
        tables, node, _, following = self.neighbours(copy, "files")
        whole = copy.processes()["name"].tolist()
        self.put(copy, tables, following + 8, node + 64)
        notes: list[str] = []
        assert copy.processes(notes=notes)["name"].tolist() == whole
        assert any(note.startswith("tasks: the list is broken") for note in notes)

    def test_a_sweep_finds_what_the_list_has(self, copy):
        linux = copy._linux(None)
        listed = {process.task.address for process in linux.processes()}
        assert {process.task.address for process in linux.lost(set())} == listed
