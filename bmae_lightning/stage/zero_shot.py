"""Pairs of a retriever and a collection, pieces of the stage `suite`: each ranked once in its directory, and measured.

A pair's fingerprint is made from the content of the collection's and the model's files and from the settings, not from
their names, so a pair that is done is skipped after a kill as well as in a longer list. Only its run stays; vectors and
index are deleted when it is written.
"""

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.collection import Collection
from bmae_lightning.evaluation.measure.ranking import Measure, evaluate
from bmae_lightning.evaluation.measure.scores import write_scored
from bmae_lightning.evaluation.measure.trec import Run, read_run
from bmae_lightning.retrieval.foreign_model import Retriever, find_retriever
from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.retrieval.index.index import Index
from bmae_lightning.retrieval.model_options import ModelOptions
from bmae_lightning.runtime.files import read_json, write_json
from bmae_lightning.runtime.fingerprint import fingerprint
from bmae_lightning.runtime.process import launched, print_once, process_rank
from bmae_lightning.runtime.run_stage import DONE, run_here_or_in_child, write_manifest
from bmae_lightning.runtime.stage import Context, Stage
from bmae_lightning.stage.rank import Search
from bmae_lightning.stage.rankers import Encoding, make_ranker
from bmae_lightning.stage.texts import Texts

RUN, RANKED = "run.trec.gz", "ranked.json"
"""The run, and how many passages were ranked, encoded how fast."""
ONE_PROCESS = {"devices": 1, "num_nodes": 1, "strategy": "auto"}
"""Trainer options of a pair that encodes nothing or takes one device; a launcher's other processes wait meanwhile."""


@dataclass(frozen=True)
class Pairs:
    """How all pairs are ranked and measured.

    Attributes:
        context: of the stage that asks; its settings are those of `suite`.
        split: the judged split.
        identical: whether results that have the id of their query stay.
        depth: ranks kept.
        measures: names of ir_measures or measures of one's own.
        index: exact or faiss.
    """

    context: Context
    split: str
    identical: bool
    depth: int
    measures: list[str | Measure]
    index: Index

    def results(self, title: str, collection: Collection, model: Bm25 | Retriever) -> dict[str, Any]:
        """The measures of one pair (`mean`), which is ranked unless that is done; `queries` is how many are judged,
        `own_relevant` for how many a passage with their id is relevant."""
        content = self._content(model, collection)
        digest = fingerprint(content, {})
        directory = self.context.output_dir / "store" / f"zero_shot-{digest}"
        pair = replace(self.context, arm=title, directory=directory, inputs={})
        if (directory / DONE).is_file():
            print_once(f"{pair.title}: skipped, done in {directory}")
        else:
            config = self._config(model, collection)
            place = {"stage": pair.stage, "arm": title, "directory": str(directory), "inputs": {}}
            place |= {"group": pair.group, "output_dir": str(pair.output_dir)}
            directory.mkdir(parents=True, exist_ok=True)
            manifest = write_manifest(directory, digest, place, config, content=content)
            run_here_or_in_child(manifest, config)
        return self._measured(pair, collection)

    def free(self) -> None:
        """Delete the token stores of the collection that is finished."""
        shutil.rmtree(self._tokens, ignore_errors=True)

    @property
    def _tokens(self) -> Path:
        return self.context.directory / "tokens"

    def _content(self, model: Bm25 | Retriever, collection: Collection) -> dict[str, Any]:
        """All that the ranking of a pair depends on."""
        content = {
            "collection": collection.identity(), "titles": collection.title, "split": self.split, "depth": self.depth,
            "identical": self.identical,
        }  # fmt: skip
        if isinstance(model, Bm25):
            return content | {"bm25": model.options}
        return content | {"model": model.identity, "index": [type(self.index).__name__, vars(self.index)]}

    def _config(self, model: Bm25 | Retriever, collection: Collection) -> dict[str, Any]:
        """What `ZeroShot` is built from, here or in another process."""
        settings = self.context.settings
        alone = launched() or isinstance(model, Bm25) or model.layout.library
        trainer = settings["processes"] | (ONE_PROCESS if alone else {})
        return {
            "_target_": f"{ZeroShot.__module__}.{ZeroShot.__qualname__}",
            "collection": collection.node(),
            "tokens": str(self._tokens),
            "model": None if isinstance(model, Bm25) else asdict(model.options),
            "split": self.split,
            "identical": self.identical,
            "depth": self.depth,
            "trainer": trainer,
        } | {name: settings[name] for name in ("bm25", "index", "batch_tokens", "shard")}

    def _measured(self, pair: Context, collection: Collection) -> dict[str, Any]:
        """The measures of a finished pair, read where the same were asked for before, else computed from its run."""
        path = pair.directory / "metrics.json"
        results = read_json(path) if path.is_file() else {}
        if results.get("asked") != (asked := self.context.settings["measures"]):
            qrels = collection.qrels(self.split)
            measured = evaluate(qrels, read_run(pair.directory / RUN), self.measures)
            own = sum(judged.get(query, 0) > 0 for query, judged in qrels.items())
            results = {"asked": asked, "mean": measured.mean, "queries": measured.queries, "own_relevant": own}
            write_json(pair.directory / "per_query.json", measured.per_query)
            write_json(path, results)
        shown = "  ".join(f"{measure} {value:.3f}" for measure, value in results["mean"].items())
        print_once(f"{pair.title}: {results['queries']:,} queries: {shown}")
        return results


@dataclass(kw_only=True)
class ZeroShot(Encoding, Stage):
    """Writes run.trec.gz, scores.parquet and ranked.json.

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
            write_scored(search.path, run.cut(self.depth), context.title)

        ranker.rank([search], write)
        if process_rank() == 0:
            write_json(context.directory / RANKED, {"passages": texts.count, **ranker.figures})
            ranker.free()
