import random

from bmae_lightning.corpus.id_set import IdSet


def test_answers_as_a_set_does():
    draw = random.Random(1)
    ids = [f"d{draw.randrange(500)}" for _ in range(700)]
    found = IdSet()
    assert (len(found), found.distinct(), len(found.repeated()), "d1" in found) == (0, 0, 0, False)
    for id in ids[:400]:
        found.add(id)
    assert all(id in found for id in ids[:400])  # asked in between
    for id in ids[400:]:
        found.add(id)
    assert (len(found), found.distinct()) == (700, len(set(ids)))
    twice = found.repeated()
    for id in {f"d{i}" for i in range(600)}:
        assert (id in found) == (id in set(ids))
        assert (id in twice) == (ids.count(id) > 1)
    assert len(twice) == twice.distinct()


def test_memory_is_eight_bytes_an_id():
    found = IdSet()
    for i in range(1000):
        found.add(f"a rather long identifier {i}")
    assert found._hashes.itemsize == 8
    assert found.distinct() == 1000
