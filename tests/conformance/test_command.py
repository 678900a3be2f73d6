"""``pagewalk conform``: what it prints, how it exits, and that it cleans up however it ends."""

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "pagewalk.cli", "conform"]
WORKER = "import sys; from pagewalk.conform.kernel import Kernel; print(Kernel().pid, flush=True); sys.stdin.read()"


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


def test_an_interrupt_cleans_up(start):
    process = start([*COMMAND, "--sequences", "100000"])
    workers = ()
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None and not workers:
        workers = tuple(map(int, children.read_text().split()))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip() == "pagewalk: interrupted"
    assert workers
    assert all(wait_for_end(pid) for pid in workers)


def test_a_worker_ends_with_its_parent(start):
    process = start([sys.executable, "-c", WORKER])
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    assert wait_for_end(worker)
