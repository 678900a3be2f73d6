"""What the documentation shows runs: Python blocks, commands with their output, and the examples."""

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

from pagewalk.errors import UnsupportedError
from tests.conftest import skip_or_fail
from tests.guests import unpack
from tests.memory.cores import Load, core, qemu_state, vmcoreinfo

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
PAGEWALK = [sys.executable, "-c", "from pagewalk.cli import main; main()"]


def run_session(example):
    """Run the commands of a console block, and compare what they print; ``...`` stands for anything."""
    commands = []
    for line in example.parsed.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], []))
        else:
            commands[-1][1].append(line)
    for command, expected in commands:
        program, *arguments = shlex.split(command)
        assert program == "pagewalk", f"only pagewalk's own commands are run: {command}"
        done = subprocess.run([*PAGEWALK, *arguments], capture_output=True, text=True, check=False)
        wanted = "".join(f"{line}\n" for line in expected)
        same = doctest.OutputChecker().check_output(wanted, done.stdout, doctest.ELLIPSIS)
        assert same, f"{command} printed\n{done.stdout}{done.stderr}, not\n{wanted}"


def keep(example):
    """Keep a layout in the file that its first line names."""
    name = example.parsed.splitlines()[0]
    if name.startswith("# ") and name.endswith(".toml"):
        Path(name.removeprefix("# ")).write_text(example.parsed)


SYBIL = Sybil(parsers=[PythonCodeBlockParser(), CodeBlockParser("console", run_session), CodeBlockParser("toml", keep)])


@pytest.fixture(scope="session")
def images(guest, tmp_path_factory):
    """The images that pages show, by the names that they have there."""
    folder = tmp_path_factory.mktemp("images")
    others = {"arm64.ram": "aarch64-7.2-4k-48", "riscv.ram": "riscv64-7.2-sv39"}
    state = qemu_state(cr3=guest.registers["cr3"], cr4=guest.registers["cr4"])
    dump = folder / "vmcore"
    dump.write_bytes(core([Load(0, guest.ram)], state + vmcoreinfo("OSRELEASE=7.3.4", "PAGESIZE=4096")))
    return {
        "guest.ram": guest.path,
        "vmcore": dump,
        **{name: unpack(of, folder).path for name, of in others.items()},
    }


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page, images, monkeypatch, tmp_path):
    for name, path in images.items():
        (tmp_path / name).symlink_to(path)
    monkeypatch.chdir(tmp_path)
    try:
        for example in SYBIL.parse(page).examples():
            example.evaluate()
    except UnsupportedError as error:
        if "Linux" not in str(error):
            raise
        skip_or_fail(f"{page.name}: {error}")


CHILD = """
import ctypes, mmap
from pagewalk.live import madvise
area = mmap.mmap(-1, 18 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
at = ctypes.addressof(ctypes.c_char.from_buffer(area))
first = (at + (2 << 20) - 1) >> 21 << 21
madvise(first, 16 << 20, 15)  # MADV_NOHUGEPAGE: what the machine's policy would make of it is another matter
area[first - at : first - at + (4 << 20)] = bytes(4 << 20)
madvise(first + (4 << 20) + 4096, 64 << 10, 102)
print("ready", flush=True)
input()
"""
"""A process like the one that the README shows."""


@pytest.fixture
def shown_process():
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        if child.stdout.readline() != b"ready\n":
            child.kill()
            skip_or_fail("this kernel has no guard regions (Linux 6.13)")
        yield child.pid
        child.kill()


def test_what_the_readme_shows_of_a_process(shown_process):
    """The commands run, and print what is shown but for the numbers: the headings, and the guard region."""
    (block,) = re.findall(r"```text\n(\$ pagewalk live .*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    for session in block.split("$ pagewalk ")[1:]:
        command, *expected = session.splitlines()
        pid = command.split()[1]
        words = command.replace(pid, str(shown_process)).split()
        done = subprocess.run([*PAGEWALK, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        printed = done.stdout.splitlines()
        wanted = [line.split() for line in expected if line.isupper() and not line.startswith("0x")]
        found = [line.split() for line in printed if line.isupper() and not line.startswith("0x")]
        assert [set(line) - {"THP", "4K"} for line in found] == [set(line) - {"THP", "4K"} for line in wanted]
        assert re.search(r"1 guard region, 64 KiB|GUARD 64 KiB", done.stdout)
        assert len(printed) == len(expected)


def test_the_blocks_are_found():
    examples = [example for page in PAGES for example in SYBIL.parse(page).examples()]
    assert len(examples) >= 10


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    """Relative links lead somewhere."""
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_the_site_stay_in_it(page):
    """The site is made of ``docs/`` alone: a link to a source file would lead nowhere there."""
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())
    local = [page.parent.joinpath(target).resolve() for target in targets if "://" not in target]
    assert [target for target in local if not target.is_relative_to(ROOT / "docs")] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example(example, tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", example], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert not done.stderr
