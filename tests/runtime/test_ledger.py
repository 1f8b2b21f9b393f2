from concurrent.futures import ThreadPoolExecutor

from bmae_lightning.runtime.ledger import DONE, FAILED, PLANNED, RUNNING, Ledger


def test_the_last_line_of_a_job_counts_and_keeps_what_was_known(tmp_path):
    ledger = Ledger(tmp_path / "sweep")
    assert ledger.jobs() == {}
    ledger.add(1, PLANNED, overrides=["seed=1"])
    ledger.add(0, PLANNED, overrides=["seed=0"])
    ledger.add(1, RUNNING, fingerprint="abc")
    ledger.add(1, FAILED, code=2, reason="no such file")
    jobs = ledger.jobs()
    assert list(jobs) == [0, 1]
    assert jobs[0]["state"] == PLANNED
    assert {"state": FAILED, "overrides": ["seed=1"], "fingerprint": "abc", "code": 2}.items() <= jobs[1].items()


def test_a_line_that_a_killed_process_left_half_is_no_line(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.add(0, RUNNING)
    with ledger.path.open("a") as file:
        file.write('{"job": 0, "state": "do')
    ledger.add(1, DONE)
    assert {job: about["state"] for job, about in ledger.jobs().items()} == {0: RUNNING, 1: DONE}


def test_lines_of_many_writers_stay_whole(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda job: Ledger(tmp_path).add(job, DONE), range(64)))
    assert list(Ledger(tmp_path).jobs()) == list(range(64))
