"""The CPU's accesses on the running kernel: what is refused is caught and told, and the process goes on."""

import platform
import signal
import subprocess
import sys

import pytest

from pagewalk import abi
from pagewalk.conform.scenarios import (
    At,
    Execute,
    File,
    Fork,
    KernelRead,
    KernelWrite,
    Madvise,
    Mmap,
    Mprotect,
    Read,
    Scenario,
    Write,
)  # fmt: skip
from pagewalk.conform.scenarios.target import Outcome, pattern
from pagewalk.conform.sides.probe import require_machine
from pagewalk.errors import UnsupportedError

RW = abi.PROT_READ | abi.PROT_WRITE
FIXED = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED
MAPERR, ACCERR, ADRERR = 1, 2, 2


def outcomes(ask, *steps, files=()):
    return [record.outcome for record in ask(Scenario(steps, files))]


def refused(page, code, signo=signal.SIGSEGV, byte=0):
    return Outcome(signo=int(signo), addr=At(page, byte), code=code)


def test_unmapped(ask):
    assert outcomes(ask, Read(At(5)), Write(At(5, 8), b"x"), Execute(At(6))) == [
        refused(5, MAPERR), refused(5, MAPERR, byte=8), refused(6, MAPERR),
    ]  # fmt: skip


def test_prot_none_and_read_only(ask):
    steps = Mmap(8192, 0, FIXED, At(0)), Read(At(1)), Mprotect(At(0), 8192, 1), Read(At(1)), Write(At(1), b"x")
    none, denied = Outcome(), refused(1, ACCERR)
    assert outcomes(ask, *steps)[1:] == [denied, none, Outcome(bytes(8)), denied]


def test_guard(ask):
    steps = Mmap(8192, RW, FIXED, At(0)), Madvise(At(1), 4096, abi.MADV_GUARD_INSTALL), Read(At(1)), Write(At(1), b"x")
    assert outcomes(ask, *steps)[2:] == [refused(1, MAPERR), refused(1, MAPERR)]


def test_beyond_the_end_of_a_file(ask):
    steps = Mmap(3 * 4096, RW, abi.MAP_SHARED | abi.MAP_FIXED, At(0), "a"), Read(At(1)), Read(At(2)), Write(At(2), b"x")
    content = pattern("a", 8192)[4096:4104]
    bus = refused(2, ADRERR, signal.SIGBUS)
    assert outcomes(ask, *steps, files=(File("a", 2),))[1:] == [Outcome(content), bus, bus]


def test_a_write_is_done_up_to_the_fault(ask):
    steps = Mmap(4096, RW, FIXED, At(0)), Write(At(0, 4092), b"12345678"), Read(At(0, 4088))
    assert outcomes(ask, *steps)[1:] == [refused(1, MAPERR), Outcome(b"\0\0\0\x001234")]


def test_the_kernel_reads_and_writes_what_the_cpu_does(ask):
    mapped = Mmap(8192, RW, abi.MAP_SHARED | abi.MAP_FIXED, At(0), "a"), KernelRead(At(0, 4088), 16)
    written = KernelWrite(At(1, 4092), b"12345678"), Read(At(1, 4092), 4), KernelRead(At(2))
    content = pattern("a", 8192)
    assert outcomes(ask, *mapped, *written, files=(File("a", 2),))[1:] == [
        Outcome(content[4088:4104]), Outcome(4), Outcome(b"1234"), Outcome(errno=14),
    ]  # fmt: skip


def test_execute_runs_one_instruction(ask):
    mapped = Mmap(8192, RW, FIXED, At(0)), Write(At(0), b"\xc3")
    steps = *mapped, Execute(At(0)), Mprotect(At(0), 8192, 7), Execute(At(0)), Execute(At(1)), Read(At(0), 1)
    assert outcomes(ask, *steps)[2:] == [refused(0, ACCERR), Outcome(), Outcome(), Outcome(), Outcome(b"\xc3")]


def test_a_forked_child_catches_its_own(ask):
    steps = Mmap(4096, RW, FIXED, At(0)), Fork(1), Read(At(1), process=1), Write(At(0), b"x", process=1), Read(At(0), 1)
    assert outcomes(ask, *steps)[2:] == [refused(1, MAPERR), Outcome(), Outcome(b"\0")]


CALLS = """
import errno, os, signal
from pagewalk.conform.scenarios.target import FaultError
from pagewalk.conform.sides.probe import Probe

probe, GETPID, KILL, MADVISE = Probe(), 39, 62, 28
assert probe.call(GETPID) == os.getpid()
try:
    probe.call(MADVISE, 1, 1, 1)
except OSError as error:
    assert error.errno == errno.EINVAL
for _ in range(2):
    try:
        probe.call(KILL, os.getpid(), signal.SIGBUS)
    except FaultError as error:
        print(error.signo)
"""


def test_a_call_that_ends_with_a_signal_is_told():
    done = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(int(signal.SIGBUS))] * 2


def test_another_machine_is_refused(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(UnsupportedError, match="x86-64"):
        require_machine()
