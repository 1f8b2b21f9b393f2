"""Every family: states equal transformers' own, packed and padded; all decoders learn over it; heads and positions."""

import copy

import pytest
import torch
import transformers
from support.decoders import VOCABULARY, batch
from support.families import FAMILIES, PACKED, masked_lm_of

from bmae_lightning.encoder.model import Encoder
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.bag_of_words import BagOfWordsDecoder
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.decoder.shallow import ShallowDecoder
from bmae_lightning.pretraining.decoder.skip import SkipDecoder
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.view import View
from bmae_lightning.runtime.errors import BadInput


def encoder_of(family, packed=True):
    return Encoder(masked_lm_of(family, VOCABULARY.size).double(), VOCABULARY, packed)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_states_and_logits_are_those_of_transformers(family, packed):
    encoder, tokens = encoder_of(family, packed), batch((20, 3, 30, 7)).streams["passage"]
    found, early = encoder.with_early(tokens.ids_BL, tokens.real_BL, (0, 1))
    model, real_BL = encoder.masked_lm, tokens.real_BL
    plain = copy.deepcopy(model)
    if encoder.backbone.packs:  # eager attention makes NaN of windows that hold padding alone
        plain.set_attn_implementation("sdpa" if family == "modernbert" else "eager")
    wanted = plain(input_ids=tokens.ids_BL, attention_mask=real_BL.long(), output_hidden_states=True)
    torch.testing.assert_close(found[real_BL], wanted.hidden_states[-1][real_BL], atol=1e-6, rtol=1e-5)
    assert found.isfinite().all()
    for layer, states_BLD in early.items():
        torch.testing.assert_close(states_BLD[real_BL], wanted.hidden_states[layer][real_BL], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(encoder.head(found)[real_BL], wanted.logits[real_BL], atol=1e-6, rtol=1e-5)
    assert encoder.backbone.packs == (family in PACKED)


def model_of(family):
    encoder = encoder_of(family)
    narrow = family == "electra-small"
    decoders = {
        "enhanced": EnhancedDecoder(UniformMask(0.5)),
        "embedded": EnhancedDecoder(UniformMask(0.5), query="raw" if narrow else "embedded", context="raw"),
        "shallow": ShallowDecoder(UniformMask(0.5), BertCorruption(), layers=2),
        "skip": SkipDecoder(layers=1, skip_from=1),
        "bag": BagOfWordsDecoder(head="mlm" if narrow else "linear"),
    }
    views = {"passage": View(UniformMask(0.3), BertCorruption())}
    return BottleneckMAE(encoder, ClsBottleneck(), views, decoders)


@pytest.mark.parametrize("family", FAMILIES)
def test_all_decoders_learn_over_it_and_packing_changes_nothing(family):
    model = model_of(family)
    padded = copy.deepcopy(model)
    padded.encoder.packed = False
    for each in (model, padded):
        sum(loss.total for loss in each(batch()).losses.values()).backward()
    for (name, ours), (_, theirs) in zip(model.named_parameters(), padded.named_parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, msg=name)
    without = {
        name for name, parameter in model.named_parameters() if parameter.requires_grad and parameter.grad is None
    }
    assert not without, "parameters without a gradient stop distributed training"


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_are_copied_where_they_are_berts(family):
    encoder = encoder_of(family)
    if family in ("mpnet", "deberta", "deberta-v2", "deberta-v3", "modernbert"):
        with pytest.raises(ValueError, match="last_layers copies layers that are built as BERT's"):
            encoder.new_layers(1, "last_layers")
        return
    (layer,) = encoder.new_layers(1, "last_layers").double().eval()
    tokens = batch((20, 3)).streams["passage"]
    last_BLD, early = encoder.with_early(tokens.ids_BL, tokens.real_BL, (2,))
    layout = encoder.layout(tokens.real_BL)
    found_RTD = layer(layout.pack(early[2]), layout.mask_B11L, **layout.options)
    torch.testing.assert_close(layout.unpack(found_RTD)[tokens.real_BL], last_BLD[tokens.real_BL])


def test_a_text_longer_than_the_positions_is_refused():
    for family, limit in (("bert", 40), ("roberta", 39), ("mpnet", 38)):
        encoder = encoder_of(family)
        assert encoder.backbone.limit == limit
        with pytest.raises(BadInput, match=f"does not fit the encoder's {limit} positions"):
            encoder(torch.ones(1, limit + 1).long(), torch.ones(1, limit + 1).bool())


def test_decoders_get_learned_positions_where_the_encoder_has_none():
    encoder = encoder_of("modernbert")
    assert encoder.own_places is None
    encoder.need_positions()
    ids_BL = torch.full((1, 4), 150)
    assert not torch.allclose(encoder.embed(ids_BL)[0, 1], encoder.embed(ids_BL)[0, 2])
    assert "own_places.weight" in encoder.state_dict()
    assert not any("own_places" in name for name in encoder.masked_lm.state_dict())


def test_narrow_word_embeddings_are_told():
    encoder = encoder_of("electra-small")
    with pytest.raises(BadInput, match="head=linear needs word embeddings of the encoder's width 32"):
        encoder.head_of("linear")
    with pytest.raises(BadInput, match="query: embedded needs"):
        EnhancedDecoder(UniformMask(0.5), query="embedded").build(encoder, {})


def test_an_unknown_family_is_told():
    config = transformers.FunnelConfig(vocab_size=VOCABULARY.size, block_sizes=[1], d_model=8, n_head=2, d_head=4)
    with pytest.raises(BadInput, match="no encoder of type 'funnel' is known"):
        Encoder(transformers.FunnelForMaskedLM(config), VOCABULARY)


@pytest.mark.parametrize("packed", [True, False])
def test_dropout_in_local_layers_leaves_gradients_finite_where_padding_sees_no_text(packed):
    encoder = encoder_of("modernbert", packed).train()
    for layer in encoder.backbone.layers:
        layer.attn.attention_dropout = 0.1
    tokens = batch((2, 36, 36, 36, 36)).streams["passage"]
    encoder(tokens.ids_BL, tokens.real_BL)[tokens.real_BL].square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in encoder.backbone.base.parameters())
