"""Selected pieces become draws of a generator: replaced language modelling (SimLM §3.1, Eq. 1-2).

The generator belongs to the model, which binds it to every such corruption; the draws of encoder and decoder are
independent of each other, and either may hit the original.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.corruption.corruption import Corrupted, Corruption, label_selected, unselect_special
from bmae_lightning.pretraining.corruption.hide import HideCorruption
from bmae_lightning.runtime.checks import choice

if TYPE_CHECKING:
    from torch import Tensor

    from bmae_lightning.encoder.vocabulary import Vocabulary
    from bmae_lightning.pretraining.generator.generator import Generator
    from bmae_lightning.pretraining.noise import Noise

INPUTS = {"hide": HideCorruption, "bert": BertCorruption}
LABELS = ("all", "selected")


class ReplaceCorruption(Corruption):
    """input: what the generator reads at selected positions, 'hide' ([MASK], the released script) or 'bert' (80/10/10).

    labels: 'all' for every id that is not special (replaced language modelling), 'selected' for the selected ones.
    segments: give the generator token type 1 behind an inner [SEP].
    """

    generates = True

    def __init__(self, input: str = "hide", labels: str = "all", segments: bool = False):
        choice(INPUTS, input=input)
        choice(LABELS, labels=labels)
        self.shown = INPUTS[input]()
        self.labels = labels
        self.segments = segments
        self.generator: Generator | None = None

    def bind(self, generator: Generator | None) -> None:
        self.generator = generator

    def corrupt(
        self, ids_BL: Tensor, selected_BL: Tensor, vocabulary: Vocabulary, noise: Noise, salt: str
    ) -> Corrupted:
        """Raises ValueError without a generator."""
        import torch

        from bmae_lightning.encoder.batch import Tokens

        if self.generator is None or self.generator.masked_lm is None:
            raise ValueError("the corruption `replace` needs a built generator: BottleneckMAE(..., generator=...)")
        selected_BL = unselect_special(ids_BL, selected_BL, vocabulary)
        shown_BL = self.shown.corrupt(ids_BL, selected_BL, vocabulary, noise, f"{salt}/input").ids_BL
        real_BL = ids_BL != vocabulary.pad_id
        types_BL = Tokens(ids_BL, real_BL).segments(vocabulary.sep_id) if self.segments else None
        new_BL, loss = self.generator.replace(
            shown_BL, ids_BL, selected_BL, real_BL, noise, f"{salt}/generator", types_BL, vocabulary.size
        )
        labelled_BL = unselect_special(ids_BL, torch.ones_like(selected_BL), vocabulary)
        if self.labels == "selected":
            labelled_BL = selected_BL
        return Corrupted(new_BL, label_selected(ids_BL, labelled_BL), selected_BL, loss)
