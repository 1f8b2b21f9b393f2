"""A retriever from elsewhere on the queries of this run: its row stands beside the arms, measured as they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bmae_lightning.encoder.checkpoint import shape_of
from bmae_lightning.retrieval.foreign_model import Retriever, find_retriever
from bmae_lightning.retrieval.model_options import ModelOptions
from bmae_lightning.runtime.cost import Cost, Sizes
from bmae_lightning.runtime.stage import Context
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.rank import Ranker, RankingStage
from bmae_lightning.stage.rankers import Encoding, encoding_cost, make_ranker
from bmae_lightning.stage.texts import Texts


@dataclass(kw_only=True)
class Compare(RankingStage, Encoding):
    """Its vectors and token stores are not kept.

    Args:
        model: options by name (`retrieval.model_options.ModelOptions`).
    """

    model: dict[str, Any]

    hub = ("model",)
    keeps_index = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.options = ModelOptions(**self.model)

    def preflight(self, splits: list[str]) -> None:
        self._retriever()
        super().preflight(splits)

    def cost(self, sizes: Sizes, inputs: Mapping[str, Any]) -> Cost:
        return encoding_cost(shape_of(self.options.name), sizes, self.options.passage_length or 512)

    def make_ranker(self, context: Context, prepared: Prepared) -> Ranker:
        retriever = self._retriever()
        texts = Texts(prepared.source(), context.directory / "tokens", prepared.passages())
        ranker = make_ranker(context.title, context.directory, texts, retriever, self)
        ranker.figures["model"] = retriever.record()
        return ranker

    def _retriever(self) -> Retriever:
        name = self.options.name
        return find_retriever(self.options.label or name, self.options, f"compare ({name})")
