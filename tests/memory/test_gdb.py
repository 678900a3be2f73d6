"""A gdb stub that breaks: each way is one line, at once, and for good. The real one is in ``tests/real``."""

from __future__ import annotations

import copy
import pickle
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.memory import BadAnswer, extents_of
from pagewalk.memory.machines.gdb import GdbStub
from pagewalk.memory.machines.packets import packed
from tests.memory.broken_stub import BrokenStub
from tests.memory.test_packets import PIECES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.memory.broken_stub import Answers

    Opens = Callable[[Answers], GdbStub]

SECONDS = 0.3
LATE = 3.0


def sound(question: bytes, number: int) -> bytes:
    """Zeros, as many as are asked for."""
    return packed(b"00" * int(question.partition(b",")[2], 16))


@pytest.fixture
def opens(tmp_path: Path) -> Iterator[Opens]:
    """``answers -> memory``."""
    stubs: list[BrokenStub] = []

    def opened(answers: Answers) -> GdbStub:
        stubs.append(BrokenStub(tmp_path / str(len(stubs)), answers))
        return GdbStub(str(tmp_path / str(len(stubs) - 1)), seconds=SECONDS)

    yield opened
    for stub in stubs:
        stub.close()


def after(count: int, answer: bytes | None) -> Answers:
    """Sound answers, and then another."""
    return lambda question, number: sound(question, number) if number < count else answer


WRONG = {
    "hang-up": (None, "it hung up"),
    "silence": (b"", "no answer within 0.3 s"),
    "half a packet": (b"$0000", "no answer within 0.3 s"),
    "wrong checksum": (b"$00#61", "checksum is b'61', and its bytes add up to 0x60"),
    "no packet": (b"hello", "where a packet of gdb's protocol begins"),
    "too long": (packed(b"00" * 600), "answers 600 bytes where"),
    "no digits": (packed(b"zz" * 512), "where hexadecimal digits are expected"),
    "white space": (packed(b"00 " * 170), "where hexadecimal digits are expected"),
    "much too long": (b"$" + b"0" * 100_000, "more than 65536 bytes"),
    "the machine has ended": (packed(b"W00"), "the machine has ended"),
}


class TestBroken:
    @pytest.mark.parametrize("kind", WRONG)
    def test_in_mid_walk(self, opens: Opens, kind: str) -> None:
        answer, says = WRONG[kind]
        memory = opens(after(3, answer))
        memory.read(0x1000, 512)
        begin = time.monotonic()
        with pytest.raises(BadAnswer, match=says) as caught:
            memory.read_many(range(0, 1 << 20, 4096), 4096)
        assert "\n" not in str(caught.value)
        with pytest.raises(BadAnswer, match=says):
            memory.read(0x1000, 8)
        memory.close()
        with pytest.raises(BadAnswer):
            memory.read(0x1000, 8)
        assert time.monotonic() - begin < LATE

    def test_a_listing_ends(self, opens: Opens) -> None:
        """Whatever is collected: an end says nothing about the tables."""
        memory = opens(after(1, None))
        with pytest.raises(BadAnswer, match=r"cannot read \d+ bytes at physical 0x0: .*it hung up"):
            pw.mappings(pw.PageTables(memory, 0), findings=[])

    @pytest.mark.parametrize("answer", [packed(b"E14"), packed(b"00" * 8), packed(b"")])
    def test_what_is_not_there(self, opens: Opens, answer: bytes) -> None:
        """An error, or fewer bytes than were asked for: the conversation goes on."""
        refused = lambda question, number: answer if question.startswith(b"m2000,") else sound(question, number)  # noqa: E731
        memory = opens(refused)
        assert memory.read_many([0x1000, 0x2000, 0x3000], 64) == [bytes(64), None, bytes(64)]
        with pytest.raises(pw.MemoryReadError, match=r"64 bytes at physical 0x2000: the gdb stub refuses it"):
            memory.read(0x2000, 64)

    def test_what_it_cannot_say(self, opens: Opens) -> None:
        memory = opens(sound)
        assert memory.missing == ("it does not say where there is memory: this stub passes nothing on to QEMU",)
        assert (memory.cpus, memory.holds_frames) == ((), False)
        with pytest.raises(pw.UnsupportedError, match="does not say where it has memory"):
            extents_of(memory)

    def test_neighbours_are_one_question(self, opens: Opens) -> None:
        asked: list[bytes] = []

        def counted(question: bytes, number: int) -> bytes:
            asked.append(question)
            return sound(question, number)

        memory = opens(counted)
        assert memory.read_many([0x1040, 0x1000, 0x1010, 0x9000, 0x1000], 64) == [bytes(64)] * 5
        assert asked == [b"m1000,80", b"m9000,40"]
        assert memory.journeys == 1

    def test_repeats(self, opens: Opens) -> None:
        """Run-length encoding, which QEMU does not use."""
        memory = opens(lambda question, number: b"$0*,#86")
        assert memory.read(0, 8) == bytes(8)

    def test_neither_pickled_nor_copied(self, opens: Opens) -> None:
        for action in (pickle.dumps, copy.copy):
            with pytest.raises(TypeError, match="open it there by its address"):
                action(opens(sound))


class TestOpening:
    def test_nobody(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="start QEMU with -gdb"):
            GdbStub(str(tmp_path / "none"))

    def test_a_name_that_is_none(self) -> None:
        with pytest.raises(OSError, match="start QEMU with -gdb"):
            GdbStub("a..b:1234")


class TestWhateverArrives:
    """No answer does more than be refused."""

    @given(answers=st.lists(PIECES, min_size=1, max_size=4))
    @settings(deadline=None)
    def test_to_a_read(self, answers: list[bytes]) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "gdb"
            stub = BrokenStub(path, lambda question, number: b"".join(answers), once=True)
            memory = GdbStub(str(path), seconds=SECONDS)
            found: bytes | None = None
            with suppress(pw.MemoryReadError):
                found = memory.read(0x1000, 64)
            assert found is None or len(found) == 64
            memory.close()
            stub.close()
