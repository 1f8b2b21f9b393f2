"""EnhancedDecoder: which position sees which (recorded frequencies of the original), and what the layer computes."""

import json

import pytest
import torch
from support.decoders import VOCABULARY, batch, small_encoder
from support.masks import noise, select
from support.paths import GOLDEN

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.vocabulary import SPECIAL_TOKENS, Vocabulary
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.enhanced import ROWS, EnhancedDecoder, content_labels
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.mask.words import budget
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import View


def make(vocabulary=None, **arguments):
    encoder = small_encoder(vocabulary=vocabulary or VOCABULARY, positions=512)
    views = {"passage": View(UniformMask(0.3), BertCorruption())}
    decoder = EnhancedDecoder(UniformMask(0.5), **arguments)
    return BottleneckMAE(encoder, ClsBottleneck(), views, {"d": decoder})


def visible(model, tokens):
    decoder = model.decoders["d"]
    return decoder.visible(model.encoder, tokens, noise(len(tokens.ids_BL)), "x")


def read(model, ids_BL, visible_BLL, bottleneck_BD):
    real_BL = torch.ones_like(ids_BL).bool()  # padding rows as well
    return model.encoder.head(model.decoders["d"].read(model.encoder, bottleneck_BD, ids_BL, real_BL, visible_BLL))


@pytest.mark.parametrize("query", ["raw", "embedded"])
@pytest.mark.parametrize("rows", ROWS)
def test_no_self_visibility(monkeypatch, query, rows):
    model, tokens = make(query=query, rows=rows), batch().streams["passage"]
    embedded_BLD = model.encoder.embed(tokens.ids_BL).detach().requires_grad_()
    model.encoder.packed = False
    monkeypatch.setattr(model.encoder, "embed", lambda ids_BL, position_BL: embedded_BLD)
    logits_BLV = read(model, tokens.ids_BL, visible(model, tokens), torch.randn(3, 32).double())
    for i in range(1, tokens.ids_BL.shape[1]):
        (gradient_BLD,) = torch.autograd.grad(logits_BLV[:, i].square().sum(), embedded_BLD, retain_graph=True)
        assert (gradient_BLD[:, i] == 0).all()
        assert (gradient_BLD[:, :i].abs().sum() + gradient_BLD[:, i + 1 :].abs().sum()) > 0


@pytest.mark.parametrize("rows", ROWS)
def test_a_change_is_seen_exactly_where_it_is_visible(rows):
    model, tokens = make(rows=rows), batch().streams["passage"]
    visible_BLL = visible(model, tokens)
    bottleneck_BD = torch.randn(3, 32).double()
    before_BLV = read(model, tokens.ids_BL, visible_BLL, bottleneck_BD)
    for j in range(1, tokens.ids_BL.shape[1]):
        ids_BL = tokens.ids_BL.clone()
        ids_BL[:, j] = 55
        moved_BL = (read(model, ids_BL, visible_BLL, bottleneck_BD) != before_BLV).any(-1)
        assert torch.equal(moved_BL[tokens.real_BL], visible_BLL[:, :, j][tokens.real_BL])


@pytest.mark.parametrize("rows", ["independent", "pooled"])
def test_shape_of_the_visibility(rows):
    tokens = batch((12, 3, 7, 0)).streams["passage"]
    visible_BLL = visible(make(rows=rows), tokens)
    assert not visible_BLL.diagonal(dim1=1, dim2=2).any()
    for b, length in enumerate((14, 5, 9, 2)):
        assert not visible_BLL[b, 0, 0]
        assert visible_BLL[b, 1:length, 0].all()
        assert visible_BLL[b, : length - 1, length - 1].all()
        assert not visible_BLL[b, :, length:].any()
        assert not visible_BLL[b, length:].any()
    assert not visible_BLL[0, 1:13, 1:13].all()


@pytest.mark.parametrize("mode", ROWS)
def test_all_content_carries_loss(mode):
    model, texts = make(rows=mode), batch((12, 3, 7, 1))
    texts.streams["passage"].ids_BL[0, 4] = 100  # [UNK] inside a text
    labels_BL = content_labels(texts.streams["passage"])
    assert (labels_BL >= 0).sum(1).tolist() == [12, 3, 7, 1]
    for b, length in enumerate((12, 3, 7, 1)):
        assert torch.equal(labels_BL[b, 1 : length + 1], texts.streams["passage"].ids_BL[b, 1 : length + 1])
    assert model(texts).losses["d"].count == 23


def test_queries_differ_only_by_position(monkeypatch):
    model, tokens = make(), batch((9, 9)).streams["passage"]
    bottleneck_BD = torch.randn(2, 32).double()
    constant_BLD = bottleneck_BD[:, None].expand(-1, 11, -1)
    model.encoder.packed = False
    monkeypatch.setattr(model.encoder, "embed", lambda ids_BL, position_BL: constant_BLD)
    all_ones = torch.ones(2, 11, 11).bool()
    logits_BLV = read(model, tokens.ids_BL, all_ones, bottleneck_BD)
    assert ((logits_BLV[:, 1:] - logits_BLV[:, :1]).abs().amax(-1) > 1e-3).all()
    positions = model.encoder.masked_lm.bert.embeddings.position_embeddings.weight
    with torch.no_grad():
        positions[5] = positions[2]
    logits_BLV = read(model, tokens.ids_BL, all_ones, bottleneck_BD)
    torch.testing.assert_close(logits_BLV[:, 5], logits_BLV[:, 2])
    with torch.no_grad():
        positions.copy_(positions[:1].expand_as(positions))
    logits_BLV = read(model, tokens.ids_BL, all_ones, bottleneck_BD)
    torch.testing.assert_close(logits_BLV, logits_BLV[:, :1].expand_as(logits_BLV))


def test_all_hidden_rows_are_harmless():
    model, tokens = make(), batch((12, 0, 1)).streams["passage"]
    bottleneck_BD = torch.randn(3, 32).double().requires_grad_()
    logits_BLV = read(model, tokens.ids_BL, torch.zeros(3, 14, 14).bool(), bottleneck_BD)
    only_slot_zero = torch.zeros(3, 14, 14).bool()
    only_slot_zero[:, :, 0] = True  # what a row without any key falls back to, on every attention back-end
    assert torch.equal(logits_BLV, read(model, tokens.ids_BL, only_slot_zero, bottleneck_BD))
    assert logits_BLV.isfinite().all()
    logits_BLV.sum().backward()
    assert bottleneck_BD.grad.isfinite().all()
    loss = make()(batch((0, 0))).losses["d"]
    assert (loss.total.item(), loss.count.item()) == (0, 0)


def words(tokens, count):
    names = list(dict.fromkeys(list(SPECIAL_TOKENS.values()) + tokens))
    ids_BL = torch.tensor([[names.index(token) for token in tokens]]).expand(count, -1)
    return Tokens(ids_BL, torch.ones_like(ids_BL).bool()), Vocabulary.from_tokens(names)


@pytest.mark.parametrize("length", [20, 62])
def test_hidden_share_and_shared_masks(length):
    count, rate = 300, 0.5
    tokens, vocabulary = words(["[CLS]", *[f"w{i}" for i in range(length - 2)], "[SEP]"], count)
    for rows in ("independent", "pooled"):
        visible_BLL = visible(make(vocabulary, rows=rows), tokens)
        hidden_BLL = ~visible_BLL[:, 1:-1]
        n = budget(torch.tensor([length]), rate).item()
        expected = n + (1 - n / (length - 2))  # the mask, and the diagonal where the mask left it visible
        assert abs(hidden_BLL.sum(-1).double().mean() - expected) < 0.05
        others = [j for j in range(length) if j not in (1, 2)]
        same = (visible_BLL[:, 1, others] == visible_BLL[:, 2, others]).all(-1).double().mean()
        share = 1 / length if rows == "pooled" else 0
        assert abs(same - share) <= 4.5 * (share * (1 - share) / count) ** 0.5


@pytest.mark.parametrize("rate", [0.15, 0.5, 0.9])
def test_a_sample_of_the_other_positions(rate):
    """Eq. 7: every row hides round(rate * others) of its other tokens, each equally often, [SEP] as any word."""
    length, count = 12, 2000
    tokens, vocabulary = words(["[CLS]", *[f"w{i}" for i in range(length - 2)], "[SEP]"], count)
    model = make(vocabulary, rows="others")
    model.decoders["d"].mask = UniformMask(rate)
    hidden_BLL = ~visible(model, tokens)
    assert not hidden_BLL[:, 1:, 0].any(), "the bottleneck is seen by all but position 0"
    assert hidden_BLL.diagonal(dim1=1, dim2=2).all()
    n = round(rate * (length - 2))
    assert (hidden_BLL[:, 1:-1, 1:].sum(-1) == n + 1).all()
    p, others_LL = n / (length - 2), ~torch.eye(length).bool()
    shares_LL = hidden_BLL.double().mean(0)[1:-1, 1:][others_LL[1:-1, 1:]]
    assert (shares_LL - p).abs().max() <= 4.5 * (p * (1 - p) / count) ** 0.5
    assert (hidden_BLL[:, 1, 3:] == hidden_BLL[:, 2, 3:]).all(-1).double().mean() < 0.6, "rows draw by themselves"


def test_the_own_piece_takes_no_room_in_its_word():
    """Pieces of one word are hidden together, but a row's budget is spent on the other pieces."""
    tokens, vocabulary = words(["[CLS]", "a", "##b", "##c", "d", "e", "f", "[SEP]"], 400)
    hidden_BLL = ~visible(make(vocabulary, rows="others"), tokens)
    assert torch.equal(hidden_BLL[:, 1, 2], hidden_BLL[:, 1, 3])
    assert 0 < hidden_BLL[:, 1, 2].double().mean() < 1
    assert (hidden_BLL[:, 1, 2:].sum(-1) == 3).all()  # of 6 others: b c, d, e, f, [SEP]
    others_BL = hidden_BLL[:, 4][:, [1, 2, 3, 5, 6, 7]]
    assert (others_BL.sum(-1) == 3).all()
    assert (others_BL[:, :3].all(-1) | ~others_BL[:, :3].any(-1)).all()


def test_pool_is_at_most_256_masks():
    tokens, vocabulary = words(["[CLS]", *[f"w{i}" for i in range(398)], "[SEP]"], 1)
    visible_LL = visible(make(vocabulary, rows="pooled"), tokens)[0]
    policy = select(UniformMask(0.5), tokens, vocabulary, noise(1), "x/mask", rows=256)[0]
    off_diagonal = ~torch.eye(400).bool()
    matches = torch.stack([((visible_LL == ~mask) | ~off_diagonal).all(-1) for mask in policy])
    assert matches.any(0).all()
    used = matches[:, 1:-1].any(1).sum()
    assert 180 < used < 225  # 256 (1 - (1 - 1/256)^398) = 202


def test_recorded_visibility_of_the_original():
    recorded = json.loads((GOLDEN / "masking" / "retromae_visibility.json").read_text())
    ours, theirs = 3000, recorded["draws"]
    for sentence in recorded["sentences"]:
        tokens, vocabulary = words(sentence["tokens"], ours)
        for rows in ("independent", "pooled"):
            visible_BLL = visible(make(vocabulary, rows=rows), tokens)
            agree(visible_BLL.sum(0), ours, torch.tensor(sentence["visible_hits"]), theirs)
        others = [j for j in range(len(sentence["tokens"])) if j not in (1, 2)]
        same = (visible_BLL[:, 1, others] == visible_BLL[:, 2, others]).all(-1).sum()
        agree(same, ours, torch.tensor(sentence["rows_1_and_2_equal_outside_columns_1_and_2"]), theirs)


def agree(hits1, draws1, hits2, draws2):
    pooled = (hits1 + hits2) / (draws1 + draws2)
    bound = 4.5 * (pooled * (1 - pooled) * (1 / draws1 + 1 / draws2)) ** 0.5
    assert ((hits1 / draws1 - hits2 / draws2).abs() <= bound + 1e-9).all()


def test_embedded_query_goes_through_the_embedding_module():
    model = make(query="embedded")
    bottleneck_BD = torch.randn(2, 32).double()
    stream = model.decoders["d"].query_stream(
        model.encoder, bottleneck_BD[:, None].expand(-1, 5, -1), torch.arange(5)[None]
    )
    embeddings = model.encoder.masked_lm.bert.embeddings
    kind = embeddings.token_type_embeddings.weight[0]
    expected = embeddings.LayerNorm(bottleneck_BD[:, None] + embeddings.position_embeddings.weight[:5] + kind)
    torch.testing.assert_close(stream, expected)


def test_bare_context_is_word_and_position():
    """Eq. 4: H2 = [h; e + p], without type, norm and dropout."""
    model, tokens = make(context="raw"), batch().streams["passage"]
    embeddings = model.encoder.masked_lm.bert.embeddings
    with torch.no_grad():
        embeddings.LayerNorm.weight.fill_(7.0)
        embeddings.token_type_embeddings.weight.fill_(7.0)
    seen_BLL, bottleneck_BD = visible(model, tokens), torch.randn(3, 32).double()
    found_BLV = read(model, tokens.ids_BL, seen_BLL, bottleneck_BD)
    bare_BLD = embeddings.word_embeddings(tokens.ids_BL) + embeddings.position_embeddings.weight[:14]
    decoder = model.decoders["d"]
    model.encoder.packed = False
    decoder.context, model.encoder.embed = "embedded", lambda ids_BL, position_BL: bare_BLD
    torch.testing.assert_close(read(model, tokens.ids_BL, seen_BLL, bottleneck_BD), found_BLV)


def test_rate_is_the_mean_hidden_share():
    model, texts = make(), batch()
    tokens = texts.streams["passage"]
    source = Noise(0, texts.epoch_B, texts.passage_B)
    visible_BLL = model.decoders["d"].visible(model.encoder, tokens, source, "decoders.d")
    hidden = total = 0
    for b, length in enumerate((12, 3, 7)):
        inner = visible_BLL[b, 1 : length + 1, 1 : length + 1]
        hidden, total = hidden + (~inner).double().mean(0).sum().item(), total + length
    assert model(texts).rates["d"].item() == pytest.approx(hidden / total)


def test_refuses_bad_arguments():
    with pytest.raises(ValueError, match="query must be one of raw, embedded, got 'bare'"):
        EnhancedDecoder(UniformMask(0.5), query="bare")
    with pytest.raises(ValueError, match="rows must be one of others, independent, pooled, got 'pool'"):
        EnhancedDecoder(UniformMask(0.5), rows="pool")
    with pytest.raises(ValueError, match="context must be one of raw, embedded, got 'bare'"):
        EnhancedDecoder(UniformMask(0.5), context="bare")
