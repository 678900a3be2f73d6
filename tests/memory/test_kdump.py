"""kdump-compressed dumps: a real one as drgn reads it, and its pages in every form that there is."""

from __future__ import annotations

import pickle
import random
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import drgn
import numpy as np
import pytest

import pagewalk as pw
from pagewalk.memory import BadAnswer, blocks_of, extents_of, fill_each
from pagewalk.memory.dumps.kdump import Kdump
from pagewalk.memory.files import pieces, unpackers
from pagewalk.testing import check_memory
from tests.memory.kdumps import PACKERS, PAGE, Dump, flattened, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from pagewalk.memory import Memory

REAL = Path(__file__).parents[1] / "data" / "x86_64-7.3.kdump"
REAL_PAGES = 32768


def oracle(path: Path) -> Callable[[int], bytes | None]:
    """What drgn reads of a page."""
    program = drgn.Program()
    program.set_core_dump(path)

    def page(number: int) -> bytes | None:
        try:
            return program.read(PAGE * number, PAGE, physical=True)
        except drgn.FaultError:
            return None

    return page


@pytest.fixture(scope="module")
def real() -> dict[int, bytes]:
    """The pages of the real dump, by number, as drgn reads them."""
    page = oracle(REAL)
    return {number: data for number in range(REAL_PAGES) if (data := page(number)) is not None}


@pytest.fixture(scope="module")
def info() -> bytes:
    """Its VMCOREINFO as a note, without which drgn opens none."""
    lines = "".join(f"{key}={value}\n" for key, value in Kdump(REAL).vmcoreinfo.items()).encode()
    text = lines[: lines.rindex(b"\n", 0, 3000) + 1]
    return struct.pack("<III", 11, len(text), 0) + b"VMCOREINFO\0\0" + text


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Write a file."""

    def one(data: bytes, name: str = "dump") -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return one


def pages_of(memory: Memory) -> dict[int, bytes]:
    """All pages of a memory, in one pass."""
    return {
        (paddr + at) // PAGE: bytes(block[at : at + PAGE])
        for paddr, block in blocks_of(memory)
        for at in range(0, len(block), PAGE)
    }


def filled(memory: Kdump, places: list[int], size: int = PAGE) -> list[bytes | None]:
    """What ``fill`` puts into a buffer; None: it says that it is not there."""
    buffer = bytearray(size * len(places))
    there = memory.fill(places, size, memoryview(buffer))
    return [bytes(buffer[size * at : size * (at + 1)]) if found else None for at, found in enumerate(there)]


def some(count: int = 40, seed: int = 7) -> dict[int, bytes]:
    """Pages of all kinds, with gaps: zeros, words, noise."""
    rng = random.Random(seed)
    kinds = (lambda: bytes(PAGE), lambda: rng.randbytes(8) * 512, lambda: rng.randbytes(PAGE))
    return {number: rng.choice(kinds)() for number in sorted(rng.sample(range(4 * count), count))}


class TestReal:
    """A dump by makedumpfile -c of a guest under QEMU 7.2 whose free and zeroed pages are left out."""

    def test_each_page_is_as_drgn_reads_it(self, real: dict[int, bytes]) -> None:
        memory = Kdump(REAL)
        answers = memory.read_many([PAGE * number for number in range(REAL_PAGES)], PAGE)
        assert {number: data for number, data in enumerate(answers) if data is not None} == real
        assert pages_of(memory) == real

    def test_what_it_says(self) -> None:
        source = pw.source(REAL)
        assert source.type == "kdump"
        assert source.vmcoreinfo["OSRELEASE"].startswith("7.3")
        assert [sorted(cpu) for cpu in source.cpus] == [["cr0", "cr3", "cr4", "efer"]]
        assert any("31,345 of the machine's 32,768 pages are left out" in one for one in source.missing)

    @pytest.mark.parametrize("packing", [name for name in PACKERS if name != "raw"])
    @pytest.mark.parametrize("form", ["plain", "flattened"])
    def test_in_every_packing(
        self, real: dict[int, bytes], info: bytes, make: Callable[..., Path], packing: str, form: str
    ) -> None:
        data = written(Dump(real, packing=packing, notes=info, machine=frozenset(range(REAL_PAGES))))
        path = make(data if form == "plain" else flattened(data, most=30_000, again=3))
        if form == "plain":  # the independent reader first
            page = oracle(path)
            assert {number: page(number) for number in real} == real
        assert pages_of(Kdump(path)) == real
        cpu = pw.source(REAL).cpus[0]
        listed = [pw.mappings(pw.open(one, registers=cpu)) for one in (REAL, path)]
        assert len(listed[0]) > 100
        assert listed[0].tobytes() == listed[1].tobytes()


class TestPages:
    """Left out, lost, no memory and zeros are told apart."""

    def test_four_kinds(self, make: Callable[..., Path]) -> None:
        dump = Dump({1: b"a" * PAGE, 4: bytes(PAGE), 5: b"b" * PAGE}, machine=frozenset({2}), level=17)
        memory = Kdump(make(written(dump)))
        assert memory.read(4 * PAGE, 8) == bytes(8)
        with pytest.raises(pw.PageNotInDump, match=r"0x2000: the dump leaves the page out \(level 17: zeros, free"):
            memory.read(2 * PAGE, 8)
        for place in (0, 3 * PAGE, 6 * PAGE, 1 << 40, (1 << 64) - 8, -8):
            with pytest.raises(pw.MemoryReadError) as caught:
                memory.read(place, 8)
            assert not isinstance(caught.value, pw.PageNotInDump)
        assert memory.read_many([PAGE, 2 * PAGE, 3 * PAGE, 5 * PAGE - 4], 8) == [
            b"a" * 8,
            None,
            None,
            bytes(4) + b"b" * 4,
        ]
        assert extents_of(memory).tolist() == [[PAGE, 2 * PAGE], [4 * PAGE, 6 * PAGE]]
        assert memory.missing[0].startswith(
            "1 of the machine's 4 pages are left out of it (level 17: zeros, free pages)"
        )

    def test_many_are_as_one_after_the_other(self, make: Callable[..., Path]) -> None:
        """Pages that are looked up together: packed and not, damaged, lost, left out, of no memory; kept or not."""
        pages = some(400)
        gone, bad = sorted(pages)[3], sorted(pages)[-2]
        places = [PAGE * number for number in (*range(1700), 1 << 40, 5, 5)]
        for damage in ({}, {bad: b"damaged"}):
            path = make(written(Dump(pages, machine=frozenset({9}), lost=frozenset({gone}), damage=damage)))
            alone, many = Kdump(path), Kdump(path)
            expected = [alone.read_many([paddr], PAGE)[0] for paddr in places]
            assert many.read_many(places, PAGE) == many.read_many(places, PAGE) == expected
            assert {number for number, page in enumerate(expected[:1700]) if page} == {*pages} - {gone, *damage}
            assert filled(Kdump(path), places) == filled(many, places) == expected

    @pytest.mark.parametrize("packing", list(PACKERS))
    def test_filled_in_every_packing(self, make: Callable[..., Path], packing: str) -> None:
        pages = some(400)
        places = [PAGE * number for number in random.Random(1).sample(range(1700), 1700)]
        data = written(Dump(pages, packing=packing))
        expected = [pages.get(place // PAGE) for place in places]
        assert filled(Kdump(make(data)), places) == filled(Kdump(make(flattened(data))), places) == expected
        assert filled(Kdump(make(data)), [place + 8 for place in places[:9]], 16) == [
            page and page[8:24] for page in expected[:9]
        ]

    def test_tables_that_are_left_out(self, make: Callable[..., Path]) -> None:
        """A sweep that has tables filled in finds what one that reads them finds, and misses what is not there."""
        rng = np.random.default_rng(1)

        def table(frames: object) -> bytes:
            return (np.array(frames, np.uint64) * np.uint64(PAGE) | np.uint64(0x67)).tobytes().ljust(PAGE, b"\0")

        last = rng.permutation(np.arange(16, 16 + 64))
        pages = {1: table([2]), 2: table([3]), 3: table([*last, 20, 20])}
        pages |= {int(at): table(rng.integers(0, 999, 512)) for at in last[:50]}
        path = make(written(Dump(pages, machine=frozenset(range(999)))))
        found = []
        for memory in (Kdump(path), pw.CachedMemory(Kdump(path))):
            findings: list[pw.TranslationError] = []
            rows = pw.mappings(pw.PageTables(memory, PAGE), findings=findings, coalesce=False)
            found.append((rows.tolist(), [str(one) for one in findings]))
        assert found[0] == found[1]
        assert len(found[0][1]) == 14

    def test_what_is_filled_is_checked(self) -> None:
        class Wrong(pw.Ram):
            def fill(self, paddrs: object, size: int, buffer: memoryview) -> list[bool]:
                return [True]

        with pytest.raises(BadAnswer, match=r"Wrong.fill gave 1 answers for 2 addresses"):
            fill_each(Wrong(PAGE), [0, 8], 8, memoryview(bytearray(16)))
        with pytest.raises(AssertionError, match="fill puts side by side what read gives"):
            check_memory(Wrong(PAGE), 0, PAGE)

    def test_incomplete(self, make: Callable[..., Path]) -> None:
        dump = Dump(some(), lost=frozenset(list(some())[30:]), status=8)
        memory = Kdump(make(written(dump)))
        with pytest.raises(pw.PageNotInDump, match="incomplete or was cut off"):
            memory.read(PAGE * list(some())[30], 8)
        assert pages_of(memory) == dict(list(some().items())[:30])
        assert "is incomplete" in memory.missing[0]

    @pytest.mark.parametrize("form", ["plain", "flattened"])
    def test_cut_off(self, make: Callable[..., Path], form: str) -> None:
        pages = {number: random.Random(number).randbytes(PAGE) for number in range(3, 33)}
        data = written(Dump(pages))[:-5000]
        memory = Kdump(make(data if form == "plain" else flattened(data, end=False)))
        assert "is cut off" in memory.missing[0]
        assert pages_of(memory) == {number: pages[number] for number in range(3, 31)}
        with pytest.raises(pw.PageNotInDump, match="cut off"):
            memory.read(32 * PAGE, 1)

    def test_cut_off_while_it_is_open(self, make: Callable[..., Path]) -> None:
        path = make(written(Dump(some())))
        memory = Kdump(path)
        with path.open("r+b") as file:
            file.truncate(5000)
        with pytest.raises(pw.MemoryReadError, match="was cut off while it was open"):
            memory.read(PAGE * min(some()), 8)

    @pytest.mark.parametrize("packing", PACKERS)
    def test_damaged(self, make: Callable[..., Path], packing: str) -> None:
        pack = PACKERS[packing][1]
        bomb = pack(bytes(PAGE << 8))[:4000]
        pages = {1: b"a" * PAGE, 2: b"b" * PAGE, 3: b"c" * PAGE, 4: b"d" * PAGE}
        damage = {1: b"nonsense", 2: pack(bytes(100)), 3: bomb}
        memory = Kdump(make(written(Dump(pages, packing=packing, damage=damage))))
        for number in damage:
            with pytest.raises(pw.MemoryReadError, match=f"physical {PAGE * number:#x}: the page is damaged"):
                memory.read(PAGE * number, 8)
        assert memory.read(4 * PAGE, 8) == b"d" * 8


class TestForms:
    @pytest.mark.parametrize(
        ("bits", "order", "name"),
        [(64, "<", b"x86_64"), (64, ">", b"s390x"), (32, "<", b"i686"), (32, "<", b"armv7l"), (32, ">", b"ppc")],
    )
    def test_headers_of_all_machines(self, make: Callable[..., Path], bits: int, order: str, name: bytes) -> None:
        dump = Dump(some(), order=order, bits=bits, name=name, vmcoreinfo=b"OSRELEASE=1\nPAGESIZE=4096\n", limit=4096)
        memory = Kdump(make(written(dump)))
        assert pages_of(memory) == some()
        assert memory.vmcoreinfo == {"OSRELEASE": "1", "PAGESIZE": "4096"}

    @pytest.mark.parametrize("block", [4096, 16384, 65536])
    def test_pages_of_other_sizes(self, make: Callable[..., Path], block: int) -> None:
        pages = {number: random.Random(number).randbytes(16) * (block // 16) for number in (0, 2, 3)}
        memory = Kdump(make(written(Dump(pages, block=block, name=b"aarch64"))))
        assert memory.read(2 * block, 2 * block) == pages[2] + pages[3]

    def test_one_bitmap_alone(self, make: Callable[..., Path]) -> None:
        pages = some() | {20_000: b"e" * PAGE}
        assert pages_of(Kdump(make(written(Dump(pages, single=True))))) == pages

    def test_blocks_that_hide_others(self, make: Callable[..., Path]) -> None:
        for seed in range(20):
            assert pages_of(Kdump(make(flattened(written(Dump(some())), seed, most=300, again=30)))) == some()

    def test_a_flattened_elf_core(self, make: Callable[..., Path]) -> None:
        with pytest.raises(pw.UnsupportedError, match="makedumpfile -R"):
            Kdump(make(flattened(b"\x7fELF" + bytes(9000))))


class TestSplit:
    @pytest.fixture
    def parts(self, make: Callable[..., Path]) -> list[Path]:
        dump = Dump(some(), limit=160)
        bounds = [(0, 50), (50, 100), (100, 160)]
        return [make(written(dump.but(split=split)), f"part{at}") for at, split in enumerate(bounds)]

    def test_all_of_it(self, parts: list[Path]) -> None:
        source = pw.source([parts[2], parts[0], parts[1]])
        assert pages_of(source.memory) == some()
        assert source.notes == ()

    def test_a_part_alone(self, parts: list[Path]) -> None:
        memory = Kdump(parts[1])
        assert pages_of(memory) == {number: page for number, page in some().items() if 50 <= number < 100}
        (note,) = memory.notes
        assert "it is split, and what it has of [0x0, 0x32000) and [0x64000, " in note
        for number in (min(some()), max(some())):
            with pytest.raises(pw.PageNotInDump, match="another file of the split dump"):
                memory.read(PAGE * number, 8)

    def test_what_does_not_go_together(self, parts: list[Path], make: Callable[..., Path]) -> None:
        whole = make(written(Dump(some(), limit=160)), "whole")
        other = make(written(Dump(some(), limit=160, level=1, split=(100, 160))), "other")
        with pytest.raises(pw.ImageFormatError, match="given twice"):
            Kdump([parts[0], parts[0]])
        for stranger in (whole, other):
            with pytest.raises(pw.ImageFormatError, match="not of the same split dump"):
                Kdump([parts[0], stranger])
        with pytest.raises(pw.UnsupportedError, match="has one file"):
            pw.source([make(bytes(8192), "raw"), parts[0]])
        with pytest.raises(ValueError, match="no files"):
            pw.source([])


class TestKeeping:
    """It keeps what a memory promises."""

    @pytest.mark.parametrize("packing", PACKERS)
    def test_the_kit(self, make: Callable[..., Path], packing: str) -> None:
        pages = {number: random.Random(number).randbytes(64) * 64 for number in range(8, 40)}
        memory = Kdump(make(written(Dump(pages, packing=packing))))
        check_memory(memory, 8 * PAGE, 32 * PAGE, writable=False, close=True)

    def test_pickled(self, make: Callable[..., Path]) -> None:
        path = make(written(Dump(some())))
        again = pickle.dumps(Kdump(path))
        assert pages_of(pickle.loads(again)) == some()
        path.write_bytes(written(Dump(some(30))))
        with pytest.raises(pw.ImageFormatError, match="has changed"):
            pickle.loads(again)

    def test_not_written(self, make: Callable[..., Path]) -> None:
        with pytest.raises(pw.UnsupportedError, match="is not written"):
            pw.source(make(written(Dump(some()))), writable=True)

    def test_many_threads(self, make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pieces, "KEPT", 8 * PAGE)
        memory = Kdump(make(written(Dump(some()))))
        wrong: list[int] = []

        def read(seed: int) -> None:
            rng = random.Random(seed)
            for _ in range(300):
                number = rng.choice(list(some()))
                if memory.read(PAGE * number, PAGE) != some_pages[number]:
                    wrong.append(number)

        some_pages = some()
        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert memory._bytes == sum(len(piece.data) for piece in memory._kept.values()) <= 8 * PAGE

    def test_a_library_that_is_not_here(self, make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
        def missing(name: str) -> Any:
            raise ImportError(name)

        monkeypatch.setattr(unpackers, "import_module", missing)
        for packing, name in (("lzo", "lzallright"), ("snappy", "cramjam"), ("zstd", "cramjam")):
            with pytest.raises(pw.UnsupportedError, match=rf"{name}, which is not here: pip install"):
                Kdump(make(written(Dump(some(), packing=packing))))

    def test_runs_of_a_long_bitmap(self, make: Callable[..., Path]) -> None:
        rng = np.random.default_rng(3)
        numbers = np.flatnonzero(rng.random(1 << 16) < 0.5)
        memory = Kdump(make(written(Dump(dict.fromkeys(numbers.tolist(), bytes(PAGE))))))
        bits = np.zeros(1 << 16, bool)
        for start, end in (extents_of(memory) // np.uint64(PAGE)).tolist():
            bits[start:end] = True
        assert np.flatnonzero(bits).tolist() == numbers.tolist()


class TestHostile:
    @pytest.mark.parametrize(
        ("offset", "value"),
        [
            (428, 0),
            (428, 100),
            (428, 1 << 30),
            (432, 0),
            (432, 1 << 30),
            (436, 0),
            (436, 0x7FFFFFFF),
            (440, 0xFFFFFFFF),
        ],
    )
    def test_headers_that_promise_too_much(self, make: Callable[..., Path], offset: int, value: int) -> None:
        data = bytearray(written(Dump(some())))
        data[offset : offset + 4] = value.to_bytes(4, "little")
        with pytest.raises(pw.ImageFormatError):
            Kdump(make(bytes(data)))

    @pytest.mark.parametrize("block", [(-2, 8), (8, -8), (1 << 62, 1 << 62), (0, (1 << 63) - 1)])
    def test_blocks_that_lie_nowhere(self, make: Callable[..., Path], block: tuple[int, int]) -> None:
        start = flattened(b"KDUMP   ", end=False)
        data = start + b"".join(number.to_bytes(8, "big", signed=True) for number in block)
        with pytest.raises(pw.ImageFormatError):
            Kdump(make(data))

    def test_a_block_far_away(self, make: Callable[..., Path]) -> None:
        """The file that is meant is of exabytes, all but a few of them zeros: nothing is made of it."""
        data = (
            flattened(written(Dump(some())), end=False) + (1 << 60).to_bytes(8, "big") + (1).to_bytes(8, "big") + b"x"
        )
        assert pages_of(Kdump(make(data))) == some()
