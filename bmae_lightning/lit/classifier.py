"""Training a classifier on labelled texts: batches, the LightningModule, and predictions for a split."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from bmae_lightning.encoder.batch import Pairs, pad_pairs
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.evaluation.glue.classifier import Classifier, classifier_loss, cut_longer, single
from bmae_lightning.lit.data import Item
from bmae_lightning.lit.module import TrainedModule


class Labelled(NamedTuple):
    """Texts or pairs of texts and their labels [P], float32."""

    pairs: Pairs
    label_P: torch.Tensor


class LabelledTexts:
    """Collates (row, epoch) pairs.

    Args:
        first: word pieces of the texts.
        second: of each one's second text, None where there is only one.
        labels: float32 [rows].
        vocabulary: for the special ids.
        length: tokens with [CLS] and [SEP].
    """

    def __init__(
        self, first: list[np.ndarray], second: list[np.ndarray] | None, labels: np.ndarray, vocabulary: Vocabulary,
        length: int,
    ) -> None:  # fmt: skip
        self.first, self.second, self.labels = first, second, labels
        self.vocabulary, self.length = vocabulary, length

    def __len__(self) -> int:
        return len(self.labels)

    def __call__(self, items: Sequence[Item]) -> Labelled:
        rows = [row for row, _ in items]
        labels = torch.from_numpy(self.labels[rows])
        if self.second is None:
            tokens = self.vocabulary.pad([self.first[row] for row in rows], self.length)
            return Labelled(single(tokens.ids_BL, tokens.real_BL), labels)
        known = self.vocabulary
        room = self.length - 2 - known.separators
        cut = [cut_longer(self.first[row], self.second[row], room) for row in rows]
        special = {name: getattr(known, name) for name in ("cls_id", "sep_id", "pad_id", "separators")}
        return Labelled(pad_pairs(*map(list, zip(*cut, strict=True)), **special, max_length=self.length), labels)


class ClassifierModule(TrainedModule):
    """Trains a `Classifier` on labelled texts."""

    def training_step(self, batch: Labelled, index: int) -> torch.Tensor:
        loss = classifier_loss(self.model(batch.pairs), batch.label_P)
        self.parts = {"loss/labels": (loss.detach(), self.count(len(batch.label_P)))}
        return loss


def predict(model: Classifier, texts: LabelledTexts, batch_size: int, device: str) -> np.ndarray:
    """Predictions for all rows, float32, in their order; texts of like length go together."""
    lengths = [len(first) + (len(texts.second[row]) if texts.second else 0) for row, first in enumerate(texts.first)]
    order = np.argsort(lengths, kind="stable")
    found_N = np.empty(len(texts), dtype=np.float32)
    model.to(device).eval()
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            pairs = texts([(int(row), 0) for row in rows]).pairs.to(device)
            found_N[rows] = model.predict(pairs).cpu().numpy()
    return found_N
