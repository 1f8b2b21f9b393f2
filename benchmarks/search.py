"""Exact search side by side with faiss's own flat index: time, identical rows, and memory above the vectors.

Speed is in wall time and, for a machine that does other things too, in CPU time. Faiss leaves open which of several
passages with the score of the last rank it finds, so rows are compared above that score.

python benchmarks/search.py [--passages 200000] [--width 384] [--queries 1000] [--k 200] [--repeats 3]
"""

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time

import faiss
import numpy as np
import torch

from bmae_lightning.retrieval.index.exact import ExactIndex


def vectors(rows: int, width: int, seed: int) -> np.ndarray:
    """Unit vectors around a few directions, so that scores are as uneven as a retriever's."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((64, width), dtype=np.float32)
    made = generator.standard_normal((rows, width), dtype=np.float32)
    made += centres[generator.integers(0, 64, rows)]
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


def by_score_then_row(scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows with those of equal score in rising order, which faiss leaves open."""
    return np.take_along_axis(rows, np.lexsort((rows, -scores), axis=1), 1)


def speed(ratios: list[float]) -> tuple[float, float, float]:
    """Median, lowest, highest."""
    return statistics.median(ratios), min(ratios), max(ratios)


def peak(file: str, queries: int, k: int, pipe: multiprocessing.connection.Connection) -> None:
    """Bytes of memory above the vectors and the output while searching, in a process of its own."""
    held = np.load(file)
    asked = held[:queries] + np.float32(0.01)
    ExactIndex().search(held[:1000], asked[:10], k)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scores, rows = ExactIndex().search(held, asked, k)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pipe.send(((after - before) * 1024 - scores.nbytes - rows.nbytes, held.nbytes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("passages", 200_000), ("width", 384), ("queries", 1000), ("k", 200), ("repeats", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    faiss.omp_set_num_threads(torch.get_num_threads())
    passages, queries = vectors(chosen.passages, chosen.width, 1), vectors(chosen.queries, chosen.width, 2)
    index = faiss.IndexFlatIP(chosen.width)
    index.add(passages)
    seconds: dict[str, list[tuple[float, float]]] = {"IndexFlatIP": [], "exact (auto)": [], "exact (torch)": []}
    searches = {
        "IndexFlatIP": lambda: index.search(queries, chosen.k),
        "exact (auto)": lambda: ExactIndex().search(passages, queries, chosen.k),
        "exact (torch)": lambda: ExactIndex("torch").search(passages, queries, chosen.k),
    }
    found = {}
    for _ in range(chosen.repeats):
        for name, search in searches.items():
            started = time.perf_counter(), time.process_time()
            scores, rows = search()
            seconds[name].append((time.perf_counter() - started[0], time.process_time() - started[1]))
            found[name] = scores, by_score_then_row(scores, rows)
    print(
        f"{chosen.passages:,} x {chosen.width}, {chosen.queries:,} queries, k={chosen.k}, "
        f"{torch.get_num_threads()} threads"
    )
    for name, times in seconds.items():
        pairs = list(zip(seconds["IndexFlatIP"], times, strict=True))
        (wall, low, high), (cpu, *_) = (speed([base[i] / mine[i] for base, mine in pairs]) for i in (0, 1))
        scores, rows = found["IndexFlatIP"]
        differ = ((found[name][1] != rows) & (scores > scores[:, -1:])).sum()
        print(
            f"{name:14} {statistics.median(wall for wall, _ in times):7.2f} s   speed {wall:.2f} of IndexFlatIP "
            f"[{low:.2f}, {high:.2f}], in CPU time {cpu:.2f}   other rows: {differ}"
        )
    ours, theirs = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as directory:
        np.save(f"{directory}/passages.npy", passages)
        process = multiprocessing.get_context("spawn").Process(
            target=peak, args=(f"{directory}/passages.npy", chosen.queries, chosen.k, theirs)
        )
        process.start()
        extra, size = ours.recv()
        process.join()
    print(f"memory above vectors and output: {extra / 2**20:.0f} MiB = {extra / size:.1%} of the vectors")


if __name__ == "__main__":
    main()
