"""Snapshots along a pre-training and few-shot samples, from the command to the weights that a stage starts from."""

import filecmp
import json
import re
from pathlib import Path

import pytest
import torch
from support import quick_hydra
from support.paths import CONF
from support.power_cuts import power_cut

from bmae_lightning.encoder.scratch import ScratchEncoder
from bmae_lightning.encoder.tokenizer import TrainedTokenizer
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.snapshots import snapshot
from bmae_lightning.runtime.stage import Context
from bmae_lightning.stage.initial_weights import start_encoder
from bmae_lightning.stage.prepared import Prepared


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    quick_hydra.quicken(monkeypatch)


RUN = [
    "pretrain.steps=6", "pretrain.keep_every=2", "encoder.dropout=0.1", "pretrain.diagnostics.every=0", "logger=none",
    "pretrain.checkpoint.every_steps=3", "stage=[prepare,pretrain]", "baseline=false",
]  # fmt: skip


def made(directory: Path, stage: str) -> Path:
    (found,) = (directory / "store").glob(f"{stage}-*")
    return found


def test_snapshots_of_a_killed_run_are_those_of_a_whole_one(cli_here, tmp_path, monkeypatch):
    cli_here(*RUN, "output_dir=whole", code=0)
    whole = made(tmp_path / "whole", "pretrain")
    assert sorted(path.name for path in whole.glob("step-*")) == ["step-2", "step-4", "step-6"]
    with power_cut(monkeypatch, 5):
        cli_here(*RUN, "output_dir=cut", code=0)
    cut = made(tmp_path / "cut", "pretrain")
    assert (cut / "checkpoints" / "step-00000003.ckpt").is_file()
    (cut / "step-4").rename(cut / ".step-4.1.tmp")  # as if it had been cut off while it was written
    assert "continuing from" in cli_here(*RUN, "output_dir=cut", code=0)
    for step in (2, 4, 6, None):
        files = [path.name for path in snapshot(whole, step).iterdir()]
        assert "model.safetensors" in files
        assert "retriever_spec.json" in files
        assert filecmp.cmpfiles(snapshot(whole, step), snapshot(cut, step), files, shallow=False)[0] == files
    assert not list(cut.rglob(".*.tmp"))
    weights = [snapshot(whole, step) / "model.safetensors" for step in (2, 4, 6, None)]
    assert not filecmp.cmp(*weights[:2], shallow=False)
    assert filecmp.cmp(*weights[2:], shallow=False)
    check_start(whole, made(tmp_path / "whole", "prepare"), tmp_path)


def check_start(pretrained: Path, corpus: Path, tmp_path: Path) -> None:
    """A stage starts from the snapshot that it is told, and from the end without one."""
    from safetensors.torch import load_file

    prepared = Prepared(corpus)
    source = ScratchEncoder(TrainedTokenizer(1000), 2, 32, 2)
    for step in (2, None):
        context = Context("retriever1", "a", tmp_path, {"encoder": pretrained}, "g", tmp_path, pretrain_step=step)
        digest = prepared.passages().tokenizer_digest
        encoder = start_encoder(context, source, Vocabulary(prepared.tokenizer()), digest)
        kept = load_file(snapshot(pretrained, step) / "model.safetensors")
        name = "bert.encoder.layer.1.output.dense.weight"
        torch.testing.assert_close(dict(encoder.masked_lm.named_parameters())[name], kept[name], rtol=0, atol=0)
    context = Context("retriever1", "a", tmp_path, {"encoder": pretrained}, "g", tmp_path, pretrain_step=50)
    with pytest.raises(BadInput, match=r"pretrain_step=50 is not kept: pretrain.keep_every=2 keeps 2, 4, 6"):
        start_encoder(context, source, Vocabulary(prepared.tokenizer()), digest)


def test_a_sweep_over_the_steps_trains_once_and_draws_a_few_shot_curve(cli_here, tmp_path, monkeypatch):
    for module in ("stage.report", "report.sweep"):
        monkeypatch.setattr(f"bmae_lightning.{module}.write_html", lambda *_: None)  # its figures take the longest
    output = cli_here(
        "-m", "pretrain_step=0,0.5", "train_share=0.3", "pretrain.keep_every=0.5", "pretrain.steps=null",
        "pretrain.epochs=0.5", "logger=none",
        "retriever1.steps=null", "retriever1.epochs=1", "measures=[RR@10]", code=0,
    )  # fmt: skip
    store = tmp_path / "outputs" / "store"
    made = {stage: len(list(store.glob(f"{stage}-*"))) for stage in ("prepare", "pretrain", "bm25", "retriever1")}
    assert made == {"prepare": 1, "pretrain": 1, "bm25": 1, "retriever1": 2}
    (few,) = {int(count) for count in re.findall(r"retriever1 \(\w+\): (\d+) training queries", output)}
    assert 5 <= few <= 19
    (path,) = (tmp_path / "outputs").glob("multirun/*/report.json")
    ((title, series),) = ((curve["title"], curve["series"]) for curve in json.loads(path.read_text())["along"])
    assert title == "RR@10 over the steps of pre-training"
    assert [x for x, _ in series["retromae"]] == [x for x, _ in series["no pre-training"]] == [0, 2]
    assert series["retromae"][0] == series["no pre-training"][0]


def test_every_stage_that_reads_training_queries_takes_the_same_sample():
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = ["recipe=ladder", "train_share=0.05", "train_queries.seed=3", "retriever2.seed=9"]
        config = OmegaConf.to_container(compose("config", overrides=overrides), resolve=True)
    wanted = {"_target_": "bmae_lightning.retrieval.negatives.source.QueryShare", "share": 0.05, "seed": 3}
    stages = ("retriever1", "retriever2", "reranker", "score", "distilled", "evaluate", "evaluate2")
    assert all(config[stage]["train_queries"] == wanted for stage in stages)
