"""Rank with BM25: the pool of hard negatives for training queries, and the baseline row of every table."""

from dataclasses import dataclass

from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.runtime.stage import Context
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.rank import Ranker, RankingStage
from bmae_lightning.stage.rankers import TextRanker
from bmae_lightning.stage.texts import Texts


@dataclass(kw_only=True)
class Bm25Ranking(RankingStage):
    """Ranks the judged queries and, where the corpus has some, the training queries.

    Args:
        analyzer: how texts become terms, which `ranker` reads.
        ranker: BM25 with its settings.
    """

    analyzer: str = "auto"
    ranker: Bm25

    def make_ranker(self, context: Context, prepared: Prepared) -> Ranker:
        texts = Texts(prepared.source(), context.directory / "tokens", prepared.passages())
        return TextRanker(context.title, context.directory, texts, self.ranker)
