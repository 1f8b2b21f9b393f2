"""From sums over labels to the scalar that is optimised: a mean over labels, by passage, or a sum over each passage's.

The released codes average per process and then over processes (micro_mean). RetroMAE (Eq. 3, 6), DupMAE (Eq. 4, 8) and
MASTER (Eq. 3-5) print the sum over a passage's labels, SimLM (Eq. 2) a mean per passage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmae_lightning.runtime.checks import choice

if TYPE_CHECKING:
    from torch import Tensor

    from bmae_lightning.pretraining.loss.vocabulary import TokenLoss

NORMS = ("global_mean", "micro_mean", "seq_mean", "sum")


def terms(loss: TokenLoss, norm: str) -> tuple[Tensor, Tensor]:
    """What is summed over this process's batch, in nats, and the number (int64 scalar) that it is divided by.

    norm 'micro_mean' and 'global_mean': labels.  'seq_mean': the mean of each passage; passages that have a label.
    'sum': the sum over each passage's labels; passages, so that losses weigh by how many labels they have.
    """
    import torch

    choice(NORMS, norm=norm)
    if norm == "seq_mean":
        return (loss.total_B / loss.count_B.clamp(min=1)).sum(), (loss.count_B > 0).sum()
    return loss.total, torch.full_like(loss.count, loss.total_B.numel()) if norm == "sum" else loss.count


def mean_loss(loss: TokenLoss, norm: str) -> Tensor:
    """What is optimised: the `quotient` of the `terms`."""
    return quotient(*terms(loss, norm), norm)


def quotient(total: Tensor, count: Tensor, norm: str) -> Tensor:
    """total / count; 0 where there is no label.

    norm 'micro_mean': of this process's.  Others: of the sums over all processes, times their number, so that the
    average of gradients that DDP takes is the gradient a single process would have had. With 'sum' this holds for
    accumulated batches as well, which all have the same number of passages.
    """
    import torch
    from torch import distributed

    processes = 1
    if norm != "micro_mean" and distributed.is_available() and distributed.is_initialized():
        count, processes = count.clone(), distributed.get_world_size()
        with torch.no_grad():
            distributed.all_reduce(count)
    return total * processes / count.clamp(min=1)
