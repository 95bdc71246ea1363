"""File names as text: always valid UTF-8, always turned back into the same bytes."""

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workers.storage.names import decode_name, encode_name


@given(st.binary())
@example(b"\\xff")
@example(b"\\\xff\\")
@example("gänse\n雛菊".encode())
@example(b"\xc3(\xe9\xf0\x9f")
def test_every_name_is_valid_utf8_and_can_be_turned_back(name):
    text = encode_name(os.fsdecode(name))

    assert os.fsencode(decode_name(text)) == name
    assert text.encode("utf-8").decode("utf-8") == text


@given(st.binary(), st.binary())
def test_different_names_have_different_texts(one, other):
    same = encode_name(os.fsdecode(one)) == encode_name(os.fsdecode(other))

    assert same == (one == other)


@given(st.binary(), st.binary())
def test_folder_and_file_are_encoded_apart_or_together_with_the_same_result(folder, file):
    path = os.fsdecode(folder + b"/" + file)

    together = encode_name(path)

    assert together == f"{encode_name(os.fsdecode(folder))}/{encode_name(os.fsdecode(file))}"


@pytest.mark.parametrize("name", ["a.jpg", "gänse blümchen.jpg", "雛菊🌼", "new\nline", "-rf ' \""])
def test_ordinary_names_stay_as_they_are(name):
    assert encode_name(name) == name


@pytest.mark.parametrize(
    ("name", "text"), [(b"\xff.jpg", r"\xff.jpg"), (b"a\\b", r"a\\b"), (b"\\x41", r"\\x41")]
)
def test_bytes_that_are_no_text_and_backslashes_are_escaped(name, text):
    assert encode_name(os.fsdecode(name)) == text


def test_a_file_of_any_name_is_found_again(tmp_path):
    name = os.fsdecode(b"\xff\xfe \\x00 \xc3\xa4.jpg")
    (tmp_path / name).write_bytes(b"content")

    found = decode_name(encode_name(os.listdir(tmp_path)[0]))

    assert (tmp_path / found).read_bytes() == b"content"
