"""QEMU's machine protocol, broken, and what its human monitor says; the real one is in ``tests/real``."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.memory.machines.hmp import Section, cpus_of, ram_of
from pagewalk.memory.machines.monitor import Monitor, Refused

if TYPE_CHECKING:
    from pathlib import Path

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'
LAYOUT = """FlatView #0
 AS "I/O", root: io
  0000000000000000-000000000000ffff (prio 0, ram): ram

FlatView #1
 AS "memory", root: system
 AS "cpu-memory-0", root: system
  0000000000000000-00000000000bffff (prio 0, ram): ram KVM
  00000000000c0000-00000000000fffff (prio 0, rom): /objects/ram @00000000000c0000 KVM
  00000000fd000000-00000000fdffffff (prio 1, ram): vga.vram
  00000000fed00000-00000000fed003ff (prio 0, i/o): hpet
  0000000100000000-000000017fffffff (prio 0, ram): ram @0000000080000000
"""


def served(path: Path, *lines: bytes) -> None:
    """Answer each question with a line, and hang up after the last."""
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(1)

    def serve() -> None:
        with server, suppress(OSError):
            client, _ = server.accept()
            with client:
                client.sendall(GREETING)
                for line in (b'{"return": {}, "id": 0}\n', *lines):
                    client.recv(1 << 16)
                    client.sendall(line)
                client.recv(1 << 16)

    threading.Thread(target=serve, daemon=True).start()


class TestMonitor:
    @pytest.mark.parametrize(
        ("line", "error", "says"),
        [
            (b'{"return": 1, "id": 7}\n', pw.ImageFormatError, "to command 1"),
            (b"[]\n", pw.ImageFormatError, "no machine protocol of QEMU"),
            (b"[" * 100_000 + b"\n", pw.ImageFormatError, "no machine protocol of QEMU"),
            (b"\xff\xfe\n", pw.ImageFormatError, "no machine protocol of QEMU"),
            (b'{"error": {"desc": "no\\nsuch"}, "id": 1}\n', Refused, r"QEMU refuses x: no\\nsuch"),
            (b'{"error": 5, "id": 1}\n', Refused, "QEMU refuses x: 5"),
            (b'{"event": "STOP"}\n', TimeoutError, "no answer within 0.3 s"),
            (b'{"return', TimeoutError, "no answer within 0.3 s"),
        ],
    )
    def test_broken(self, tmp_path: Path, line: bytes, error: type[Exception], says: str) -> None:
        served(tmp_path / "qmp", line)
        monitor = Monitor(str(tmp_path / "qmp"), 0.3)
        with pytest.raises(error, match=says):
            monitor.ask("x")
        monitor.close()

    def test_hang_up(self, tmp_path: Path) -> None:
        served(tmp_path / "qmp")
        monitor = Monitor(str(tmp_path / "qmp"), 5)
        with pytest.raises(ConnectionError, match="it hung up"):
            monitor.ask("x")
        with pytest.raises(ConnectionError, match="it hung up"):
            monitor.ask("x")
        monitor.close()

    def test_events_are_passed_over(self, tmp_path: Path) -> None:
        served(tmp_path / "qmp", b'{"event": "STOP"}\n{"return": [1], "id": 1}\n')
        monitor = Monitor(str(tmp_path / "qmp"), 5)
        assert monitor.ask("x") == [1]
        monitor.close()


class TestWhatIsSaid:
    def test_ram(self) -> None:
        assert ram_of(LAYOUT, "memory backend: ram\n  size: 1\n") == [
            Section(0, 0xC0000, "ram", 0),
            Section(0xC0000, 0x100000, "ram", 0xC0000),
            Section(4 << 30, 6 << 30, "ram", 2 << 30),
        ]

    def test_without_names(self) -> None:
        assert [one.region for one in ram_of(LAYOUT, "")] == ["ram", "vga.vram", "ram"]

    def test_registers(self) -> None:
        text = "\nCPU#0\nCR0=80050033 CR2=00007fff CR3=00000000024b6000\n\nCPU#1\n satp     90002000001413d8\n"
        assert cpus_of(text, {"cr0", "cr3", "satp"}) == (
            {"cr0": 0x80050033, "cr3": 0x24B6000},
            {"satp": 0x90002000001413D8},
        )

    @given(st.text(max_size=300), st.lists(st.sampled_from(LAYOUT.split("\n")), max_size=12), st.text(max_size=20))
    def test_whatever_it_says(self, text: str, lines: list[str], more: str) -> None:
        said = "\n".join(['FlatView #0\n AS "memory"', *lines, text])
        assert all(0 <= one.start < one.end <= 1 << 64 for one in ram_of(said, "memory backend: " + more))
        cpus_of("CPU#0\n" + text, {"cr3"})
