"""How CPUs are told to forget, question by question; that they do is shown in ``tests/real``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.memory.machines.forgetting import forget, refuse_kept
from pagewalk.memory.machines.gdb import GdbStub
from pagewalk.memory.protocol import Running
from tests.memory.broken_stub import BrokenStub

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 4096


class Noting:
    """A stub that notes what it is asked, and does it."""

    address = "noted"

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def ask_each(self, questions: list[bytes]) -> list[bytes]:
        self.asked += questions
        return [b"OK"] * len(questions)


def watched(stub: Noting) -> list[tuple[int, int]]:
    """The bytes that were watched, and for no time."""
    sets, ends = stub.asked[::2], stub.asked[1::2]
    assert [one.replace(b"Z", b"z", 1) for one in sets] == ends
    numbers = [one.split(b",")[1:] for one in sets]
    return [(int(vaddr, 16), int(size, 16)) for vaddr, size in numbers]


class TestForget:
    def test_a_byte_a_page(self) -> None:
        stub = Noting()
        assert forget(stub, [(0x1000, PAGE), (0xFFFF_8000_0000_0000, 2 * PAGE)]) == 3  # type: ignore[arg-type]
        assert watched(stub) == [(0x1000, 1), (0xFFFF_8000_0000_0000, 1), (0xFFFF_8000_0000_1000, 1)]

    @given(st.lists(st.tuples(st.integers(0, 1 << 51), st.integers(1, 1 << 30)), max_size=5))
    def test_each_page_or_all(self, pages: list[tuple[int, int]]) -> None:
        ranges = [(vaddr * PAGE, size) for vaddr, size in pages]
        stub = Noting()
        assert forget(stub, ranges) == len(watched(stub))  # type: ignore[arg-type]
        if len(watched(stub)) == 1 and watched(stub)[0][1] > PAGE:
            return  # across pages: all
        met = {vaddr // PAGE for vaddr, _ in watched(stub)}
        assert met == {at for vaddr, size in ranges for at in range(vaddr // PAGE, -(-(vaddr + size) // PAGE))}

    def test_a_stub_without_watchpoints(self, tmp_path: Path) -> None:
        server = BrokenStub(tmp_path / "gdb", lambda question, number: None)
        memory = GdbStub(str(tmp_path / "gdb"))
        assert isinstance(memory, Running)
        assert memory.address == {"gdb": str(tmp_path / "gdb")}
        with memory.paused(), pytest.raises(pw.UnsupportedError, match="takes no watchpoints"):
            memory.forget([(0x1000, PAGE)])
        memory.close()
        server.close()


class TestKept:
    """KVM's CPUs are refused before anything is written: nobody can tell them."""

    def test_kvm(self) -> None:
        with pytest.raises(pw.UnsupportedError, match="vm: KVM runs this machine"):
            refuse_kept("kvm support: enabled\n", "vm")

    @pytest.mark.parametrize("said", ["kvm support: disabled\n", "kvm support: not compiled\n", ""])
    def test_emulated(self, said: str) -> None:
        refuse_kept(said, "vm")
