"""Diagnostics and kept encoders change no loss, and a resumed run repeats no line."""

import functools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from support.paths import GOLDEN
from support.regression import Breaks
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.encoder.batch import TextBatch
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.lit.data import TrainingData
from bmae_lightning.lit.fit import fit
from bmae_lightning.lit.metrics_file import read_metrics
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule, Optimisation
from bmae_lightning.lit.pretrain import Diagnostics, PretrainModule, Snapshots
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.bag_of_words import BagOfWordsDecoder
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.decoder.shallow import ShallowDecoder
from bmae_lightning.pretraining.diagnostics import diagnose
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.view import View
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import remove_leftovers
from bmae_lightning.runtime.snapshots import snapshot
from bmae_lightning.stage.pretrain import check_diagnostics

VOCABULARY = Vocabulary.from_tokens((GOLDEN / "vocab_tiny.txt").read_text().splitlines())
STEPS = 12
NEW = ("bottleneck/", "gradient_share/", "function_words/")


def collate(items):
    rows = [np.random.default_rng(row).integers(104, 200, 5 + row % 7) for row, _ in items]
    rows_B, epoch_B = torch.tensor(items).T
    return TextBatch({"passage": VOCABULARY.pad(rows, 20)}, rows_B, epoch_B)


def train(directory, every, log_every=1, more=(), loggers=(), norm="global_mean", dropout=0.2, **trainer):
    torch.manual_seed(3)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=200, **sizes, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout)
    parts = {
        "enhanced": EnhancedDecoder(UniformMask(0.5)),
        "shallow": ShallowDecoder(UniformMask(0.5), BertCorruption()),
        "bag": BagOfWordsDecoder(),
    }
    views = {"passage": View(UniformMask(0.3), BertCorruption())}
    model = BottleneckMAE(Encoder(BertForMaskedLM(config), VOCABULARY), ClsBottleneck(), views, parts)
    optimisation = Optimisation(AdamW((0.9, 0.999), 1e-8), LinearSchedule(), 1e-2, 0.01, 0.1, STEPS)
    module = PretrainModule(model, optimisation, norm)
    data = TrainingData(collate, 40, 8, STEPS, 1, 0)
    callbacks = [*([Diagnostics(every, STEPS)] if every else []), *more]
    options = functools.partial(pl.Trainer, **({"accelerator": "cpu", "devices": 1} | trainer))
    checkpoint = {"every_steps": 4, "every_minutes": 60}
    directory.mkdir(exist_ok=True)
    fit(options, module, data, list(loggers), directory, "test", log_every, checkpoint, "passages", callbacks)
    return read_metrics(directory / "metrics.jsonl")


def without(lines):
    """What a run writes whether it is looked at or not."""
    return [{k: v for k, v in line.items() if not k.startswith(NEW) and k != "passages_per_second"} for line in lines]


def looked_at(lines):
    return [line["step"] for line in lines if any(name.startswith(NEW) for name in line)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"), every=5)


def test_training_does_not_notice(whole, tmp_path):
    assert looked_at(whole) == [1, 5, 10, 12]
    plain = train(tmp_path, every=0)
    assert looked_at(plain) == []
    assert without(whole) == without(plain)


def test_a_resumed_run_repeats_no_line_and_no_digit(whole, tmp_path):
    with pytest.raises(BadInput, match="broken"):
        train(tmp_path, every=5, more=[Breaks(6)])
    assert [line["step"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    continued = train(tmp_path, every=5)
    for lines in (whole, continued):
        for line in lines:
            line.pop("passages_per_second", None)
    assert continued == whole


def test_a_look_between_two_logged_steps_is_written(tmp_path):
    lines = train(tmp_path, every=5, log_every=4)
    assert [line["step"] for line in lines] == [1, 4, 5, 8, 10, 12]
    assert looked_at(lines) == [1, 5, 10, 12]
    assert all(line["loss"] > 0 for line in lines)


def test_the_first_micro_batch_is_looked_at_once_per_step(whole, tmp_path, monkeypatch):
    sizes = []

    def counted(model, batch, norm):
        sizes.append(len(batch.passage_B))
        return diagnose(model, batch, norm)

    monkeypatch.setattr("bmae_lightning.lit.pretrain.diagnose", counted)
    lines = train(tmp_path, every=5, accumulate_grad_batches=2)
    assert looked_at(lines) == [1, 5, 10, 12]
    assert sizes == [4] * 4
    assert lines[0]["bottleneck/enhanced/true"] != whole[0]["bottleneck/enhanced/true"]


def test_values_reach_the_loggers(whole, tmp_path):
    logger = pl.loggers.CSVLogger(tmp_path, name="csv")
    lines = train(tmp_path, every=5, loggers=[logger])
    logger.finalize("success")
    head, *rows = Path(logger.log_dir, "metrics.csv").read_text().splitlines()
    place = head.split(",").index("bottleneck/shallow/shuffled")
    assert [float(row.split(",")[place]) for row in rows if row.split(",")[place]] == [
        pytest.approx(line["bottleneck/shallow/shuffled"]) for line in lines if line["step"] in looked_at(lines)
    ]


def test_mixed_precision(whole, tmp_path):
    lines = train(tmp_path, every=12, precision="bf16-mixed")
    for name, value in whole[0].items():
        if name.startswith(NEW):
            assert lines[0][name] == pytest.approx(value, rel=0.1, abs=0.02)


@pytest.mark.parametrize("options", [{"every": -1}, {"every": True}, {"every": "often"}, {"evry": 3}, {}, 5])
def test_other_options_are_refused(options):
    with pytest.raises(ValueError, match="every: N"):
        check_diagnostics(options)


def test_looking_or_not_does_not_change_a_stages_fingerprint():
    from bmae_lightning.runtime.fingerprint import fingerprint

    options = {"lr": 1.0, "diagnostics": {"every": 5}}
    assert fingerprint(options, {}) == fingerprint({"lr": 1.0, "diagnostics": {"every": 0}}, {})


def trainer_at(step, accumulates=False, first=True):
    loop = SimpleNamespace(_should_accumulate=lambda: accumulates)
    return SimpleNamespace(global_step=step, is_global_zero=first, fit_loop=loop)


@pytest.fixture
def kept(tmp_path):
    written = []

    def save(directory):
        directory.mkdir(parents=True)
        (directory / "model").write_text(str(len(written)))
        written.append(directory)

    return Snapshots(tmp_path, range(3, 8, 3), save), written


def kept_steps(tmp_path):
    return sorted(int(path.name.removeprefix("step-")) for path in tmp_path.iterdir())


def test_every_third_step_of_the_first_process(kept, tmp_path):
    snapshots, written = kept
    second = Snapshots(tmp_path, range(3, 8, 3), snapshots.save)
    for step in range(1, 8):
        snapshots.on_train_batch_end(trainer_at(step, accumulates=True), None, None, None, 0)
        second.on_train_batch_end(trainer_at(step, first=False), None, None, None, 0)
        assert len(written) == (step - 1) // 3
        snapshots.on_train_batch_end(trainer_at(step), None, None, None, 0)
    assert kept_steps(tmp_path) == [3, 6]
    snapshots.keep(3)
    assert len(written) == 2
    assert (snapshot(tmp_path, 3) / "model").is_file()


def interrupted(directory):
    directory.mkdir(parents=True)
    (directory / "rubbish").touch()
    raise KeyboardInterrupt


def test_half_a_snapshot_is_none(kept, tmp_path):
    snapshots, _ = kept
    with pytest.raises(KeyboardInterrupt):
        Snapshots(tmp_path, [3], interrupted).keep(3)
    assert not list(tmp_path.iterdir())
    half = tmp_path / ".step-3.1.tmp" / "encoder"  # of a killed process
    half.mkdir(parents=True)
    (half / "rubbish").touch()
    remove_leftovers(tmp_path)  # as every stage does when it starts
    snapshots.keep(3)
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]
    assert [path.name for path in snapshot(tmp_path, 3).iterdir()] == ["model"]


def test_summed_losses_train_the_same_in_accumulated_batches(tmp_path):
    """Gradients are those of the whole batch, and what is logged is what is optimised: nats per passage."""
    exact = {"norm": "sum", "dropout": 0.0}
    whole = train(tmp_path / "whole", 0, **exact)
    parts = train(tmp_path / "parts", 0, accumulate_grad_batches=4, **exact)
    for one, other in zip(whole, parts, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert one["loss"] == pytest.approx(
            one["loss/encoder/passage"] + one["loss/enhanced"] + one["loss/shallow"] + 0.1 * one["loss/bag"]
        )
    assert whole[0]["loss/enhanced"] > 3 * whole[0]["loss/bag"], "about eight labels a passage"
