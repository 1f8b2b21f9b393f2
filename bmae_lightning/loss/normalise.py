"""From a sum over labels to the scalar that is optimised: the mean over the labels of one process, or of all.

The released codes average per process and then over processes (micro_mean); their papers write sums over all labels.
"""

import torch
from torch import Tensor, distributed

from bmae_lightning.loss.vocabulary import TokenLoss

NORMS = ("global_mean", "micro_mean")


def mean_loss(loss: TokenLoss, norm: str) -> Tensor:
    """The mean loss per label, in nats; 0 where there is no label.

    norm 'micro_mean': over this process's labels.  'global_mean': over the labels of all processes, times their number,
    so that the average of gradients that DDP takes is the gradient a single process would have had.
    """
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}, got {norm!r}")
    count, processes = loss.count, 1
    if norm == "global_mean" and distributed.is_available() and distributed.is_initialized():
        count, processes = loss.count.clone(), distributed.get_world_size()
        with torch.no_grad():
            distributed.all_reduce(count)
    return loss.total * processes / count.clamp(min=1)
