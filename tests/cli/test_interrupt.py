"""Ctrl-C at any time, imports included, is exit 130 and one line.

How it works. The command runs once, in a child. At each point to be tried the child forks, and the fork is interrupted
there: so hundreds of moments are tried in a second or two.
"""

import json
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

CHILD = """
import json, os, signal, sys

TALLY = {"points": 0, "wrong": []}
WHERE, EVERY = sys.argv[1], int(sys.argv[2])
seen = 0

def point(what):
    # Fork; the fork is interrupted here and goes on as it may, while the original waits and then goes on undisturbed.
    global seen
    seen += 1
    if seen % EVERY or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        return
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(writing, 2)
        os.close(reading), os.close(writing)
        sys.setprofile(None)
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Finder)]
        signal.raise_signal(signal.SIGINT)
        return
    os.close(writing)
    with open(reading, "rb", 0) as pipe:
        said = pipe.read().decode()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    TALLY["points"] += 1
    if (code, said.strip()) != (130, "pagewalk: interrupted"):
        TALLY["wrong"].append([what, code, said])

class Finder:
    def find_spec(self, name, *rest):
        point(f"import {name}")

def called(frame, event, argument):
    if event == "call" and (WHERE == "calls" or frame.f_code.co_name in ("cb", "__set_name__")):
        point(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")

original = os.getpid()
result, stdout = os.dup(1), os.open(os.devnull, os.O_WRONLY)
os.dup2(stdout, 1)
sys.argv = ["pagewalk", *sys.argv[3:]]
from _pagewalk import main
if WHERE == "imports":
    sys.meta_path.insert(0, Finder())
try:
    if WHERE != "imports":
        sys.setprofile(called)
    main()
finally:
    sys.setprofile(None)
    if os.getpid() == original:
        os.write(result, json.dumps(TALLY).encode())
"""


def interrupted(where, every, *arguments):
    """Interrupt a command at many points: how many they were, and those where it did not end as it should."""
    command = [sys.executable, "-c", CHILD, where, every, *arguments]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    tally = json.loads(done.stdout)
    return tally["points"], tally["wrong"]


@pytest.mark.parametrize(("every", "command"), [(1, "--help"), (3, "map"), (5, "demo"), (5, "conform")])
def test_while_modules_are_imported(guest, every, command):
    image = [guest.path, "--root", hex(guest.root), "--end", "0x1000000"]
    more = {"map": image, "conform": ["--help"]}.get(command, [])
    points, wrong = interrupted("imports", every, command, *more)
    assert points > 10
    assert wrong == []


@pytest.mark.parametrize("command", ["map", "vtop"])
def test_at_any_call(guest, command):
    options = [guest.path, "--root", hex(guest.root)]
    more = ["0x401000"] if command == "vtop" else ["--end", "0x1000000"]
    points, wrong = interrupted("calls", 251 if command == "vtop" else 997, command, *options, *more)
    assert points > 10
    assert wrong == []


def test_where_an_exception_is_swallowed(guest):
    """In a weak reference's callback it would be printed and forgotten, in ``__set_name__`` become a RuntimeError."""
    points, wrong = interrupted("hooks", 5, "vtop", guest.path, "--root", hex(guest.root), "0x401000")
    assert points > 10
    assert wrong == []


def test_where_a_shell_ignores_it():
    """A command in a script's background is started with SIGINT ignored: it stays so."""
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from _pagewalk import main; sys.argv = ['pagewalk', '--version']\n"
        "try: main()\nfinally: print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "True"


def test_terminated(guest):
    """SIGTERM ends it as it ends any program."""
    command = [sys.executable, "-m", "pagewalk", "map", guest.path, "--root", hex(guest.root), "--pages"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().startswith("ADDRESSES")
        process.terminate()
        assert process.stderr.read() == ""
    assert process.returncode == -signal.SIGTERM
