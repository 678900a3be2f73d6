"""``pagewalk read``: bytes as a dump, as they are, as JSON; holes are told."""

from __future__ import annotations

import json

import pytest

from tests.world import K, M, World

BASE = 0x4000_0000
FILL = 0x70616765776C6B00
"""Each word of a page that the guest's program filled is its address, xor this."""


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Two pages with a hole of one between them."""
    world = World(ram=M)
    for at in (0, 2):
        world.map(BASE + at * 4096, 64 * K + at * 4096)
    world.memory.write(64 * K, bytes(range(256)) * 16)
    world.memory.write(72 * K, b"second page, \x00\x1b[31mred\n" * 10)
    path = tmp_path_factory.mktemp("image") / "ram"
    path.write_bytes(world.memory.read(0, M))
    return path


@pytest.fixture
def read(invoke, image):
    """``pagewalk read`` of that image."""
    return lambda *args: invoke("read", image, "--root", "0", *args)


class TestDump:
    def test_lines(self, read):
        done = read(hex(BASE + 0x3E), "0x24")
        assert done.exit_code == 0
        assert done.stdout == (
            "0000000040000030                                             3e 3f  |              >?|\n"
            "0000000040000040  40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f  |@ABCDEFGHIJKLMNO|\n"
            "0000000040000050  50 51 52 53 54 55 56 57  58 59 5a 5b 5c 5d 5e 5f  |PQRSTUVWXYZ[\\]^_|\n"
            "0000000040000060  60 61                                             |`a              |\n"
        )

    def test_what_steers_a_terminal_does_not(self, read):
        assert "\x1b" not in read(hex(BASE + 8192), 64).stdout

    def test_a_hole_is_told(self, read):
        done = read(hex(BASE + 4096 - 16), 4096 + 32)
        first, hole, last = done.stdout.splitlines()
        assert first.startswith("0000000040000ff0  f0 f1")
        assert hole.startswith("0000000040001000  0x1000 bytes are not there: ")
        assert last.startswith("0000000040002000  73 65")
        assert done.exit_code == 4
        assert done.stderr.startswith("pagewalk: 0x40001000: ")

    def test_a_guest(self, invoke, guest):
        vaddr = guest.truth["fills"][0]
        done = invoke("read", guest.path, "--root", hex(guest.root), hex(vaddr), 4096, "--json")
        (part,) = json.loads(done.stdout)["parts"]
        wanted = b"".join((at ^ FILL).to_bytes(8, "little") for at in range(vaddr, vaddr + 4096, 8))
        assert bytes.fromhex(part["data"]) == wanted


class TestAsTheyAre:
    def test_to_standard_output(self, read):
        assert read(hex(BASE + 1), 300, "--raw").stdout_bytes == (bytes(range(256)) * 2)[1:301]

    def test_to_a_file(self, read, tmp_path):
        done = read(hex(BASE), "4K", "-o", tmp_path / "page")
        assert (done.exit_code, done.stdout) == (0, "")
        assert (tmp_path / "page").read_bytes() == bytes(range(256)) * 16

    def test_nothing_where_something_is_missing(self, read, tmp_path):
        done = read(hex(BASE), "12K", "-o", tmp_path / "page", "--raw")
        assert (done.exit_code, done.stdout, (tmp_path / "page").exists()) == (4, "", False)
        assert "0x40001000" in done.stderr


class TestJson:
    def test_parts(self, read):
        done = read(hex(BASE + 4095), 4098, "--json")
        said = json.loads(done.stdout)
        assert [(part["vaddr"], part["size"], part["paddr"], part["data"]) for part in said["parts"]] == [
            ("0x40000fff", 1, "0x10fff", "ff"),
            ("0x40001000", 4096, None, None),
            ("0x40002000", 1, "0x12000", "73"),
        ]
        assert said["parts"][1]["why"]
        assert done.exit_code == 4


class TestRefused:
    def test_both(self, read):
        assert "--json and --raw contradict each other" in read("0", "1", "--json", "--raw").stderr

    def test_a_process(self, invoke, process):
        done = invoke("read", f"pid:{process}", "0x1000", "8")
        assert done.exit_code == 8
        assert "/proc/PID/mem has them" in done.stderr

    def test_stopping_a_file(self, read):
        done = read("0", "1", "--stop")
        assert done.exit_code == 2
        assert "is no running machine: there is nothing to stop" in done.stderr
