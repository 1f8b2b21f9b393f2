"""A pre-training step of ours against the plain way (plain/step.py), taking turns in one process on the same passages.

    python benchmarks/step.py [--methods retromae,dupmae,simlm,master] [--sizes 6x384,12x768] [--rounds 5] [--batch 32]
                              [--full] [--json FILE]

A step is forward, backward, clipping and AdamW, masks included. CPU seconds are of the process (user and system), the
ratio is theirs to ours in the same round; memory is what a step takes above the model, its gradients and the state of
the optimiser. The share of the ceiling is the floor FLOPs of the batch, those that no exact step can do without, per
second of ours over the best rate of a 3000 x 3000 product on this machine.
"""

import argparse
import copy
import ctypes
import gc
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from plain.step import PlainStep, optimiser

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.scratch import ScratchEncoder
from bmae_lightning.encoder.vocabulary import SPECIAL_TOKENS, Vocabulary
from bmae_lightning.lit.optimisation import AdamW
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.loss.normalise import mean_loss
from bmae_lightning.runtime.configuration import build, config_directory

PIECES = 30522
WORDS = [*SPECIAL_TOKENS.values(), *(f"{'##' * (i % 6 == 0)}w{i}" for i in range(5, PIECES))]
QUARTILES = (55, 73, 98)
"""Of the lengths of English paragraphs of 78 word pieces in the mean, at most 144."""


def lengths(count: int, longest: int, full: bool) -> np.ndarray:
    """Tokens of each text with [CLS] and [SEP]: log-normal with these quartiles, the first one the longest."""
    if full:
        return np.full(count, longest)
    spread = np.log(QUARTILES[2] / QUARTILES[0]) / 1.349
    drawn = np.exp(np.random.default_rng(0).normal(np.log(QUARTILES[1]), spread, count)).round().astype(int)
    drawn = drawn.clip(12, longest)
    drawn[0] = longest
    return drawn


def texts(size_B: np.ndarray, seed: int) -> Tokens:
    known, draw = len(SPECIAL_TOKENS), np.random.default_rng(seed)
    ids_BL = known + draw.zipf(1.2, (len(size_B), size_B.max())) % (PIECES - known)
    position_L = np.arange(size_B.max())
    ids_BL[:, 0] = 2
    ids_BL[position_L == size_B[:, None] - 1] = 3
    real_BL = position_L < size_B[:, None]
    values = {"keyword_weight": torch.rand(ids_BL.shape), "importance": torch.rand(ids_BL.shape)}
    return Tokens(torch.from_numpy(np.where(real_BL, ids_BL, 0)), torch.from_numpy(real_BL), values)


def batch_of(size: int, longest: int, full: bool, seed: int) -> TextBatch:
    """Passages with the streams that methods read: queries of 12 tokens, continuations as long as passages."""
    size_B = lengths(size, longest, full)
    streams = {"passage": texts(size_B, seed), "continuation": texts(size_B, seed + 1)}
    streams["queries"] = texts(np.full(size, 12), seed + 2)
    return TextBatch(streams, torch.arange(size), torch.zeros(size, dtype=torch.int64))


def model_of(method: str, layers: int, width: int, dropout: float = 0.1, pieces: list[str] = WORDS) -> BottleneckMAE:
    """The method of an experiment over an encoder of this size with random weights."""
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        config = compose("config", overrides=[f"+experiment={method}", "scale=gpu", "reading=code", "encoder=tiny"])
    options = OmegaConf.to_container(config, resolve=True)
    parts = {
        group: {
            name: build(without_requires(part), name) for name, part in options[group].items() if "_target_" in part
        }
        for group in ("view", "decoders")
    }
    torch.manual_seed(0)
    vocabulary = Vocabulary.from_tokens(pieces)
    source = ScratchEncoder(None, layers, width, heads=width // 32, positions=512, dropout=dropout)
    generator = None
    if any(view.corruption.generates for view in parts["view"].values()):
        generator = build({
            "_target_": "bmae_lightning.pretraining.generator.scratch.ScratchGenerator", "layers": 12, "width": 256,
            "heads": 4, "embedding": 768, "train": False,
        }, "generator").build(pieces)  # fmt: skip
    objective = build(without_requires(options["objective"]), "objective")
    bottleneck = build(options["bottleneck"], "bottleneck")
    encoder = Encoder(source.masked_lm(len(pieces))[0], vocabulary)
    return BottleneckMAE(encoder, bottleneck, *parts.values(), 0, objective, generator)


def without_requires(options: object) -> object:
    """Options without the stages that they ask for."""
    if not isinstance(options, dict):
        return options
    return {name: without_requires(value) for name, value in options.items() if name != "requires"}


def our_loss(model: BottleneckMAE, batch: TextBatch) -> torch.Tensor:
    output = model(batch)
    return sum(output.weights[name] * mean_loss(loss, "micro_mean") for name, loss in output.losses.items())


class Runner:
    """One way to train a model of its own, step by step."""

    def __init__(self, model: BottleneckMAE, loss: Callable[[TextBatch], torch.Tensor], optim: torch.optim.Optimizer):
        self.model, self.loss, self.optim = model.train(), loss, optim
        self.cpu, self.wall, self.peak = [], [], []

    def step(self, batch: TextBatch) -> None:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts anew
        before, cpu, wall = memory("VmRSS"), os.times(), time.monotonic()
        self.loss(batch).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optim.step()
        self.wall.append(time.monotonic() - wall)
        after = os.times()
        self.cpu.append(after.user + after.system - cpu.user - cpu.system)
        self.peak.append(memory("VmHWM") - before)
        self.optim.zero_grad(set_to_none=False)


def memory(name: str) -> float:
    """MiB of this process, as Linux tells them."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def floor(model: BottleneckMAE, batch: TextBatch) -> float:
    """FLOPs of a step that computes real tokens and the rows that a loss reads, and nothing twice."""
    config, total = model.encoder.config, 0.0
    width, pieces = config.hidden_size, config.vocab_size

    def layers(count: int, size_B: torch.Tensor, width: int) -> float:
        return float(count * (size_B * (24 * width**2 + 4 * size_B * width)).sum())

    def head(rows: int) -> float:
        return 2.0 * rows * (width * pieces + width**2)

    sizes = {name: stream.real_BL.sum(1) for name, stream in batch.streams.items()}
    sizes |= {"first_half": sizes["passage"] // 2 + 2, "second_half": sizes["passage"] // 2 + 2}
    for view in model.views.values():
        size_B = sizes[view.stream if view.span == "whole" else view.span]
        total += 3 * layers(config.num_hidden_layers, size_B, width)
        rate = 1.0 if view.corruption.generates else view.mask.rate
        total += 3 * head(int(rate * (size_B - 2).sum())) * bool(model.objective.weight)
    for decoder in model.decoders.values():
        size_B = sizes[decoder.stream if decoder.span == "whole" else decoder.span]
        depth, rows = getattr(decoder, "layers", 0), int((size_B - 2).sum())
        if not depth:
            total += head(rows)  # a maximum sends its gradient to single entries
            continue
        everywhere = not hasattr(decoder, "corruption") or decoder.corruption.generates
        rate = 1.0 if everywhere else getattr(decoder.mask, "rate", 0.5)
        total += 3 * layers(depth, size_B, width) + 3 * head(int(rate * rows))
    if model.generator is not None:
        small = model.generator.masked_lm.config
        size_B = sizes["passage"]
        asked = [part for part in (*model.views.values(), *model.decoders.values()) if part.corruption.generates]
        for part in asked:
            total += layers(small.num_hidden_layers, size_B, small.hidden_size)
            rows = part.mask.rate * float((size_B - 2).sum())
            total += 2 * rows * small.embedding_size * (small.vocab_size + small.hidden_size)
    return total


def ceiling() -> float:
    """The best FLOP/s of some products of 3000 x 3000 numbers."""
    one, other, best = torch.randn(3000, 3000), torch.randn(3000, 3000), 0.0
    for _ in range(6):
        started = time.monotonic()
        one @ other
        best = max(best, 2 * 3000**3 / (time.monotonic() - started))
    return best


def spread(numbers: list[float], form: str = ".2f") -> str:
    return f"{statistics.median(numbers):{form}} [{min(numbers):{form}}, {max(numbers):{form}}]"


def measure(method: str, layers: int, width: int, batch: int, rounds: int, full: bool) -> dict[str, object]:
    model = model_of(method, layers, width)
    other = copy.deepcopy(model)
    plain = PlainStep(other, WORDS)
    ours = Runner(model, lambda texts: our_loss(model, texts), AdamW([0.9, 0.98]).make(model, 1e-4, 0.01))
    theirs = Runner(other, plain.loss, optimiser(other))
    for number in range(rounds + 1):  # the first round compiles and fills the optimisers
        texts = batch_of(batch, 144, full, number)
        for runner in (ours, theirs) if number % 2 else (theirs, ours):
            runner.step(texts)
    for runner in (ours, theirs):
        for figures in (runner.cpu, runner.wall, runner.peak):
            del figures[0]
    best = ceiling()
    work = floor(model, texts)
    return {
        "method": method, "size": f"{layers}x{width}", "batch": batch, "lengths": "full" if full else "real",
        "threads": torch.get_num_threads(),
        "cpu": [b / a for a, b in zip(ours.cpu, theirs.cpu, strict=True)],
        "wall": [b / a for a, b in zip(ours.wall, theirs.wall, strict=True)],
        "memory": [a / b for a, b in zip(ours.peak, theirs.peak, strict=True)],
        "seconds": ours.cpu, "seconds_plain": theirs.cpu, "mib": ours.peak, "mib_plain": theirs.peak,
        "floor_gflop": work / 1e9, "ceiling_gflops": best / 1e9,
        "share": [work / seconds / best for seconds in ours.wall],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", default="retromae,dupmae,simlm,master")
    parser.add_argument("--sizes", default="6x384")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=0, help="passages of a step; 0: 32 for 384, 8 for 768")
    parser.add_argument("--full", action="store_true", help="all texts as long as the longest")
    parser.add_argument("--json", help="file to which every result is added as a line")
    given = parser.parse_args()
    for size in given.sizes.split(","):
        layers, width = map(int, size.split("x"))
        for method in given.methods.split(","):
            found = measure(method, layers, width, given.batch or (32 if width < 768 else 8), given.rounds, given.full)
            print(
                f"{method} {size} B={found['batch']} {found['lengths']} lengths, {found['threads']} threads: "
                f"CPU x{spread(found['cpu'])}  wall x{spread(found['wall'])}  memory x{spread(found['memory'])}  "
                f"{statistics.median(found['seconds']):.2f} / {statistics.median(found['seconds_plain']):.2f} CPU-s  "
                f"{statistics.median(found['mib']):.0f} / {statistics.median(found['mib_plain']):.0f} MiB  "
                f"share of {found['ceiling_gflops']:.0f} GFLOP/s {spread(found['share'])}",
                flush=True,
            )
            if given.json:
                with open(given.json, "a") as file:
                    file.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
