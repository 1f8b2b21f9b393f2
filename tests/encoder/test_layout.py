"""Packed rows give what padded ones give: states, decoders, gradients."""

import copy

import pytest
import torch
from support.decoders import batch, small_encoder

from bmae_lightning.encoder.layout import Packed, Padded
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import MeanBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.decoder.shallow import ShallowDecoder
from bmae_lightning.pretraining.decoder.skip import SkipDecoder
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.view import View

REAL = torch.arange(9) < torch.tensor([4, 9, 0, 7, 4, 1])[:, None]


@pytest.mark.parametrize("kind", [Packed, Padded])
def test_rows_go_and_come_back(kind):
    layout, x_BLD = kind(REAL), torch.randn(6, 9, 3)
    real_BL = layout.real_BL
    assert torch.equal(layout.unpack(layout.pack(x_BLD))[real_BL], x_BLD[real_BL])
    position_BL = layout.unpack(layout.position_RT.expand(layout.pack(REAL).shape))
    assert torch.equal(position_BL.expand(6, -1)[real_BL], torch.arange(9).expand(6, -1)[real_BL])
    first_BD = torch.randn(6, 3)
    replaced_BLD = layout.unpack(layout.with_first(layout.pack(x_BLD), first_BD))
    assert torch.equal(replaced_BLD[:, 0], first_BD)
    assert torch.equal(replaced_BLD[:, 1:][real_BL[:, 1:]], x_BLD[:, 1:][real_BL[:, 1:]])
    assert torch.equal(layout.unpack(layout.spread(first_BD))[real_BL], first_BD[:, None].expand(-1, 9, -1)[real_BL])


@pytest.mark.parametrize("window", [None, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_stays_inside_a_text(window, masked):
    padded, packed = Padded(REAL), Packed(REAL, groups=2)
    qkv_BLHd = torch.randn(3, 6, 9, 2, 4).double()
    visible_BLL = (
        (torch.rand(6, 9, 9) < 0.6) & padded.real_BL[:, None] | torch.eye(9, dtype=torch.bool) if masked else None
    )
    made = []
    for layout in (padded, packed):
        rows = [layout.pack(x_BLHd).transpose(1, 2) for x_BLHd in qkv_BLHd]
        made.append(layout.unpack(layout.attend(*rows, visible_BLL=visible_BLL, window=window))[padded.real_BL])
    torch.testing.assert_close(made[1], made[0])


@pytest.mark.parametrize(
    "decoder",
    [
        EnhancedDecoder(UniformMask(0.5)),
        EnhancedDecoder(UniformMask(0.5), query="embedded", context="raw"),
        ShallowDecoder(UniformMask(0.5), BertCorruption(), layers=2, projection=True),
        SkipDecoder(layers=1, skip_from=1),
    ],
    ids=["enhanced", "enhanced-embedded", "shallow", "skip"],
)
def test_a_packed_step_has_the_losses_and_gradients_of_a_padded_one(decoder):
    views = {"passage": View(UniformMask(0.3), BertCorruption())}
    model = BottleneckMAE(small_encoder(positions=64), MeanBottleneck(), views, {"d": decoder}).eval()
    padded = copy.deepcopy(model)
    padded.encoder.packed = False
    losses = []
    for each in (model, padded):
        losses.append({name: loss.total for name, loss in each(batch()).losses.items()})
        sum(losses[-1].values()).backward()
    torch.testing.assert_close(losses[0], losses[1])
    for (name, ours), (_, theirs) in zip(model.named_parameters(), padded.named_parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=name)
