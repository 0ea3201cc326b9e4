"""The quick parser of numbers, against Python's own."""

import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddeq_data.readers.text.tokens import Tokens

LAW = settings(max_examples=150, deadline=None, derandomize=True)
WHITE = st.text(" \t\n\r\v\f", min_size=1, max_size=3)
DIGITS = st.text("0123456789", max_size=9)


@st.composite
def texts(draw, tokens):
    words = draw(st.lists(tokens, max_size=12))
    content = draw(st.text(" \n", max_size=3))
    for word in words:
        content += word + draw(WHITE)
    if draw(st.booleans()):
        content = content.rstrip()
    return content.encode(), words


@LAW
@given(texts(st.text("abc0.-+", min_size=1, max_size=20)), st.integers(0, 4))
def test_tokens_are_those_of_split(text, start):
    content, _ = text
    found = Tokens.find(content, min(start, len(content)))
    expected = list(re.finditer(rb"\S+", content[start:]))
    assert (found.offsets() - start).tolist() == [match.start() for match in expected]
    assert (found.ends - found.shift - start).tolist() == [match.end() for match in expected]
    assert found.clean
    between = content[start:].strip()
    assert found.lines() == (between.count(b"\n") + 1 if between else 0)


@LAW
@given(texts(st.integers(0, 10**15 - 1).map(str)))
def test_naturals_are_those_of_python(text):
    content, words = text
    assert Tokens.find(content).naturals().tolist() == [int(word) for word in words]


@pytest.mark.parametrize("word", ["-1", "+1", "1.0", "a", "1e3", "1" * 16, "1:2", "1/2", "\x7f"])
def test_what_is_no_natural_number(word):
    for text in (word, f"1 {word} 2", f"{'3 ' * 9000}{word}"):
        assert Tokens.find(text.encode("latin-1")).naturals() is None


@LAW
@given(
    texts(
        st.builds(
            lambda sign, ahead, point, behind: sign + (ahead + point + behind if point else ahead),
            st.sampled_from(["", "-"]),
            DIGITS,
            st.sampled_from(["", ".", "."]),
            st.text("0123456789", max_size=6),
        ).filter(lambda word: any(map(str.isdigit, word)))
    )
)
def test_decimals_are_those_of_python(text):
    content, words = text
    found = Tokens.find(content).decimals()
    expected = np.array([float(word) for word in words])
    assert np.array_equal(found, expected)
    assert np.array_equal(np.signbit(found), np.signbit(expected))


@LAW
@given(texts(st.text("0123456789.-/:", min_size=1, max_size=18)), st.sampled_from([0, 3, 300]))
def test_anything_is_read_as_python_does_or_refused(text, others):
    # With many others of up to 8 characters the long ones are read apart from them.
    content, words = text
    found = Tokens.find(content + b" 0.25" * others).decimals()
    plain = [re.fullmatch(r"-?(\d+\.?\d*|\.\d+)", word) for word in words]
    if not all(plain):
        assert found is None
    elif all(sum(map(str.isdigit, word)) <= 15 for word in words) or found is not None:
        assert found.tolist() == [float(word) for word in words] + [0.25] * others


def test_random_numbers_are_correctly_rounded():
    chance = random.Random(0)
    words = [f"{chance.uniform(-10, 10) * 10 ** chance.randint(-3, 4):.{chance.randint(0, 8)}f}"
             for _ in range(40_000)]  # fmt: skip
    assert Tokens.find(" ".join(words).encode()).decimals().tolist() == list(map(float, words))


def test_a_few_others_are_read_by_themselves():
    words = ["0.25", "-3", "17.125"] * 200
    rare = ["1e-05", "-2.5E+3", "nan", "inf", "+4.5", "0.12345678901234567"]
    for k, word in enumerate(rare):
        words[97 * k] = word
    found = Tokens.find("\n".join(words).encode()).decimals()
    np.testing.assert_array_equal(found, [float(word) for word in words])
    words[::3] = ["1e-05"] * 200
    assert Tokens.find("\n".join(words).encode()).decimals() is None


@pytest.mark.parametrize(
    "word",
    [
        "x",
        ".",
        "-",
        "-.",
        "1.2.3",
        "..1",
        "1-2",
        "--1",
        "1_0",
        "0x10",
        "1e",
        "1,5",
        "١",
        "1.2345678.9",
        "12345678.90.5",
        "1.23456789.",
        "1.2/3",
        "-12345678-1",
    ],
)
def test_what_is_no_decimal(word):
    for words in ([word], ["0.5"] * 300 + [word] + ["0.5"] * 300, [word] * 80, ["7", word]):
        assert Tokens.find(" ".join(words).encode()).decimals() is None


@pytest.mark.parametrize("byte", [0, 1, 8, 14, 26, 31])
def test_control_characters_are_no_white_space(byte):
    found = Tokens.find(b"1 2" + bytes([byte]) + b"3")
    assert not found.clean
    assert len(found) == 3
    assert found.naturals() is None
    assert found.decimals() is None


@pytest.mark.parametrize("length", [2**16 - 1, 2**16, 2**16 + 1, 2**17, 3 * 2**16 + 5])
def test_the_edges_of_blocks_are_seen(length):
    for unit in (b"1 ", b"12\n", b"1234567 ", b" 5"):
        content = (unit * (length // len(unit) + 1))[:length]
        for start in (0, 1, 20):
            found = Tokens.find(content, start)
            assert found.naturals().tolist() == [int(x) for x in content[start:].split()]
