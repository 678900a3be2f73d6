"""A campaign's swap file and its hugetlb pages: what is changed on the machine is put back, however that ends."""

import os
import select
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from pagewalk.conform.sides import pool, swap
from pagewalk.conform.sides.facts import free_hugetlb
from pagewalk.conform.sides.pool import huge_pool
from pagewalk.conform.sides.swap import off_and_on, own_swap_is_on, swap_file
from pagewalk.errors import UnsupportedError

pytestmark = pytest.mark.slow

CLUSTER = Path("/proc/sys/vm/page-cluster")
SWAPS = Path("/proc/swaps")
POOL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
KEEPER = """
import sys
from {module} import {name} as change
with change():
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def machine(kernel, swap_to_oneself):
    before = CLUSTER.read_text(), POOL.read_text()
    assert not own_swap_is_on()
    yield
    assert (CLUSTER.read_text(), POOL.read_text(), own_swap_is_on()) == (*before, False)


def test_there_are_pages():
    before = int(POOL.read_text())
    with huge_pool(3):
        assert free_hugetlb() >= 3
        assert int(POOL.read_text()) <= before + 3


def test_the_kernel_has_none(monkeypatch, tmp_path):
    (tmp_path / "size").write_text("0")
    monkeypatch.setattr(pool, "_SIZE", tmp_path / "size")
    few = free_hugetlb()
    with ExitStack() as after, pytest.raises(OSError, match=f"the kernel gives {few} of {few + 3} pages"):
        pool._enlarge(after, str(few + 3))
    assert (tmp_path / "size").read_text() == "0"


def test_one_has_the_pool_alone():
    script = KEEPER.format(module="pagewalk.conform.sides.pool", name="huge_pool")
    with huge_pool(1), started(script) as process:
        assert not select.select([process.stdout], [], [], 1)[0]
        process.kill()


def test_it_is_on_and_off():
    with swap_file():
        assert own_swap_is_on()
        assert CLUSTER.read_text() == "0\n"
        with pytest.raises(UnsupportedError, match="swap is on"), swap_file():
            pass
        off_and_on()
        path = Path(SWAPS.read_text().splitlines()[-1].split()[0])
        assert path.stat().st_size == swap.SWAP_SIZE
    assert not path.exists()
    with pytest.raises(OSError, match="no campaign"):
        off_and_on()


@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize(("module", "name"), [(swap.__name__, "swap_file"), (pool.__name__, "huge_pool")])
def test_it_is_put_back_however_that_ends(module, name, signo):
    with started(KEEPER.format(module=module, name=name)) as process:
        assert process.stdout.readline() == b"\n"
        (keeper,) = (path for path in Path("/proc").glob("[0-9]*/cmdline") if is_keeper(path, module, process.pid))
        fd = os.pidfd_open(int(keeper.parent.name))
        process.send_signal(signo)
        process.stdin.close()
    wait_for(fd)


def test_a_file_system_that_cannot(monkeypatch):
    monkeypatch.setenv("TMPDIR", "/dev/shm")
    with pytest.raises(UnsupportedError, match=r"cannot be switched on: .*TMPDIR on a disk"), swap_file():
        pass


def started(script):
    return subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def is_keeper(path, module, parent):
    try:
        told = path.with_name("status").read_text()
        return module.encode() in path.read_bytes() and f"PPid:\t{parent}\n" in told
    except OSError:
        return False


def wait_for(fd):
    assert select.select([fd], [], [], 30)[0]
    os.close(fd)
