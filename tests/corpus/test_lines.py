import gzip

import pytest

from bmae_lightning.corpus.lines import Problems, as_object, as_text, plain_or_gzip, raw_lines
from bmae_lightning.runtime.errors import BadInput


def test_lines_keep_their_numbers_and_lose_bom_blank_lines_and_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbfone\r\n\n  \ntwo \xe2\x80\xa8 three\n")
    lines = [(number, as_text(path, number, line)) for number, line in raw_lines(path)]
    assert lines == [(1, "one"), (4, "two \u2028 three")]


def test_gzip_gives_the_same_lines(tmp_path):
    plain, zipped = tmp_path / "a.txt", tmp_path / "a.txt.gz"
    plain.write_bytes(b"one\ntwo\n")
    zipped.write_bytes(gzip.compress(b"one\ntwo\n"))
    assert list(raw_lines(plain)) == list(raw_lines(zipped))
    with pytest.raises(BadInput, match=r"a\.txt and a\.txt\.gz exist.*remove one"):
        plain_or_gzip(plain)
    plain.unlink()
    assert plain_or_gzip(plain) == zipped
    zipped.unlink()
    assert plain_or_gzip(plain) is None


def test_gzip_cut_short_names_file_and_line(tmp_path):
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"".join(b"line %d\n" % (i * i) for i in range(5000)))[:-200])
    with pytest.raises(BadInput, match=r"a\.txt\.gz:\d+: the gzip file is cut short"):
        list(raw_lines(path))


@pytest.mark.parametrize(
    "content",
    [b"plain text\n", gzip.compress(b"x" * 1000)[:12] + b"damage in the middle"],
    ids=["plain text", "damaged in the middle"],  # a gzip header holds the time: workers would collect different names
)
def test_damaged_gzip(tmp_path, content):
    path = tmp_path / "a.gz"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"a\.gz:1: not a sound gzip file"):
        list(raw_lines(path))


def test_unreadable_file(tmp_path):
    with pytest.raises(BadInput, match=r"nothing\.txt cannot be read: No such file"):
        list(raw_lines(tmp_path / "nothing.txt"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"_id": "1", "te', r"f:7: not JSON \(.*at column \d+\)"),
        (b'["1"]', r"f:7: holds a JSON list"),
        (b'"1"', r"f:7: holds a JSON str"),
        (b'{"text": "caf\xe9"}', r"f:7: byte 14 of the line \(0xe9\) is not UTF-8.*iconv"),
        (b'{"text": "\\ud800"}', r"f:7: .*surrogate"),
        (b"[" * 100_000, r"f:7: JSON nested too deeply"),
    ],
)
def test_broken_objects(tmp_path, line, message):
    with pytest.raises(BadInput, match=message):
        as_object(tmp_path / "f", 7, line)


def test_a_whole_surrogate_pair_is_text(tmp_path):
    assert as_object(tmp_path / "f", 1, b'{"text": "\\ud83d\\ude00"}') == {"text": "\U0001f600"}


def test_first_problem_counts_its_own_kind(tmp_path):
    problems = Problems()
    problems.raise_if_any()
    for number, line in enumerate([b"{", b"\xff", b"}", b"["], start=1):
        try:
            as_object(tmp_path / "f", number, line)
        except BadInput as problem:
            problems.add(problem)
    with pytest.raises(BadInput, match=r"f:1: not JSON.*\(2 more such lines in this file"):
        problems.raise_if_any()
