"""Swap: written scenarios and random ones with a swap file switched on, and that it is off again however that ends."""

import os
import select
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from pagewalk.conform.campaign.campaign import run_campaign
from pagewalk.conform.campaign.text import campaign_text
from pagewalk.conform.scenarios.generate import generate
from pagewalk.conform.sides import swap as module
from pagewalk.conform.sides.swap import off_and_on, own_swap_is_on, swap_file
from pagewalk.errors import UnsupportedError
from tests.conformance.test_written import check
from tests.conformance.written import WRITTEN

pytestmark = pytest.mark.slow

SEQUENCES = 60
CLUSTER = Path("/proc/sys/vm/page-cluster")
SWAPS = Path("/proc/swaps")
KEEPER = "import sys; from pagewalk.conform.sides.swap import swap_file\nwith swap_file(): print(flush=True); sys.stdin.read()"


@pytest.mark.parametrize("title", [title for title in WRITTEN if title.startswith("swap: ")])
def test_both_sides_agree(kernel, model, swap, title):
    check(WRITTEN[title], kernel, model)


@pytest.mark.parametrize("title", [title for title in WRITTEN if title.startswith("swap: ")])
def test_no_step_is_skipped(ask, swap, title):
    scenario = WRITTEN[title]
    assert [step for step, record in zip(scenario.steps, ask(scenario), strict=True) if record.outcome.skipped] == []


def test_random_sequences(kernel, model, swap):
    result = run_campaign(kernel, model, sequences=SEQUENCES, make=partial(generate, swap=True))
    assert result.disagreement is None, campaign_text(result, ("kernel", "model"))
    assert len(result.inconclusive) <= 1, result.inconclusive


class TestTheFile:
    """What it changes on the machine is put back; the tests above must have ended."""

    @pytest.fixture(autouse=True)
    def machine(self, kernel):
        before = CLUSTER.read_text()
        assert not own_swap_is_on()
        yield
        assert (CLUSTER.read_text(), own_swap_is_on()) == (before, False)

    def test_it_is_on_and_off(self):
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
    def test_it_is_off_however_that_ends(self, signo):
        with subprocess.Popen([sys.executable, "-c", KEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"\n"
            (keeper,) = (path for path in Path("/proc").glob("[0-9]*/cmdline") if is_keeper(path, process.pid))
            fd = os.pidfd_open(int(keeper.parent.name))
            process.send_signal(signo)
            process.stdin.close()
        wait_for(fd)

    def test_a_file_system_that_cannot(self, monkeypatch):
        monkeypatch.setenv("TMPDIR", "/dev/shm")
        with pytest.raises(UnsupportedError, match="cannot be switched on: .*TMPDIR on a disk"), swap_file():
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
