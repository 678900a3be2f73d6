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

    @pytest.mark.parametrize("url", ["qmp:/run/qmp", "gdb:localhost:1234"])
    def test_a_source_that_is_no_file(self, fails, command, url):
        assert "raw memory image" in fails(8, *command(url))

    @pytest.mark.parametrize("name", ["a\x1b[31mred", "b\u202ereversed", "c\x07\x9b2J", "d\udcff", "e\nf"])
    def test_a_name_does_not_steer_the_terminal(self, fails, command, tmp_path, name):
        """Neither where there is no such file, nor where what is in it is complained of."""
        path = tmp_path / name
        assert fails(10, *command(path)).isprintable()
        path.touch()
        assert fails(7, *command(path)).isprintable()

    @pytest.mark.parametrize("magic", [b"\x7fELF", b"KDUMP   ", b"makedumpfile", b"EMiL"])
    def test_a_dump_is_not_taken_for_a_raw_image(self, fails, command, tmp_path, magic):
        (tmp_path / "dump").write_bytes(magic.ljust(8192, b"\0"))
        assert "--segment" in fails(8, *command(tmp_path / "dump", root="0"))

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
            (["map", "image"], "Missing option '--root'"),
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
import pagewalk.cli.map, pagewalk.cli.vtop, pagewalk.live, pagewalk.source, pagewalk.sweep.listing  # while they may be
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
