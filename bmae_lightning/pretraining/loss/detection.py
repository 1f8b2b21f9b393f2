"""Binary cross-entropy of "this token was replaced": ELECTRA's discriminator loss, SimLM Table 7 (Enc-Dec RTD).

Shapes: B passages, L positions, D width, N candidate positions.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from bmae_lightning.pretraining.loss.vocabulary import TokenLoss, per_passage


def detection_loss(
    hidden_BLD: Tensor, replaced_BL: Tensor, candidate_BL: Tensor, head: Callable[[Tensor], Tensor]
) -> TokenLoss:
    """Sums over the candidate positions in nats, fp32 or wider; head gives logits [N, 1] of rows [N, D].

    replaced_BL: where the token differs from the original.
    Relations: a cheaper question than `vocabulary_loss` asks, at every position instead of the masked ones.
    """
    logits_N = head(hidden_BLD[candidate_BL])[:, 0]
    logits_N = logits_N.to(torch.float64 if logits_N.dtype == torch.float64 else torch.float32)
    target_N = replaced_BL[candidate_BL].to(logits_N.dtype)
    return per_passage(binary_cross_entropy_with_logits(logits_N, target_N, reduction="none"), candidate_BL)
