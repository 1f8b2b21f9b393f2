"""Statistics of n-grams side by side with a Counter of tuples: pieces per CPU-second, both sides in turn.

The statistics are those of the stage (words, n = 1 .. 4, values of every token); the Counter only counts n-grams of
pieces, n = 1 .. 4, and so does less. The text is made of phrases of one to six random pieces; phrases and pieces are
as uneven as words are (Zipf).

python benchmarks/ngrams.py [--pieces 3000000] [--min-counts 1,10] [--memory-gb 1] [--threads 2] [--repeats 3]
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np

from bmae_lightning.corpus.statistics.token_values import StatisticsOptions
from bmae_lightning.corpus.statistics.words import WordRules
from bmae_lightning.corpus.statistics.write import write_statistics
from bmae_lightning.corpus.tokens.store import TokenStore, TokenStoreWriter

VOCABULARY, SPECIAL, PHRASES, LENGTH = 30_522, 1000, 300_000, 78


def zipf(draw: np.random.Generator, kinds: int, number: int) -> np.ndarray:
    share = np.cumsum(1 / (np.arange(kinds) + 3))
    return np.searchsorted(share, draw.random(number) * share[-1])


def made_up(directory: Path, pieces: int) -> TokenStore:
    """A store of about so many pieces, in passages of about 78."""
    draw = np.random.default_rng(0)
    length = draw.integers(1, 7, PHRASES)
    start = np.append(0, np.cumsum(length))
    words = SPECIAL + zipf(draw, VOCABULARY - SPECIAL, start[-1])
    phrase = zipf(draw, PHRASES, pieces // 3)
    ids = np.concatenate([words[start[i] : start[i + 1]] for i in phrase])[:pieces]
    cuts = np.cumsum(np.clip(draw.lognormal(np.log(LENGTH) - 0.08, 0.4, pieces // LENGTH), 5, 512).astype(int))
    with TokenStoreWriter(directory, VOCABULARY, "d" * 64) as writer:
        for row, passage in enumerate(np.split(ids, cuts[cuts < len(ids)])):
            writer.append(passage, str(row))
        return writer.commit()


def counted(store: TokenStore, rows: int) -> int:
    """Pieces whose n-grams a Counter has counted."""
    counts: Counter = Counter()
    pieces = 0
    for row in range(rows):
        ids = store[row].tolist()
        pieces += len(ids)
        for order in range(1, 5):
            counts.update(zip(*(islice(ids, place, None) for place in range(order)), strict=False))
    return pieces


def per_second(work: Callable[[], int]) -> float:
    started = time.process_time()
    return work() / (time.process_time() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pieces", type=int, default=3_000_000)
    parser.add_argument("--min-counts", default="1,10")
    parser.add_argument("--memory-gb", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        store = made_up(Path(temporary) / "store", chosen.pieces)
        number_V = np.arange(VOCABULARY)
        rules = WordRules(number_V < SPECIAL, (number_V % 6 == 0).astype(np.uint8), number_V)

        def ours(directory: Path, min_count: int) -> int:
            options = StatisticsOptions("tfidf", min_count=min_count)
            write_statistics(directory, store, rules, options, chosen.memory_gb, chosen.threads)
            return len(store.tokens)

        ours(Path(temporary) / "warm", 1)
        speeds: dict[str, list[float]] = {}
        for repeat in range(chosen.repeats):
            speeds.setdefault("Counter", []).append(per_second(lambda: counted(store, len(store) // 10)))
            for number in map(int, chosen.min_counts.split(",")):
                directory = Path(temporary) / f"{repeat}-{number}"
                speed = per_second(lambda: ours(directory, number))  # noqa: B023  called at once
                speeds.setdefault(f"min_count={number}", []).append(speed)
    print(f"{len(store.tokens):,} pieces in {len(store):,} passages, {chosen.threads} threads")
    for name, found in speeds.items():
        ratios = [speed / base for speed, base in zip(found, speeds["Counter"], strict=True)]
        print(
            f"{name:14} {statistics.median(found) / 1e6:6.2f} M pieces per CPU-second "
            f"[{min(found) / 1e6:.2f}, {max(found) / 1e6:.2f}]   x{statistics.median(ratios):.1f} of Counter "
            f"[{min(ratios):.1f}, {max(ratios):.1f}]"
        )
    print(f"largest resident size {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
