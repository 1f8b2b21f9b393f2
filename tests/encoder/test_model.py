"""Encoder: what it computes, lends and exports."""

import pytest
import torch
from support.paths import GOLDEN
from transformers import BertConfig, BertForMaskedLM, BertModel

from bmae_lightning.encoder.layout import Padded
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.decoder.shallow import ShallowDecoder
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.view import View
from bmae_lightning.runtime.errors import BadInput

TOKENS = (GOLDEN / "vocab_tiny.txt").read_text().splitlines()


def make(**changes):
    torch.manual_seed(0)
    sizes = {"vocab_size": 200, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = BertConfig(**(sizes | {"intermediate_size": 64, "max_position_embeddings": 32} | changes))
    return Encoder(BertForMaskedLM(config), Vocabulary.from_tokens(TOKENS)).eval()


def text():
    ids_BL = torch.randint(104, 200, (3, 9))
    real_BL = torch.arange(9) < torch.tensor([9, 4, 6])[:, None]
    return ids_BL.masked_fill(~real_BL, 0), real_BL


def test_states_are_those_of_eager_attention_layer_by_layer():
    encoder = make()
    ids_BL, real_BL = text()
    hidden_BLD, early = encoder.with_early(ids_BL, real_BL, (0, 1, 2))
    bert = encoder.masked_lm.bert
    states = bert.embeddings(ids_BL)
    torch.testing.assert_close(early[0][real_BL], states[real_BL])
    encoder.masked_lm.set_attn_implementation("eager")
    additive = torch.zeros(3, 1, 1, 9).masked_fill(~real_BL[:, None, None], torch.finfo(torch.float32).min)
    for number, layer in enumerate(bert.encoder.layer, start=1):
        states = layer(states, additive)
        torch.testing.assert_close(early[number][real_BL], states[real_BL], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(hidden_BLD[real_BL], states[real_BL], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(make()(ids_BL, real_BL)[real_BL], hidden_BLD[real_BL])


def test_bool_mask_of_a_layer_equals_the_encoder():
    encoder = make()
    ids_BL, real_BL = text()
    states = encoder.embed(ids_BL)
    for layer in encoder.masked_lm.bert.encoder.layer:
        states = layer(states, Padded(real_BL).mask_B11L)
    torch.testing.assert_close(states[real_BL], encoder(ids_BL, real_BL)[real_BL], atol=1e-5, rtol=1e-5)


def test_embedding_of_vectors_adds_position_and_type_and_normalises():
    encoder = make()
    ids_BL, _ = text()
    words = encoder.masked_lm.bert.embeddings.word_embeddings.weight
    torch.testing.assert_close(encoder.embed_vectors(words[ids_BL]), encoder.embed(ids_BL))
    vectors = torch.randn(2, 5, 32)
    kind = encoder.masked_lm.bert.embeddings.token_type_embeddings.weight[0]
    norm = encoder.masked_lm.bert.embeddings.LayerNorm
    torch.testing.assert_close(
        encoder.embed_vectors(vectors), norm(vectors + encoder.position_rows(torch.arange(5)) + kind)
    )


def test_head_is_tied():
    encoder = make()
    states = torch.randn(4, 32)
    transformed = encoder.masked_lm.cls.predictions.transform(states)
    expected = transformed @ encoder.masked_lm.bert.embeddings.word_embeddings.weight.T
    torch.testing.assert_close(encoder.head(states), expected + encoder.masked_lm.cls.predictions.bias)


def test_new_layers_random():
    layers = make(hidden_size=64, intermediate_size=256).new_layers(3)
    assert len(layers) == 3
    for name, parameter in layers.named_parameters():
        if "LayerNorm" in name:
            assert (parameter == (1 if name.endswith("weight") else 0)).all()
        elif name.endswith("bias"):
            assert (parameter == 0).all()
        else:
            assert abs(parameter.std() - 0.02) < 0.002
            assert abs(parameter.mean()) < 0.002


def test_new_layers_copied_from_the_last():
    encoder = make(num_hidden_layers=3)
    layers = encoder.new_layers(2, "last_layers")
    own = encoder.masked_lm.bert.encoder.layer
    for copied, layer in zip(layers, own[1:], strict=True):
        for (name, ours), (_, theirs) in zip(copied.named_parameters(), layer.named_parameters(), strict=True):
            assert torch.equal(ours, theirs), name
            assert ours.data_ptr() != theirs.data_ptr()
    with pytest.raises(ValueError, match="lower layers"):
        encoder.new_layers(4, "last_layers")
    with pytest.raises(ValueError, match="init must be one of random, last_layers, got 'zero'"):
        encoder.new_layers(1, "zero")


def test_refuses_a_foreign_tokenizer_and_too_long_texts():
    with pytest.raises(BadInput, match="200 tokens, the encoder embeds only 150"):
        make(vocab_size=150)
    with pytest.raises(BadInput, match="lower max_length"):
        make()(torch.ones(1, 33).long(), torch.ones(1, 33).bool())


def test_export_gives_the_same_bottleneck_without_decoder_weights(tmp_path):
    encoder = make()
    decoders = {
        "enhanced": EnhancedDecoder(UniformMask(0.5)),
        "shallow": ShallowDecoder(UniformMask(0.5), BertCorruption(), layers=2),
    }
    views = {"passage": View(UniformMask(0.3), BertCorruption())}
    model = BottleneckMAE(encoder, ClsBottleneck(), views, decoders).eval()
    encoder.masked_lm.save_pretrained(tmp_path)
    loaded, report = BertModel.from_pretrained(tmp_path, add_pooling_layer=False, output_loading_info=True)
    assert not report["missing_keys"]
    assert all(key.startswith("cls.") for key in report["unexpected_keys"])
    ids_BL, real_BL = text()
    exported = loaded.eval()(input_ids=ids_BL, attention_mask=real_BL.long()).last_hidden_state[:, 0]
    trained = model.bottleneck(encoder(ids_BL, real_BL), real_BL)
    torch.testing.assert_close(exported, trained, atol=1e-6, rtol=1e-6)
    whole, report = BertForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    torch.testing.assert_close(whole.cls(exported), encoder.head(exported))
