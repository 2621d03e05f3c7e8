"""No bytes from outside do anything but be read or be refused: the corpus, and what hypothesis thinks of.

`scripts/fuzz` searches further, by coverage; what it finds goes into the corpus.
"""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus(name: str) -> None:
    """What once went wrong, and what a target takes."""
    target = TARGETS[name]
    for seed in target.seeds:
        target.check(seed)
        target.read(seed)
    for path in sorted((CORPUS / name).glob("*")):
        target.check(path.read_bytes())


def test_the_corpus_is_of_targets_that_exist() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)


@st.composite
def changed(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A seed with parts put elsewhere, cut out, doubled or overwritten."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 16))
        part = draw(
            st.one_of(
                st.binary(max_size=8),
                st.sampled_from(EDGES),
                st.just(bytes(data[at : at + length]) * draw(st.integers(0, 3))),
            )
        )
        data[at : at + length] = part
    return bytes(data)


EDGES = (
    b"\x00",
    b"\xc0",
    b"\x7f",
    b"\xff" * 8,
    b"\xcf" + b"\xff" * 8,
    b"\xd3" + b"\x80" + bytes(7),
    b"\xdd" + b"\xff" * 4,
    b"\xdf" + b"\xff" * 4,
    b"\xc6" + b"\xff" * 4,
    b"\x91" * 2_000,
    b"\x81\xa1a" * 700,
    b"[" * 2_000,
    b'{"a":' * 700,
    b"\xa1\xff",
    b"\xd9\x02\xc3\x28",
    "\u0660\u00b2\ufeff".encode(),
    b"1e999",
    b"-0",
    b"NaN",
)
"""Where decoders break: ends of ranges, lengths that lie, deep nests, text that is none."""


@pytest.mark.parametrize("name", TARGETS)
def test_what_nobody_sends_is_refused_and_no_more(name: str) -> None:
    target = TARGETS[name]
    data = st.binary(max_size=200)
    if target.seeds:
        data = st.one_of(changed(target.seeds), data)

    @settings(max_examples=60)
    @given(data)
    def holds(bytes_: bytes) -> None:
        target.check(bytes_)

    holds()
