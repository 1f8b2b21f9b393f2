"""One retriever on one collection: a piece of the stage `suite`, with a directory and a fingerprint of its own.

Only its run stays; vectors and index are deleted when it is written.
"""

from functools import partial
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.collection import Collection
from bmae_lightning.evaluation.measure.identical import without_identical
from bmae_lightning.evaluation.measure.trec import write_run
from bmae_lightning.retrieval.foreign_model import find_retriever
from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.index.faiss import FaissIndex
from bmae_lightning.retrieval.model_options import ModelOptions
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.process import process_rank
from bmae_lightning.runtime.stage import Context, Stage
from bmae_lightning.stage.rank import Settings, Texts, judged_queries, make_ranker

RUN, RANKED = "run.trec.gz", "ranked.json"
"""The run, and how many passages it is of, encoded how fast."""


class ZeroShot(Stage):
    """Writes run.trec.gz and ranked.json.

    Args:
        collection: whose passages are ranked.
        tokens: directory of token stores, which models with one tokenizer share.
        model: options by name (`external.options.ModelOptions`), None for BM25.
        bm25: its settings.
        split: the judged split.
        identical: whether results that have the id of their query stay.
        depth: ranks kept.
        index, batch_tokens, shard, trainer: as `ranker.Settings`.
    """

    def __init__(
        self, collection: Collection, tokens: str, model: dict[str, Any] | None, bm25: Bm25, split: str,
        identical: bool, depth: int, index: ExactIndex | FaissIndex, batch_tokens: int, shard: int, trainer: partial,
    ) -> None:  # fmt: skip
        self.texts, self.split, self.identical, self.depth = Texts(collection, Path(tokens)), split, identical, depth
        self.model, self.bm25 = model, bm25
        self.settings = Settings(index, batch_tokens, shard, trainer)

    def run(self, context: Context) -> None:
        queries = judged_queries(self.texts.collection, read_judgments(self.texts.collection, self.split))
        model = self.bm25
        if self.model is not None:
            model = find_retriever(context.arm, ModelOptions(**self.model), context.title)
        ranker = make_ranker(context.title, context.directory, model, self.settings)
        ranker.index(self.texts)
        if process_rank() != 0:
            return
        run = ranker.search(queries, self.depth + (not self.identical))
        if not self.identical:
            run = without_identical(run)
        write_run(context.directory / RUN, run.cut(self.depth), context.title)
        write_json(context.directory / RANKED, {"passages": self.texts.count, "passages_per_second": ranker.rate})
        ranker.free()


def read_judgments(collection: Collection, split: str) -> dict[str, dict[str, int]]:
    """query id -> passage id -> relevance."""
    qrels: dict[str, dict[str, int]] = {}
    for judgment in collection.judgments(split):
        qrels.setdefault(judgment.query_id, {})[judgment.passage_id] = judgment.relevance
    return qrels
