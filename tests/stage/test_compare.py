"""A model from elsewhere on the run's own queries: its own tokenizer, a row of the report, nothing left but its run."""

import json
from functools import partial

import pytest
from pytorch_lightning import Trainer
from support import foreign_models as tools
from support.stages import prepare

from bmae_lightning.encoder.tokenizer import PretrainedTokenizer, TrainedTokenizer
from bmae_lightning.evaluation.measure.trec import read_run
from bmae_lightning.report.tracking.loggers import NoTracking
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.stage import Context
from bmae_lightning.stage.compare import Compare
from bmae_lightning.stage.report import MakeReport


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return tools.write_bert(tmp_path_factory.mktemp("models") / "bert")


def external(**model):
    model = {"label": None, **model}
    trainer = partial(Trainer, accelerator="cpu", devices=1)
    return Compare(
        splits=["test"], index=ExactIndex(), measures=["RR@10", "R@100"], depth=30, batch_tokens=256, shard=16,
        trainer=trainer, logger=NoTracking(), model=model,
    )  # fmt: skip


def run(stage, prepared, directory, label="theirs"):
    directory.mkdir()
    stage.run(Context("external", label, directory, {"corpus": prepared}, "g", directory))
    write_json(directory / "manifest.json", {"config": {}})
    return json.loads((directory / "metrics.json").read_text())


def test_each_model_has_its_own_tokenizer(bert, collection, tmp_path):
    results = {}
    for name, tokenizer in (("theirs", TrainedTokenizer(300)), ("same", PretrainedTokenizer(str(bert)))):
        prepared = prepare(tmp_path / f"prepare-{name}", collection, tokenizer)
        stage = external(name=str(bert), passage_length=12)
        stage.preflight(["train", "test"])
        results[name] = run(stage, prepared, tmp_path / name)
        ranking = read_run(tmp_path / name / "run.test.trec")
        assert {len(ranking[query]) for query in ranking} == {30}
        left = {path.name for path in (tmp_path / name).iterdir()}
        assert left == {"run.test.trec", "scores.test.parquet", "per_query.test.json", "metrics.json", "manifest.json"}
    assert results["theirs"]["test"] == results["same"]["test"]
    assert results["same"]["model"]["passage_length"] == 12
    assert (tmp_path / "prepare-same" / "passages" / "tokens.bin").is_file(), "the run's own tokens stay"

    stages = {"prepare": tmp_path / "prepare-same", "external@theirs": tmp_path / "theirs"}
    write_json(stages["prepare"] / "manifest.json", {"config": {"corpus": {"path": "x"}}})
    maker = MakeReport(
        title="x", measures=["RR@10"], splits=["test"], shown_as={"evaluate": "", "external": ""},
        collection="nq", paper_results={"nq/test": {"external": {"RR@10": 0.4}}},
    )  # fmt: skip
    report = maker.collect(stages)
    (arm,) = report.arms
    assert (arm.name, arm.paper) == ("theirs", None), "what a paper says of its arm is not said of other models"
    assert arm.measures == {"RR@10": results["same"]["test"]["mean"]["RR@10"]}
    assert "pooling cls, similarity dot" in report.settings["external@theirs"]


def test_mistakes_before_anything_runs(bert, tmp_path):
    with pytest.raises(BadInput, match="no judgments for the split 'test'"):
        external(name=str(bert)).preflight(["train"])
    with pytest.raises(BadInput, match=r"compare \(.*\): no model configuration in"):
        external(name=str(tmp_path)).preflight(["test"])


def test_the_command_compares_and_evaluates(cli_here, bert, collection, tmp_path):
    both = ["logger=none", f"suite.collections=[{collection}]", f"compare=[{bert}]", "stage=[prepare,external,suite]"]
    output = cli_here(*both, code=0)
    assert "] external (" in output
    assert "average of 1" in output
    store = tmp_path / "outputs" / "store"
    assert len(list(store.glob("external-*/run.test.trec"))) == 1
    assert len(list(store.glob("zero_shot-*/run.trec.gz"))) == 2
    output = cli_here(*both[:2], f"suite.models=[{bert},bm25]", "suite.measures=[R@10]", "stage=[suite]", code=0)
    assert output.count("skipped, done in") == 2, "pairs are shared by all suites"
    assert "Zero-shot R@10" in output
    output = cli_here("logger=none", "suite.collections=beir18", "stage=[suite]", code=2)
    assert output.splitlines()[-1].startswith("error: suite.collections=beir18 needs suite.path=DIR")
