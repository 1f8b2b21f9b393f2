"""Peak memory and time of one contrastive step of the small encoder (4 layers x 256), with and without GradCache.

    python benchmarks/grad_cache.py [--queries 256] [--group 8] [--chunk 32] [--variants cached,plain] [--limit GIB]

Every variant runs in a process of its own, whose peak resident memory is that of this step and of nothing else. On CPU
the plain step of 256 queries x 8 passages needs 12.5 GiB, in chunks of 32 it needs 2.5: give a limit on small machines.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from functools import partial


def step(queries: int, group: int, chunk: int | None, query_length: int, passage_length: int) -> dict[str, float]:
    """One forward and backward pass on random texts of full length; GiB, seconds, loss and norm of the gradient."""
    import torch

    from bmae_lightning.encoder.batch import RetrievalBatch, Tokens
    from bmae_lightning.encoder.model import Encoder
    from bmae_lightning.encoder.scratch import ScratchEncoder
    from bmae_lightning.encoder.vocabulary import SPECIAL_TOKENS, Vocabulary
    from bmae_lightning.retrieval.dual_encoder import DualEncoder
    from bmae_lightning.retrieval.grad_cache import GradCache
    from bmae_lightning.retrieval.loss.contrastive import Contrastive
    from bmae_lightning.retrieval.loss.loss import ScoredBatch
    from bmae_lightning.retrieval.representation.pooled import PooledRepresentation

    words = [*SPECIAL_TOKENS.values(), *(f"w{i}" for i in range(8000 - len(SPECIAL_TOKENS)))]
    masked_lm, _ = ScratchEncoder(None, layers=4, width=256, heads=4).masked_lm(len(words))
    model = DualEncoder(Encoder(masked_lm, Vocabulary.from_tokens(words)), PooledRepresentation("cls"), "dot").train()
    torch.manual_seed(0)
    texts = [
        Tokens(torch.randint(5, len(words), shape), torch.ones(shape, dtype=torch.bool))
        for shape in ((queries, query_length), (queries * group, passage_length))
    ]
    before, started = peak(), time.monotonic()
    cache = GradCache(chunk)
    vectors = [cache(partial(model, passages=bool(side)), tokens) for side, tokens in enumerate(texts)]
    loss = Contrastive()(*vectors, ScoredBatch(*vectors, RetrievalBatch(*texts), group)).loss
    loss.backward()
    seconds = time.monotonic() - started
    norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm()
    return {"before_gib": before, "peak_gib": peak(), "seconds": seconds, "loss": loss.item(), "gradient": norm.item()}


def peak() -> float:
    """Largest resident size of this process so far, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("queries", 256), ("group", 8), ("chunk", 32), ("query-length", 32), ("passage-length", 64)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--variants", default="cached,plain")
    parser.add_argument("--limit", type=float, default=0.0, help="GiB of memory a variant may use; 0: no limit")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        if given.limit:
            resource.setrlimit(resource.RLIMIT_DATA, 2 * (int(given.limit * 2**30),))
        chunk = given.chunk if given.variants == "cached" else None
        print(json.dumps(step(given.queries, given.group, chunk, given.query_length, given.passage_length)))
        return
    print(f"{given.queries} queries x {given.group} passages, {given.query_length} / {given.passage_length} tokens")
    for variant in given.variants.split(","):
        command = [sys.executable, __file__, *sys.argv[1:], "--variants", variant, "--inside"]
        done = subprocess.run(command, capture_output=True, text=True)
        label = f"chunk={given.chunk}" if variant == "cached" else "plain"
        if done.returncode:
            error = done.stderr.strip().splitlines()[-1:]
            print(f"{label:10} stopped: {error[0] if error else f'exit code {done.returncode}'}"[:150])
            continue
        found = json.loads(done.stdout)
        print(
            f"{label:10} peak {found['peak_gib']:6.2f} GiB ({found['before_gib']:.2f} before the step)  "
            f"{found['seconds']:6.1f} s  loss {found['loss']:.6f}  gradient {found['gradient']:.6f}"
        )


if __name__ == "__main__":
    main()
