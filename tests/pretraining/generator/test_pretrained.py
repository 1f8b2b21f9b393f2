"""Generators from checkpoints of several types, and the ones that are refused: other vocabularies, other networks."""

import json

import pytest
import torch
from support.generators import WORDS, noise, texts, tokenizer
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ElectraConfig,
    ElectraForMaskedLM,
    ElectraForPreTraining,
)

from bmae_lightning.encoder.tokenizer import PretrainedTokenizer, TrainedTokenizer
from bmae_lightning.pretraining.generator.pretrained import PretrainedGenerator
from bmae_lightning.runtime.errors import BadInput

SIZES = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
ELECTRA = ElectraConfig(vocab_size=200, embedding_size=24, **SIZES)


def checkpoint(tmp_path, model, words=WORDS):
    """A directory as on the hub: weights, config.json and tokenizer files."""
    directory = tmp_path / "checkpoint"
    model.save_pretrained(directory)
    if words:
        tokenizer(tmp_path, words).save_pretrained(directory)
    return directory


NETWORKS = {
    "electra": lambda: ElectraForMaskedLM(ELECTRA),
    "bert": lambda: BertForMaskedLM(BertConfig(vocab_size=200, **SIZES)),
    "distilbert": lambda: DistilBertForMaskedLM(DistilBertConfig(vocab_size=200, dim=16, n_layers=2, n_heads=2)),
}


@pytest.mark.parametrize("words", [WORDS, None], ids=["tokenizer", "weights_only"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_masked_language_models_of_several_types(kind, words, tmp_path):
    torch.manual_seed(0)
    original = NETWORKS[kind]().eval()
    directory = checkpoint(tmp_path, original, words)
    generator = PretrainedGenerator(str(directory)).build(tokenizer(tmp_path))
    assert not generator.masked_lm.training
    tokens = texts().streams["passage"]
    logits_BLV = original(tokens.ids_BL, attention_mask=tokens.real_BL.long()).logits
    found_BLV = generator.backbone.head(generator.states(tokens.ids_BL, tokens.real_BL))
    torch.testing.assert_close(found_BLV[tokens.real_BL], logits_BLV[tokens.real_BL])
    uniform_BL = noise(texts()).uniform("x", tokens.ids_BL.shape[1])
    below_BLV = logits_BLV.double().softmax(-1).cumsum(-1)
    expected_BL = (below_BLV <= uniform_BL[:, :, None]).sum(-1)
    ids_BL, _ = generator.replace(tokens.ids_BL, tokens.ids_BL, tokens.real_BL, tokens.real_BL, noise(texts()), "x")
    assert torch.equal(ids_BL[tokens.real_BL], expected_BL[tokens.real_BL])


def test_token_types_are_read(tmp_path):
    generator = PretrainedGenerator(str(checkpoint(tmp_path, NETWORKS["electra"]()))).build(tokenizer(tmp_path))
    tokens = texts().streams["passage"]
    plain, typed = (generator.states(tokens.ids_BL, tokens.real_BL, types) for types in (None, tokens.real_BL.long()))
    assert not torch.allclose(plain, typed)


def test_an_electra_checkpoint_as_it_was_released(tmp_path):
    """The published file is a pytorch_model.bin with position ids and, tied to the embedding, no output weights."""
    original = NETWORKS["electra"]()
    directory = checkpoint(tmp_path, original)
    (directory / "model.safetensors").unlink()
    state = {name: value for name, value in original.state_dict().items() if name != "generator_lm_head.weight"}
    torch.save(state | {"electra.embeddings.position_ids": torch.arange(512)[None]}, directory / "pytorch_model.bin")
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps({key: config[key] for key in (
        "architectures", "model_type", "embedding_size", "hidden_size", "intermediate_size", "num_attention_heads",
        "num_hidden_layers", "vocab_size",
    )}))  # fmt: skip
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).unlink(missing_ok=True)
    (directory / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    generator = PretrainedGenerator(str(directory)).build(tokenizer(tmp_path))
    embedding = original.electra.embeddings.word_embeddings.weight
    torch.testing.assert_close(generator.backbone.head.weight_VD, embedding)
    assert generator.backbone.head.weight_VD is generator.masked_lm.electra.embeddings.word_embeddings.weight


SWAPPED = [*WORDS[:5], WORDS[6], WORDS[5], *WORDS[7:]]


@pytest.mark.parametrize("where", ["preflight", "build"])
@pytest.mark.parametrize(
    ("model", "words", "message"),
    [
        (NETWORKS["bert"], SWAPPED, "another vocabulary.*id 5 is 'w1' there and 'w0' here.*generator=corpus"),
        (
            lambda: ElectraForMaskedLM(ElectraConfig(vocab_size=210, embedding_size=24, **SIZES)),
            None,
            "210 word pieces, the encoder's tokenizer 200.*generator=corpus",
        ),
    ],
    ids=["pieces", "size"],
)
def test_another_vocabulary_is_refused(model, words, message, where, tmp_path):
    generator = PretrainedGenerator(str(checkpoint(tmp_path, model(), words)))
    encoders = tokenizer(tmp_path)
    encoders.save_pretrained(tmp_path / "encoder")
    ahead = PretrainedTokenizer(str(tmp_path / "encoder"))
    look = (lambda: generator.preflight(ahead)) if where == "preflight" else (lambda: generator.build(encoders))
    with pytest.raises(BadInput, match=f"generator.name=.*{message}"):
        look()
    generator.preflight(TrainedTokenizer(200))  # nothing can be said before the corpus is prepared


def test_a_padded_vocabulary_is_no_other_one(tmp_path):
    padded = ElectraForMaskedLM(ElectraConfig(vocab_size=210, embedding_size=24, **SIZES))
    generator = PretrainedGenerator(str(checkpoint(tmp_path, padded, WORDS))).build(tokenizer(tmp_path))
    assert generator.masked_lm.config.vocab_size == 210


@pytest.mark.parametrize(
    "model", [lambda: ElectraForPreTraining(ELECTRA), lambda: BertModel(BertConfig(vocab_size=200, **SIZES))]
)
def test_networks_without_the_head_are_refused(model, tmp_path):
    directory = checkpoint(tmp_path, model())
    with pytest.raises(BadInput, match="lacks .* parameters of a masked language model.*no generator"):
        PretrainedGenerator(str(directory)).build(tokenizer(tmp_path))


def test_nothing_to_load(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match="generator.name=nobody/nothing.*set generator.name=DIR"):
        PretrainedGenerator("nobody/nothing").preflight(TrainedTokenizer(200))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no model configuration"):
        PretrainedGenerator(str(tmp_path / "empty")).preflight(TrainedTokenizer(200))
    directory = checkpoint(tmp_path, NETWORKS["bert"]())
    (directory / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(BadInput, match="generator.name=.*no masked language model can be read"):
        PretrainedGenerator(str(directory)).build(tokenizer(tmp_path))
