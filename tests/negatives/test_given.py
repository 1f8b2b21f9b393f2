from bmae_lightning.evaluation.measure.trec import run_of_lists


def test_lists_become_a_run():
    run = run_of_lists([("b", ["p2", "p1"]), ("a", []), ("c", ["p1"])])
    assert dict(run) == {"b": [("p2", 2.0), ("p1", 1.0)], "a": [], "c": [("p1", 1.0)]}
    assert len(run_of_lists([])) == 0
