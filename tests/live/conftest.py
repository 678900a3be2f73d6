"""Real processes to look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import skip_or_fail, usable_hugetlb

NOBODY = 65534
HERE = Path(__file__).parent


class Child:
    """A process that ``child.py`` made."""

    def __init__(self, user):
        command = [sys.executable, "-S", str(HERE / "child.py"), str(user)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        line = self.process.stdout.readline()
        assert line, f"the child failed with {self.process.wait()}"
        self.areas = json.loads(line)
        self.settle()

    def ask(self, command):
        """Have a command obeyed; its answer."""
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        self.settle()
        return answer

    def settle(self):
        """Let it come to rest: until it waits for the next command (reads descriptor 0) it still writes to memory."""
        while not Path(f"/proc/{self.pid}/syscall").read_text().startswith("0 0x0 "):
            os.sched_yield()

    def scan(self):
        """The child's own PAGEMAP_SCAN of its areas: ``[[start, end, categories]]``."""
        return self.ask("scan")

    def kill(self):
        self.process.kill()

    def close(self):
        self.kill()
        self.process.communicate()


@pytest.fixture(scope="session")
def scanner():
    """The running kernel has what a capture needs."""
    from pagewalk import UnsupportedError
    from pagewalk.live import PageIs, scan

    try:
        scan(0, 4096, 8192, returns=PageIs.GUARD)
    except UnsupportedError as error:
        skip_or_fail(str(error))


@pytest.fixture
def root(scanner):
    """These tests are run by root."""
    if os.geteuid():
        skip_or_fail("needs root: frame numbers, hugetlb, other users' processes")


@pytest.fixture
def hugetlb_pages(root):
    """Three 2 MiB hugetlb pages to be had, for as long as the test runs."""
    with usable_hugetlb(3):
        yield


@pytest.fixture
def child(scanner):
    """A child of the same user."""
    child = Child(os.geteuid())
    yield child
    child.close()


@pytest.fixture
def childs_of():
    """Makes children of a given user."""
    children = []

    def make(user):
        children.append(Child(user))
        return children[-1]

    yield make
    for child in children:
        child.close()
