"""Same computation, same hash; watching a run does not change it."""

from bmae_lightning.runtime.fingerprint import fingerprint

CONFIG = {"steps": 10, "decoders": {"shallow": {"layers": 2}}, "logger": {"_target_": "a"}, "workers": 0}


def test_execution_keys_do_not_count():
    other = CONFIG | {"logger": {"_target_": "b"}, "workers": 8}
    assert fingerprint(CONFIG, {}) == fingerprint(other, {})


def test_everything_else_counts():
    base = fingerprint(CONFIG, {"corpus": "1"})
    changes = [
        (CONFIG | {"steps": 11}, {"corpus": "1"}, None),
        (CONFIG | {"decoders": {"shallow": {"layers": 3}}}, {"corpus": "1"}, None),
        (CONFIG, {"corpus": "2"}, None),
        (CONFIG, {"corpus": None}, None),
        (CONFIG, {"corpus": "1"}, {"numpy": "2.0"}),
    ]
    assert len({base, *(fingerprint(*change) for change in changes)}) == 1 + len(changes)


def test_order_of_keys_does_not_count():
    assert fingerprint({"a": 1, "b": 2}, {}) == fingerprint({"b": 2, "a": 1}, {})
