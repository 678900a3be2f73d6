"""What people install: the wheel and the sdist; and the core where the modules that only Linux has are absent."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import textwrap
import tomllib
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import pagewalk as pw
from tests.conftest import skip_or_fail

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.guests import Guest

ROOT = Path(__file__).parent.parent
UV = Path(sys.executable).with_name("uv")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


class Built(NamedTuple):
    """The files that are published."""

    wheel: Path
    sdist: Path


def uv(*words: Any) -> None:
    """Run uv, with the settings that set this environment up."""
    if not UV.exists():
        skip_or_fail(f"uv is not in {UV.parent}: ./dev puts it there")
    done = subprocess.run([UV, "--quiet", *map(str, words)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sdist, and the wheel made of it."""
    out = tmp_path_factory.mktemp("dist")
    uv("build", "--out-dir", out, "--build-constraint", ROOT / "constraints.txt")
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return Built(wheel, sdist)


@pytest.fixture(scope="module")
def bare(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and what it needs, and nothing else."""
    home = tmp_path_factory.mktemp("bare") / "venv"
    uv("venv", "--python", sys.executable, home)
    python = home / "bin" / "python"
    uv("pip", "install", "--python", python, "-c", ROOT / "constraints.txt", built.wheel)
    return python


def run(python: str | Path, code: str, *words: object) -> str:
    """What a program prints, run far from the sources."""
    command = [str(python), "-I", "-W", "error", "-c", textwrap.dedent(code), *map(str, words)]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def mapped_in(guest: Guest) -> str:
    """An address that is mapped there."""
    return hex(pw.mappings(guest.tables())["vaddr"][0])


class TestFiles:
    """Wheel and sdist build, and hold what they should."""

    def test_the_wheel_has_the_package_and_nothing_else(self, built: Built) -> None:
        names = set(zipfile.ZipFile(built.wheel).namelist())
        sources = [path for kind in ("*.py", "*.pyi", "py.typed") for path in (ROOT / "src").rglob(kind)]
        ours = {path.relative_to(ROOT / "src").as_posix() for path in sources}
        assert {"pagewalk/py.typed", "pagewalk/__init__.pyi"} <= ours
        assert {name for name in names if ".dist-info/" not in name} == ours
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)

    def test_the_wheel_needs_what_the_project_says(self, built: Built) -> None:
        archive = zipfile.ZipFile(built.wheel)
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
        needs = re.findall(r"^Requires-Dist: ([^;\n]+)$", metadata, re.MULTILINE)
        assert sorted(needs) == sorted(PROJECT["dependencies"])
        assert f"\nVersion: {PROJECT['version']}\n" in metadata

    def test_the_sdist_has_what_it_takes_to_test_it(self, built: Built) -> None:
        with tarfile.open(built.sdist) as archive:
            names = {name.split("/", 1)[1] for name in archive.getnames()}
        wanted = ("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "constraints.txt", "dev", "mkdocs.yml")
        assert set(wanted) <= names
        for path in (*ROOT.glob("tests/**/*.py"), *ROOT.glob("tests/data/*"), *ROOT.glob("docs/**/*.md")):
            assert str(path.relative_to(ROOT)) in names
        assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", "dist/"))]


class TestInstalled:
    """``pip install`` of the wheel into a bare environment works."""

    def test_the_version(self, bare: Path) -> None:
        assert run(bare, "import pagewalk; print(pagewalk.__version__)") == f"{PROJECT['version']}\n"

    def test_every_name_is_there(self, bare: Path) -> None:
        code = "import pagewalk; print(*[name for name in pagewalk.__all__ if not hasattr(pagewalk, name)])"
        assert run(bare, code) == "\n"

    def test_it_lists_an_image(self, bare: Path, guest: Guest) -> None:
        code = """
            import sys, pagewalk as pw
            rows = pw.mappings(pw.open(sys.argv[1], root=int(sys.argv[2])))
            print(len(rows), rows["size"].sum())
        """
        rows = pw.mappings(guest.tables())
        assert run(bare, code, guest.path, guest.root) == f"{len(rows)} {rows['size'].sum()}\n"

    def test_the_command(self, bare: Path, guest: Guest) -> None:
        command = [bare.with_name("pagewalk"), "vtop", guest.path, "--root", hex(guest.root), mapped_in(guest)]
        done = subprocess.run(list(map(str, command)), cwd="/", capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert "PGD" in done.stdout


ABSENT = """
    import sys

    class Blocker:
        def find_spec(self, name, path=None, target=None):
            if name in {"fcntl", "termios", "resource", "tty", "pty", "grp", "pwd"}:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    for name in ("fcntl", "termios", "resource"):
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Blocker())
"""
"""Makes the modules absent that another operating system does not have."""
BARE = """
    import ctypes, mmap, os, signal

    for module, names in (
        (os, "sched_getaffinity sched_setaffinity getppid sysconf preadv pidfd_open O_NONBLOCK O_CLOEXEC fork mkfifo"),
        (mmap, "MAP_PRIVATE MAP_ANONYMOUS MAP_SHARED MADV_NOHUGEPAGE MADV_NORMAL PROT_READ PROT_WRITE"),
        (signal, "SIGBUS"),
    ):
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    sys.platform = "win32"
"""
"""The names too that it does not have; after NumPy, which has its own ways."""
CORE = """
    import pagewalk as pw

    for name in pw.__all__:
        getattr(pw, name)
    tables = pw.open(sys.argv[1], root=int(sys.argv[2]))
    rows = pw.mappings(tables)
    at = int(rows["vaddr"][0])
    assert tables.translate(at).paddr == rows["paddr"][0] == pw.translate(tables, [at])[0][0]
    assert len(pw.holes(tables))
    walked = []
    ops = pw.WalkOps(pte_entry=lambda entry, addr, next_, walk: walked.append(addr))
    assert pw.walk_page_range_novma(tables, at, at + 4096, ops) == 0
    mm = pw.Machine(64 << 20).mm()
    area = mm.mmap(8 << 20, 3)
    mm.write(area, b"data")
    mm.madvise(area + 4096, 4096, pw.MADV_GUARD_INSTALL)
    assert mm.fork().read(area, 4) == b"data"
    assert "rw-p" in mm.maps() and mm.smaps()["Guard"] == 4096
    import copy, pickle
    assert len(pw.mappings(pickle.loads(pickle.dumps(tables)))) == len(rows)
    assert copy.deepcopy(pw.PageTables(mm.memory, mm.tables.root)).read(area, 4) == b"data"
    try:
        pw.capture()
    except pw.UnsupportedError as error:
        assert "\\n" not in str(error)
        print(error)
"""


class TestElsewhere:
    """The core imports, and works, where Linux's modules are absent, as on macOS and Windows."""

    @pytest.mark.parametrize("more", ["", "import numpy\n" + textwrap.dedent(BARE)], ids=["modules", "names"])
    def test_the_core_works(self, guest: Guest, more: str) -> None:
        code = textwrap.dedent(ABSENT) + more + textwrap.dedent(CORE)
        said = run(sys.executable, code, guest.path, guest.root)
        assert "looked at through Linux's /proc" in said
        assert said.count("\n") == 1

    @pytest.mark.parametrize("command", ["vtop", "map", "--help"])
    def test_the_commands_that_look_at_images_work(self, guest: Guest, command: str) -> None:
        source = [] if command == "--help" else [str(guest.path), "--root", hex(guest.root)]
        words = [command, *source, *([mapped_in(guest)] if command == "vtop" else [])]
        code = f"{textwrap.dedent(ABSENT)}\nfrom pagewalk.cli import main\nmain({words})"
        assert run(sys.executable, code)


def test_a_copy_that_nobody_installed_has_a_version_too() -> None:
    code = f"""
        import importlib.metadata
        import sys
        def absent(name):
            raise importlib.metadata.PackageNotFoundError(name)
        importlib.metadata.version = absent
        sys.path.insert(0, {str(ROOT / "src")!r})
        import pagewalk
        print(pagewalk.__version__)
    """
    assert run(sys.executable, code) == "0+unknown\n"
