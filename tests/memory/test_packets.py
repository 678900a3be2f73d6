"""gdb's packets: what is made is taken apart again, and nothing that arrives does more than be refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pagewalk as pw
from pagewalk.memory.machines.packets import LONGEST, Packets, packed

PAYLOADS = st.binary(max_size=300)
PIECES = st.one_of(
    st.binary(max_size=20),
    st.sampled_from([b"$", b"#", b"*", b"}", b"+", b"%", b"$OK#9a", b"#00", b"0* ", b"$0*~#", b"-"]),
    PAYLOADS.map(packed),
)


def framed(raw: bytes) -> bytes:
    """A packet of bytes as they are."""
    return b"$%b#%02x" % (raw, sum(raw) & 0xFF)


class TestSound:
    """Debugging with GDB, appendix E.1."""

    @given(st.lists(PAYLOADS, max_size=5), st.integers(1, 50))
    def test_in_any_pieces(self, payloads: list[bytes], step: int) -> None:
        stream = b"+".join(map(packed, payloads))
        packets, found = Packets(), []
        for at in range(0, len(stream), step):
            found += packets.feed(stream[at : at + step])
        assert found == payloads

    @given(st.binary(min_size=300, max_size=4096))
    def test_sums_of_long_ones(self, payload: bytes) -> None:
        """Those that NumPy adds up."""
        assert Packets().feed(packed(payload)) == [payload]

    @pytest.mark.parametrize(
        ("raw", "payload"),
        [
            (b"0* ", b"0000"),  # "0* " is the manual's example
            (b"0*~", b"0" * 98),
            (b"ab*!c", b"abbbbbc"),
            (b"0* * ", b"0" * 7),
            (b"}\x03}\x04}]}\x0a", b"#$}*"),
            (b"", b""),
        ],
    )
    def test_repeats_and_escapes(self, raw: bytes, payload: bytes) -> None:
        assert Packets().feed(framed(raw)) == [payload]

    def test_what_is_passed_over(self) -> None:
        assert Packets().feed(b"+++%Stop:T05#aa+$OK#9a+") == [b"OK"]


BROKEN = {
    b"$OK#9b": "checksum",
    b"$OK#xy": "checksum",
    b"hello": "where a packet",
    b"-$OK#9a": "where a packet",
    b"$OK#9a!": "where a packet",
    framed(b"*!"): "repeats wrongly",
    framed(b"0*"): "repeats wrongly",
    framed(b"0*\x1f"): "repeats wrongly",
    framed(b"0*\xff"): "repeats wrongly",
    framed(b"abc}"): "ends with an escape",
    framed(b"0" + b"*~" * 700): "more than",
    framed(b"0" * (LONGEST + 1)): "more than",
    b"$" + b"0" * (LONGEST + 2): "more than",
}


class TestBroken:
    @pytest.mark.parametrize("data", BROKEN, ids=lambda data: repr(data[:12]))
    def test_is_refused(self, data: bytes) -> None:
        with pytest.raises(pw.ImageFormatError, match=BROKEN[data]) as caught:
            Packets().feed(data)
        assert len(str(caught.value)) < 200

    @given(st.lists(PIECES, max_size=12))
    @settings(max_examples=2000)
    def test_whatever_arrives(self, pieces: list[bytes]) -> None:
        packets = Packets()
        try:
            found = [payload for piece in pieces for payload in packets.feed(piece)]
        except pw.ImageFormatError:
            return
        assert sum(map(len, found)) <= 97 * sum(map(len, pieces))
