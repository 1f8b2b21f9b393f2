"""One retriever on one collection: a piece of the stage `suite`, with a directory and a fingerprint of its own.

Only its run stays; vectors and index are deleted when it is written.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.collection import Collection
from bmae_lightning.evaluation.measure.trec import Run, write_run
from bmae_lightning.retrieval.foreign_model import find_retriever
from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.retrieval.model_options import ModelOptions
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.process import process_rank
from bmae_lightning.runtime.stage import Context, Stage
from bmae_lightning.stage.rank import Search
from bmae_lightning.stage.rankers import Encoding, make_ranker
from bmae_lightning.stage.texts import Texts

RUN, RANKED = "run.trec.gz", "ranked.json"
"""The run, and how many passages were ranked, encoded how fast."""


@dataclass(kw_only=True)
class ZeroShot(Encoding, Stage):
    """Writes run.trec.gz and ranked.json.

    Args:
        collection: what is ranked.
        tokens: directory of token stores, which models with one tokenizer share.
        model: options by name (`retrieval.model_options.ModelOptions`), None for BM25.
        bm25: its settings.
        split: the judged split.
        identical: whether results that have the id of their query stay.
        depth: ranks kept.
    """

    collection: Collection
    tokens: str
    model: dict[str, Any] | None
    bm25: Bm25
    split: str
    identical: bool
    depth: int

    def run(self, context: Context) -> None:
        texts = Texts(self.collection, Path(self.tokens))
        queries = list(self.collection.qrels(self.split))
        search = Search(self.split, queries, self.depth + (not self.identical), context.directory / RUN)
        texts.queries(search)  # a judged query without text is told before any work
        model = self.bm25
        if self.model is not None:
            model = find_retriever(context.arm, ModelOptions(**self.model), context.title)
        ranker = make_ranker(context.title, context.directory, texts, model, self)

        def write(search: Search, run: Run) -> None:
            run = run if self.identical else run.without_identical()
            write_run(search.path, run.cut(self.depth), context.title)

        ranker.rank([search], write)
        if process_rank() == 0:
            write_json(context.directory / RANKED, {"passages": texts.count, **ranker.figures})
            ranker.free()
