"""The campaign's swap file: what it changes on the machine is put back, however that ends."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pagewalk.conform.sides import swap as module
from pagewalk.conform.sides.swap import off_and_on, own_swap_is_on, swap_file
from pagewalk.errors import UnsupportedError

pytestmark = pytest.mark.slow

CLUSTER = Path("/proc/sys/vm/page-cluster")
SWAPS = Path("/proc/swaps")
KEEPER = """
import sys
from pagewalk.conform.sides.swap import swap_file
with swap_file():
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def machine(kernel):
    before = CLUSTER.read_text()
    assert not own_swap_is_on()
    yield
    assert (CLUSTER.read_text(), own_swap_is_on()) == (before, False)


def test_it_is_on_and_off():
    with swap_file():
        assert own_swap_is_on()
        assert CLUSTER.read_text() == "0\n"
        with pytest.raises(UnsupportedError, match="swap is on"), swap_file():
            pass
        off_and_on()
        path = Path(SWAPS.read_text().splitlines()[-1].split()[0])
        assert path.stat().st_size == module.SWAP_SIZE
    assert not path.exists()
    with pytest.raises(OSError, match="no campaign"):
        off_and_on()


@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_is_off_however_that_ends(signo):
    with subprocess.Popen([sys.executable, "-c", KEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"\n"
        (keeper,) = (path for path in Path("/proc").glob("[0-9]*/cmdline") if is_keeper(path, process.pid))
        fd = os.pidfd_open(int(keeper.parent.name))
        process.send_signal(signo)
        process.stdin.close()
    wait_for(fd)


def test_a_file_system_that_cannot(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/dev/shm")
    with pytest.raises(UnsupportedError, match=r"cannot be switched on: .*TMPDIR on a disk"), swap_file():
        pass


def is_keeper(path, parent):
    try:
        told = path.with_name("status").read_text()
        return b"pagewalk.conform.sides.swap" in path.read_bytes() and f"PPid:\t{parent}\n" in told
    except OSError:
        return False


def wait_for(fd):
    assert select.select([fd], [], [], 30)[0]
    os.close(fd)
