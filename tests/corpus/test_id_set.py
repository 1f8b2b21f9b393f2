import random

from bmae_lightning.corpus.id_set import IdSet


def test_as_a_set():
    draw = random.Random(2)
    for first in (["0"], ["1"], ["x"], [], ["7", "9", "8"]):
        ids, reference = IdSet(), set()
        order = [*first, *(str(n) for n in range(1, 40)), "01", "٣", "+5", "", "9" * 40]
        for id in [*order, *(draw.choice(order) for _ in range(200)), *map(str, range(30, 60))]:
            assert (id in ids) == (id in reference)
            assert ids.add(id) == (id not in reference)
            reference.add(id)
            assert len(ids) == len(reference)
        assert all(id in ids for id in reference)
        assert "77" not in ids


def test_numbers_in_order_are_only_counted():
    ids = IdSet()
    for number in range(5, 5000):
        assert ids.add(str(number))
    assert not ids._others
