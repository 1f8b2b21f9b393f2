"""Randomness as a pure function: a number depends on (seed, epoch, passage, salt, row, position) and nothing else.

A counter-based generator (the splitmix64 finaliser over int64 counters), so a mask is the same for any batch
composition, padding, device count, worker count, and before or after a resume.
Shapes: B passages, R rows (several masks of one passage), L positions.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from bmae_lightning import native


def _signed(value: int) -> int:
    """The int64 with the same 64 bits as the unsigned value."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


STRIDE = _signed(0x9E3779B97F4A7C15)
FIRST = _signed(0xBF58476D1CE4E5B9)
SECOND = _signed(0x94D049BB133111EB)


def _shift(bits: Tensor, count: int) -> Tensor:
    """Logical right shift of int64."""
    return (bits >> count) & ((1 << (64 - count)) - 1)


def mix(bits: Tensor) -> Tensor:
    """splitmix64's finaliser: a bijection of int64 in which every input bit moves about half of the output bits."""
    bits = (bits ^ _shift(bits, 30)) * FIRST
    bits = (bits ^ _shift(bits, 27)) * SECOND
    return bits ^ _shift(bits, 31)


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
        self.epoch_B = epoch_B
        self.passage_B = passage_B

    def of(self, index_G: Tensor) -> Noise:
        """The noise of some of the passages, by their places in the batch (int64)."""
        return Noise(self.seed, self.epoch_B[index_G], self.passage_B[index_G])

    def keys(self, salt: str) -> Tensor:
        """64 random bits for every passage, from which its numbers under a salt are made: int64 [B]."""
        digest = hashlib.blake2b(f"{self.seed}\0{salt}".encode(), digest_size=8).digest()
        start = _signed(int.from_bytes(digest, "little"))
        if loops := native.loops(self.passage_B):
            key_B = torch.empty_like(self.passage_B)
            loops.passage_keys(start, native.array(self.epoch_B), native.array(self.passage_B), native.bits(key_B))
            return key_B
        return mix(mix(self.epoch_B * STRIDE + start) + self.passage_B * STRIDE)

    def uniform(self, salt: str, length: int, rows: int | None = None) -> Tensor:
        """Numbers in the open interval (0, 1): [B, L], or [B, R, L] when rows = R is given; row 0 is the rowless draw.

        salt names the use, for instance 'decoders.enhanced/mask'; other salts give independent numbers.
        """
        device = self.passage_B.device
        key_B = self.keys(salt)
        if loops := native.loops(key_B):
            shape = (len(key_B), rows or 1, length)
            value_BRL = torch.empty(shape, dtype=torch.float64)
            native.spread(loops.uniform, shape[0], value_BRL.numel(), native.bits(key_B), value_BRL.numpy())
            return value_BRL[:, 0] if rows is None else value_BRL
        row_R = torch.arange(1, (rows or 1) + 1, device=device)
        position_L = torch.arange(1, length + 1, device=device)
        key_BR = mix(key_B[:, None] + row_R * STRIDE)
        bits_BRL = mix(key_BR[:, :, None] + position_L * STRIDE)
        dtype = widest_float(device)
        kept = 52 if dtype == torch.float64 else 23
        value_BRL = (_shift(bits_BRL, 64 - kept).to(dtype) + 0.5) * 2.0**-kept
        return value_BRL[:, 0] if rows is None else value_BRL

    def below(self, salt: str, length: int, bound: int | Tensor) -> Tensor:
        """Integers [B, L] uniform in 0..bound-1; bound is one number or a tensor [B]."""
        limit = bound[:, None] if isinstance(bound, Tensor) else bound
        return (self.uniform(salt, length) * limit).long()
