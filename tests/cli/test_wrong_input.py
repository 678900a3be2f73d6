"""Each wrong input: its exit code and its one line. The table of codes is in ``pagewalk.errors``."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND

GUARDED = 0x7FED_DF20_4000


@pytest.fixture(scope="module", params=["map", "vtop"])
def command(request, guest):
    """``(source, *options) -> arguments`` for both commands that read an image."""

    def arguments(source=guest.path, *options, root=guest.root, vaddr="0x401000"):
        return [request.param, source, "--root", root, *options, *([vaddr] if request.param == "vtop" else [])]

    return arguments


class TestSource:
    def test_no_such_file(self, fails, command, tmp_path):
        assert fails(10, *command(tmp_path / "nope")) == f"pagewalk: {tmp_path}/nope: No such file or directory"

    def test_a_directory(self, fails, command, tmp_path):
        assert "Is a directory" in fails(10, *command(tmp_path))

    def test_an_empty_file(self, fails, command, tmp_path):
        (tmp_path / "empty").touch()
        assert fails(7, *command(tmp_path / "empty")) == f"pagewalk: {tmp_path}/empty: the file is empty"

    def test_truncated_before_the_root(self, fails, command, guest, tmp_path):
        image = tmp_path / "cut"
        image.write_bytes(guest.path.read_bytes()[: guest.root])
        line = fails(4, *command(image))
        assert f"the root {guest.root:#x} is outside the memory" in line
        assert "truncated" in line
        assert "--base" in line

    def test_no_permission(self, command, tmp_path):
        image = tmp_path / "secret"
        image.touch()
        image.chmod(0)
        done = _as_nobody(command(image))
        assert (done.returncode, done.stdout) == (10, "")
        assert done.stderr == f"pagewalk: {image}: Permission denied\n"

    def test_no_permission_to_look_at_a_process(self, command, process):
        """Of root, by somebody else."""
        pid = process if os.geteuid() == 0 else 1
        name, source, _, _, *rest = command(f"pid:{pid}")  # without --root
        done = _as_nobody([name, source, *rest])
        assert (done.returncode, done.stdout) == (9, "")
        assert f"process {pid} may not be looked at" in done.stderr
        assert done.stderr.count("\n") == 1

    def test_a_pipe(self, fails, command, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        assert "write the image to a file first" in fails(8, *command(tmp_path / "pipe"))

    @pytest.mark.parametrize("url", ["qmp:/nowhere/qmp", "gdb:/nowhere/gdb", "gdb:localhost:1"])
    def test_a_machine_that_is_not_there(self, fails, command, url):
        assert "start QEMU with -" in fails(10, *command(url))

    @pytest.mark.parametrize("name", ["a\x1b[31mred", "b\u202ereversed", "c\x07\x9b2J", "d\udcff", "e\nf"])
    def test_a_name_does_not_steer_the_terminal(self, fails, command, tmp_path, name):
        """Neither where there is no such file, nor where what is in it is complained of."""
        path = tmp_path / name
        assert fails(10, *command(path)).isprintable()
        path.touch()
        assert fails(7, *command(path)).isprintable()

    @pytest.mark.parametrize(
        ("magic", "code", "says"),
        [
            (b"\x7fELF", 7, "an ELF file of class 0"),
            (b"EMiL", 7, "a LiME header of version 0"),
            (b"KDUMP   ", 7, "makes no sense"),
            (b"makedumpfile", 7, "of type 0"),
            (b"QEVM", 8, "take a dump of the guest's memory"),
        ],
    )
    def test_a_dump_is_not_taken_for_a_raw_image(self, fails, command, tmp_path, magic, code, says):
        (tmp_path / "dump").write_bytes(magic.ljust(8192, b"\0"))
        assert says in fails(code, *command(tmp_path / "dump", root="0"))

    def test_a_segment_past_the_end(self, fails, command, guest):
        assert "truncated" in fails(7, *command(guest.path, "--segment", "0:0:1G"))


class TestRootAndFormat:
    def test_misaligned_root(self, fails, command, guest):
        assert "4096-byte aligned" in fails(4, *command(root=hex(guest.root + 8)))

    def test_root_outside_the_image(self, fails, command):
        assert "0x40000000 is outside the memory, which has [0x0, 0x6000000)" in fails(4, *command(root="1G"))

    def test_wrong_base(self, fails, command, guest):
        assert "outside the memory" in fails(4, *command(guest.path, "--base", "4G"))

    def test_unknown_format(self, fails, command, guest):
        assert "did you mean 'x86-64'?" in fails(8, *command(guest.path, "--format", "x86_64"))


class TestRegisters:
    """Each line says what to do."""

    @pytest.mark.parametrize(
        ("registers", "code", "says"),
        [
            ("tcr_el1=0x3500c510,ttbr0_el1=0x1000", 8, "has a reserved granule, TG0 = 3: is it of this CPU?"),
            ("tcr_el1=0x35003510,ttbr1_el1=0x1000", 8, "has a reserved granule, TG1 = 0: is it of this CPU?"),
            ("cr3=0x40000000", 4, "the root 0x40000000 of cr3 is outside the memory, which has [0x0, 0x6000000): the"),
            ("cr3=0x40000000", 4, "is truncated, or its base (--base) or cr3 is wrong"),
            ("tcr_el1=0xb5103510,ttbr0_el1=1,ttbr1_el1=0x10000000", 4, "without ttbr1_el1 the rest can be opened"),
            ("cr9=0x1000", 8, "unknown register 'cr9': did you mean 'cr4'? known are cr0, cr3, cr4, efer,"),
            ("cr3=0x1000,satp=0x1000", 8, "cr3, satp are registers of different architectures: give one's alone"),
            ("satp=0x1000", 8, "satp 0x1000 says that translation is off: 8, 9 and 10 (Sv39, Sv48, Sv57) are"),
            ("satp=0x1000000000001000", 8, "has mode 1, which is reserved or not read: 8, 9 and 10"),
            ("cr0=0x33,cr3=0x1000", 8, "cr0 0x33 says that paging is off (bit 31): take registers of a later moment"),
            ("efer=0x100,cr3=0x1000", 8, "efer 0x100 says that the CPU is not in 64-bit mode (bit 10)"),
            ("cr4=0x20", 8, "cr3 is missing beside cr4: give it as well"),
            ("cr3", 2, "Invalid value for '--registers': 'cr3' is not name=value: write registers so, with commas"),
            ("", 2, "Invalid value for '--registers': '' is not name=value"),
            ("cr3=0x1000,CR3=0x1000", 2, "cr3 is given twice: give each register once"),
            ("cr3=0x10000000000000000", 2, "cr3 has 64 bits, which 0x10000000000000000 does not fit"),
            ("cr3=4b24000", 2, "cr3 is a number, not '4b24000': write hexadecimal digits after 0x"),
            ("cr3=0000000004024000", 2, "write hexadecimal digits after 0x"),
        ],
    )
    def test_refused(self, fails, guest, registers, code, says):
        for command in (["map"], ["vtop"]):
            line = fails(code, *command, guest.path, "--registers", registers, *["0x401000"] * (command == ["vtop"]))
            assert says in line
            assert len(line) < 300

    def test_twice_in_two_options(self, fails, guest):
        given = ["--registers", "cr3=0x4b24000", "--registers", "cr3=0x4b24000"]
        assert "cr3 is given twice" in fails(2, "map", guest.path, *given)

    def test_a_root_too(self, fails, command, guest):
        line = fails(2, *command(guest.path, "--registers", "cr3=0x4b24000"))
        assert "--root and --registers contradict each other: give one or the other." in line

    def test_another_format(self, fails, guest):
        line = fails(8, "map", guest.path, "--registers", "cr3=0x4b24000", "--format", "x86-64-la57")
        assert "the registers say x86-64, and the format x86-64-la57 contradicts them: give one alone" in line

    def test_an_unknown_system(self, fails, command, guest):
        line = fails(8, *command(guest.path, "--os", "Linux"))
        assert (
            "unknown system 'Linux': did you mean 'linux'? known are linux, linux-3.10 to linux-7.3, windows, none"
            in line
        )

    def test_a_process_has_none(self, fails):
        line = fails(2, "map", "pid:1", "--registers", "cr3=0x1000", "--os", "linux")
        assert "pid:1 is a process, and takes no --os, --registers, as memory images do." in line


class TestUsage:
    @pytest.mark.parametrize("text", ["zz", "0x", "-1", "1.5", "4Q", "0xg", ""])
    def test_bad_number(self, fails, command, guest, text):
        line = fails(2, "vtop", guest.path, "--root", guest.root, "--", text)
        assert f"{text!r} is not a number: write 4096, 0x1000 or 4K." in line
        assert len(line) < 200
        assert "--help" in line

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["frob"], "No such command"),
            (["map"], "Missing argument 'SOURCE'"),
            (["map", "README.md"], "Missing option '--root', '--registers' or '--pid': where an image's top table is"),
            (["vtop", "image", "--root", "0"], "Missing argument 'VADDR"),
            (["map", "image", "--root", "0", "--frob"], "No such option"),
            (["map", "image", "--root", "0", "--kind", "huge"], "'huge' is not one of present, prot_none, swap,"),
            (["map", "image", "--root", "0", "--kind", "guard,guards"], "'guards' is not one of"),
            (["map", "image", "--root", "0", "--kind", "Guard"], "Did you mean 'guard'?"),
            (["map", "image", "--root", "0", "--kind", ""], "'' is not one of"),
            (["map", "image", "--root", "0", "--having", "writable"], "Did you mean 'write'?"),
            (["map", "image", "--root", "0", "--lacking", "read,,user"], "'' is not one of read, write, exec, user,"),
            (["map", "image", "--root", "0", "--having", "read,user", "--lacking", "user"], "user is in both"),
            (["map", "image", "--root", "0", "--having", "outside", "--lacking", "outside"], "outside is in both"),
            (["map", "image", "--root", "0", "--limit", "-1"], "is not a number"),
            (["map", "image", "--root", "0", "--limit", "ff"], "is not a number"),
            (["map", "image", "--root", "0", "--frames", "0x1000-0x2000"], "'0x1000-0x2000' is not a number"),
            (["map", "image", "--root", "0", "--frames", "1:2:3"], "'1:2:3' is not PADDR:SIZE"),
            (["map", "image", "--root", "0", "--frames", "0x1000:0"], "0 is too small: at least 1"),
            (["map", "image", "--root", "0", "--frames", "00001000:4K"], "could be hexadecimal or decimal"),
            (["map", "image", "--root", "0", "--segment", "0:0:0"], "0 is too small: at least 1"),
            (["map", "image", "--root", "00100000"], "write 0x100000 or 0x186a0"),
            (["map", "image", "--root", "0", "--start", "9" * 5000], "is too large"),
            (["map", "image", "--root", "0", "--segment", "1:2"], "PADDR:OFFSET:SIZE"),
            (["map", "image", "--root", "0", "--base", "4K", "--segment", "0:0:4K"], "contradict"),
        ],
    )
    def test_wrong_arguments(self, fails, arguments, says):
        assert says in fails(2, *arguments)

    def test_not_canonical(self, fails, guest):
        line = fails(4, "map", guest.path, "--root", guest.root, "--start", "0x900000000000")
        assert "0x900000000000: not canonical" in line

    def test_an_empty_range(self, fails, guest):
        assert "EINVAL" in fails(5, "map", guest.path, "--root", guest.root, "--start", "8K", "--end", "4K")

    def test_a_range_of_half_pages(self, fails, guest):
        assert "not aligned" in fails(5, "map", guest.path, "--root", guest.root, "--start", "100")


class TestBrokenTables:
    """What is wrong inside the image: ``map`` warns and goes on, ``vtop`` shows how far it came and exits with 4."""

    @pytest.fixture
    def cut(self, guest, tmp_path):
        """The guest's image, cut off so that some of its tables are missing."""
        image = tmp_path / "cut"
        image.write_bytes(guest.path.read_bytes()[: guest.root + 0x6000])
        return image

    def test_map(self, run, guest, cut):
        done = run("map", cut, "--root", guest.root)
        assert done.returncode == 0
        assert "0x0000000000401000" in done.stdout or "0x000000401000" in done.stdout
        assert "is not in memory" in done.stderr
        assert all(line.startswith("pagewalk: warning: 0x") for line in done.stderr.splitlines())

    def test_vtop(self, run, guest, cut):
        done = run("vtop", cut, "--root", guest.root, hex(GUARDED))
        assert done.returncode == 4
        assert "PDPT" in done.stdout
        assert re.fullmatch(rf"pagewalk: {GUARDED:#x}: the PMD table at 0x\w+ is not in memory .*\n", done.stderr)

    def test_not_canonical_is_shown_among_the_others(self, run, guest):
        done = run("vtop", guest.path, "--root", guest.root, "0x401000", "0x900000000000", hex(GUARDED))
        assert done.returncode == 4
        assert "0x5a3f000  present 4 KiB" in done.stdout
        assert "not canonical" in done.stdout
        assert "the PTE entry is guard" in done.stdout
        assert done.stderr == "pagewalk: 2 of 3 addresses do not translate\n"


class TestOutput:
    """All of the output is written, or the command fails."""

    @pytest.mark.parametrize("options", [[], ["--json"], ["--pages"]])
    def test_disk_full(self, run, command, guest, options):
        with Path("/dev/full").open("w") as full:
            done = run(
                *command(guest.path, *[o for o in options if o != "--pages" or command()[0] == "map"]), stdout=full
            )
        assert (done.returncode, done.stderr) == (10, "pagewalk: standard output: No space left on device\n")

    @pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["map", "--help"]])
    def test_disk_full_for_help(self, run, arguments):
        with Path("/dev/full").open("w") as full:
            done = run(*arguments, stdout=full)
        assert (done.returncode, done.stderr) == (10, "pagewalk: No space left on device\n")

    def test_closed(self, guest):
        script = f"exec {' '.join(COMMAND)} map {guest.path} --root {guest.root} >&-"
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (10, "pagewalk: standard output is closed\n")

    def test_broken_pipe_is_quiet(self, guest):
        arguments = [*COMMAND, "map", guest.path, "--root", str(guest.root), "--pages"]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline().startswith("ADDRESSES")
            process.stdout.close()
            assert process.stderr.read() == ""
        assert process.returncode == 1

    def test_interrupted(self, guest):
        """It cannot come to its end: nobody reads more than the first line, and a pipe does not hold the rest."""
        arguments = [*COMMAND, "map", guest.path, "--root", str(guest.root), "--pages"]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout.readline().startswith("ADDRESSES")
            process.send_signal(signal.SIGINT)
            assert process.stderr.read().strip() == "pagewalk: interrupted"
        assert process.returncode == 130


AS_NOBODY = """
import os, pwd, sys
import pagewalk.cli.map, pagewalk.cli.vtop, pagewalk.live, pagewalk.sources, pagewalk.sweep.listing  # while they may be
from pagewalk.cli import main
nobody = pwd.getpwnam("nobody")
os.setgroups([])
os.setgid(nobody.pw_gid)
os.setuid(nobody.pw_uid)
main(sys.argv[1:])
"""


def _as_nobody(arguments):
    """Run as a user who may read nothing of ours; who is no superuser is that already."""
    command = [sys.executable, "-c", AS_NOBODY] if os.geteuid() == 0 else COMMAND
    return subprocess.run([*command, *map(str, arguments)], capture_output=True, text=True, check=False)
