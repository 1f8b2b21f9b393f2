"""Large in-batch batches on small memory: encode in chunks without a graph, encode each again in backward (GradCache).

The loss sees the vectors of the whole batch; its gradient reaches the parameters chunk by chunk, each encoded a second
time with the random numbers of the first, so it is that of one pass (docs/finetuning.md §1.6).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from bmae_lightning.encoder.batch import Tokens
    from bmae_lightning.retrieval.dual_encoder import DualEncoder
    from bmae_lightning.retrieval.representation.vectors import Vectors


class GradCache:
    """Wraps an encoding function so that the activations of one chunk at most are alive at a time.

    Backward goes through the chunks one after the other and adds up their gradients before any parameter receives
    its own: to DDP this is one ordinary backward pass, synchronised once, as to loss scaling and accumulation.

    Args:
        chunk: texts encoded at a time; None encodes all at once and keeps the activations, as usual.
    """

    def __init__(self, chunk: int | None = None) -> None:
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk must be at least 1 text, or null to encode all at once, got {chunk}")
        self.chunk = chunk

    def __call__(self, encode: Callable[[Tokens], Vectors], tokens: Tokens) -> Vectors:
        """`encode(tokens)`, chunk by chunk.

        encode: a function of texts one by one (nothing may depend on the others of the batch) and of torch's random
        state; it is called twice per chunk and must not communicate with other processes.
        """
        import torch

        from bmae_lightning.retrieval.representation.vectors import Vectors

        if self.chunk is None or not torch.is_grad_enabled():
            return encode(tokens)
        starts = range(0, len(tokens.ids_BL), self.chunk)
        parts = [tokens.map(lambda tensor, s=start: tensor[s : s + self.chunk]) for start in starts]
        return Vectors.cat([_replayed(encode, part) for part in parts])

    def both(self, model: DualEncoder, queries: Tokens, passages: Tokens) -> tuple[Vectors, Vectors]:
        """Vectors of queries and of passages."""
        if self.chunk is None:
            return model.both(queries, passages)
        return self(partial(model, passages=False), queries), self(partial(model, passages=True), passages)


def _replayed(encode: Callable[[Tokens], Vectors], part: Tokens) -> Vectors:
    from torch.utils.checkpoint import checkpoint

    from bmae_lightning.encoder.batch import Tokens

    def run(ids_CL: Tensor, real_CL: Tensor) -> Vectors:  # the device whose random state is kept is that of arguments
        return encode(Tokens(ids_CL, real_CL, part.values))

    return checkpoint(run, part.ids_BL, part.real_BL, use_reentrant=False, preserve_rng_state=True)
