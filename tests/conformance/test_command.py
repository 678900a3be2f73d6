"""``pagewalk conform``: what it prints, how it exits, and that it cleans up however it ends."""

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from pagewalk.cli.conform import _signals_clean_up

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "pagewalk.cli", "conform"]
WORKER = (
    "import sys; from pagewalk.conform.sides.kernel import Kernel; print(Kernel().pid, flush=True); sys.stdin.read()"
)


@pytest.fixture
def start(kernel):
    """Starts a process with pipes, where there is a kernel to ask; it is ended with the test."""
    started = []

    def call(command):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        started.append(subprocess.Popen(command, text=True, **pipes))
        return started[-1]

    yield call
    for process in started:
        process.kill()
        process.communicate()


def wait_for_end(pid):
    """Wait until a process that is no child of ours is gone."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], 30)[0])
    finally:
        os.close(fd)


def test_json(start):
    process = start([*COMMAND, "--sequences", "3", "--steps", "2", "--json"])
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out) == {"agreed": 3, "inconclusive": [], "seed": None, "disagreement": None}


def test_text(start):
    process = start([*COMMAND, "--sequences", "2", "--steps", "1", "--seed", "5"])
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "2 sequences agree between kernel and model\n", "")


def family(mark):
    """The processes whose environment holds a mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            found += [int(path.parent.name)] * (mark.encode() in path.read_bytes())
    return found


def end_family(mark):
    """What a test that failed would leave."""
    for pid in family(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def check_family_ends(mark):
    for pid in family(mark):
        assert wait_for_end(pid), f"process {pid} is left"
    assert family(mark) == []


def read_all(terminal):
    """What is written to a terminal until nobody has it open."""
    written = b""
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 4096):
            written += part
    return written


@pytest.fixture
def started_crew(kernel):
    """``conform --jobs 2`` on a terminal, once it is in the middle of its work: the process, its mark, its terminal."""
    mark = f"PAGEWALK_TEST={uuid.uuid4()}"
    environment = {**os.environ, "TERM": "xterm", "PAGEWALK_TEST": mark.partition("=")[2]}
    ours, theirs = pty.openpty()
    command = [*COMMAND, "--sequences", "100000", "--jobs", "2"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        while process.poll() is None and len(family(mark)) < 7:
            pass  # itself, two of the crew, their workers, and what those have forked
        yield process, mark, ours
        process.kill()
    end_family(mark)
    os.close(ours)


@pytest.mark.parametrize(
    ("signo", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -signal.SIGKILL)],
)
def test_a_signal_leaves_nothing_behind(started_crew, signo, status):
    """No process, no traceback, and no terminal without a cursor."""
    process, mark, terminal = started_crew
    process.send_signal(signo)
    assert process.wait(60) == status
    check_family_ends(mark)
    shown = read_all(terminal)
    assert b"Traceback" not in shown
    assert shown.rfind(b"\x1b[?25h") >= shown.rfind(b"\x1b[?25l")


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGKILL])
def test_a_scenario_that_never_returns_ends_with_who_asked(kernel, signo):
    """Nobody in it reads a pipe any more, and who forked it has gone."""
    mark = f"PAGEWALK_TEST={uuid.uuid4()}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PAGEWALK_TEST": mark.partition("=")[2]}
    command = [sys.executable, "-c", "from tests.conformance.stuck import hang; hang()"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout.readline() == b"waiting\n"
        assert len(family(mark)) == 4
        process.send_signal(signo)
    try:
        check_family_ends(mark)
    finally:
        end_family(mark)


def test_signals_that_are_ignored_stay_so():
    """As under ``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _signals_clean_up():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "nan", "inf", "86401", "soon", ""])
def test_a_wrong_timeout_is_a_usage_error(value):
    process = subprocess.run([*COMMAND, f"--timeout={value}"], capture_output=True, text=True)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.count("\n") == 1
    assert "--timeout" in process.stderr


def test_a_worker_ends_with_its_parent(start):
    process = start([sys.executable, "-c", WORKER])
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    assert wait_for_end(worker)
