"""Threads within a memory: how many, in which order, and what an error does."""

import threading
import time

import pytest

from bmae_lightning.runtime.threads import LEAST, Workers, in_turn


def test_as_many_threads_as_the_memory_is_worth():
    assert Workers(8, 3 * LEAST).threads == 3
    assert Workers(8, 3 * LEAST).share == LEAST
    assert Workers(2, 100 * LEAST).threads == 2
    assert Workers(4, 1000).threads == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_results_are_in_order(threads):
    workers = Workers(threads, 10 * LEAST)
    assert workers.threads == threads
    assert workers.map(lambda x: x * x, range(50)) == [x * x for x in range(50)]


def test_two_threads_work_at_once():
    meeting = threading.Barrier(2, timeout=10)
    Workers(2, 2 * LEAST).map(lambda _: meeting.wait(), range(2))


@pytest.mark.parametrize("threads", [1, 2])
def test_after_an_error_nothing_is_begun(threads):
    begun = []

    def work(number):
        begun.append(number)
        if number == 0:
            raise OSError("disk full")
        time.sleep(0.005)

    with pytest.raises(OSError, match="disk full"):
        Workers(threads, 10 * LEAST).map(work, range(1000))
    assert len(begun) < 1000


def test_one_call_at_a_time():
    total, inside = [0], []

    def add(number):
        inside.append(1)
        assert len(inside) == 1
        total[0] += number
        inside.pop()

    call = in_turn(add)
    Workers(4, 4 * LEAST).map(call, [1] * 2000)
    assert total == [2000]
