"""Index the corpus with a retriever, search for every judged query, write a TREC run, measure it.

The same search over the training queries is mining: its ranking holds the hard negatives of the next rung.
"""

import time

import numpy as np

from bmae_lightning.corpus.query_share import QueryShare
from bmae_lightning.dual_encoder import load_dual_encoder
from bmae_lightning.encoding import encode_to_files
from bmae_lightning.index.exact import ExactIndex
from bmae_lightning.index.faiss import FaissIndex
from bmae_lightning.measure.ranking import check_measures
from bmae_lightning.progress import track
from bmae_lightning.rank import say
from bmae_lightning.run import Run, write_run
from bmae_lightning.stage.bm25 import TRAIN, measure_run
from bmae_lightning.stage.context import Context, Stage, device_of, require_splits, write_json
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.search import check_index, search
from bmae_lightning.tracking.loggers import Tracking


class Evaluate(Stage):
    """Writes passages.npy (vectors; a lexical part beside it), run.<split>.trec, per_query.<split>.json and the measures.

    With `train_depth` it mines: run.train.trec is written too.

    Args:
        splits: judged splits to search for.
        index: exact or faiss.
        measures: in the words of ir_measures.
        depth: ranks kept.
        train_depth: ranks kept for training queries, 0 not to search for them.
        batch_tokens: word pieces encoded at a time.
        device: `cpu`, `gpu` or `auto`.
        logger: tracking.
        train_queries: those that are searched for in mining.
    """

    def __init__(
        self, splits: list[str], index: ExactIndex | FaissIndex, measures: list[str], depth: int, batch_tokens: int,
        device: str, logger: Tracking, train_depth: int = 0, train_queries: QueryShare | None = None,
    ) -> None:  # fmt: skip
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        if train_depth < 0:
            raise ValueError(f"train_depth must be at least 0 (no mining), got {train_depth}")
        self.splits, self.index, self.measures, self.depth = splits, index, measures, depth
        self.batch_tokens, self.device, self.logger = batch_tokens, device, logger
        self.train_depth, self.train_queries = train_depth, train_queries or QueryShare()

    def preflight(self, splits: list[str]) -> None:
        check_measures(self.measures)
        require_splits(f"{self.name}.splits", self.splits, splits)
        require_splits(f"{self.name}.train_depth", [TRAIN] * bool(self.train_depth), splits)

    def run(self, context: Context) -> None:
        device = device_of(self.device)
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
            for split, depth in self._depths().items():
                path = context.directory / f"run.{split}.trec"
                if split not in judged and path.is_file():
                    continue  # searched before the stage was interrupted
                qrels = judged.get(split) or self.train_queries.of(prepared.qrels(split))
                rows = np.array([queries.row_of(query) for query in qrels])
                with track(f"{context.title}: {split}", len(rows), unit="queries") as advance:
                    scores, found, searched = search(
                        self.index, model, vectors, queries, rows, spec.query_length, self.batch_tokens, device,
                        depth, advance,
                    )  # fmt: skip
                run = Run.from_rows(list(qrels), passages.external_ids, found, scores)
                write_run(path, run, context.title)
                if split in judged:
                    results[split] = measure_run(context, prepared, split, self.measures)
                    results[split]["milliseconds_per_query"] = 1000 * searched / len(rows)
            results["passages_per_second"] = len(passages) / encoded
            results["index_bytes"] = sum(int(part.nbytes) for part in vectors if part is not None)
            for logger in loggers:
                for split in judged:
                    logger.log_metrics({f"{split}/{name}": v for name, v in results[split]["mean"].items()}, step=0)
                logger.log_metrics({"passages_per_second": results["passages_per_second"]}, step=0)
        write_json(context.directory / "metrics.json", results)

    def _depths(self) -> dict[str, int]:
        """Which splits are searched for, and how deep."""
        return ({TRAIN: self.train_depth} if self.train_depth else {}) | dict.fromkeys(self.splits, self.depth)
