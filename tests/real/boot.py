"""A guest: QEMU under TCG, its RAM a file that both see."""

from __future__ import annotations

import copy
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pagewalk as pw
from tests.real import initramfs, packages, truth
from tests.real.monitor import Monitor
from tests.real.packages import NotToBeHad
from tests.real.stub import Stub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.real.machines import Machine

__all__ = ["Guest", "booted"]

STARTED: Final = 30.0
"""Seconds until QEMU's sockets must be there, and until each answer."""
READY: Final = 120.0
"""Seconds until the guest's program must be ready, and until a moment comes that is waited for."""


@contextmanager
def booted(machine: Machine, folder: Path) -> Iterator[Guest]:
    """A guest that is ready and stopped, its program in user mode; ended afterwards, whatever happens.

    Args:
        machine: What to boot.
        folder: An empty folder for RAM, sockets and logs.

    Raises:
        NotToBeHad: QEMU, the kernel or a compiler is not to be had.
    """
    words = _command(machine, folder)
    with (folder / "qemu.log").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            guest = Guest(machine, folder, process)
            try:
                yield guest
            finally:
                guest.close()
        finally:
            process.kill()
            process.wait()
            (folder / "ram").unlink(missing_ok=True)


def _command(machine: Machine, folder: Path) -> list[str]:
    """The words that start QEMU; it dies with this process."""
    architecture = machine.architecture
    for tool in (architecture.emulator, "setpriv"):
        if shutil.which(tool) is None:
            raise NotToBeHad(f"{tool} is not here")
    kernel = packages.fetch(machine.kernel)
    initramfs.build(architecture, machine.program, sorted(kernel.glob("*.ko")), folder / "initramfs")
    ram = f"memory-backend-file,id=ram,size={machine.megabytes}M,mem-path={folder / 'ram'},share=on"
    return [
        *("setpriv", "--pdeathsig", "KILL", architecture.emulator, "-accel", "tcg", "-cpu", machine.cpu),
        *("-machine", f"{architecture.machine},memory-backend=ram", "-object", ram, "-m", f"{machine.megabytes}M"),
        *("-kernel", str(kernel / "vmlinuz"), "-initrd", str(folder / "initramfs"), "-append", _options(machine)),
        *("-smp", str(machine.cpus), "-display", "none", "-nodefaults", "-no-reboot"),
        *("-serial", f"file:{folder / 'console'}"),
        *("-qmp", f"unix:{folder / 'qmp'},server=on,wait=off", "-qmp", f"unix:{folder / 'qmp2'},server=on,wait=off"),
        *("-gdb", f"unix:{folder / 'gdb'},server=on,wait=off"),
        *(("-dtb", str(_device_tree(machine, folder))) if machine.device_tree else ()),
        *(word for device in machine.devices for word in ("-device", device)),
    ]


def _options(machine: Machine) -> str:
    """The kernel's command line."""
    return f"console={machine.architecture.console} quiet panic=-1 transparent_hugepage=always {machine.options}"


def _device_tree(machine: Machine, folder: Path) -> Path:
    """QEMU's own device tree, one text in it replaced by another of the same length."""
    path, architecture = folder / "device-tree", machine.architecture
    words = [architecture.emulator, "-machine", f"{architecture.machine},dumpdtb={path}", "-cpu", machine.cpu]
    size = ["-m", f"{machine.megabytes}M", "-smp", str(machine.cpus), "-display", "none"]
    subprocess.run([*words, *size], check=True, timeout=STARTED, capture_output=True)
    old, new = (text.encode() for text in machine.device_tree)
    path.write_bytes(path.read_bytes().replace(old, new))
    return path


class Guest:
    """A running guest.

    Attributes:
        machine: What it is.
        ram: The file that is its memory, from the architecture's base on.
        console: The file with what its program said.
        truth: The same, so far as it is of one address space.
        registers: Those that say where its program's tables are; ``inside``: the kernel's own.
        monitor, stub: QEMU's two doors. A second one like the first is left free, for pagewalk.
    """

    def __init__(self, machine: Machine, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.machine = machine
        self.ram = folder / "ram"
        self.console = folder / "console"
        self._folder, self._process = folder, process
        self.monitor = Monitor(self._socket("qmp"), STARTED)
        self.truth = truth.parse(self._until_ready())
        self.monitor.ask("stop")
        self.stub = Stub(self._socket("gdb"), STARTED)
        self.registers = self._until(lambda _, kernel: not kernel)

    def _socket(self, name: str) -> Path:
        return self._folder / name

    def _until_ready(self) -> str:
        """The console's text, once the program has said everything.

        Raises:
            RuntimeError: The guest ended, or took too long.
        """
        end = time.monotonic() + READY
        while True:
            text = self.console.read_text(errors="replace") if self.console.exists() else ""
            if "\n@ ready" in text:
                return text
            if self._process.poll() is not None or time.monotonic() > end or "\n@ ended" in text:
                said = (self._folder / "qemu.log").read_text(errors="replace")
                raise RuntimeError(f"{self.machine.name} does not come up:\n{said}\n{text[-2000:]}")
            time.sleep(0.05)

    def inside(self) -> Guest:
        """The same guest by the registers that it has while its isolated kernel runs, for the program."""
        isolation = self.machine.architecture.isolation
        assert isolation is not None
        before, one = self.registers[isolation.register], copy.copy(self)
        one.registers = self._until(lambda values, kernel: kernel and values[isolation.register] != before)
        return one

    def _until(self, wanted: Callable[[dict[str, int], bool], bool]) -> dict[str, int]:
        """The registers at a moment that is wanted, by them and by whether the kernel runs: the guest runs until then.

        Raises:
            RuntimeError: It does not come.
        """
        architecture, end = self.machine.architecture, time.monotonic() + READY
        while time.monotonic() < end:
            values = {name: self.stub.register(name) for name in architecture.registers}
            if wanted(values, self.stub.register(architecture.counter) >= architecture.kernel):
                return values
            with self.running():
                time.sleep(0.001)
        raise RuntimeError(f"{self.machine.name} has never the registers that are waited for")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let the guest run for a while."""
        self.monitor.ask("cont")
        try:
            yield
        finally:
            self.monitor.ask("stop")

    @contextmanager
    def as_kernel(self) -> Iterator[None]:
        """Have QEMU translate as for the kernel, by these registers; the guest stands still meanwhile."""
        self._until(lambda values, _: values == self.registers)
        privilege = self.machine.architecture.privilege
        if privilege is None:
            yield
            return
        before = self.stub.register(privilege.register)
        self.stub.set_register(privilege.register, before & ~privilege.mask | privilege.kernel)
        try:
            yield
        finally:
            self.stub.set_register(privilege.register, before)

    def tables(self, *, writable: bool = False) -> pw.PageTables:
        """Page tables, by its registers alone."""
        base = self.machine.architecture.base
        return pw.open(self.ram, registers=self.registers, base=base, os=self.machine.os, writable=writable)

    def close(self) -> None:
        """Close both doors."""
        self.stub.close()
        self.monitor.close()
