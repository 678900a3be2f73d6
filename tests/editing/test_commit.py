"""Commits that cannot be made, or not to the end: nothing is lost or half-written, and the message says what to do."""

from __future__ import annotations

import errno
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import pagewalk as pw
from pagewalk.editing.journal import Journal
from tests.conftest import skip_or_fail
from tests.editing.bench import Workbench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = 4096


@pytest.fixture
def bench() -> Workbench:
    return Workbench("x86-64")


@pytest.fixture
def image(bench: Workbench, tmp_path: Path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(bytes(bench.data))
    return path


def planned(bench: Workbench, tables: pw.PageTables) -> pw.Change:
    change = pw.edit(tables, frames=bench.frames)
    change.install(bench.base, bench.first_frame, 2 * PAGE, "rw-u")
    return change


def opened(bench: Workbench, image: Path, *, writable: bool = True) -> pw.PageTables:
    return pw.PageTables(pw.RawImage(image, writable=writable), 0, bench.form)


class TestConflicts:
    """Something else writes."""

    def test_before_the_commit(self, bench, image, tmp_path):
        tables = opened(bench, image)
        change = planned(bench, tables)
        word = change.plan().words[0]
        tables.memory.write(int(word["paddr"]), b"\x67\x10\0\0\0\0\0\0")
        before = image.read_bytes()
        with pytest.raises(pw.Conflict, match=r"the word at physical 0x0 is 0x1067 and not 0x0: something else"):
            change.commit(journal=tmp_path / "journal")
        assert image.read_bytes() == before
        assert not (tmp_path / "journal").exists()

    def test_before_the_undo(self, bench, image, tmp_path):
        tables = opened(bench, image)
        change = planned(bench, tables)
        word = change.plan().words[-1]
        change.commit(journal=tmp_path / "journal")
        tables.memory.write(int(word["paddr"]), b"\xee" * 8)
        before = image.read_bytes()
        with pytest.raises(pw.Conflict, match="something else has changed it since it was written"):
            pw.undo(tmp_path / "journal")
        assert image.read_bytes() == before

    def test_before_the_recovery(self, bench, image, tmp_path):
        tables = opened(bench, image)
        change = planned(bench, tables)
        word = change.plan().words[-1]
        change.commit(journal=tmp_path / "journal")
        journal = (tmp_path / "journal").read_bytes().removesuffix(b"committed\n")
        (tmp_path / "journal").write_bytes(journal)
        tables.memory.write(int(word["paddr"]), b"\xee" * 8)
        with pytest.raises(pw.Conflict, match="since the change was interrupted"):
            pw.recover(tmp_path / "journal")

    def test_while_it_is_written(self, bench):
        """A memory that takes writes and loses one of them is found out by reading back."""

        class Forgetful(pw.FlatMemory):
            """Drops the last word of each write."""

            def write(self, paddr: int, data: bytes) -> None:
                super().write(paddr, data[:-8])

        memory = Forgetful(bench.memory.segments)
        change = planned(bench, pw.PageTables(memory, 0, bench.form))
        with pytest.raises(pw.Conflict, match="since it was written"):
            change.commit()


class TestLost:
    """The memory goes away at one write: what was written is taken back by the journal."""

    class Failing(pw.FlatMemory):
        """Fails at one write."""

        left = -1

        def write(self, paddr: int, data: bytes) -> None:
            if self.left == 0:
                raise pw.MemoryWriteError(paddr, len(data), "the connection was lost")
            self.left -= 1
            super().write(paddr, data)

    @pytest.mark.parametrize("at", range(3))
    def test_at_every_write(self, bench, at, tmp_path):
        memory, before = self.Failing(bench.memory.segments), bytes(bench.data)
        change = planned(bench, pw.PageTables(memory, 0, bench.form))
        assert len(list(change.plan().runs())) > at
        memory.left = at
        with pytest.raises(pw.MemoryWriteError, match="the connection was lost"):
            change.commit(journal=tmp_path / "journal")
        assert (bytes(bench.data) != before) == bool(at)
        memory.left = -1
        if not at:
            assert not (tmp_path / "journal").exists(), "nothing had been written"
            return
        with pytest.raises(pw.EditError, match="interrupted: recover takes it back"):
            pw.undo(tmp_path / "journal", memory)
        pw.recover(tmp_path / "journal", memory)
        assert bytes(bench.data) == before
        assert pw.recover(tmp_path / "journal", memory).words == 0, "again, nothing is to be done"


class TestInterrupted:
    """Ctrl-C in the middle: what was written is taken back at once."""

    def test_it(self, bench, tmp_path):
        class Interrupted(pw.FlatMemory):
            """Interrupted behind its second write, once."""

            count = 0

            def write(self, paddr: int, data: bytes) -> None:
                super().write(paddr, data)
                self.count += 1
                if self.count == 2:
                    raise KeyboardInterrupt

        memory, before = Interrupted(bench.memory.segments), bytes(bench.data)
        with pytest.raises(KeyboardInterrupt):
            planned(bench, pw.PageTables(memory, 0, bench.form)).commit(journal=tmp_path / "journal")
        assert bytes(bench.data) == before
        assert not (tmp_path / "journal").exists()


class TestRefused:
    """What cannot be begun."""

    def test_a_source_that_is_not_writable(self, bench, image, tmp_path):
        change = planned(bench, opened(bench, image, writable=False))
        before = image.read_bytes()
        with pytest.raises(pw.MemoryWriteError, match="writable=True"):
            change.commit(journal=tmp_path / "journal")
        assert image.read_bytes() == before
        assert not (tmp_path / "journal").exists()

    def test_a_journal_that_is_there(self, bench, image, tmp_path):
        (tmp_path / "journal").write_text("another's")
        with pytest.raises(pw.EditError, match="is there already"):
            planned(bench, opened(bench, image)).commit(journal=tmp_path / "journal")
        assert (tmp_path / "journal").read_text() == "another's"

    def test_a_copy_onto_the_source(self, bench, image):
        with pytest.raises(pw.EditError, match="is the source itself"):
            planned(bench, opened(bench, image)).commit(to=image)

    def test_a_copy_of_no_file(self, bench, tmp_path):
        with pytest.raises(pw.UnsupportedError, match="lies in no file as it is"):
            planned(bench, bench.tables).commit(to=tmp_path / "copy")

    def test_a_second_commit(self, bench):
        change = planned(bench, bench.tables)
        change.commit()
        for late in (change.commit, change.plan, lambda: change.guard(bench.base, PAGE)):
            with pytest.raises(pw.EditError, match="was committed: begin another"):
                late()

    def test_a_change_that_was_dropped(self, bench):
        with planned(bench, bench.tables) as change:
            pass
        with pytest.raises(pw.EditError, match="was dropped"):
            change.commit()

    @pytest.mark.parametrize(
        ("data", "why"),
        [(b"", "never whole"), (b"pagewalk journal 1\n", "never whole"), (b"hello", "no journal of a change")],
    )
    def test_journals_that_are_none(self, data, why, tmp_path):
        (tmp_path / "journal").write_bytes(data)
        with pytest.raises((pw.EditError, pw.ImageFormatError), match=why):
            pw.undo(tmp_path / "journal")

    def test_a_journal_that_was_tampered_with(self, bench, image, tmp_path):
        planned(bench, opened(bench, image)).commit(journal=tmp_path / "journal")
        data = bytearray((tmp_path / "journal").read_bytes())
        data[-60] ^= 1
        (tmp_path / "journal").write_bytes(data)
        assert Journal.load(tmp_path / "journal").state == ""

    def test_memory_of_another_process(self, bench, tmp_path):
        planned(bench, bench.tables).commit(journal=tmp_path / "journal")
        with pytest.raises(pw.UnsupportedError, match=r"give it \(memory=\)"):
            pw.undo(tmp_path / "journal")

    def test_undone_twice(self, bench, image, tmp_path):
        planned(bench, opened(bench, image)).commit(journal=tmp_path / "journal")
        assert pw.undo(tmp_path / "journal").words > 4
        with pytest.raises(pw.EditError, match="undone already"):
            pw.undo(tmp_path / "journal")

    def test_an_image_that_is_gone(self, bench, image, tmp_path):
        planned(bench, opened(bench, image)).commit(journal=tmp_path / "journal")
        image.unlink()
        with pytest.raises(FileNotFoundError):
            pw.undo(tmp_path / "journal")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few pages."""
    if os.geteuid():
        skip_or_fail("only root mounts a file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


class TestFullDisk:
    """There is no room: nothing is written, and nothing is left behind."""

    def test_for_the_journal(self, bench, image, small_disk):
        change = pw.edit(opened(bench, image), frames=bench.frames)
        change.install(bench.base, bench.first_frame, 500 * PAGE, "rw-u")
        change.install(bench.base + (1 << 30), bench.first_frame, 500 * PAGE, "rw-u")
        (small_disk / "filler").write_bytes(bytes(56 << 10))
        before = image.read_bytes()
        with pytest.raises(OSError, match="No space left") as error:
            change.commit(journal=small_disk / "journal")
        assert error.value.errno == errno.ENOSPC
        assert image.read_bytes() == before
        assert [path.name for path in small_disk.iterdir()] == ["filler"]

    def test_for_the_last_word_of_the_journal(self, bench, image, tmp_path, monkeypatch):
        """What cannot be noted as committed is taken back."""

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Journal, "reach", full)
        before = image.read_bytes()
        with pytest.raises(OSError, match="No space left"):
            planned(bench, opened(bench, image)).commit(journal=tmp_path / "journal")
        assert image.read_bytes() == before
        assert not (tmp_path / "journal").exists()

    def test_for_the_copy(self, bench, image, small_disk):
        before = image.read_bytes()
        with pytest.raises(OSError, match="No space left"):
            planned(bench, opened(bench, image)).commit(to=small_disk / "copy")
        assert not list(small_disk.iterdir())
        assert image.read_bytes() == before


class TestCopies:
    """A copy with the change, the source as it is."""

    def test_a_copy(self, bench, image, tmp_path):
        before, target = image.read_bytes(), tmp_path / "copy"
        done = planned(bench, opened(bench, image, writable=False)).commit(to=target)
        assert (done.to, done.journal) == (target, None)
        assert image.read_bytes() == before
        assert pw.translate(opened(bench, target), [bench.base])[1].tolist() == [True]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "image"]

    def test_a_copy_with_a_journal_is_undone(self, bench, image, tmp_path):
        before, target = image.read_bytes(), tmp_path / "copy"
        planned(bench, opened(bench, image)).commit(to=target, journal=tmp_path / "journal")
        assert target.read_bytes() != before
        pw.undo(tmp_path / "journal")
        assert target.read_bytes() == before

    def test_holes_stay_holes(self, bench, tmp_path):
        sparse = tmp_path / "sparse"
        with sparse.open("wb") as file:
            file.write(bytes(bench.data))
            file.truncate(1 << 30)
        planned(bench, opened(bench, sparse)).commit(to=tmp_path / "copy")
        assert (tmp_path / "copy").stat().st_size == 1 << 30
        assert (tmp_path / "copy").stat().st_blocks * 512 < 2 * len(bench.data)

    @pytest.mark.parametrize("source_type", ["elf", "lime"])
    def test_dumps_that_hold_memory_as_it_is(self, bench, tmp_path, source_type):
        dump = tmp_path / "dump"
        dump.write_bytes(_elf(bytes(bench.data)) if source_type == "elf" else _lime(bytes(bench.data)))
        source: Any = pw.source(dump)
        assert source.type == source_type
        change = planned(bench, source.tables(root=0))
        change.commit(to=tmp_path / "copy", journal=tmp_path / "journal")
        assert pw.translate(pw.open(tmp_path / "copy", root=0), [bench.base])[1].tolist() == [True]
        pw.undo(tmp_path / "journal")
        assert (tmp_path / "copy").read_bytes() == dump.read_bytes()


def _lime(data: bytes) -> bytes:
    """A LiME image of one run: magic, version, first and last address, eight bytes of nothing."""
    head = (0x4C694D45).to_bytes(4, "little") + (1).to_bytes(4, "little") + bytes(8)
    return head + (len(data) - 1).to_bytes(8, "little") + bytes(8) + data


def _elf(data: bytes) -> bytes:
    """An ELF core of one PT_LOAD."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x04\0\x3e\0\x01\0\0\0" + bytes(8) + (64).to_bytes(8, "little")
    head += bytes(12) + b"\x40\0\x38\0\x01\0\0\0\0\0\0\0"
    load = b"\x01\0\0\0\x07\0\0\0" + (4096).to_bytes(8, "little") + bytes(16)
    load += len(data).to_bytes(8, "little") * 2 + bytes(8)
    return (head + load).ljust(4096, b"\0") + data
