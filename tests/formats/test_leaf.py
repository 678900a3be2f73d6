"""What a page shall be, made an entry: it says that and nothing else, or is refused."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest

from pagewalk.errors import UnsupportedError
from pagewalk.formats import (
    FORMATS,
    Flag,
    Kind,
    Leaf,
    Level,
    Rights,
    find_format,
    kernel_of,
    kernel_text,
    made,
    rights_of,
    rights_text,
    sizes_of,
)
from pagewalk.formats.flags import GRANTED

EVERY = Rights.all()


def every_rights() -> list[str]:
    """Every text that says rights."""
    texts = ["".join(places) for places in product("r-", "w-", "xX-", "u-")]
    return [text for text in texts if not ("X" in text and "u" not in text) and text != "---u"]


def leaves(name: str) -> list[tuple[Level, int, int]]:
    """Every level of a format that maps pages, with the sizes of them."""
    levels = find_format(name).real_levels
    return [(level, size, order) for level in levels for size, order in sizes_of(level).items()]


def asked(level, paddrs, leaf: Leaf, why: str, *, order: int = 0):
    """Entries, or None where the format cannot say it, and then says why."""
    try:
        return made(level, paddrs, leaf, order=order)
    except UnsupportedError as error:
        told = str(error)
    assert re.search(why, told)
    return None


@pytest.mark.parametrize("text", every_rights())
def test_rights_are_text_and_back(text: str) -> None:
    assert rights_text(rights_of(text)) == text


@pytest.mark.parametrize("text", ["", "rw", "rwxuu", "RW-U", "rw-u ", "-r-u", "r-X-", "---u", "rwxu\n", 7])
def test_what_says_no_rights(text) -> None:
    with pytest.raises(ValueError, match=r"rights|nobody|write x"):
        rights_of(text)


@pytest.mark.parametrize("name", FORMATS)
def test_an_entry_says_what_was_asked_for_or_there_is_none(name: str) -> None:
    said = 0
    for (level, size, order), text in product(leaves(name), every_rights()):
        paddrs = np.arange(3 << order, 5 << order, dtype=np.uint64) * np.uint64(level.span)
        entries = asked(level, paddrs, Leaf(rights_of(text)), f"grants {text} alone", order=order)
        if entries is None:
            continue
        said += 1
        for at, entry in enumerate(entries.tolist()):
            found = level.decode(entry)
            assert (found.kind, found.row.order) == (Kind.PRESENT, order)
            assert not level.wrong(entry)
            assert rights_text(level.effective(entry, EVERY)) == text
            assert level.page_at(entry, at * level.span) == int(paddrs[at])
            assert made(level, int(paddrs[at]), Leaf(rights_of(text)), order=order) == entry
            assert size == level.span << order
    assert said >= 4 * len(leaves(name))


@pytest.mark.parametrize("name", FORMATS)
def test_a_new_page_needs_no_cpu_to_write_its_entry(name: str) -> None:
    last = find_format(name).last
    has = last.flags(made(last, 0, Leaf(rights_of("rwxu"))))
    alone = last.flags(made(last, 0, Leaf(rights_of("r-xu"))))
    assert Flag.ACCESSED in has
    assert Flag.ACCESSED in alone
    assert Flag.DIRTY not in alone
    assert last.flags(made(last, 0, Leaf(rights_of("rwxu"), state=Flag(0)))) & Flag.ACCESSED == Flag(0)


@pytest.mark.parametrize("name", FORMATS)
def test_memory_types_and_keys_are_said_or_refused(name: str) -> None:
    last = find_format(name).last
    for what, number in product(("memory", "key"), range(20)):
        leaf = Leaf(rights_of("rwxu"), memory=number * (what == "memory"), key=number * (what == "key"))
        entry = asked(last, 0x400000, leaf, f" {number} in this format|leave it out")
        assert getattr(last.decode(entry), what) == number if entry is not None else number


def test_of_several_encodings_the_one_that_grants_least_is_taken() -> None:
    last = find_format("arm64-4k").last
    granted = last.decode(made(last, 0, Leaf(rights_of("r-xu")))).rights
    assert granted == Rights.USER_READ | Rights.USER_EXEC | Rights.KERNEL_READ


@pytest.mark.parametrize(
    ("name", "text"), [("x86-64", "--x-"), ("x86-64", "-w-u"), ("riscv-sv39", "r-Xu"), ("ia32", "rw-u")]
)
def test_rights_that_a_format_cannot_say(name: str, text: str) -> None:
    with pytest.raises(UnsupportedError, match=f"no PTE entry grants {text} alone"):
        made(find_format(name).last, 0, Leaf(rights_of(text)))


def test_sizes_and_addresses_that_a_level_has_not() -> None:
    last = find_format("x86-64").last
    with pytest.raises(UnsupportedError, match="PTE entries map no pages of 0x10000 bytes, but 0x1000"):
        made(last, 0, Leaf(rights_of("rw-u")), order=4)
    with pytest.raises(ValueError, match="0x800 is not the address"):
        made(last, 0x800, Leaf(rights_of("rw-u")))
    with pytest.raises(ValueError, match="0x1000 is not the address of a part of a page of 0x200000 bytes"):
        made(find_format("x86-64").levels[3], np.array([0, 0x1000], np.uint64), Leaf(rights_of("rw-u")))


def test_rights_flags_leave_no_room_for_state() -> None:
    last = find_format("x86-64").last
    leaf = Leaf(rights_of("r--u"), state=Flag.WRITE | Flag.GLOBAL)
    flags = last.flags(made(last, 0, leaf))
    assert flags & (GRANTED | Flag.GLOBAL | Flag.ACCESSED) == Flag.READ | Flag.USER | Flag.GLOBAL


@pytest.mark.parametrize("text", ["---", "r--", "rw-", "r-x", "rwx", "-w-"])
def test_the_kernels_rights_are_text_and_back(text: str) -> None:
    assert kernel_text(kernel_of(text)) == text


@pytest.mark.parametrize("text", ["", "rw", "rw-u", "rwX", 7])
def test_what_says_no_rights_of_the_kernel(text) -> None:
    with pytest.raises(ValueError, match="no rights of the kernel"):
        kernel_of(text)


@pytest.mark.parametrize("name", FORMATS)
def test_the_kernels_rights_are_those_that_were_said(name: str) -> None:
    last, said = find_format(name).last, 0
    for text, kernel in product(every_rights(), map("".join, product("r-", "w-", "x-"))):
        leaf = Leaf(rights_of(text), kernel=kernel_of(kernel))
        entry = asked(last, 0, leaf, f"grants {text} with {kernel} for the kernel in")
        if entry is not None:
            said += 1
            granted = last.access.allowed(last.decode(entry).rights)
            assert kernel_text(granted) == kernel
            assert rights_text(last.effective(entry, EVERY)) == text
    assert said >= 4
