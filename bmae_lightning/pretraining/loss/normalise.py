"""From sums over labels to the scalar that is optimised: a mean over labels of one process or of all, or by passage.

The released codes average per process and then over processes (micro_mean); most papers write sums over all labels, and
SimLM's Eq. 2 a mean per passage.
"""

import torch
from torch import Tensor, distributed

from bmae_lightning.pretraining.loss.vocabulary import TokenLoss
from bmae_lightning.runtime.checks import choice

NORMS = ("global_mean", "micro_mean", "seq_mean")


def mean_loss(loss: TokenLoss, norm: str) -> Tensor:
    """The mean loss per label, in nats; 0 where there is no label.

    norm 'micro_mean': over this process's labels.  'global_mean': over the labels of all processes, times their number,
    so that the average of gradients that DDP takes is the gradient a single process would have had.  'seq_mean': over
    the labels of each passage, then over the passages of all processes that have one.
    """
    choice(NORMS, norm=norm)
    total, count, processes = loss.total, loss.count, 1
    if norm == "seq_mean":
        total, count = (loss.total_B / loss.count_B.clamp(min=1)).sum(), (loss.count_B > 0).sum()
    if norm != "micro_mean" and distributed.is_available() and distributed.is_initialized():
        count, processes = count.clone(), distributed.get_world_size()
        with torch.no_grad():
            distributed.all_reduce(count)
    return total * processes / count.clamp(min=1)
