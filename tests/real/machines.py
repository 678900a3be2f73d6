"""The table of guests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tests.real import kernels
from tests.real.architectures import AARCH64, I386, RISCV64, X86_64

if TYPE_CHECKING:
    from tests.real.architectures import Architecture
    from tests.real.kernels import Kernel

__all__ = ["CROWDS", "EDITED", "MACHINES", "PROCESSES", "Machine", "fewer_fakes"]


class Machine(NamedTuple):
    """A guest.

    Attributes:
        name: Its name, also that of its tests.
        architecture: What it is built for.
        kernel: What it runs.
        format: The format that its registers must say.
        cpu: QEMU's name for its CPU.
        os: Whose entries stand in its tables.
        megabytes: Its memory.
        options: Words for the kernel's command line.
        device_tree: A text in QEMU's device tree, and what stands in its place.
        program: The folder of the sources of what it runs.
        devices: More of QEMU's devices.
        isolated: Its kernel has tables of its own, which the program's lack: PTI, KPTI.
        cpus: How many it has.
    """

    name: str
    architecture: Architecture
    kernel: Kernel
    format: str
    cpu: str
    os: str = "linux"
    megabytes: int = 512
    options: str = ""
    device_tree: tuple[str, str] | tuple[()] = ()
    program: str = "init"
    devices: tuple[str, ...] = ()
    isolated: bool = False
    cpus: int = 1


GIGABYTE: Final = "hugepagesz=1G hugepages=1"
X86_4: Final = "max,la57=off"
ARM_WIDE: Final = "max,pauth-impdef=on"
MACHINES: Final = {
    machine.name: machine
    for machine in (
        Machine("x86_64-7.3", X86_64, kernels.X86_64_7_3, "x86-64", X86_4, megabytes=2700, options=GIGABYTE),
        Machine("x86_64-7.3-la57", X86_64, kernels.X86_64_7_3, "x86-64-la57", "max"),
        Machine("x86_64-6.18", X86_64, kernels.X86_64_6_18, "x86-64", X86_4, "linux-6.18"),
        Machine("x86_64-6.12", X86_64, kernels.X86_64_6_12, "x86-64", X86_4, "linux-6.12,device_private=no"),
        Machine(
            "x86_64-6.1-pti", X86_64, kernels.X86_64_6_1, "x86-64", X86_4, "linux-6.1", options="pti=on", isolated=True
        ),
        Machine("x86_64-5.10", X86_64, kernels.X86_64_5_10, "x86-64", X86_4, "linux-5.10"),
        Machine("i386-6.1", I386, kernels.I386_6_1, "ia32", "max", "linux-6.1"),
        Machine("i386-6.1-pae", I386, kernels.I386_6_1_PAE, "pae", "max", "linux-6.1"),
        Machine(
            "arm64-4k", AARCH64, kernels.ARM64, "arm64-4k", "cortex-a72", megabytes=3072, options=f"kpti=off {GIGABYTE}"
        ),
        Machine("arm64-4k-lpa2", AARCH64, kernels.ARM64, "arm64-4k-lpa2", ARM_WIDE),
        Machine("arm64-16k", AARCH64, kernels.ARM64_16K, "arm64-16k", "cortex-a76", options="kpti=on", isolated=True),
        Machine(
            "arm64-16k-lpa2", AARCH64, kernels.ARM64_16K, "arm64-16k-lpa2", ARM_WIDE, megabytes=3072, options=GIGABYTE
        ),
        Machine("riscv64-sv39", RISCV64, kernels.RISCV64, "riscv-sv39", "rv64", options="no4lvl"),
        Machine(
            "riscv64-sv48",
            RISCV64,
            kernels.RISCV64,
            "riscv-sv48",
            "rv64,svnapot=on,svpbmt=on",
            megabytes=4096,
            options=GIGABYTE,
        ),
        Machine(
            "riscv64-sv57", RISCV64, kernels.RISCV64, "riscv-sv57", "rv64", device_tree=("riscv,sv48", "riscv,sv57")
        ),
    )
}


def _processes(like: str, options: str = "", **more: Any) -> Machine:
    """A guest like one of those, with processes of all kinds and without huge pages of its own."""
    return MACHINES[like]._replace(program="processes", megabytes=512, options=options, **more)


PROCESSES: Final = {
    machine.name: machine
    for machine in (
        _processes("x86_64-5.10"),
        _processes("x86_64-6.1-pti", "pti=on"),
        _processes("x86_64-6.12"),
        _processes("x86_64-6.18", "nokaslr"),
        _processes("x86_64-7.3"),
        _processes("x86_64-7.3-la57", "pti=on"),
        _processes("arm64-4k", "kpti=on"),
        _processes("arm64-4k-lpa2"),
        _processes("arm64-16k"),
        _processes("arm64-16k-lpa2"),
        _processes("riscv64-sv39", "no4lvl"),
        _processes("riscv64-sv48", "no5lvl"),
        _processes("riscv64-sv57"),
    )
}
"""Guests for lists of processes."""


def _crowd(like: str, words: str = "", **more: Any) -> Machine:
    """A guest like one of those, with many processes, and noise in its memory; of its words, other ones."""
    return _noisy(MACHINES[like]._replace(program="many", options=words, **more), 512, "noise_mib=96")


def fewer_fakes(one: Machine) -> Machine:
    """A guest of many processes with twice the memory, and noise in which fewer fakes are, and easier ones."""
    words = (word for word in one.options.split() if not word.startswith("noise_"))
    return _noisy(one._replace(options=" ".join(words)), 1024, "noise_mib=300 few_fakes=yes")


def _noisy(one: Machine, megabytes: int, noise: str) -> Machine:
    """A guest of so much memory, to the addresses of which its noise points."""
    where = f"noise_from={one.architecture.base:#x} noise_bytes={megabytes << 20:#x}"
    return one._replace(megabytes=megabytes, options=f"{one.options} {noise} {where}")


CROWDS: Final = {
    machine.name: machine
    for machine in (
        _crowd("x86_64-7.3"),
        _crowd("x86_64-7.3-la57"),
        _crowd("x86_64-6.1-pti", "pti=on"),
        _crowd("x86_64-6.1-pti", "pti=on", name="x86_64-6.1-pti-la57", cpu="max", format="x86-64-la57"),
        _crowd("i386-6.1"),
        _crowd("i386-6.1-pae"),
        _crowd("i386-6.1-pae", "pti=on", name="i386-6.1-pae-pti"),
        _crowd("arm64-4k", "kpti=off"),
        _crowd("arm64-4k", "kpti=on", name="arm64-4k-kpti"),
        _crowd("arm64-4k-lpa2"),
        _crowd("arm64-16k", "kpti=off"),
        _crowd("arm64-16k-lpa2"),
        _crowd("riscv64-sv39", "no4lvl"),
        _crowd("riscv64-sv48", "no5lvl"),
        _crowd("riscv64-sv57"),
    )
}


def _edited(like: str, cpus: int, options: str = "", **more: Any) -> Machine:
    """A guest like one of those, whose tables are edited while it runs."""
    one = MACHINES[like]
    name = f"{like}-{cpus}"
    return one._replace(name=name, program="edited", megabytes=256, options=options, cpus=cpus, **more)


EDITED: Final = {
    machine.name: machine
    for machine in (
        _edited("x86_64-7.3", 1),
        _edited("x86_64-7.3", 2),
        _edited("x86_64-7.3-la57", 1),
        _edited("x86_64-7.3-la57", 2, "pti=on", isolated=True),
        _edited("arm64-4k", 1, "kpti=off"),
        _edited("arm64-4k", 2, "kpti=off"),
        _edited("riscv64-sv39", 1, "no4lvl"),
        _edited("riscv64-sv48", 2, "no5lvl"),
    )
}
"""Guests whose tables are edited. KPTI has an arm64 CPU forget at every tick what is to be shown that it keeps."""
