"""The worker process: what it is asked, how it dies, and that it leaves nothing behind."""

import os
import signal
from contextlib import closing
from pathlib import Path

import pytest

from pagewalk import abi
from pagewalk.conform.campaign.compare import compare
from pagewalk.conform.scenarios import ARENA, At, Exit, File, Fork, KernelWrite, Mmap, Munmap, Read, Scenario, Write
from pagewalk.conform.scenarios.target import Outcome
from pagewalk.conform.sides.kernel import Kernel
from pagewalk.conform.sides.observe import describe, runs
from pagewalk.errors import ProcessError
from tests.conformance.stuck import GUARD_OVER_MARKER, SHARED, DieAll, WaitForEver

pytestmark = pytest.mark.slow

RW = abi.PROT_READ | abi.PROT_WRITE
FIXED = abi.MAP_PRIVATE | abi.MAP_ANONYMOUS | abi.MAP_FIXED


def children(pid):
    return [int(number) for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def files_open(pid):
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def states(view):
    return [(first, end, describe(state)) for first, end, state in runs(view) if state]


def test_a_page_is_told_from_a_zero_page_and_from_none(ask):
    records = ask(Scenario((Mmap(3 * 4096, RW, FIXED, At(0)), Write(At(0), b"x"), Read(At(1)))))
    view = records[-1].views[0][""]
    assert [str(row).split() for row in view.rows] == [["0-3", "rw-p", "0"]]
    assert states(view) == [
        (0, 1, "exclusive, present (pagemap), written, present"),
        (1, 2, "present (pagemap), written, present, zero page"),
    ]


def test_a_mapping_whose_place_the_kernel_chose_is_named(ask):
    steps = Mmap(8192, RW, name="m"), Write(At(1, 0, "m"), b"abc"), Read(At(1, 1, "m"), 2), Read(At(0, base="n"))
    records = ask(Scenario(steps))
    assert [record.outcome.value for record in records[:3]] == [At(0, base="m"), None, b"bc"]
    assert records[3].outcome.skipped
    view = records[3].views[0]["m"]
    assert (view.rows[0].start, view.rows[0].end, len(view.states)) == (0, 2, 2)


def test_scenarios_do_not_see_each_other(ask):
    ask(Scenario((Mmap(4096, RW, FIXED, At(0)), Write(At(0), b"x"))))
    assert ask(Scenario((Munmap(At(9), 4096),)))[0].views[0][""].rows == ()


def test_forked_children_are_observed_and_end(own_kernel):
    steps = Mmap(4096, RW, FIXED, At(0)), Fork(1), Fork(2, process=1), Write(At(0), b"x", process=2), Exit(process=1)
    run = own_kernel.run(Scenario(steps))
    records = list(run.records())
    assert [sorted(record.views) for record in records] == [[0], [0, 1], [0, 1, 2], [0, 1, 2], [0, 2]]
    assert [len(states(records[-1].views[number][""])) for number in (0, 2)] == [0, 1]
    run.close()
    assert children(own_kernel.pid) == []


def test_steps_of_processes_that_are_not_there_are_skipped(ask):
    records = ask(Scenario((Read(At(0), process=4), Fork(1), Fork(1), Exit(process=1), Read(At(0), process=1))))
    assert [bool(record.outcome.skipped) for record in records] == [True, False, True, False, True]


def test_a_scenario_process_that_dies_is_told_and_the_worker_goes_on(own_kernel):
    run = own_kernel.run(Scenario((Mmap(4096, RW, FIXED, At(0)), Read(At(0)))))
    leader = children(own_kernel.pid)[0]
    os.kill(leader, signal.SIGKILL)
    outcomes = [record.outcome for record in run.records()]
    run.close()
    assert "died: -9" in outcomes[0].trouble
    assert outcomes[1].skipped
    again = own_kernel.run(Scenario((KernelWrite(ARENA, b"x"),)))
    assert [record.outcome for record in again.records()] == [Outcome(errno=14)]
    again.close()


def test_a_worker_that_dies_is_an_error_with_the_scenario(own_kernel):
    os.kill(own_kernel.pid, signal.SIGKILL)
    with pytest.raises(ProcessError, match=r"(?s)worker \d+ died \(status -9\) while asked: .*KernelWrite"):
        own_kernel.run(Scenario((KernelWrite(At(0), b"x"),)))


def test_nothing_is_left_behind(own_kernel):
    open_files = []
    for kind in ("memfd", "disk", "memfd"):
        run = own_kernel.run(Scenario((Mmap(4096, RW, FIXED, At(0)), Fork(1)), (File("a", 2, kind),)))
        assert len(list(run.records())) == 2
        run.close()
        open_files.append(files_open(own_kernel.pid))
    assert len(set(open_files)) == 1
    assert children(own_kernel.pid) == []
    own_kernel.close()
    assert not Path(f"/proc/{own_kernel.pid}").exists()


def test_a_disk_file_is_mapped_under_its_own_name(ask):
    file = File("a", 2, "disk")
    records = ask(Scenario((Mmap(8192, RW, abi.MAP_SHARED | abi.MAP_FIXED, At(0), "a"), Read(At(1), 1)), (file,)))
    assert [row.name for row in records[0].views[0][""].rows] == ["a"]
    assert records[1].outcome == Outcome(b"\xc3")


@pytest.fixture
def hasty_kernel(kernel, monkeypatch):
    """One that waits no longer than a second, and knows the steps that never return."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with Kernel(timeout=1) as side:
        yield side


def check_it_goes_on(kernel):
    with closing(kernel.run(Scenario((SHARED, Fork(1), Read(At(0), process=1))))) as run:
        assert [record.outcome.value for record in run.records()] == [At(0), None, bytes(8)]
    assert children(kernel.pid) == []


def test_a_step_that_never_returns_is_ended(hasty_kernel, model):
    """The process that forked it has gone; another one waits: all are gone before the next scenario."""
    worker = hasty_kernel.pid
    steps = SHARED, Fork(1), Fork(2, process=1), Exit(process=1), WaitForEver(process=2), Read(At(0))
    verdict = compare(Scenario(steps), hasty_kernel, model)
    assert verdict == (None, "step 4, WaitForEver(process=2), did not return within 1 s")
    check_it_goes_on(hasty_kernel)
    assert hasty_kernel.pid == worker


def test_a_step_that_the_kernel_restarts_for_ever_is_ended(hasty_kernel):
    """SIGKILL ends it, and it is reported with its place; where the kernel knows better, it returns."""
    why = ""
    with closing(hasty_kernel.run(GUARD_OVER_MARKER)) as run:
        try:
            assert len(list(run.records())) == 2
        except ProcessError as error:
            why = str(error)
    assert not why or "step 1, GuardOverMarker(At(0)), did not return within 1 s" in why
    check_it_goes_on(hasty_kernel)


def test_a_worker_that_dies_at_a_scenario_is_replaced(hasty_kernel, model):
    check_it_goes_on(hasty_kernel)
    worker = hasty_kernel.pid
    verdict = compare(Scenario((SHARED, DieAll())), hasty_kernel, model)
    assert verdict.disagreement is None
    assert f"worker {worker} died (status -9) while asked: " in verdict.inconclusive
    check_it_goes_on(hasty_kernel)
    assert hasty_kernel.pid != worker


def test_a_child_outlives_the_process_that_forked_it(ask):
    steps = SHARED, Fork(1), Fork(2, process=1), Exit(process=1), Exit(), Write(At(0), b"x", process=2)
    assert [record.outcome for record in ask(Scenario(steps))][2:] == [Outcome()] * 4
