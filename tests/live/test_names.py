"""Names of files, whatever is in them, as the running kernel shows them: found, and shown without harm."""

from __future__ import annotations

import ctypes
import mmap
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagewalk.doors import printable
from pagewalk.live import capture, parse_vmas
from pagewalk.live.procfs import ProcessFiles
from tests.live.test_command import run, table

PAGE = 4096
PIECES = [
    *(b"\\", b"\\777", b"\\101", b"\\012", b"\\n", b"\n", b" ", b"\t", b"\r", b"\x0b", b"\x1b[31m", b"\x7f", b"\xff"),
    *(
        "é€".encode(),
        "\u202e\u4e16".encode(),
        b"(deleted)",
        b" (deleted)",
        b"a",
        b"0",
        b"-",
        b"VmFlags: rd",
        b"[stack]",
    ),
    *(b"KernelPageSize: 4 kB", b"\n7f0000000000-7f0000001000 r--p 0 0:0 0 "),
]
NAMES = st.lists(st.sampled_from(PIECES) | st.binary(min_size=1, max_size=4), min_size=1, max_size=6).map(b"".join)
FILE_NAMES = NAMES.map(lambda name: name.replace(b"/", b"").replace(b"\0", b"")).filter(
    lambda name: name and name not in (b".", b"..")
)


def vmas_now():
    """This process's VMAs, from ``smaps`` and from ``maps``."""
    found = []
    with ProcessFiles(0) as files:
        for fd in (files.smaps, files.maps):
            buffer = bytearray()
            size = files.text(fd, buffer)
            found.append({vma.start: vma for vma in parse_vmas(bytes(buffer[:size]))})
    return found


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(FILE_NAMES)
def test_every_file_is_found_under_its_name(tmp_path_factory, name):
    path = os.fsencode(tmp_path_factory.getbasetemp()) + b"/" + name
    with open(path, "w+b") as file:  # noqa: PTH123 - bytes
        file.truncate(PAGE)
        mapped = mmap.mmap(file.fileno(), PAGE, mmap.MAP_PRIVATE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    shown = os.fsdecode(path.replace(b"\\012", b"\n"))  # the one spelling that the kernel makes ambiguous
    for vmas in vmas_now():
        assert vmas[start].name == shown
        assert (vmas[start].end, vmas[start].rights) == (start + PAGE, "rw-p")
    os.unlink(path)  # noqa: PTH108
    for vmas in vmas_now():
        assert vmas[start].name == shown + " (deleted)"


@settings(deadline=None)
@given(NAMES.map(os.fsdecode) | st.text())
def test_names_are_shown_without_harm(name):
    safe = printable(name)
    assert safe.isprintable()
    assert os.fsencode(safe) == safe.encode()
    assert name != safe or name.isprintable()


@pytest.fixture
def named(child, tmp_path):
    """Have the child map files with these names; where."""

    def make(*names):
        starts = child.ask(" ".join(["named", str(tmp_path), *(name.hex() for name in names)]))
        return dict(zip(names, starts, strict=True))

    return make


def test_nobody_hides_behind_a_name(child, named, tmp_path):
    """Names that ended the listing, or were shown as others."""
    names = [b"x\\777", b"a\\101b", b"two\nlines", b"\x1b[2J", b"\xff\xfe", b"gone (deleted)", b"a b\tc"]
    places = named(*names)
    found = {vma.start: vma.name for vma in capture(child.pid).vmas}
    for name, start in places.items():
        assert os.fsencode(found[start]) == os.fsencode(tmp_path) + b"/" + name
    done = run(child.pid)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    for text in (r"x\777", r"a\101b", r"two\nlines", r"\x1b[2J", r"\udcff\udcfe", "gone (deleted)", r"a b\tc"):
        assert f"{tmp_path}/{text}\n" in done.stdout
    assert len(table(done.stdout)[1]) == len(capture(child.pid).vmas) + 1
    for name in (r"x\777", "two\nlines"):
        assert run(child.pid, "--filter", name).stdout.count(str(tmp_path)) == 1
