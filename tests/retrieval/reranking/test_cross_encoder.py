"""Re-rankers of three types from a directory, selection of hard passages, R-Drop in training."""

import copy
import math

import numpy as np
import pytest
import torch
import transformers
from support.families import FAMILIES, masked_lm_of
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2Model,
    ElectraConfig,
    ElectraForPreTraining,
)

from bmae_lightning.encoder.backbone.backbone import set_dropout
from bmae_lightning.encoder.batch import pad_pairs
from bmae_lightning.retrieval.reranking.cross_encoder import (
    CrossEncoder,
    cross_encoder_of,
    group_loss,
    hardest_pairs,
    load_cross_encoder,
)
from bmae_lightning.runtime.errors import BadInput

SIZES = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
BACKBONES = {
    "bert": lambda: BertForMaskedLM(BertConfig(**SIZES, max_position_embeddings=32)),
    "electra": lambda: ElectraForPreTraining(ElectraConfig(**SIZES, embedding_size=8, max_position_embeddings=32)),
    "deberta": lambda: DebertaV2Model(
        DebertaV2Config(**SIZES, type_vocab_size=0, relative_attention=True, pos_att_type=["c2p", "p2c"],
                        max_position_embeddings=32, pooler_hidden_size=16)
    ),
}  # fmt: skip
GROUPS, GROUP = 2, 4


def pairs(length=20):
    draw = np.random.default_rng(0)
    queries = [draw.integers(5, 50, 4) for _ in range(GROUPS)]
    rows = [draw.integers(5, 50, int(draw.integers(3, 12))) for _ in range(GROUPS * GROUP)]
    repeated = [queries[i // GROUP] for i in range(GROUPS * GROUP)]
    return pad_pairs(repeated, rows, cls_id=2, sep_id=3, pad_id=0, max_length=length)


def bert(dropout=0.1):
    torch.manual_seed(0)
    config = BertConfig(
        **SIZES, num_labels=1, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, initializer_range=0.5
    )
    return CrossEncoder(BertForSequenceClassification(config)).double()


@pytest.mark.parametrize("kind", list(BACKBONES))
def test_backbones_train_from_a_directory(kind, tmp_path):
    torch.manual_seed(0)
    BACKBONES[kind]().save_pretrained(tmp_path)
    model, new = load_cross_encoder(str(tmp_path), 50, dropout=0.0)
    assert any("classifier" in name for name in new)
    assert not any(".layer." in name for name in new)
    given = pairs()
    model.train()
    assert model(given).shape == (8,)
    assert torch.equal(model(given), model(given))  # dropout is off everywhere
    assert next(model.parameters()).dtype == torch.float32
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = group_loss(model, given, GROUP).loss
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(math.log(4), abs=0.5)
    assert losses[-1] < 0.1
    model.classifier.save_pretrained(tmp_path / "trained")
    again, new = load_cross_encoder(str(tmp_path / "trained"), 50)
    assert new == []
    torch.testing.assert_close(again.eval()(given), model.eval()(given))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_starts_from_the_layers_of_any_encoder(family, tmp_path):
    masked_lm, given = masked_lm_of(family, 50), pairs()
    model = cross_encoder_of(masked_lm).eval()
    for name, value in masked_lm.base_model.state_dict().items():
        assert torch.equal(model.classifier.base_model.state_dict()[name], value), name
    model.classifier.save_pretrained(tmp_path)
    again, new = load_cross_encoder(str(tmp_path), 50)
    assert not new
    torch.testing.assert_close(again.eval()(given), model(given))
    assert model(given).std() > 0


def test_types_and_padding_reach_the_network():
    model, given = bert().eval(), pairs()
    alone = given.map(lambda tensor: tensor[:1, : int(given.real_PL[0].sum())])
    torch.testing.assert_close(model(given)[:1], model(alone))
    untyped = type(given)(given.ids_PL, given.real_PL, torch.zeros_like(given.types_PL))
    assert (model(untyped) - model(given)).abs().max() > 1e-3


def test_equal_scores_cost_log_n_and_selection_keeps_the_positive():
    constant = bert()
    with torch.no_grad():
        constant.classifier.classifier.weight.zero_()
    assert group_loss(constant, pairs(), GROUP).loss.item() == pytest.approx(math.log(4))
    assert group_loss(constant, pairs(), GROUP, forward_factor=2).loss.item() == pytest.approx(math.log(2))

    model, given = bert().train(), pairs()
    with torch.no_grad():
        scores_Bn = model.eval()(given).view(GROUPS, GROUP)
    model.train()
    kept = hardest_pairs(model, given, GROUP, 2)
    assert model.training
    for b in range(GROUPS):
        best = 1 + int(scores_Bn[b, 1:].argmax())
        assert torch.equal(kept.ids_PL[2 * b], given.ids_PL[GROUP * b])
        assert torch.equal(kept.ids_PL[2 * b + 1], given.ids_PL[GROUP * b + best])
        assert torch.equal(kept.types_PL[2 * b + 1], given.types_PL[GROUP * b + best])
    expected = group_loss(bert(0.0).train(), kept, 2).loss  # selection costs no gradient and changes no mode
    assert group_loss(bert(0.0).train(), given, GROUP, forward_factor=2).loss.item() == pytest.approx(expected.item())


def test_r_drop_adds_nothing_without_dropout():
    given = pairs()
    once, twice = (group_loss(bert(0.0).train(), given, GROUP, r_drop=r_drop) for r_drop in (False, True))
    assert twice.divergence.item() == pytest.approx(0, abs=1e-12)
    assert twice.loss.item() == pytest.approx(once.cross_entropy.item(), abs=1e-12)
    assert group_loss(bert(0.3).train(), given, GROUP, r_drop=True).divergence > 1e-4


def test_mistakes(tmp_path):
    with pytest.raises(ValueError, match="group=3"):
        group_loss(bert(), pairs(), 3)
    with pytest.raises(ValueError, match="forward_factor=3"):
        group_loss(bert(), pairs(), 4, forward_factor=3)
    with pytest.raises(BadInput, match="no model configuration"):
        load_cross_encoder(str(tmp_path), 50)
    BACKBONES["bert"]().save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="embeds 50 word pieces, the tokenizer has 60"):
        load_cross_encoder(str(tmp_path), 60)
    model, _ = load_cross_encoder(str(tmp_path), 50)
    long = pairs().map(lambda tensor: tensor.repeat(1, 3))
    with pytest.raises(BadInput, match="32 positions; lower length"):
        model(long)
    BertForSequenceClassification(BertConfig(**SIZES, num_labels=3)).save_pretrained(tmp_path / "three")
    with pytest.raises(BadInput, match="no sequence classifier with one output"):
        load_cross_encoder(str(tmp_path / "three"), 50)


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "Electra", "DistilBert", "MPNet", "ModernBert"])
def test_packed_pairs_have_the_scores_and_gradients_of_padded_ones(kind):
    sizes = SIZES | {"max_position_embeddings": 32, "pad_token_id": 0, "initializer_range": 0.5, "num_labels": 1}
    config = getattr(transformers, f"{kind}Config")(**sizes)
    set_dropout(config, 0.0)
    torch.manual_seed(0)
    plain = getattr(transformers, f"{kind}ForSequenceClassification")(config).double()
    packed = CrossEncoder(copy.deepcopy(plain))
    assert (packed.stack is None) == (kind in ("MPNet", "ModernBert"))
    typed = {"token_type_ids": pairs().types_PL} if getattr(config, "type_vocab_size", 0) > 1 else {}
    wanted_P = plain(input_ids=pairs().ids_PL, attention_mask=pairs().real_PL.long(), **typed).logits[:, 0]
    found_P = packed(pairs())
    torch.testing.assert_close(found_P, wanted_P)
    found_P.square().sum().backward()
    wanted_P.square().sum().backward()
    for (name, ours), (_, theirs) in zip(packed.classifier.named_parameters(), plain.named_parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, msg=name)
