"""Randomness as a pure function: a number depends on (seed, epoch, passage, salt, row, position) and nothing else.

A counter-based generator (the splitmix64 finaliser over int64 counters), so a mask is the same for any batch
composition, padding, device count, worker count, and before or after a resume.
Shapes: B passages, R rows (several masks of one passage), L positions.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from bmae_lightning.pretraining.kernels.dispatch import compiled_twin
from bmae_lightning.runtime.splitmix64 import GOLDEN, finaliser, signed


def _shift(bits: Tensor, count: int) -> Tensor:
    """Logical right shift of int64."""
    return (bits >> count) & ((1 << (64 - count)) - 1)


STRIDE, mix = signed(GOLDEN), finaliser(_shift, signed)
LOG_2, ROOT_HALF = math.log(2), 0x3FE6A09E667F3BCD  # the latter: the bits of the square root of 1/2
LOG_SERIES = tuple(2 / odd for odd in range(21, 0, -2))


def log(value: Tensor) -> Tensor:
    """Natural logarithm of positive float64 numbers, the same to the last bit on every device and in compiled loops.

    x = m 2^e with m around 1; log m = 2 artanh((m - 1) / (m + 1)) by its series. Only operations that IEEE 754 rounds
    exactly are used; the relative error is below 1e-15. Other types go to torch.log.
    """
    if value.dtype != torch.float64:
        return value.log()
    bits = value.view(torch.int64)
    exponent = (bits - ROOT_HALF) >> 52
    part = (bits - (exponent << 52)).view(torch.float64)
    ratio = (part - 1) / (part + 1)
    square = ratio * ratio
    series = torch.full_like(ratio, LOG_SERIES[0])
    for term in LOG_SERIES[1:]:
        series = series * square + term
    return exponent.double() * LOG_2 + ratio * series


def widest_float(device: torch.device) -> torch.dtype:
    """float64, or float32 on Apple's GPU, which has nothing wider."""
    return torch.float32 if device.type == "mps" else torch.float64


class Noise:
    """Uniform numbers for the passages of one batch.

    seed: of the run.  epoch_B: how often each passage has been seen.  passage_B: its number in the corpus (both int64).
    """

    def __init__(self, seed: int, epoch_B: Tensor, passage_B: Tensor):
        if epoch_B.shape != passage_B.shape or epoch_B.ndim != 1:
            raise ValueError(f"epoch_B {tuple(epoch_B.shape)} and passage_B {tuple(passage_B.shape)} must both be [B]")
        self.seed = seed
        self.epoch_B, self.passage_B = epoch_B.contiguous(), passage_B.contiguous()  # as compiled loops want them

    def of(self, index_G: Tensor) -> Noise:
        """The noise of some of the passages, by their places in the batch (int64)."""
        return Noise(self.seed, self.epoch_B[index_G], self.passage_B[index_G])

    def keys(self, salt: str) -> Tensor:
        """64 random bits for every passage, from which its numbers under a salt are made: int64 [B].

        salt names the use, for instance 'decoders.enhanced/mask'; other salts give independent numbers.
        """
        digest = hashlib.blake2b(f"{self.seed}\0{salt}".encode(), digest_size=8).digest()
        return passage_keys(self.epoch_B, self.passage_B, int.from_bytes(digest, "little", signed=True))

    def uniform(self, salt: str, length: int, rows: int | None = None) -> Tensor:
        """Numbers in the open interval (0, 1): [B, L], or [B, R, L] with rows = R; row 0 is the rowless draw."""
        value_BRL = uniform(self.keys(salt), rows or 1, length)
        return value_BRL[:, 0] if rows is None else value_BRL

    def below(self, salt: str, length: int, bound: int | Tensor) -> Tensor:
        """Integers [B, L] uniform in 0..bound-1; bound is one number or a tensor [B]."""
        limit = bound[:, None] if isinstance(bound, Tensor) else bound
        return (self.uniform(salt, length) * limit).long()


@compiled_twin
def passage_keys(epoch_B: Tensor, passage_B: Tensor, start: int) -> Tensor:
    """A key for every passage, int64 [B]; start: 64 bits of seed and salt."""
    return mix(mix(epoch_B * STRIDE + start) + passage_B * STRIDE)


@compiled_twin
def uniform(key_B: Tensor, rows: int, length: int) -> Tensor:
    """The numbers in (0, 1) that the keys stand for, [B, R, L]: 52 of 64 bits and a half (23 bits in float32)."""
    device = key_B.device
    row_R = torch.arange(1, rows + 1, device=device)
    position_L = torch.arange(1, length + 1, device=device)
    key_BR = mix(key_B[:, None] + row_R * STRIDE)
    bits_BRL = mix(key_BR[:, :, None] + position_L * STRIDE)
    dtype = widest_float(device)
    kept = 52 if dtype == torch.float64 else 23
    return (_shift(bits_BRL, 64 - kept).to(dtype) + 0.5) * 2.0**-kept
