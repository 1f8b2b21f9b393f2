"""A line of generated texts: written and read again, and every mistake named."""

from pathlib import Path

import pytest

from bmae_lightning.corpus.lines import BrokenLine
from bmae_lightning.pretraining.generate.record import Generated, parse

FILE = Path("texts.jsonl")


@pytest.mark.parametrize(
    "record",
    [
        Generated("p1", ["what is it", 'a "quoted" one'], "goes on so"),
        Generated("p2", [], None),
        Generated("p ü", ["line\nbreak"], ""),
    ],
)
def test_a_line_is_read_as_it_was_written(record):
    line = record.line()
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert parse(FILE, 1, line.encode()) == record


def test_what_is_left_out_is_absent_and_numbers_are_ids():
    assert parse(FILE, 1, b'{"_id": 7}') == Generated("7", [], None)
    assert parse(FILE, 1, b'{"_id": "a", "queries": null, "continuation": null}') == Generated("a", [], None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{}", 'has no "_id"'),
        (b'{"_id": true}', 'has the bool True as "_id"'),
        (b'{"_id": [1]}', 'has the list [1] as "_id"'),
        (b'{"_id": "a", "querys": []}', "unknown key 'querys'; did you mean 'queries'?"),
        (b'{"_id": "a", "z": 1}', "unknown key 'z'; a line has _id, queries, continuation."),
        (b'{"_id": "a", "queries": "b"}', "\"queries\" of 'a' must be a list of strings"),
        (b'{"_id": "a", "queries": [1]}', "not [1]."),
        (b'{"_id": "a", "continuation": 3}', "\"continuation\" of 'a' must be a string or null, not 3."),
    ],
)
def test_broken_records_name_file_line_and_mistake(line, message):
    with pytest.raises(BrokenLine) as caught:
        parse(FILE, 5, line)
    assert str(caught.value).startswith("texts.jsonl:5: ")
    assert message in str(caught.value)


def test_long_values_are_cut_in_messages():
    with pytest.raises(BrokenLine, match=r"not \"x{59} \.\.\.\.$"):
        parse(FILE, 1, b'{"_id": "a", "queries": "' + b"x" * 500 + b'"}')
