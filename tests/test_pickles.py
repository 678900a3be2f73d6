"""A worker pool is how people use this: what can be handed to another process, and what says that it cannot."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import threading
from typing import TYPE_CHECKING, Any

import pytest

import pagewalk as pw
from pagewalk import sweep
from pagewalk.formats import FORMATS, find_format, from_registers
from pagewalk.live import capture
from pagewalk.memory import Segment
from tests.world import PAGE, M, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.guests import Guest

BASE = 0x4000_0000
PICKLED: Callable[[Any], Any] = lambda thing: pickle.loads(pickle.dumps(thing))  # noqa: E731
AGAIN = pytest.mark.parametrize("again", [PICKLED, copy.deepcopy], ids=["pickled", "copied"])


@pytest.fixture
def world() -> World:
    world = World(ram=4 * M)
    world.map(BASE, 64 << 10)
    world.map(BASE + PAGE, 68 << 10)
    return world


@pytest.fixture
def image(world: World, tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(world.memory.read(0, 4 * M))
    return path


# -- a pool --------------------------------------------------------------------------------------------------------


def _work(job: tuple[pw.PageTables, int, int]) -> Any:
    """What a worker does: answers that come back as arrays and errors."""
    tables, start, end = job
    rows = pw.mappings(tables, start, end)
    try:
        tables.translate(end)
    except pw.TranslationError as error:
        return os.getpid(), rows, error
    return os.getpid(), rows, None


def test_a_pool_that_starts_afresh(guest: Guest, world: World) -> None:
    """Tables of a file and of RAM there, arrays and errors back; by "spawn", which inherits nothing."""
    ours = guest.tables()
    half = 1 << 46
    jobs = [(ours, 0, half), (ours, half, 1 << 47), (world.tables, 0, 1 << 47)]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        answers = pool.map(_work, jobs, chunksize=1)
    assert {pid for pid, _, _ in answers}.isdisjoint({os.getpid()})
    for job, (_, rows, error) in zip(jobs, answers, strict=True):
        assert rows.tolist() == pw.mappings(*job).tolist()
        with pytest.raises(type(error)) as caught:
            job[0].translate(job[2])
        assert str(error) == str(caught.value)


# -- what can be handed on -----------------------------------------------------------------------------------------


@AGAIN
def test_tables_of_ram(world: World, again: Callable[[Any], Any]) -> None:
    """A copy: it may be changed, and grow, and ours does not."""
    twin = again(world.tables)
    assert pw.mappings(twin).tolist() == pw.mappings(world.tables).tolist()
    assert twin.memory.read(0, 4 * M) == world.memory.read(0, 4 * M)
    (*_, entry) = twin.steps(BASE)
    entry.value = 0
    twin.grow(next(iter(twin.steps(1 << 46))), 1 << 46)
    assert world.tables.translate(BASE).paddr == 64 << 10
    assert twin.allocator.outstanding - world.frames.outstanding


def test_ram_is_pickled_without_what_is_zero() -> None:
    ram = pw.Ram(64 * M, 1 << 32)
    ram.write((1 << 32) + 12345, b"something")
    words = pickle.dumps(ram)
    assert len(words) < 8 << 10
    assert pickle.loads(words).read((1 << 32) + 12345, 9) == b"something"
    assert repr(pickle.loads(words)) == repr(ram)


@AGAIN
def test_tables_of_a_file_are_opened_again(image: Path, again: Callable[[Any], Any]) -> None:
    """Its bytes are not in the pickle: there is little but the format."""
    tables = pw.open(image, root=0, segments=[(0, 0, 2 * M), (1 << 32, 2 * M, 2 * M)])
    assert len(pickle.dumps(tables)) < len(pickle.dumps(tables.format)) + (1 << 10)
    twin = again(tables)
    assert pw.mappings(twin).tolist() == pw.mappings(tables).tolist()
    assert repr(twin) == repr(tables)
    assert repr(twin.memory) == repr(tables.memory)


@pytest.mark.parametrize("change", ["size", "time of change"])
def test_a_file_that_has_changed_since_is_refused(image: Path, change: str) -> None:
    words = pickle.dumps(pw.open(image, root=0))
    if change == "size":
        os.truncate(image, 3 * M)
    else:
        os.utime(image, ns=(0, 1))
    with pytest.raises(pw.ImageFormatError, match=f"{change} was .* open it afresh"):
        pickle.loads(words)


def test_a_file_is_found_from_another_directory(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(image.parent)
    words = pickle.dumps(pw.RawImage(image.name))
    monkeypatch.chdir("/")
    assert pickle.loads(words).read(0, 8) == image.read_bytes()[:8]


@AGAIN
def test_a_captured_address_space(again: Callable[[Any], Any]) -> None:
    space = capture()
    twin = again(space)
    assert repr(twin) == repr(space)
    assert pw.mappings(twin).tolist() == pw.mappings(space).tolist()
    ranges = [(vma.start, vma.end, vma.flags, vma.name, vma.offset) for vma in space.vmas]
    assert [(vma.start, vma.end, vma.flags, vma.name, vma.offset) for vma in twin.vmas] == ranges
    assert all(vma.mm is twin for vma in twin.vmas)
    assert (twin.notes, twin.changed, twin.zero_frames) == (space.notes, space.changed, space.zero_frames)


@AGAIN
def test_an_address_space_is_copied_as_a_snapshot(world: World, again: Callable[[Any], Any]) -> None:
    """Nobody else can change a copy: it has no locks to hold."""
    lock, mapping = pw.MmapLock(), pw.Mapping("file")
    space = pw.AddressSpace(world.tables, mmap_lock=lock)
    space.add_vma(pw.Vma(BASE, BASE + 2 * PAGE, mapping=mapping, lock=pw.VmaLock(lock)))
    twin = again(space)
    seen: list[int] = []
    ops = pw.WalkOps(pte_entry=lambda entry, addr, next_, walk: seen.append(entry.value))
    assert pw.walk_page_range(twin, BASE, BASE + 2 * PAGE, ops) == 0
    (vma,) = twin.vmas
    assert len(seen) == 2
    assert vma.mapping.vmas == [vma]
    assert space.mmap_lock is lock
    assert [vma.lock is None for vma in space.vmas] == [False]


@AGAIN
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_formats(name: str, again: Callable[[Any], Any]) -> None:
    form = find_format(name)
    assert form.page_sizes
    twin = again(form)
    assert twin == form
    assert twin.windows == form.windows
    assert again(form.levels[3]) == form.levels[3]
    assert [again(flag) for flag in (pw.Flag.READ, pw.Kind.GUARD, pw.SKIP, pw.Action.AGAIN, pw.PGWALK_RDLOCK)]
    assert again(pw.SKIP) is pw.SKIP


REGISTERS = {
    "x86-64": {"cr3": 0, "cr0": 0x8000_0001, "cr4": 1 << 20 | 1 << 21 | 0x20, "efer": 0x400},
    "arm64-4k": {"ttbr0_el1": 0, "ttbr1_el1": PAGE, "tcr_el1": 16 | 25 << 16 | 2 << 30 | 3 << 41},
    "riscv-sv39": {"satp": 8 << 60},
}
"""Registers that make formats unlike those of their names: rights by control registers, no execute-disable."""


@AGAIN
@pytest.mark.parametrize("name", REGISTERS)
def test_formats_from_registers(name: str, again: Callable[[Any], Any]) -> None:
    found = from_registers(REGISTERS[name])
    twin = again(found)
    assert twin == found
    assert hash(twin.format) == hash(found.format)
    assert twin.format.name == name
    assert (twin.format == find_format(name)) is (name == "riscv-sv39")
    assert twin.format.last.access == found.format.last.access
    for window in found.windows:
        assert twin.format.levels_of(window) == found.format.levels_of(window)


@AGAIN
@pytest.mark.parametrize("name", REGISTERS)
def test_tables_from_registers(image: Path, name: str, again: Callable[[Any], Any]) -> None:
    """Every window keeps its root."""
    tables = pw.open(image, registers=REGISTERS[name])
    twin = again(tables)
    assert (twin.format, twin.windows, twin.root) == (tables.format, tables.windows, tables.root)
    found: list[pw.TranslationError] = []
    assert pw.mappings(twin, findings=found).tolist() == pw.mappings(tables, findings=found).tolist()
    for window in tables.windows:
        top = again(tables.top(window))
        assert (top.paddr, top.level) == (window.root, tables.format.levels_of(window)[0])


@AGAIN
def test_what_a_worker_answers(world: World, again: Callable[[Any], Any]) -> None:
    """Translations and entries bring the tables that they point into along."""
    page = world.tables.translate(BASE)
    twin = again(page)
    assert twin[:5] == page[:5]
    assert repr(twin.entry) == repr(page.entry)
    for entry in world.tables.steps(BASE):
        assert repr(again(entry)) == repr(entry)
    assert repr(again(world.tables.root_table)) == repr(world.tables.root_table)
    rows = pw.mappings(world.tables)
    assert again(rows).tolist() == rows.tolist()
    columns = sweep.mappings(world.tables)
    assert again(columns).vaddr.tolist() == columns.vaddr.tolist()
    assert again(columns).page_size.tolist() == columns.page_size.tolist()
    assert again(sweep.Filter(having=1)) == sweep.Filter(having=1)


@AGAIN
def test_memories(world: World, image: Path, again: Callable[[Any], Any]) -> None:
    cached = pw.CachedMemory(pw.RawImage(image), tables=7)
    cached.read(0, PAGE)
    twin = again(cached)
    assert (twin.read(0, PAGE), twin.tables, twin.hits) == (cached.read(0, PAGE), 7, 0)
    flat = pw.FlatMemory([Segment(0, memoryview(b"read-only")), Segment(64, memoryview(bytearray(b"writable")))])
    twin = again(flat)
    twin.write(64, b"W")
    assert (flat.read(64, 1), twin.read(64, 1), twin.read(0, 9)) == (b"w", b"W", b"read-only")
    with pytest.raises(pw.MemoryWriteError):
        twin.write(0, b"x")


def test_tables_in_a_simulated_machine(world: World) -> None:
    """The way that the refusals name."""
    mm = pw.Machine(4 * M).mm()
    at = mm.mmap(PAGE, 3)
    mm.write(at, b"kept")
    twin = PICKLED(pw.PageTables(mm.memory, mm.tables.root))
    assert twin.read(at, 4) == b"kept"


# -- what cannot ---------------------------------------------------------------------------------------------------


def _cannot(image: Path) -> dict[str, Any]:
    machine = pw.Machine(2 * M)
    mm = machine.mm()
    mm.mmap(PAGE, 3)
    lock = pw.MmapLock()
    return {
        "a Machine": machine,
        "a Mm": mm,
        "a MmTables": mm.tables,
        "a File": machine.file(),
        "a MmapLock": lock,
        "a VmaLock": pw.VmaLock(lock),
        "a Walk": pw.Walk(mm.tables, pw.WalkOps()),
        "a RawImage": pw.RawImage(image, writable=True),
    }


@pytest.mark.parametrize(
    "name", ["a Machine", "a Mm", "a MmTables", "a File", "a MmapLock", "a VmaLock", "a Walk", "a RawImage"]
)
@AGAIN
def test_what_cannot_says_so_in_one_line(image: Path, name: str, again: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=f"^{name} can be neither pickled nor copied: .") as caught:
        again(_cannot(image)[name])
    assert "\n" not in str(caught.value)


def test_what_is_part_of_one_that_cannot(image: Path) -> None:
    """A VMA of a simulated process brings the process along; an entry its tables."""
    mm = pw.Machine(2 * M).mm()
    at = mm.mmap(PAGE, 3)
    mm.write(at, b"x")
    for thing in (next(iter(mm.vmas)), mm.tables.translate(at)):
        with pytest.raises(TypeError, match="can be neither pickled nor copied"):
            pickle.dumps(thing)


def test_a_table_cut_out_of_a_file_is_no_copy_of_it(image: Path) -> None:
    """Threads share one image; pickling in one does not disturb another."""
    tables = pw.open(image, root=0)
    twins: list[Any] = []
    threads = [threading.Thread(target=lambda: twins.append(PICKLED(tables))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [pw.mappings(twin).tolist() for twin in twins] == [pw.mappings(tables).tolist()] * 4
