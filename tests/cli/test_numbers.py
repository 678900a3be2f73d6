"""Numbers as people have them: each form, each refusal, and the generator that draws both."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pagewalk.numbers import MOST, parse

DRAWN = settings(max_examples=200, deadline=None)
WORDS = st.integers(0, MOST)
UNITS = {"": 0, "K": 10, "m": 20, "G": 30, "t": 40}


class TestForms:
    """Kernels, debuggers, /proc and people each write numbers in their own way."""

    @pytest.mark.parametrize("address", [False, True])
    @pytest.mark.parametrize(
        ("text", "number"),
        [("0", 0), ("4096", 4096), ("0x1000", 4096), ("0X1F", 31), ("4K", 4096), ("2m", 2 << 20), ("0x10G", 16 << 30),
         ("128T", 1 << 47), ("0xffff_8000_0000_0000", 0xFFFF_8000_0000_0000), ("0x00401000", 0x401000),
         ("fffff800`12345678", 0xFFFF_F800_1234_5678), ("0xfffff800`12345678", 0xFFFF_F800_1234_5678),
         ("00000000`00401000", 0x401000), ("0x10000000000000000", MOST), ("99999999", 99_999_999),
         ("4194304K", 4 << 30), ("123456789K", 123_456_789 << 10), ("0x" + "0" * 5000 + "1", 1)],
    )  # fmt: skip
    def test_either(self, text, number, address):
        assert parse(text, address=address) == number

    @pytest.mark.parametrize(
        ("text", "number"),
        [("ffffffff81000000", 0xFFFF_FFFF_8100_0000), ("7fed_df20_3000", 0x7FED_DF20_3000), ("DEADBEEF", 0xDEAD_BEEF),
         ("0000a000", 0xA000), ("a", 10)],
    )  # fmt: skip
    def test_hexadecimal_where_an_address_is_expected(self, text, number):
        assert parse(text, address=True) == number
        with pytest.raises(ValueError, match="not a number"):
            parse(text)

    @pytest.mark.parametrize(
        ("text", "readings"),
        [("00401000", "0x401000 or 0x61e68"), ("555555554000", "0x555555554000 or 0x8159a108e0"),
         ("123456789", "0x123456789 or 0x75bcd15"), ("00", "0x0 or 0x0"), ("08", "0x8 or 0x8")],
    )  # fmt: skip
    def test_digits_that_could_be_either_are_refused_with_the_two_readings(self, text, readings):
        readings = readings.replace("0x8159a108e0", f"{555555554000:#x}")
        with pytest.raises(ValueError, match=f"'{text}' could be hexadecimal or decimal: write {readings}$"):
            parse(text, address=True)
        assert parse(text) == int(text)

    @pytest.mark.parametrize("address", [False, True])
    @pytest.mark.parametrize(
        "text",
        ["", " ", "-1", "+1", " 1", "1 ", "1\n", "1.5", "1.e3", "4Q", "KK", "K", "0x", "0xg", "0x_1", "0x1_", "0x1__2",
         "1_000", "_1", "fK", "\u0664", "\uff14", "0x\uff14", "1\xb2", "12345678`1", "123456789`12345678",
         "`12345678", "fffff800`123456789", "fffff800`12345678K", "0o7", "\x1b[31m", "\udcff", "K4", "4KiB", "4 K",
         "4\u212a", "zz"],
    )  # fmt: skip
    def test_what_is_no_number(self, text, address):
        with pytest.raises(ValueError, match=r"is not a number: write 4096, 0x1000 or 4K$"):
            parse(text, address=address)

    @pytest.mark.parametrize("address", [False, True])
    @pytest.mark.parametrize(
        "text", ["9" * 5000, "0x" + "f" * 5000, "1" + "0" * 5000 + "K", "0x10000000000000001", "18446744073709551617",
                 "16777217T", "0x1ffffffT", "0" * 4999 + "9" * 5000, "9" * 33]
    )  # fmt: skip
    def test_more_than_64_bits(self, text, address):
        with pytest.raises(ValueError, match="is too large: no address or size has more than 64 bits") as caught:
            parse(text, address=address)
        assert len(str(caught.value)) < 150


class TestDrawn:
    @DRAWN
    @given(WORDS)
    def test_every_word_is_read_back(self, word):
        digits = f"{word:x}"
        grouped = f"0x{word:_x}"
        for text in (f"0x{digits}", f"0X{digits.upper()}", grouped):
            assert parse(text) == parse(text, address=True) == word
        assert parse(str(word)) == word
        if word < MOST:
            assert parse(f"{word >> 32:08x}`{word & 0xFFFF_FFFF:08x}", address=True) == word
        if re.search("[a-f]", digits):
            assert parse(digits, address=True) == parse(f"{word:016x}", address=True) == word

    @DRAWN
    @given(st.integers(0, 1 << 24), st.sampled_from(list(UNITS)))
    def test_units(self, count, unit):
        assert parse(f"{count}{unit}") == parse(f"{count:#x}{unit}", address=True) == count << UNITS[unit]

    @DRAWN
    @given(st.from_regex(r"0[0-9]{1,40}|[1-9][0-9]{8,40}", fullmatch=True))
    def test_no_guess(self, digits):
        with pytest.raises(ValueError, match=r"could be|too large") as caught:
            parse(digits, address=True)
        if "write" in str(caught.value):
            readings = str(caught.value).split("write ")[1].split(" or ")
            assert int(digits, 16) > MOST or parse(readings[0]) == int(digits, 16)
            assert parse(readings[1], address=True) == int(digits)

    @DRAWN
    @given(
        st.text(st.characters() | st.sampled_from("0123456789abcdefxXKMGT_`+- \u0664\x1b\udc80"), max_size=30),
        st.booleans(),
    )
    def test_any_text_is_a_number_or_a_line(self, text, address):
        try:
            number = parse(text, address=address)
        except ValueError as error:
            number, line = None, str(error)
        if number is None:
            assert line.isprintable()
            assert len(line) < 250
        else:
            assert 0 <= number <= MOST
            assert re.fullmatch(r"[0-9a-fxkmgt_`]+", text, re.IGNORECASE | re.ASCII)
