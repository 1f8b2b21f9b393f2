"""Time of max-pooled vocabulary logits, forward and backward: ours beside autograd's maximum over logits in chunks.

    python benchmarks/max_pool.py [--passages 64] [--length 64] [--width 384] [--vocabulary 30522] [--kept 384]
                                  [--repeats 5]

Two losses: `bag of words` sends a gradient into every entry (pre-training), `top K` into K per passage (DupMAE's
lexical vectors in fine-tuning). Both variants keep no logits; autograd computes them again in backward and
multiplies them densely.
"""

import argparse
import statistics
import time

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bmae_lightning.encoder.vocabulary_head import VocabularyHead
from bmae_lightning.pretraining.loss.bag_of_words import max_pool

CHUNK = 1024


def by_autograd(hidden_BLD: Tensor, pooled_BL: Tensor, head: VocabularyHead) -> Tensor:
    """The maximum [B, V], by what autograd offers."""

    def best_of(hidden_BCD: Tensor, pooled_BC: Tensor) -> Tensor:
        return head(hidden_BCD).masked_fill(~pooled_BC[:, :, None], float("-inf")).max(1).values

    step = max(1, CHUNK // len(pooled_BL))
    parts = zip(hidden_BLD.split(step, 1), pooled_BL.split(step, 1), strict=True)
    mu_BV = None
    for part in parts:
        best_BV = checkpoint(best_of, *part, use_reentrant=False, preserve_rng_state=False)
        mu_BV = best_BV if mu_BV is None else torch.maximum(mu_BV, best_BV)
    return mu_BV


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"passages": 64, "length": 64, "width": 384, "vocabulary": 30522, "kept": 384, "repeats": 5, "threads": 0}
    for name, value in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    outer = nn.Linear(given.width, given.vocabulary)
    head = VocabularyHead(nn.Identity(), outer.weight, outer.bias)
    hidden_BLD = torch.randn(given.passages, given.length, given.width, requires_grad=True)
    pooled_BL = torch.rand(given.passages, given.length) < 0.9
    pooled_BL[:, 0] = True
    losses = {
        "bag of words": lambda mu_BV: mu_BV.logsumexp(1).sum(),
        f"top {given.kept}": lambda mu_BV: mu_BV.topk(given.kept, 1).values.square().sum(),
    }
    print(
        f"{given.passages} x {given.length} states of {given.width}, {given.vocabulary:,} entries; "
        f"medians of {given.repeats}"
    )
    for name, loss_of in losses.items():
        seconds: dict[str, list[tuple[float, float]]] = {"autograd": [], "ours": []}
        gradients: dict[str, Tensor] = {}
        for _ in range(given.repeats):
            for variant, pool in (("autograd", by_autograd), ("ours", max_pool)):
                hidden_BLD.grad = outer.weight.grad = outer.bias.grad = None
                started = time.perf_counter()
                loss = loss_of(pool(hidden_BLD, pooled_BL, head))
                between = time.perf_counter()
                loss.backward()
                seconds[variant].append((between - started, time.perf_counter() - between))
                gradients[variant] = outer.weight.grad
        medians = {
            variant: [statistics.median(part) for part in zip(*times, strict=True)]
            for variant, times in seconds.items()
        }
        for variant, (forward, backward) in medians.items():
            print(f"{name:14} {variant:9} forward {forward:6.2f} s  backward {backward:6.2f} s")
        apart = (gradients["ours"] - gradients["autograd"]).abs().max() / gradients["autograd"].abs().max()
        ratio = sum(medians["ours"]) / sum(medians["autograd"])
        print(f"{name:14} ours / autograd {ratio:.2f}; gradients of the weight differ by {apart:.1e} of the largest")


if __name__ == "__main__":
    main()
