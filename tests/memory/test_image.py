"""Image files: what is no file to map, and a file that is cut off while it is mapped."""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

import pagewalk as pw
from pagewalk import sweep
from tests.world import PAGE, K, M, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BASE = 0x4000_0000
READ = pw.WalkOps(pte_entry=lambda entry, addr, next_, walk: None)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Page tables in the first pages of a file; what they map fills it."""
    world = World(ram=1 * M)
    world.map(BASE, 512 * K)
    path = tmp_path / "image"
    path.write_bytes(world.memory.read(0, 1 * M))
    return path


class TestWhatIsNoFile:
    """Refused, not waited for."""

    @pytest.mark.parametrize("writable", [False, True])
    @pytest.mark.parametrize("opened", [pw.RawImage, lambda path, writable: pw.open(path, root=0, writable=writable)])
    def test_a_fifo(self, tmp_path: Path, opened: Callable[..., Any], writable: bool) -> None:
        """Nobody writes to it: an open that waited would wait for ever. In a child, so that this test would not."""
        path = tmp_path / "fifo"
        os.mkfifo(path)
        code = f"""
            import pagewalk as pw
            try:
                pw.RawImage({str(path)!r}, writable={writable})
            except pw.UnsupportedError as error:
                print(error)
        """
        said = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=30, check=True
        )
        assert said.stdout.endswith("a pipe cannot be mapped: write the image to a file first\n")
        with pytest.raises(pw.UnsupportedError, match="a pipe cannot be mapped"):
            opened(path, writable=writable)

    def test_a_socket(self, tmp_path: Path) -> None:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(tmp_path / "socket"))
            with pytest.raises(OSError, match="No such device"):
                pw.RawImage(tmp_path / "socket")

    @pytest.mark.parametrize("name", ["/dev/null", "/dev/zero", "/dev/tty"])
    def test_a_character_device(self, name: str) -> None:
        with pytest.raises((pw.UnsupportedError, OSError)):
            pw.RawImage(name)

    def test_a_directory(self, tmp_path: Path) -> None:
        with pytest.raises(IsADirectoryError):
            pw.open(tmp_path, root=0)

    def test_a_pipe_by_its_descriptor(self) -> None:
        """As ``pagewalk vtop <(zcat image.gz)`` gives it."""
        read, write = os.pipe()
        try:
            with pytest.raises(pw.UnsupportedError, match="pipe"):
                pw.RawImage(f"/dev/fd/{read}")
        finally:
            os.close(read)
            os.close(write)


CUT: dict[str, Callable[[pw.PageTables], Any]] = {
    "translate": lambda tables: tables.translate(BASE),
    "steps": lambda tables: list(tables.steps(BASE)),
    "read": lambda tables: tables.read(BASE, 8),
    "root_table": lambda tables: tables.root_table,
    "memory.read": lambda tables: tables.memory.read(0, 8),
    "pw.translate": lambda tables: pw.translate(tables, [BASE]),
    "mappings": pw.mappings,
    "mappings with findings": lambda tables: pw.mappings(tables, findings=[]),
    "holes": pw.holes,
    "count": sweep.count,
    "walk": lambda tables: pw.walk_page_range_novma(tables, BASE, BASE + 2 * M, READ),
    "walk with findings": lambda tables: pw.walk_page_range_novma(tables, BASE, BASE + 2 * M, READ, findings=[]),
    "batch walk": lambda tables: sweep.walk(tables, pte_tables=lambda entries, addr: None),
    "of a space": lambda tables: pw.walk_page_vma(
        next(iter(pw.AddressSpace(tables, [pw.Vma(BASE, BASE + PAGE)]).vmas)), READ
    ),
    "cached": lambda tables: pw.PageTables(pw.CachedMemory(tables.memory), 0).translate(BASE),
}


class TestCutOff:
    """A file cut off while it is mapped ends in an error, not in a silent SIGBUS."""

    @pytest.mark.parametrize("way", CUT)
    @pytest.mark.parametrize("left", [0, PAGE + 7])
    def test_each_way_in_says_so(self, image: Path, way: str, left: int) -> None:
        tables = pw.open(image, root=0)
        CUT[way](tables)
        os.truncate(image, left)
        with pytest.raises(
            pw.MemoryReadError, match=f"was cut off while it was open, from 0x100000 to {left:#x}"
        ) as at:
            CUT[way](tables)
        assert (at.value.paddr, at.value.size) == (left, 1 * M - left)
        assert "\n" not in str(at.value)

    def test_writes(self, image: Path) -> None:
        memory = pw.RawImage(image, writable=True)
        os.truncate(image, PAGE)
        with pytest.raises(pw.MemoryReadError, match="cut off"):
            memory.write(8 * K, b"x")

    def test_what_no_segment_has_may_go(self, image: Path) -> None:
        tables = pw.open(image, root=0, segments=[(0, 0, 64 * K)])
        os.truncate(image, 64 * K)
        assert tables.translate(BASE).paddr == 512 * K
        os.truncate(image, 60 * K)
        with pytest.raises(pw.MemoryReadError, match="physical 0xf000"):
            tables.translate(BASE)

    def test_a_file_that_grows_is_as_it_was(self, image: Path) -> None:
        tables = pw.open(image, root=0)
        os.truncate(image, 2 * M)
        assert tables.translate(BASE).paddr == 512 * K
        assert tables.memory.read(0, 8) == image.read_bytes()[:8]
        os.truncate(image, 1 * M)
        assert tables.translate(BASE).paddr == 512 * K

    def test_a_file_that_is_replaced_is_as_it_was(self, image: Path) -> None:
        """What is mapped is the old one, which is whole."""
        tables = pw.open(image, root=0)
        image.unlink()
        image.write_bytes(b"")
        assert tables.translate(BASE).paddr == 512 * K
        with pytest.raises(pw.ImageFormatError):
            pickle.loads(pickle.dumps(tables))

    @pytest.mark.parametrize("where", ["main", "a thread"])
    def test_the_command_line_says_so_even_in_the_middle(self, image: Path, where: str) -> None:
        """Where no check can come first: the bytes go while NumPy reads them."""
        code = f"""
            import os, threading
            import numpy as np
            import pagewalk as pw
            from pagewalk.cli.cutoff import tell_of_cut_off_files
            tell_of_cut_off_files()
            words = np.frombuffer(pw.RawImage({str(image)!r}).segments[0].data, np.uint64)
            os.truncate({str(image)!r}, 4096)
            read = lambda: np.count_nonzero(words)
            if {where == "main"}:
                read()
            thread = threading.Thread(target=read)
            thread.start()
            thread.join()
            print("alive")
        """
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("pagewalk: SIGBUS: the image was cut off")
        assert done.stderr.count("\n") == 1

    def test_the_command_line_listens_before_it_opens(self, image: Path) -> None:
        code = f"""
            import os
            import pagewalk.sources
            from pagewalk.cli import main
            opened = pagewalk.sources.source
            def cut(*arguments, **options):
                source = opened(*arguments, **options)
                os.truncate({str(image)!r}, 4096)
                source.memory.segments[0].data[8192]
            pagewalk.sources.source = cut
            main(["vtop", {str(image)!r}, "--root", "0", "0x1000"])
        """
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 3, done.stderr
        assert "cut off" in done.stderr


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"root": 0, "base": -PAGE}, pw.ImageFormatError),
        ({"root": 0, "base": (1 << 64) - PAGE}, pw.ImageFormatError),
        ({"root": 0, "segments": [(0, 0)]}, TypeError),
        ({"root": 0, "segments": [5]}, TypeError),
        ({"root": 0, "segments": [(0.0, 0, PAGE)]}, TypeError),
        ({"root": 0.0}, TypeError),
        ({"root": True}, TypeError),
        ({"root": "0"}, TypeError),
        ({"root": 1 << 64}, pw.BadRoot),
        ({"root": 0, "format": 5}, TypeError),
    ],
    ids=str,
)
def test_where_it_lies(image: Path, options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        pw.open(image, **options)
