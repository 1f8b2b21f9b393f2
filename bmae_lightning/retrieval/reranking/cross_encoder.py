"""The re-ranker: query and passage are read together, one score per pair (docs/finetuning.md §3.4, §4.3).

Any sequence classifier of transformers with one output serves: BERT, ELECTRA, DeBERTa. Shapes: P = B·n pairs in the
order i·n + j, positive first, L positions.
"""

from __future__ import annotations

import copy
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from bmae_lightning.encoder.backbone.backbone import known_family, limit_of, set_dropout
from bmae_lightning.encoder.batch import Pairs
from bmae_lightning.encoder.checkpoint import load_checkpoint, read_config
from bmae_lightning.encoder.layout import ATTENTION, packed_stack
from bmae_lightning.retrieval.loss.listwise import Listwise, hardest, listwise_loss
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import replacing

if TYPE_CHECKING:
    from transformers import PreTrainedModel

UNUSED = r"^(?!.*\.layers?\.)"
"""Parameters that a checkpoint may have beside its layers: other heads than a classifier's."""


class CrossEncoder(nn.Module):
    """classifier: a transformers model for sequence classification with one output, saved and loaded as it is.

    packed: its layers compute real tokens only, where the family can and has them in one module.
    """

    def __init__(self, classifier: nn.Module, packed: bool = True) -> None:
        super().__init__()
        self.classifier = classifier
        kind = known_family(classifier.config) if packed else None
        self.stack = kind.stack if kind is not None and kind.packs else None
        if self.stack is not None:
            classifier.set_attn_implementation(ATTENTION)
            self.stack = self.stack if classifier.config._attn_implementation == ATTENTION else None

    def forward(self, pairs: Pairs) -> Tensor:
        """Scores [P], raw numbers.

        Raises:
            BadInput: pairs longer than the network's positions.
        """
        config = self.classifier.config
        limit = limit_of(config)
        if limit is not None and pairs.ids_PL.shape[1] > limit:
            raise BadInput(
                f"a pair of {pairs.ids_PL.shape[1]} tokens does not fit the re-ranker's {limit} positions; lower length"
            )
        types = {"token_type_ids": pairs.types_PL} if getattr(config, "type_vocab_size", 0) > 1 else {}
        stack = getattr(self.classifier.base_model, self.stack or "", None)
        with nullcontext() if stack is None else packed_stack(stack, pairs.real_PL):
            output = self.classifier(input_ids=pairs.ids_PL, attention_mask=pairs.real_PL.long(), **types)
        return output.logits[:, 0]


def group_loss(
    model: nn.Module, pairs: Pairs, group: int, temperature: float = 1.0, forward_factor: int = 1,
    r_drop: bool = False,
) -> Listwise:  # fmt: skip
    """List-wise loss of B groups.

    Args:
        model: the cross-encoder.
        group: n, pairs of a query, the positive first.
        temperature: scores are divided by it.
        forward_factor: above 1, all pairs are scored in evaluation mode without gradient and only n / factor are
            trained on: the positive and the best-scored others (SimLM's code: 64 forward, 16 trained).
        r_drop: score the group twice and add R-Drop's divergence, see `listwise_loss`.

    Raises:
        ValueError: pairs that make no groups, or a group that the factor does not divide.
    """
    if group < 1 or len(pairs) % group or group % forward_factor:
        raise ValueError(
            f"group={group} must divide the {len(pairs)} pairs and be a multiple of forward_factor={forward_factor}"
        )
    if forward_factor > 1:
        pairs, group = hardest_pairs(model, pairs, group, group // forward_factor), group // forward_factor
    scores_Bn = model(pairs).view(-1, group)
    return listwise_loss(scores_Bn, temperature, model(pairs).view(-1, group) if r_drop else None)


def hardest_pairs(model: nn.Module, pairs: Pairs, group: int, keep: int) -> Pairs:
    """The pairs of the positive and of the keep - 1 best-scored others of every group, scored in evaluation mode."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            scores_Bn = model(pairs).view(-1, group)
    finally:
        model.train(training)
    first_B1 = group * torch.arange(len(scores_Bn), device=scores_Bn.device)[:, None]
    rows = (first_B1 + hardest(scores_Bn, keep)).flatten()
    return pairs.map(lambda tensor: tensor[rows])


def load_cross_encoder(
    directory: str, vocabulary_size: int, dropout: float | None = None, label: str = ""
) -> tuple[CrossEncoder, list[str]]:
    """The cross-encoder in `directory` in float32, and the names of parameters that are new (a head, for example).

    Args:
        vocabulary_size: of the tokenizer that makes the ids.
        dropout: all dropouts of the network; None keeps the checkpoint's.
        label: what to call it in messages.

    Raises:
        BadInput: nothing there that can be loaded, fewer embeddings than the tokenizer has ids, or several outputs.
    """
    from transformers import AutoModelForSequenceClassification

    label = label or directory
    config = read_config(directory, label, num_labels=1)
    if config.vocab_size < vocabulary_size:
        raise BadInput(
            f"{label}: the model embeds {config.vocab_size} word pieces, the tokenizer has {vocabulary_size}: "
            "use a re-ranker of the same vocabulary"
        )
    if dropout is not None:
        set_dropout(config, dropout)
    model, new = load_checkpoint(
        AutoModelForSequenceClassification, directory, label, "sequence classifier with one output",
        UNUSED, new_head=True, config=config,
    )  # fmt: skip
    return CrossEncoder(model), new


def save_cross_encoder(model: CrossEncoder, tokenizer: Any, directory: Path) -> None:
    """Write a Hugging Face checkpoint (safetensors) with its tokenizer."""
    with replacing(directory) as made:
        model.classifier.save_pretrained(made)
        tokenizer.save_pretrained(made)


def cross_encoder_of(masked_lm: PreTrainedModel) -> CrossEncoder:
    """A cross-encoder that starts from the layers of a masked language model; pooler and classifier are new."""
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    config = copy.deepcopy(masked_lm.config)
    config.num_labels = 1
    classifier = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)](config)
    classifier.base_model.load_state_dict(masked_lm.base_model.state_dict(), strict=False)
    return CrossEncoder(classifier)
