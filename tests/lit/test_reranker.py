"""The training step of a re-ranker without a trainer, and the order of its pairs."""

import pytest
import torch
from support.stores import write_store
from torch.nn import functional as F

from bmae_lightning.encoder.batch import Pairs
from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule, Optimisation
from bmae_lightning.lit.reranker import PairBatches, RerankerModule
from bmae_lightning.retrieval.negatives.source import Groups, RankedNegatives
from bmae_lightning.retrieval.reranking.pair_texts import PairLayout, PairTexts


class Fixed(torch.nn.Module):
    """Scores a pair by its second id times a weight."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(0.5))

    def forward(self, pairs):
        return pairs.ids_PL[:, 1].float() * self.weight


def module(factor=1, r_drop=False):
    optimisation = Optimisation(AdamW([0.9, 0.999]), LinearSchedule(), 1e-3, 0.0, 0.1, 10)
    return RerankerModule(Fixed(), optimisation, 4, 2.0, factor, r_drop)


def pairs(values):
    ids_PL = torch.tensor([[2, value] for value in values])
    return Pairs(ids_PL, torch.ones_like(ids_PL, dtype=torch.bool), torch.zeros_like(ids_PL))


def test_the_step_is_the_cross_entropy_of_the_positive_in_its_group():
    step = module()
    loss = step.training_step(pairs([1, 2, 0, 3, 4, 0, 1, 2]), 0)
    scores_Bn = torch.tensor([[1.0, 2, 0, 3], [4, 0, 1, 2]]) * 0.5 / 2
    torch.testing.assert_close(loss, F.cross_entropy(scores_Bn, torch.tensor([0, 0])))
    assert step.parts["group_RR@1"][0] == 0.5
    assert step.parts["loss/listwise"][1] == 2
    assert step.total({name: mean.item() for name, (mean, _) in step.parts.items()}) == pytest.approx(loss.item())


def test_forward_factor_trains_on_the_hardest_and_r_drop_adds_nothing_without_dropout():
    step = module(factor=2, r_drop=True)
    loss = step.training_step(pairs([1, 2, 0, 3, 4, 0, 1, 2]), 0)
    scores_Bn = torch.tensor([[1.0, 3], [4, 2]]) * 0.5 / 2
    torch.testing.assert_close(loss, F.cross_entropy(scores_Bn, torch.tensor([0, 0])))
    assert step.parts["loss/r_drop"][0] == 0


def test_pairs_stand_positive_first(tmp_path):
    queries = write_store(tmp_path / "q", [[5, 6], [7]], "q")
    passages = write_store(tmp_path / "p", [[10 + i] * 3 for i in range(5)], "p")
    run = Run({"q1": [("p3", 3.0), ("p1", 2.0), ("p4", 1.0)], "q0": [("p2", 1.0), ("p0", 0.5)]})
    groups = Groups({"q0": {"p0": 1}, "q1": {"p4": 1}}, queries, passages, RankedNegatives(5), run, 2, 0)
    made = PairBatches(groups, PairTexts(queries, passages, PairLayout(2, 3, 0)), 7)([(1, 0), (0, 0)])
    assert made.ids_PL[0].tolist() == [2, 7, 3, 14, 14, 14, 3]
    assert made.ids_PL[1, 3].item() in (11, 13)
    assert made.ids_PL[2].tolist() == [2, 5, 6, 3, 10, 10, 3]
    assert made.types_PL[2].tolist() == [0, 0, 0, 0, 1, 1, 1]
