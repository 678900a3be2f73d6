"""Sides that are wrong on purpose, and pairs of sides for the processes of a crew."""

import os
import signal
from contextlib import contextmanager
from dataclasses import replace

from pagewalk import abi
from pagewalk.conform.scenarios import Madvise
from pagewalk.conform.scenarios.generate import generate
from pagewalk.conform.scenarios.target import Outcome
from pagewalk.conform.sides.kernel import Kernel
from pagewalk.conform.sides.side import Record


class Wrong:
    """The kernel, but for one answer or one look."""

    name = "wrong"

    def __init__(self, kernel, change):
        self._kernel = kernel
        self._change = change

    def run(self, scenario):
        return _WrongRun(self._kernel.run(scenario), scenario, self._change)


class _WrongRun:
    def __init__(self, run, scenario, change):
        self._run = run
        self._scenario = scenario
        self._change = change
        self.close = run.close

    @property
    def disturbed(self):
        return self._run.disturbed

    def books(self):
        return ""

    def records(self):
        for step, record in zip(self._scenario.steps, self._run.records(), strict=True):
            yield self._change(step, record)

    def finish(self, steps):
        outcomes = self._run.finish(steps)
        return [self._change(step, Record(o, {})).outcome for step, o in zip(steps, outcomes, strict=True)]


def wrong_errno(step, record):
    if isinstance(step, Madvise) and step.advice == abi.MADV_GUARD_INSTALL and record.outcome.errno == 12:
        return replace(record, outcome=Outcome(errno=22))
    return record


@contextmanager
def two_kernels():
    with Kernel() as one, Kernel() as other:
        other.name = "other kernel"
        yield one, other


@contextmanager
def kernel_and_liar():
    with Kernel() as one, Kernel() as other:
        yield one, Wrong(other, wrong_errno)


class Mortal:
    """A side whose process dies at one scenario."""

    name = "mortal"

    def __init__(self, side, seed):
        self._side = side
        self._scenario = generate(seed, 3)

    def run(self, scenario):
        if scenario == self._scenario:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._side.run(scenario)


@contextmanager
def kernel_and_mortal(seed):
    with Kernel() as one, Kernel() as other:
        yield one, Mortal(other, seed)


@contextmanager
def stillborn():
    os.kill(os.getpid(), signal.SIGKILL)
    yield
