"""Debian's packages, unpacked into a cache and never installed.

The machine's own apt does it, with a state of its own: lists, cache and sources lie in a folder that is thrown away.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.real.kernels import OTHERS, SWAP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.real.kernels import Kernel

__all__ = ["NotToBeHad", "fetch", "fetch_system"]

SECONDS: Final = 600
"""How long apt may take."""
KEYS: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
IMAGES: Final = ("./boot/vmlinu[xz]-*", "./usr/lib/modules/*/vmlinu[xz]")


class NotToBeHad(Exception):
    """A kernel or a tool that this machine cannot get, and why."""


def fetch(kernel: Kernel) -> Path:
    """The folder with a kernel, ``vmlinuz``, and its modules.

    Raises:
        NotToBeHad: It is not in the cache and cannot be fetched.
    """
    return _kept(_key(kernel), lambda scratch: _unpack(kernel, scratch))


def fetch_system(suite: str, architecture: str, *names: str) -> Path:
    """The folder with packages and all that they depend on, as on a machine that has nothing else.

    Raises:
        NotToBeHad: They are not in the cache and cannot be fetched.
    """
    key = f"{suite}-{architecture}-{names[0]}-{hashlib.sha256(repr(names).encode()).hexdigest()[:12]}"
    return _kept(key, lambda scratch: _unpack_all(suite, architecture, names, scratch))


def _kept(name: str, unpack: Callable[[Path], None]) -> Path:
    """A folder of the cache; if it is not there, what is unpacked into the folder ``found`` of a scratch folder."""
    folder = cache() / name
    with alone():
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache(), prefix="fetching-") as scratch:
                unpack(Path(scratch))
                (Path(scratch) / "found").rename(folder)
    return folder


def cache() -> Path:
    """Where what was fetched and built stays."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pagewalk"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def alone() -> Iterator[None]:
    """Hold the cache's lock: another process of the test run waits."""
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _key(kernel: Kernel) -> str:
    """A folder's name that changes with the kernel's row."""
    return f"{kernel.suite}-{kernel.architecture}-{hashlib.sha256(repr((kernel, SWAP)).encode()).hexdigest()[:12]}"


def _unpack(kernel: Kernel, scratch: Path) -> None:
    """Fetch a kernel into ``scratch/found``."""
    options = _private_state(kernel.suite, kernel.architecture, scratch)
    found = scratch / "found"
    found.mkdir()
    for pattern in dict.fromkeys((kernel.image, kernel.modules or kernel.image)):
        name = _newest(_run("apt-cache", *options, "pkgnames", "linux-").split(), pattern, kernel.suite)
        _run("apt-get", *options, "-q", "download", name, cwd=scratch)
        (package,) = scratch.glob("*.deb")
        _pick(package, scratch / "files", found)
        package.unlink()
    if not (found / "vmlinuz").exists():
        raise NotToBeHad(f"no kernel in {kernel.suite}'s packages {kernel.image}")


def _unpack_all(suite: str, architecture: str, names: tuple[str, ...], scratch: Path) -> None:
    """Fetch packages and what they depend on, and unpack all of them into ``scratch/found``."""
    options = _private_state(suite, architecture, scratch)
    _run("apt-get", *options, "-q", "-y", "--no-install-recommends", "--download-only", "install", *names)
    for package in sorted((scratch / "archives").glob("*.deb")):
        _run("dpkg-deb", "-x", str(package), str(scratch / "found"))


def _private_state(suite: str, architecture: str, scratch: Path) -> list[str]:
    """Options for apt, its lists up to date: one suite, one architecture, nothing of this machine's own."""
    signed = f" signed-by={KEYS}" if KEYS.exists() else ""
    source = f"deb [arch={architecture}{signed}] {_mirror()} {suite} main\n"
    (scratch / "sources.list").write_text(source)
    (scratch / "status").touch()
    for folder in ("lists/partial", "archives/partial"):
        (scratch / folder).mkdir(parents=True)
    settings = {
        "Dir::State::Lists": scratch / "lists",
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch,
        "Dir::Etc::SourceList": scratch / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "APT::Architecture": architecture,
        "APT::Architectures::": architecture,
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "APT::Update::Error-Mode": "any",
    }
    options = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    _run("apt-get", *options, "-q", "update")
    return options


def _mirror() -> str:
    """The mirror that this machine has its own Debian from."""
    system = _system()
    lines = _run("apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages").splitlines()
    mirrors = [uri for release, uri in map(str.split, lines) if release == system.get("VERSION_CODENAME")]
    if system.get("ID") != "debian" or not mirrors:
        raise NotToBeHad("no mirror of Debian is in /etc/apt")
    return mirrors[0]


def _system() -> dict[str, str]:
    """What this machine runs."""
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _newest(names: list[str], pattern: str, suite: str) -> str:
    """The package with the highest numbers in its name."""
    fitting = [name for name in names if re.fullmatch(pattern, name)]
    if not fitting:
        raise NotToBeHad(f"{suite} has no package {pattern}")
    return max(fitting, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


def _pick(package: Path, files: Path, found: Path) -> None:
    """Take the kernel and the modules out of a package."""
    modules = [f"*/{name}.ko{ending}" for name in (*SWAP, *OTHERS) for ending in ("", ".xz", ".zst")]
    files.mkdir(exist_ok=True)
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as archive:
        words = ["tar", "-x", "-C", str(files), "--wildcards", *IMAGES, *modules]
        subprocess.run(words, stdin=archive.stdout, stderr=subprocess.DEVNULL, check=False, timeout=SECONDS)
    for path in files.rglob("*"):
        if path.is_file():
            shutil.move(path, found / ("vmlinuz" if path.name.startswith("vmlinu") else path.name))
    for packed, tool in (("*.ko.xz", "xz"), ("*.ko.zst", "zstd")):
        for path in found.glob(packed):
            _run(tool, "-d", "-q", "-f", str(path))
            path.unlink(missing_ok=True)


def _run(*words: str, cwd: Path | None = None) -> str:
    """What a command prints.

    Raises:
        NotToBeHad: It is not here, takes too long, or fails.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, cwd=cwd, timeout=SECONDS, check=True)
    except FileNotFoundError:
        raise NotToBeHad(f"{words[0]} is not here") from None
    except subprocess.TimeoutExpired:
        raise NotToBeHad(f"{words[0]} took longer than {SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        raise NotToBeHad(f"{words[0]} failed: {error.stderr.strip().splitlines()[-1:]}") from None
    return done.stdout
