"""Let a cross-encoder score many (query, passage) pairs: shard by shard, sorted by length inside a shard.

A finished shard is a file and is kept, so that a killed stage continues; a score does not depend on where a run was cut.
Shapes: P pairs.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from bmae_lightning.batch import pad_pairs
from bmae_lightning.corpus.mapped_array import MappedArray, save_array
from bmae_lightning.corpus.token_store import TokenStore
from bmae_lightning.cross_encoder import CrossEncoder
from bmae_lightning.vocabulary import Vocabulary


class PairScorer:
    """Scores pairs given as rows of token stores.

    Args:
        model: in evaluation mode, on `device`.
        queries, passages: token stores.
        vocabulary: for the special ids.
        length: tokens of a pair with [CLS] and both [SEP]; the passage is cut.
        batch_tokens: tokens scored at a time, padding included.
        device: of the model.
    """

    def __init__(
        self, model: CrossEncoder, queries: TokenStore, passages: TokenStore, vocabulary: Vocabulary, length: int,
        batch_tokens: int, device: str,
    ) -> None:  # fmt: skip
        self.model, self.queries, self.passages = model, queries, passages
        self.special = {"cls_id": vocabulary.cls_id, "sep_id": vocabulary.sep_id, "pad_id": vocabulary.pad_id}
        self.length, self.batch_tokens, self.device = length, batch_tokens, device

    def __call__(self, pairs_P2: np.ndarray, advance: Callable[[int], None]) -> np.ndarray:
        """Scores [P] float32 of (row of the query, row of the passage)."""
        sizes_P = (self.queries.lengths[pairs_P2[:, 0]] + self.passages.lengths[pairs_P2[:, 1]] + 3).clip(
            max=self.length
        )
        order_P = np.argsort(-sizes_P, kind="stable")
        scores_P, start = np.empty(len(pairs_P2), dtype=np.float32), 0
        with torch.inference_mode():
            while start < len(order_P):
                rows = order_P[start : start + max(1, self.batch_tokens // int(sizes_P[order_P[start]]))]
                texts = (
                    [self.queries[row] for row in pairs_P2[rows, 0]],
                    [self.passages[row] for row in pairs_P2[rows, 1]],
                )
                scores = self.model(pad_pairs(*texts, **self.special, max_length=self.length).to(self.device))
                scores_P[rows] = scores.float().cpu().numpy()
                advance(len(rows))
                start += len(rows)
        return scores_P


def score_shards(
    scorer: Callable[[np.ndarray, Callable[[int], None]], np.ndarray], pairs_P2: np.ndarray, size: int,
    directory: Path, advance: Callable[[int], None],
) -> Iterator[np.ndarray]:  # fmt: skip
    """Scores of `size` pairs after the other; those that `directory` holds already are read, the others written there.

    Raises:
        BadInput: a shard file that is damaged.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for number, start in enumerate(range(0, len(pairs_P2), size)):
        part_P2 = pairs_P2[start : start + size]
        path = directory / f"shard-{number:06d}.npy"
        if path.is_file():
            advance(len(part_P2))
        else:
            save_array(path, scorer(part_P2, advance))
        yield MappedArray(path, len(part_P2), "delete the file and run the same command again").array
