"""Let a cross-encoder score many (query, passage) pairs: shard by shard, sorted by length inside a shard.

A finished shard is a file and is kept, so that a killed stage continues; no score depends on where a run was cut.
Shapes: P pairs.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from bmae_lightning.retrieval.encode import batches_by_length
from bmae_lightning.retrieval.reranking.cross_encoder import CrossEncoder
from bmae_lightning.retrieval.reranking.pair_texts import PairTexts
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.shards import ArrayShards


class PairScorer:
    """Scores pairs given as rows of token stores.

    Args:
        model: in evaluation mode.
        texts: the word pieces of queries and passages.
        length: tokens of a pair with [CLS] and every [SEP]; the passage is cut.
        batch_tokens: tokens scored at a time, padding included.
    """

    def __init__(self, model: CrossEncoder, texts: PairTexts, length: int, batch_tokens: int) -> None:
        self.model, self.texts, self.length, self.batch_tokens = model, texts, length, batch_tokens

    def __call__(self, pairs_P2: np.ndarray, advance: Callable[[int], None], device: str = "cpu") -> np.ndarray:
        """Scores [P] float32 of (row of the query, row of the passage).

        advance: told the number of pairs done.  device: of the model.

        Raises:
            BadInput: a score that is not a number.
        """
        sizes_P = self.texts.sizes(pairs_P2).clip(max=self.length)
        scores_P = np.empty(len(pairs_P2), dtype=np.float32)
        with torch.inference_mode():
            for rows in batches_by_length(sizes_P, self.batch_tokens):
                scores = self.model(self.texts.pairs(pairs_P2[rows], self.length).to(device))
                scores_P[rows] = scores.float().cpu().numpy()
                advance(len(rows))
        if len(wrong := np.flatnonzero(~np.isfinite(scores_P))):
            query, passage = pairs_P2[wrong[0]].tolist()
            raise BadInput(
                f"the re-ranker's score of query {self.texts.queries.external_id(query)} and passage "
                f"{self.texts.passages.external_id(passage)} is not a number: it diverged; train it again with a lower "
                "lr"
            )
        return scores_P


class PairShards(ArrayShards):
    """Scores of pairs in shards.

    Args:
        directory: where the files lie.
        pairs_P2: rows of query and passage.
        size: pairs per shard.
    """

    def __init__(self, directory: Path, pairs_P2: np.ndarray, size: int) -> None:
        super().__init__(directory, len(pairs_P2), size)
        self.pairs_P2 = pairs_P2

    def pairs(self, number: int) -> np.ndarray:
        """The pairs of a shard [at most size, 2]."""
        return self.pairs_P2[number * self.size : (number + 1) * self.size]
