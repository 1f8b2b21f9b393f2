"""mean_loss alone and, with two processes, its gradient against a single process."""

import json
import os
import subprocess
import sys

import pytest
import torch
from support.paths import ROOT

from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.pretraining.loss.vocabulary import TokenLoss

WORKER = """
import json, os, sys, torch
from torch import distributed, nn
from bmae_lightning.encoder.vocabulary_head import VocabularyHead
from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.pretraining.loss.vocabulary import vocabulary_loss
rank, folder = int(sys.argv[1]), sys.argv[2]
distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
torch.manual_seed(0)

class Head(nn.Linear):
    def forward(self, hidden, labels):
        return vocabulary_loss(hidden, labels, VocabularyHead(nn.Identity(), self.weight, self.bias))

head = Head(4, 9).double()
hidden, labels = torch.randn(2, 6, 4).double(), torch.randint(0, 9, (2, 6))
labels[1, 2:] = -100  # rank 1 has fewer labels
found = {}
for norm in ("global_mean", "micro_mean", "sum"):
    model = nn.parallel.DistributedDataParallel(head)
    head.zero_grad()
    mean_loss(model(hidden[rank:rank+1], labels[rank:rank+1]), norm).backward()
    found[norm] = head.weight.grad.tolist()
head.zero_grad()
mean_loss(head(hidden, labels), "micro_mean").backward()
found["single"] = head.weight.grad.tolist()
head.zero_grad()
(head(hidden, labels).total / 2).backward()
found["sum of one process"] = head.weight.grad.tolist()
with open(f"{folder}/{rank}.json", "w") as file:
    json.dump(found, file)
distributed.barrier()
os._exit(0)  # gloo's threads sometimes abort an ordinary exit
"""


def test_mean_per_label():
    loss = TokenLoss(torch.tensor(6.0, requires_grad=True), torch.tensor(4))
    for norm in ("global_mean", "micro_mean"):
        assert mean_loss(loss, norm).item() == 1.5


def test_no_label_is_zero():
    loss = TokenLoss(torch.tensor(0.0), torch.tensor(0))
    assert mean_loss(loss, "global_mean").item() == 0
    assert mean_loss(loss, "micro_mean").item() == 0


def test_unknown_norm():
    with pytest.raises(ValueError, match="norm must be one of global_mean, micro_mean, seq_mean, sum, got 'mean'"):
        mean_loss(TokenLoss(torch.tensor(0.0), torch.tensor(0)), "mean")


def test_two_processes_give_the_single_process_gradient(tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, script]
    workers = [subprocess.Popen([*command, str(rank), str(tmp_path)], env=environment) for rank in range(2)]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    for rank in range(2):
        found = {
            name: torch.tensor(value) for name, value in json.loads((tmp_path / f"{rank}.json").read_text()).items()
        }
        torch.testing.assert_close(found["global_mean"], found["single"])
        assert not torch.allclose(found["micro_mean"], found["single"])
        torch.testing.assert_close(found["sum"], found["sum of one process"], rtol=1e-6, atol=0)


def test_seq_mean_is_the_mean_of_the_passages_means():
    loss = TokenLoss(torch.tensor([6.0, 0.0, 5.0]), torch.tensor([4, 0, 1]))
    assert mean_loss(loss, "seq_mean") == (6 / 4 + 5) / 2
    assert mean_loss(loss, "micro_mean") == 11 / 5
    assert mean_loss(TokenLoss(torch.zeros(2), torch.zeros(2).long()), "seq_mean") == 0


def test_sum_is_the_mean_of_the_passages_sums_whatever_the_micro_batches():
    """Passages without a label count: RetroMAE Eq. 3 and 6 sum over each passage's labels."""
    total_B, count_B = torch.tensor([6.0, 0.0, 5.0, 9.0]), torch.tensor([4, 0, 1, 2])
    assert mean_loss(TokenLoss(total_B, count_B), "sum") == 20 / 4
    halves = [mean_loss(TokenLoss(total_B[part], count_B[part]), "sum") for part in (slice(2), slice(2, 4))]
    assert sum(halves) / 2 == 20 / 4
