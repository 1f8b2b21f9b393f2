"""The pretrain stage by itself: what it refuses, what it writes, what it continues from."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from support.compose import composed
from support.stages import context, prepare
from transformers import AutoTokenizer, BertForMaskedLM

from bmae_lightning.command.plan import read_entry
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.pretrain import Pretrain

SMALL = ["encoder=tiny", "logger=none", "pretrain.steps=3", "pretrain.batch_size=8", "pretrain.length=24"]


def stage(*overrides: str) -> Pretrain:
    options = composed("+experiment=retromae", *SMALL, *overrides)["pretrain"]
    made = build(read_entry(options).options, "pretrain")
    made.name = "pretrain"
    return made


@pytest.fixture(scope="module")
def prepared(collection, tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("pretrain") / "prepare", collection, 200)


@pytest.fixture(scope="module")
def made(prepared, tmp_path_factory):
    directory = tmp_path_factory.mktemp("made") / "pretrain"
    stage("pretrain.samples=3", "pretrain.keep_every=2").run(context(directory, corpus=prepared))
    return directory


def test_the_encoder_is_a_checkpoint_of_transformers(made, prepared):
    encoder = BertForMaskedLM.from_pretrained(made / "encoder")
    assert encoder.config.vocab_size == len(AutoTokenizer.from_pretrained(made / "encoder"))
    config = RetrieverConfig.load(made / "encoder")
    assert (config.pooling, config.tokenizer) == ("cls", Prepared(prepared).passages().tokenizer_digest)
    before = BertForMaskedLM.from_pretrained(made / "step-2" / "encoder").state_dict()
    assert any(not torch.equal(before[name], value) for name, value in encoder.state_dict().items())


def test_samples_show_passages_from_all_over_the_corpus(made, prepared):
    samples = json.loads((made / "samples.json").read_text())
    store, tokenizer = Prepared(prepared).passages(), Prepared(prepared).tokenizer()
    wanted = [f"[CLS] {tokenizer.decode(store[row][:22])} [SEP]" for row in (0, 29, 59)]
    assert [sample["original"] for sample in samples] == wanted
    for sample in samples:
        assert "[MASK]" in sample["masked"]
        assert list(sample["rebuilt"]) == ["encoder/passage", "enhanced"]


def test_the_last_logged_step_is_the_result(made):
    lines = [json.loads(line) for line in (made / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert json.loads((made / "metrics.json").read_text()) == lines[-1]
    assert all(np.isfinite(line["loss"]) for line in lines)


def test_a_passage_of_one_long_word_is_counted(collection, tmp_path, capsys):
    corpus = tmp_path / "corpus"
    shutil.copytree(collection, corpus)
    with (corpus / "corpus.jsonl").open("a") as file:
        file.write(json.dumps({"_id": "long", "title": "", "text": "qxzjvkwq" * 3}) + "\n")
    prepared = prepare(tmp_path / "prepare", corpus, 200)
    stage("decoders=[shallow]", "pretrain.steps=1").run(context(tmp_path / "made", corpus=prepared))
    wanted = {"view.passage.mask": 1, "decoders.shallow.mask": 1}
    assert json.loads((tmp_path / "made" / "metrics.json").read_text())["unmaskable"] == wanted
    assert "made: 1 of 61 passages have no word that fits view.passage.mask" in capsys.readouterr().out


def test_decoders_go_on_from_a_file(made, prepared, tmp_path):
    decoders = load_file(made / "decoders.safetensors")
    other = stage(f"pretrain.decoders_from={made / 'decoders.safetensors'}", "pretrain.lr=0.0", "pretrain.steps=1")
    other.preflight(["train"])
    other.run(context(tmp_path / "other", corpus=prepared))
    assert all(
        torch.equal(decoders[name], value)
        for name, value in load_file(tmp_path / "other" / "decoders.safetensors").items()
    )
    plain = stage(f"pretrain.decoders_from={made / 'decoders.safetensors'}", "decoders=[shallow]")
    with pytest.raises(BadInput, match="a checkpoint of another architecture"):
        plain.run(context(tmp_path / "plain", corpus=prepared))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("pretrain.length=3", "pretrain: length=3 leaves no room for a text"),
        ("pretrain.loss_norm=mean", "pretrain: loss_norm must be one of global_mean"),
        ("pretrain.crop=middle", "pretrain: crop must be one of right, window, got 'middle'"),
        ("pretrain.keep_every=0", "pretrain: keep_every must be a number of steps, below 1 a share"),
        ("pretrain.epochs=1", "pretrain: give either steps or epochs, got steps=3 and epochs=1"),
        ("pretrain.diagnostics=3", "pretrain: diagnostics must be {every: N}"),
        ("pretrain.length=long", "pretrain.length must be of type int, got 'long'"),
        ("+pretrain.lenght=3", "unknown option 'pretrain.lenght'; did you mean 'length'?"),
    ],
)
def test_impossible_options_name_their_key(override, words):
    with pytest.raises(BadInput) as caught:
        stage(override)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("norm", "normalise", "remedies"),
    [
        ("sum", "length", ("decoders.bag_of_words.normalise=none", "pretrain.loss_norm=micro_mean")),
        ("micro_mean", "none", ("decoders.bag_of_words.normalise=length", "pretrain.loss_norm=sum")),
        ("seq_mean", "none", ("decoders.bag_of_words.normalise=length", "pretrain.loss_norm=sum")),
    ],
)
def test_sums_and_means_are_not_mixed(norm, normalise, remedies):
    mixed = ("decoders=[bag_of_words]", f"pretrain.loss_norm={norm}", f"decoders.bag_of_words.normalise={normalise}")
    with pytest.raises(BadInput, match=f"pretrain: loss_norm={norm} and decoders.bag_of_words.normalise={normalise}: "):
        stage(*mixed)
    for remedy in remedies:
        stage(*mixed, remedy)


def test_what_shows_before_anything_runs():
    with pytest.raises(BadInput, match=r"pretrain\.length=200: the encoder has only 128 positions"):
        stage("pretrain.length=200").preflight(["train"])
    with pytest.raises(BadInput, match=r"pretrain\.decoders_from=/no/file: there is no such file"):
        stage("pretrain.decoders_from=/no/file").preflight(["train"])
    with pytest.raises(BadInput, match=r"pretrain\.batch_size=9 must be a multiple of"):
        stage("pretrain.batch_size=9", "trainer.accumulate_grad_batches=2").preflight(["train"])
