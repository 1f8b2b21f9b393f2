"""Work that processes share: who does what, what is skipped, and how it stops."""

import os
import signal
from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from bmae_lightning.lit.share import score_pairs, share
from bmae_lightning.retrieval.reranking.score_pairs import PairShards
from bmae_lightning.runtime.errors import Interrupted
from bmae_lightning.runtime.shards import ArrayShards

TRAINER = partial(pl.Trainer, accelerator="cpu", devices=1)
MODEL = torch.nn.Linear(2, 1)


def test_the_work_is_done_once_with_the_model_on_its_device(tmp_path, capsys):
    shards, seen = ArrayShards(tmp_path, 7, 3), []
    shards.write(1, np.zeros(3))

    def work(process):
        seen.append((process.rank, process.world, process.device))
        with process.track("label", shards, "items", each=2) as advance:
            for number in shards.missing(process.rank, process.world):
                shards.write(number, np.full(len(shards.rows(number)), number))
                advance(2 * len(shards.rows(number)))
        process.wait_for(lambda: not shards.missing())

    share(TRAINER, MODEL, work, "label", tmp_path)
    assert seen == [(0, 1, "cpu")]
    assert [part.tolist() for part in shards.read()] == [[0, 0, 0], [0, 0, 0], [2]]
    assert "label: 8/8 items" in capsys.readouterr().err, "two units an item, of the unfinished shards"


def test_sigterm_stops_the_work_and_is_handled_as_before_afterwards(tmp_path):
    shards, before = ArrayShards(tmp_path, 4, 2), signal.getsignal(signal.SIGTERM)

    def work(process):
        with process.track("label", shards, "items") as advance:
            shards.write(0, np.zeros(2))
            os.kill(os.getpid(), signal.SIGTERM)
            advance(2)
            shards.write(1, np.zeros(2))

    with pytest.raises(Interrupted, match="asked to stop: 1 of 2 shards are written; run the same command again"):
        share(TRAINER, MODEL, work, "label", tmp_path)
    assert shards.missing() == [1]
    assert signal.getsignal(signal.SIGTERM) is before


def test_waiting_stops_too(tmp_path):
    def work(process):
        os.kill(os.getpid(), signal.SIGTERM)
        process.wait_for(lambda: False)

    with pytest.raises(Interrupted, match="asked to stop; run the same command again to continue"):
        share(TRAINER, MODEL, work, "label", tmp_path)


def test_pairs_of_finished_shards_are_not_scored_again(tmp_path):
    class Sums:
        model, pairs = MODEL, []

        def __call__(self, pairs_P2, advance, device):
            self.pairs += pairs_P2.tolist()
            advance(len(pairs_P2))
            return pairs_P2.sum(1).astype(np.float32)

    pairs_P2 = np.array([(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)])
    shards, scorer = PairShards(tmp_path, pairs_P2, 2), Sums()
    shards.write(0, np.array([-1.0, -1.0], dtype=np.float32))
    score_pairs(TRAINER, scorer, shards, "label", tmp_path)
    assert scorer.pairs == [[4, 5], [6, 7], [8, 9]]
    assert np.concatenate(list(shards.read())).tolist() == [-1, -1, 9, 13, 17]
