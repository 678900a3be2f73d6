"""A capture agrees with the process it was made of; what cannot be captured says why."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import subprocess
import sys
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from pagewalk import Flag, Kind, ProcessError, abi
from pagewalk.live import capture, madvise, read_pagemap
from pagewalk.query import mappings
from tests.conftest import skip_or_fail
from tests.live import agree
from tests.live.conftest import NOBODY

PAGE = 4096


class TestOfAChild:
    """Guard regions, THP, holes, file mappings: as the child's own PAGEMAP_SCAN and smaps have them."""

    def test_as_root(self, hugetlb_pages, child):
        regions = child.scan()
        assert "hugetlb" in child.areas
        space = capture(child.pid)
        assert space.frames_known
        agree.check_all(space, child.areas, regions)

    def test_userfaultfd_write_protection(self, root, child):
        start, end = child.areas["uffd_wp"]
        rows = mappings(capture(child.pid), start, end, coalesce=False)
        assert rows["vaddr"].tolist() == [start + at * PAGE for at in range(5)]
        assert rows["kind"].tolist() == [Kind.PRESENT] * 3 + [Kind.UFFD_WP] * 2
        protected = [bool(flags & Flag.UFFD_WP) for flags in rows["flags"][:3].tolist()]
        assert protected == [False, True, True]
        writable = [bool(flags & Flag.WRITE) for flags in rows["flags"][:3].tolist()]
        assert writable == [True, False, False]

    def test_poison(self, root, child):
        start, end = child.areas["poison"]
        rows = mappings(capture(child.pid), start, end)
        assert rows["vaddr"].tolist() == [start, start + PAGE]
        assert rows["kind"].tolist() == [Kind.PRESENT, Kind.HWPOISON]

    def test_zero_frames_are_those_of_the_zero_pages(self, root, child):
        space = capture(child.pid)
        found = {int(mappings(space, *child.areas[name])["paddr"][0]) for name in ("zero", "thp_zero")}
        assert space.zero_frames == found

    def test_as_nobody(self, childs_of, scanner):
        """Without CAP_SYS_ADMIN: the same, but for the frames. (Run by a user who is not root: as that user.)"""
        user = os.geteuid() or NOBODY
        child = childs_of(user)
        answers = f"{json.dumps(child.areas)}\n{json.dumps(child.scan())}\n"
        done = _agree(user, child.pid, answers)
        assert (done.stdout, done.returncode) == ("agreed\n", 0), done.stderr

    def test_reading_through_a_capture_is_refused_for_unknown_frames_and_memory_that_is_not_there(self, child):
        from pagewalk import MemoryReadError, NotPresent

        space = capture(child.pid)
        with pytest.raises((MemoryReadError, NotPresent)):
            space.tables.read(child.areas["written"][0], 8)


def _agree(user, pid, answers):
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    command = [sys.executable, str(Path(agree.__file__)), str(user), str(pid)]
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, input=answers, capture_output=True, text=True, env=environment, check=False)


class TestOfAProcessThatChanges:
    """What happens between the kernel's answers is real; only its moment is chosen here."""

    @pytest.fixture
    def between(self, monkeypatch):
        """Do something once, after the scan and before the first page is read."""
        from pagewalk.live import reading

        def arrange(action):
            class Meddling(reading.ProcessFiles):
                def pages(self, start, into):
                    waiting, self.waiting = getattr(self, "waiting", True), False
                    if waiting:
                        action()
                    super().pages(start, into)

            monkeypatch.setattr(reading, "ProcessFiles", Meddling)

        return arrange

    def test_a_vma_that_went_is_marked(self, child, between):
        start, end = child.areas["written"]
        between(lambda: child.ask("unmap written"))
        space = capture(child.pid)
        assert not space.complete
        assert space.changed == [(start, end)]
        assert any(f"{end - start:#x} bytes" in note for note in space.notes)
        assert not len(mappings(space, start, end)), "nothing is made up of what was gone"
        assert len(mappings(space, *child.areas["guards"], coalesce=False)) == 16

    def test_a_vma_that_was_replaced_and_put_back_is_marked(self, child, monkeypatch):
        """VMAs are the same before and after; but a file's pages are not those of anonymous memory."""
        from pagewalk.live import reading

        read = Event()

        class Meddling(reading.ProcessFiles):
            def pages(self, start, into):
                if not getattr(self, "replaced", False):
                    assert read.wait(60)
                    child.ask("replace written")
                    self.replaced = True
                super().pages(start, into)

            def text(self, fd, buffer):
                if fd == self.maps and getattr(self, "replaced", False):
                    child.ask("restore written")
                size = super().text(fd, buffer)
                if fd == self.smaps:
                    read.set()
                return size

        monkeypatch.setattr(reading, "ProcessFiles", Meddling)
        space = capture(child.pid)
        assert space.changed == [tuple(child.areas["written"])]
        assert not space.complete

    def test_a_huge_page_that_was_split_is_shown_page_by_page(self, child, between):
        start, end = child.areas["collapsed"]
        between(lambda: child.ask("guard collapsed"))
        moved = agree.migrations()
        space = capture(child.pid)
        rows = mappings(space, start, end, coalesce=False)
        assert set(rows["page_size"].tolist()) == {PAGE}
        assert len(rows) == 512
        (guard,) = np.flatnonzero(rows["kind"] == Kind.GUARD).tolist()
        assert guard == 256
        agree.check_still_pagemap(space, moved)

    def test_a_process_that_ended_is_an_error(self, child, between):
        between(child.close)
        with pytest.raises(ProcessError, match="no such process") as caught:
            capture(child.pid)
        assert caught.value.errno == errno.ESRCH


class TestOfOneself:
    """Capturing the process that captures."""

    def test_agrees_with_pagemap(self, scanner):
        buffer = mmap.mmap(-1, 64 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        buffer[: 16 * PAGE] = b"\x5a" * (16 * PAGE)
        madvise(start + 20 * PAGE, 4 * PAGE, abi.MADV_GUARD_INSTALL)
        space = capture()
        assert space.pid == os.getpid()
        rows = mappings(space, start, start + 64 * PAGE)
        kinds = [(int(row["vaddr"] - start) // PAGE, int(row["size"]) // PAGE, int(row["kind"])) for row in rows]
        assert sum(count for _, count, kind in kinds if kind == Kind.PRESENT) == 16
        assert kinds[-1] == (20, 4, Kind.GUARD)
        words = read_pagemap(0, start, start + 64 * PAGE)
        assert np.count_nonzero(words >> np.uint64(63)) == 16

    @pytest.mark.parametrize("seed", range(3))
    def test_pages_wherever_they_are(self, scanner, seed):
        """Close together and far apart, in turn: what is asked and what is read unseen meet without a gap."""
        random = np.random.default_rng(seed)
        pages = 1 << 15
        buffer = mmap.mmap(-1, pages * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        start = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        madvise(start, pages * PAGE, abi.MADV_NOHUGEPAGE)
        density = np.repeat(random.choice([0, 0.001, 0.1, 0.5, 1], 16), pages // 16)
        touched = np.flatnonzero(random.random(pages) < density)
        for at in touched.tolist():
            buffer[at * PAGE] = 1
        rows = mappings(capture(), start, start + pages * PAGE, coalesce=False)
        assert ((rows["vaddr"] - np.uint64(start)) // PAGE).tolist() == touched.tolist()
        assert set(rows["kind"].tolist()) <= {Kind.PRESENT}

    def test_own_changes_are_not_reported(self, scanner):
        assert capture(os.getpid()).complete


class TestErrors:
    """A process that dies gives a clear error; so does one that may not be looked at."""

    def refused(self, pid, code, words):
        with pytest.raises(ProcessError, match=words) as caught:
            capture(pid)
        assert caught.value.errno == code
        assert str(pid) in str(caught.value)

    def test_no_such_process(self):
        self.refused((1 << 22) + 1, errno.ESRCH, "no such process")

    def test_killed(self, child):
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        self.refused(child.pid, errno.ESRCH, "ended")
        child.close()
        self.refused(child.pid, errno.ESRCH, "no such process")

    def test_killed_while_it_is_read(self, child):
        """The files are open, the process is gone: nothing is made up of what they no longer say."""
        from pagewalk.live import PageIs
        from pagewalk.live.procfs import ProcessFiles
        from pagewalk.live.scan import scan_files

        with ProcessFiles(child.pid) as files:
            start, end = child.areas["guards"]
            files.pages(start, np.empty(1, np.uint64))
            child.close()
            with pytest.raises(ProcessError, match="no such process"):
                files.pages(start, np.empty(1, np.uint64))
            with pytest.raises(ProcessError, match="no such process"):
                files.text(files.smaps, bytearray())
            with pytest.raises(ProcessError, match="no such process"):
                files.text(files.maps, bytearray())
            with pytest.raises(ProcessError, match="no such process"):
                scan_files(files, start, end, anyof=PageIs.PRESENT, returns=PageIs.PRESENT)

    def test_kernel_thread(self):
        status = Path("/proc/2/status")
        if not status.exists() or "kthreadd" not in status.read_text():
            skip_or_fail("no kernel threads in this PID namespace")
        self.refused(2, errno.ESRCH, "kernel thread")

    def test_somebody_elses_process(self, root, child):
        done = _agree(NOBODY, child.pid, "{}\n[]\n")
        assert done.returncode
        assert "EACCES" in done.stderr
        assert "CAP_SYS_PTRACE" in done.stderr
