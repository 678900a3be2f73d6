"""The real command line, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "pagewalk"]


@pytest.fixture(scope="session")
def run():
    """Run ``pagewalk ARGS``; keyword arguments go to ``subprocess.run``."""

    def call(*args, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "timeout": 60, **options}
        return subprocess.run([*COMMAND, *map(str, args)], check=False, **options)

    return call


@pytest.fixture(scope="session")
def fails(run):
    """Run it, see that it prints nothing but one line on standard error, and hand back that line."""

    def call(code, *args, **options):
        done = run(*args, **options)
        assert done.returncode == code, done.stderr
        assert not done.stdout
        assert done.stderr.startswith("pagewalk: ")
        assert done.stderr.count("\n") == 1
        return done.stderr.strip()

    return call
