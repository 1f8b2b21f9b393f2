"""Progress lines, with a clock that the test sets."""

import io

import pytest

from bmae_lightning.runtime import progress
from bmae_lightning.runtime.progress import duration, track


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def first_rank(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)


def steps(stream, seconds, n, total=2083, label="encode", **keywords):
    clock = Clock()
    with track(label, total, stream=stream, clock=clock, **keywords) as advance:
        for _ in range(n):
            clock.now += seconds
            advance(100)


def test_plain_lines_every_ten_seconds_and_one_at_the_end():
    stream = io.StringIO()
    steps(stream, 2.5, 9)
    assert stream.getvalue().splitlines() == [
        "encode: 400/2,083 passages  40/s  ETA 0:42",
        "encode: 800/2,083 passages  40/s  ETA 0:32",
        "encode: 900/2,083 passages  40/s  in 0:22",
    ]


def test_a_short_loop_leaves_one_line():
    for stream in (io.StringIO(), Terminal()):
        steps(stream, 0.1, 5, total=500, unit="queries")
        assert stream.getvalue() == "encode: 500/500 queries  1,000/s  in 0:00\n"


def test_slow_rates_hours_and_nothing_done():
    stream = io.StringIO()
    steps(stream, 3000.0, 1, total=200)
    assert stream.getvalue().splitlines()[0] == "encode: 100/200 passages  0.033/s  ETA 50:00"
    steps(stream, 9000.0, 1, total=300)
    assert stream.getvalue().splitlines()[-1] == "encode: 100/300 passages  0.011/s  in 2:30:00"
    steps(stream, 1.0, 0, total=0)
    assert stream.getvalue().splitlines()[-1] == "encode: 0/0 passages  0/s  in 0:00"


def test_an_error_passes_and_what_was_done_is_said():
    stream = io.StringIO()

    def interrupted():
        with track("mine", 10, stream=stream, clock=Clock()) as advance:
            advance(4)
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert stream.getvalue() == "mine: 4/10 passages  0/s  in 0:00\n"


def test_bar_on_a_terminal_and_nested_use(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    clock, stream = Clock(), Terminal()
    with track("outer [x]", 3, stream=stream, clock=clock) as outer:
        for _ in range(3):
            clock.now += 2
            outer(1)
            with track("inner", 2, unit="queries", stream=stream, clock=clock) as inner:
                for _ in range(2):
                    clock.now += 2
                    inner(1)
        assert len(progress._bars) == 1
    assert progress._bars == []
    text = stream.getvalue()
    assert text.count("inner: 2/2 queries  0.5/s  in 0:04") == 3
    assert text.endswith("outer [x]: 3/3 passages  0.17/s  in 0:18\n")
    assert "ETA" in text


def test_nested_plain_use():
    stream, clock = io.StringIO(), Clock()
    with track("a", 1, stream=stream, clock=clock) as outer, track("b", 1, stream=stream, clock=clock) as inner:
        inner(1)
        outer(1)
    assert [line[0] for line in stream.getvalue().splitlines()] == ["b", "a"]


def test_other_ranks_are_silent(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    stream = io.StringIO()
    steps(stream, 60.0, 3)
    assert stream.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (4.21, "4.2 s"),
        (59.2, "59.2 s"),
        (59.97, "1 min 0 s"),
        (725, "12 min 5 s"),
        (3570, "59 min 30 s"),
        (3599.9, "1 h 0 min"),
        (12000, "3 h 20 min"),
    ],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words
