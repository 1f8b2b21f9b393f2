"""`seeds=` on the command line: the jobs that it plans, and a sweep of two seeds from the command to its page."""

import json
from pathlib import Path

import pytest
from support.command import TINY, command, write_collection
from support.tables import Command

from bmae_lightning.report.content import BASELINE, read_report
from bmae_lightning.runtime.mean import Mean


def test_a_table_with_seeds_has_a_job_for_every_seed(monkeypatch, tmp_path):
    where = f"corpus.path={write_collection(tmp_path / 'collection')}"
    arguments = ["+table=simlm_7", "+simlm=t7_bert_base", "seeds=[5,7]", "corpus=beir", where, "logger=csv"]
    jobs = Command(monkeypatch, tmp_path).planned(*arguments)
    trained = [job.nodes[f"retriever1@{BASELINE}"] for job in jobs]
    assert [node.config["seed"] for node in trained] == [5, 7]
    assert trained[0].hash != trained[1].hash
    assert len({job.nodes["bm25"].hash for job in jobs}) == 1, "no seed changes it"


@pytest.mark.slow
def test_two_seeds_become_rows_with_a_spread_and_a_third_is_added_to_them(tmp_path):
    arguments = [*TINY, f"corpus.path={write_collection(tmp_path / 'collection')}", "logger=csv", "measures=[RR@10]"]
    command(*arguments, "seeds=2", cwd=tmp_path)
    output = command(*arguments, "seeds=3", "report.reference=bm25", cwd=tmp_path)
    assert output.count("pretrain (retromae): done") == 1, "two of three are in the store"
    assert "no pre-training, retromae: mean of 3 seeds" in output
    (directory,) = (path for path in (tmp_path / "outputs" / "multirun").iterdir() if (path / "2").is_dir())
    report = read_report(directory / "report.json")
    values = {arm.name: arm.measures["RR@10"] for arm in report.arms}
    for name in ("no pre-training", "retromae"):
        runs = [
            json.loads((directory / str(job) / "result.json").read_text())["nodes"] for job in range(3)
        ]  # fmt: skip
        key = f"evaluate@{BASELINE if name == 'no pre-training' else name}"
        single = [json.loads((Path(run[key]) / "metrics.json").read_text())["test"]["mean"]["RR@10"] for run in runs]
        assert values[name] == pytest.approx(sum(single) / 3)
        assert values[name].runs == 3
    assert not isinstance(values["bm25"], Mean)
    assert {(row.arm, row.against) for row in report.differences} == {
        ("no pre-training", "bm25"), ("retromae", "bm25")
    }  # fmt: skip
    assert all(low <= arm.measures["RR@10"] <= high for arm in report.arms for low, high in arm.interval.values())
    assert "seeds per arm" not in output
    assert "one of the two has one run alone" in (directory / "report.html").read_text()
