"""Which process is looked at: PID namespaces, threads that have ended."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pagewalk import Kind, ProcessError, mappings
from pagewalk.live import capture
from pagewalk.live.processes import caller, is_self, living_threads, namespace_note
from tests.live.conftest import HERE

PAGE = 4096


class TestNamespaces:
    def test_another_namespace_with_this_proc(self, root):
        """Oneself is /proc/self: /proc/1 is somebody else there, and so is the caller's number."""
        path = os.pathsep.join([str(HERE.parents[1]), *sys.path])
        done = subprocess.run(
            [sys.executable, str(HERE / "elsewhere.py")],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        found = json.loads(done.stdout)
        own, there = found["numbers"]
        assert (own, there != own) == (1, True)
        assert found["kinds"] == [Kind.PRESENT] * 4 + [Kind.GUARD]
        assert found["scan"] == [[0, 4 * PAGE], [6 * PAGE, 7 * PAGE]]
        assert found["pagemap"] == [1] * 4 + [0] * 4
        assert found["same"]
        (note,) = found["notes"]
        assert f"there this process is {there}, in its own it is {own}" in note
        assert note in found["gone"]
        assert found["caller"][0].startswith(f"process {there}: ")

    def test_at_home(self):
        assert is_self(0)
        assert is_self(os.getpid())
        assert not is_self(os.getppid())
        assert namespace_note() == ""
        assert caller() == os.getppid()

    @pytest.mark.parametrize(
        ("numbers", "words"),
        [((4711, 1), "there this process is 4711"), ((0, 0), "this process is not in it")],
    )
    def test_what_is_said(self, monkeypatch, numbers, words):
        monkeypatch.setattr("pagewalk.live.processes._own_numbers", lambda: numbers)
        assert words in namespace_note()
        assert "PID namespace of /proc" in namespace_note()

    def test_a_caller_that_proc_does_not_show(self, monkeypatch):
        monkeypatch.setattr(Path, "read_bytes", lambda _: b"Name:\tx\nPPid:\t0\nNSpid:\t7\t1\n")
        with pytest.raises(ProcessError, match="give a PID") as caught:
            caller()
        assert caught.value.errno == errno.ESRCH


class Ended:
    """A process of ``ended.py``, its first thread gone."""

    def __init__(self, threads):
        command = [sys.executable, "-S", str(HERE / "ended.py"), str(threads)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.area = json.loads(self.process.stdout.readline())
        while self._threads() > threads:
            os.sched_yield()

    def _threads(self):
        return len([*living_threads(f"/proc/{self.pid}")])

    def end_one(self):
        """End a thread; when this returns it is gone."""
        before = self._threads()
        self.process.stdin.write("x")
        self.process.stdin.flush()
        while self._threads() == before:
            os.sched_yield()

    def close(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def ended():
    made = []

    def make(threads):
        made.append(Ended(threads))
        return made[-1]

    yield make
    for process in made:
        process.close()


class TestThreads:
    """A process lives as long as one of its threads: its address space is looked at through a living one."""

    def test_the_first_thread_has_ended(self, scanner, ended):
        process = ended(1)
        rows = mappings(capture(process.pid), *process.area)
        assert (rows["size"].sum(), set(rows["kind"].tolist())) == (16 * PAGE, {Kind.PRESENT})

    def test_the_thread_that_is_looked_through_ends_meanwhile(self, scanner, ended, monkeypatch):
        from pagewalk.live import reading

        process = ended(3)
        waiting = [process.end_one, process.end_one]

        class Meddling(reading.ProcessFiles):
            def pages(self, start, into):
                while waiting:
                    waiting.pop()()
                super().pages(start, into)

        monkeypatch.setattr(reading, "ProcessFiles", Meddling)
        assert mappings(capture(process.pid), *process.area)["size"].sum() == 16 * PAGE

    def test_all_threads_end_meanwhile(self, scanner, ended, monkeypatch):
        from pagewalk.live import reading

        process = ended(1)

        class Meddling(reading.ProcessFiles):
            def pages(self, start, into):
                process.close()
                super().pages(start, into)

        monkeypatch.setattr(reading, "ProcessFiles", Meddling)
        with pytest.raises(ProcessError, match="no such process") as caught:
            capture(process.pid)
        assert caught.value.errno == errno.ESRCH

    def test_all_have_ended(self, scanner, ended):
        process = ended(1)
        process.process.stdin.write("x")
        process.process.stdin.flush()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ProcessError, match="only waits for its parent") as caught:
            capture(process.pid)
        assert caught.value.errno == errno.ESRCH


def test_the_gate_is_in_no_process(child):
    """[vsyscall] stands in the kernel's half; what is not told is VM_PFNMAP's alone."""
    from pagewalk import VmaFlags
    from pagewalk.live import summarize

    space = capture(child.pid)
    assert not [vma for vma in space.vmas if vma.name == "[vsyscall]"]
    hidden = [bool(vma.flags & VmaFlags.PFNMAP) for vma in space.vmas]
    assert np.array_equal(summarize(space)["hidden"] != 0, hidden)
