"""Index the corpus with a retriever, search for every judged query, write a TREC run, measure it."""

import time

import numpy as np
import torch

from bmae_lightning.dual_encoder import load_dual_encoder
from bmae_lightning.encoding import encode_to_files
from bmae_lightning.index.exact import ExactIndex
from bmae_lightning.index.faiss import FaissIndex
from bmae_lightning.measure.ranking import check_measures
from bmae_lightning.progress import track
from bmae_lightning.rank import say
from bmae_lightning.run import Run, write_run
from bmae_lightning.stage.bm25 import measure_run
from bmae_lightning.stage.context import Context, Stage, require_splits, write_json
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.search import check_index, search
from bmae_lightning.tracking.loggers import Tracking


class Evaluate(Stage):
    """Writes passages.npy (vectors; a lexical part beside it), run.<split>.trec, per_query.<split>.json and the measures.

    Args:
        splits: judged splits to search for.
        index: exact or faiss.
        measures: in the words of ir_measures.
        depth: ranks kept.
        batch_tokens: word pieces encoded at a time.
        device: `cpu`, `gpu` or `auto`.
        logger: tracking.
    """

    def __init__(
        self, splits: list[str], index: ExactIndex | FaissIndex, measures: list[str], depth: int, batch_tokens: int,
        device: str, logger: Tracking,
    ) -> None:  # fmt: skip
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self.splits, self.index, self.measures, self.depth = splits, index, measures, depth
        self.batch_tokens, self.device, self.logger = batch_tokens, device, logger

    def preflight(self, splits: list[str]) -> None:
        check_measures(self.measures)
        require_splits("evaluate.splits", self.splits, splits)

    def run(self, context: Context) -> None:
        device = "cuda" if self.device in ("gpu", "cuda", "auto") and torch.cuda.is_available() else "cpu"
        prepared = Prepared(context.input("corpus"))
        judged = {split: prepared.qrels(split) for split in self.splits}
        model, spec = load_dual_encoder(context.input("retriever") / "retriever")
        model.to(device)
        passages, queries = prepared.passages(), prepared.queries()
        spec.require(context.input("retriever"), {}, tokenizer=passages.tokenizer_digest)
        check_index(self.index, model)
        if self.depth > len(passages):
            say(
                f"{context.title}: depth={self.depth:,} is more than there are passages; all {len(passages):,} are ranked"
            )
        started = time.monotonic()
        with track(f"{context.title}: encoding", len(passages), unit="passages") as advance:
            vectors = encode_to_files(
                model,
                passages,
                spec.passage_length,
                self.batch_tokens,
                device,
                context.directory / "passages.npy",
                advance,
            )
        encoded = time.monotonic() - started
        results: dict[str, dict] = {}
        with self.logger.of(context) as loggers:
            for split, qrels in judged.items():
                rows = np.array([queries.row_of(query) for query in qrels])
                with track(f"{context.title}: {split}", len(rows), unit="queries") as advance:
                    scores, found, searched = search(
                        self.index, model, vectors, queries, rows, spec.query_length, self.batch_tokens, device,
                        self.depth, advance,
                    )  # fmt: skip
                run = Run.from_rows(list(qrels), passages.external_ids, found, scores)
                write_run(context.directory / f"run.{split}.trec", run, context.title)
                results[split] = measure_run(context, prepared, split, self.measures)
                results[split]["milliseconds_per_query"] = 1000 * searched / len(rows)
            results["passages_per_second"] = len(passages) / encoded
            results["index_bytes"] = sum(int(part.nbytes) for part in vectors if part is not None)
            for logger in loggers:
                for split in judged:
                    logger.log_metrics({f"{split}/{name}": v for name, v in results[split]["mean"].items()}, step=0)
                logger.log_metrics({"passages_per_second": results["passages_per_second"]}, step=0)
        write_json(context.directory / "metrics.json", results)
