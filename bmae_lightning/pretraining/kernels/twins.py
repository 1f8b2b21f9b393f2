"""The compiled twins of the functions marked `@compiled_twin`: same names, same arguments, same numbers.

Each hands the memory of its tensors to a loop of words.py or texts.py and lets threads share the passages.
Shapes: B passages, R rows (masks per passage), L positions, W word slots, V vocabulary, H positions of a half text,
G passages of similar length, K masks to pick from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from bmae_lightning.pretraining.kernels import texts, words
from bmae_lightning.pretraining.kernels.dispatch import spread

GROUP = 32
"""Passages whose rows of masks are drawn together, see `visible_keys`."""


def array(tensor: Tensor, dtype: torch.dtype = torch.int64) -> np.ndarray:
    """The numbers of a CPU tensor in one block of memory, which is the tensor's own where it has that form already."""
    if tensor.dtype == dtype and tensor.is_contiguous() and not tensor.requires_grad:
        return tensor.numpy()
    return tensor.detach().to(dtype).contiguous().numpy()


def flags(tensor: Tensor) -> np.ndarray:
    return array(tensor, torch.bool)


def bits(key_B: Tensor) -> np.ndarray:
    """Keys of noise as unsigned numbers."""
    return key_B.numpy().view(np.uint64)


# noise.py


def passage_keys(epoch_B: Tensor, passage_B: Tensor, start: int) -> Tensor:
    key_B = np.empty(len(passage_B), np.uint64)
    texts.passage_keys(start, array(epoch_B), array(passage_B), key_B)
    return torch.from_numpy(key_B.view(np.int64))


def uniform(key_B: Tensor, rows: int, length: int) -> Tensor:
    value_BRL = torch.empty((len(key_B), rows, length), dtype=torch.float64)
    spread(texts.uniform, len(value_BRL), value_BRL.numel(), bits(key_B), value_BRL.numpy())
    return value_BRL


# corruption/bert.py


def corrupt_pieces(
    ids_BL: Tensor, selected_BL: Tensor, special_V: Tensor, fate_key_B: Tensor, random_key_B: Tensor, mask_id: int,
    hide: float, change: float, ignored: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    new_BL, labels_BL, taken_BL = torch.empty_like(ids_BL), torch.empty_like(ids_BL), torch.empty_like(selected_BL)
    texts.corrupt_pieces(
        array(ids_BL), flags(selected_BL), flags(special_V), bits(fate_key_B), bits(random_key_B), mask_id,
        hide, change, ignored, new_BL.numpy(), labels_BL.numpy(), taken_BL.numpy(),
    )  # fmt: skip
    return new_BL, labels_BL, taken_BL


# view.py


def halve(ids_BL: Tensor, real_BL: Tensor, second: bool, pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    shape = (len(ids_BL), (ids_BL.shape[1] - 1) // 2 + 2)
    source_BH, half_BH = torch.empty(shape, dtype=torch.int64), torch.empty(shape, dtype=torch.int64)
    kept_BH = torch.empty(shape, dtype=torch.bool)
    texts.halve(array(ids_BL), flags(real_BL), second, pad_id, source_BH.numpy(), half_BH.numpy(), kept_BH.numpy())
    return source_BH, half_BH, kept_BH


# decoder/enhanced.py


def visible_keys(real_BL: Tensor, draw: Callable[[Tensor | slice, int], tuple[Tensor, Tensor]]) -> Tensor:
    """Draws the masks of passages of similar length together, so that few of them cover padding."""
    visible_BLL = torch.empty(*real_BL.shape, real_BL.shape[1], dtype=torch.bool)
    for index_G, length in length_groups(real_BL):
        hidden_GKL, pick_GL = draw(index_G, length)
        spread(
            texts.visible_keys, len(index_G), visible_BLL[0].numel() * len(index_G), array(index_G),
            flags(hidden_GKL), array(pick_GL), flags(real_BL[:, :length].index_select(0, index_G)), visible_BLL.numpy(),
        )  # fmt: skip
    return visible_BLL


def length_groups(real_BL: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Passages of similar length: their places in the batch [G] and the longest length among them."""
    size_B = real_BL.sum(1)
    for index_G in size_B.argsort().split(GROUP):
        yield index_G, max(1, int(size_B[index_G[-1]]))


# mask/words.py


def find_words(ids_BL: Tensor, real_BL: Tensor, skip_V: Tensor, joint_V: Tensor) -> tuple[Tensor, Tensor]:
    word_BL, size_BW = torch.empty_like(ids_BL), torch.empty_like(ids_BL)
    spread(
        words.find_words, len(word_BL), word_BL.numel(), array(ids_BL), flags(real_BL), flags(skip_V),
        array(joint_V, torch.uint8), word_BL.numpy(), size_BW.numpy(),
    )  # fmt: skip
    return word_BL, size_BW


def first_positions(word_BL: Tensor, size_BW: Tensor) -> Tensor:
    start_BW = torch.zeros_like(size_BW)
    words.first_positions(array(word_BL), start_BW.numpy())
    return start_BW


def take_by_priority(word_BL: Tensor, size_BW: Tensor, priority_BRW: Tensor, budget_B: Tensor, fill: str) -> Tensor:
    mask_BRL = _masks(word_BL, priority_BRW.shape[1])
    spread(
        words.take_by_priority, len(mask_BRL), mask_BRL.numel(), array(priority_BRW, torch.float64), array(word_BL),
        array(size_BW), array(budget_B), words.FILLS[fill], mask_BRL.numpy(),
    )  # fmt: skip
    return mask_BRL


def take_at_random(
    ids_BL: Tensor, real_BL: Tensor, skip_V: Tensor, joint_V: Tensor, key_B: Tensor, rows: int,
    budget_B: Tensor, fill: str, others: bool,
) -> Tensor:  # fmt: skip
    """Finds the words and takes them in one pass."""
    mask_BRL = _masks(ids_BL, rows)
    spread(
        words.take_at_random, len(mask_BRL), mask_BRL.numel(), bits(key_B), array(ids_BL), flags(real_BL),
        flags(skip_V), array(joint_V, torch.uint8), array(budget_B), words.FILLS[fill], others, mask_BRL.numpy(),
    )  # fmt: skip
    return mask_BRL


def take_by_weight(
    word_BL: Tensor, size_BW: Tensor, log_weight_BW: Tensor, key_B: Tensor, rows: int, budget_B: Tensor, fill: str
) -> Tensor:
    mask_BRL = _masks(word_BL, rows)
    spread(
        words.take_by_weight, len(mask_BRL), 2 * mask_BRL.numel(), bits(key_B), array(log_weight_BW, torch.float64),
        array(word_BL), array(size_BW), array(budget_B), words.FILLS[fill], mask_BRL.numpy(),
    )  # fmt: skip
    return mask_BRL


def _masks(like_BL: Tensor, rows: int) -> Tensor:
    """Uninitialised memory for masks [B, R, L]."""
    return torch.empty((len(like_BL), rows, like_BL.shape[1]), dtype=torch.bool)
