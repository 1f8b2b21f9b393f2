"""One retriever on one collection, finished by itself: a run, its measures and per-query values under a fingerprint.

Vectors and indexes are deleted when the run is written; a pair that is done is never ranked again.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from bmae_lightning.corpus.collection import Collection
from bmae_lightning.external.retriever import Retriever
from bmae_lightning.fingerprint import fingerprint
from bmae_lightning.index.exact import ExactIndex
from bmae_lightning.index.faiss import FaissIndex
from bmae_lightning.measure.ranking import evaluate
from bmae_lightning.negatives.bm25 import Bm25
from bmae_lightning.rank import say
from bmae_lightning.run import read_run, write_run
from bmae_lightning.stage.context import read_json, write_json
from bmae_lightning.stage.ranker import Texts, judged_queries, make_ranker

RUN, PER_QUERY, RESULTS, DONE = "run.trec.gz", "per_query.json", "metrics.json", "done"
"""Files of a finished pair."""


@dataclass(frozen=True)
class ZeroShot:
    """How pairs are ranked and measured.

    Attributes:
        stage: name of the stage, for messages.
        store: directory of finished pairs.
        split: the judged split.
        remove_identical: whether results that have the id of their query are removed, as BEIR does.
        index: exact or faiss.
        measures: in the words of ir_measures.
        depth: ranks kept.
        batch_tokens: word pieces encoded at a time.
        device: as torch names it.
    """

    stage: str
    store: Path
    split: str
    remove_identical: bool
    index: ExactIndex | FaissIndex
    measures: list[str]
    depth: int
    batch_tokens: int
    device: str

    def results(self, name: str, label: str, texts: Texts, model: Bm25 | Retriever) -> dict[str, Any]:
        """The measures of one pair, ranked unless that is done.

        Args:
            name, label: of the collection and the retriever, for people.
            texts: of the collection.
            model: BM25 with its settings, or a retriever.
        """
        key = self._key(model, texts.collection)
        directory = self.store / f"zero_shot-{fingerprint(key, {})}"
        title = f"{self.stage}: {name}, {label}"
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / "lock"):
            if (directory / DONE).is_file():
                say(f"{title}: skipped, done in {directory}")
            else:
                write_json(directory / "manifest.json", {"collection": name, "model": label, "settings": key})
                self._rank(directory, title, texts, model)
                write_json(directory / DONE, {"finished": time.strftime("%Y-%m-%dT%H:%M:%S%z")})
            results = self._measured(directory, texts.collection)
        shown = "  ".join(f"{measure} {value:.3f}" for measure, value in results["mean"].items())
        say(f"{title}: {results['queries']:,} queries: {shown}")
        return results

    def _key(self, model: Bm25 | Retriever, collection: Collection) -> dict[str, Any]:
        """All that the ranking of a pair depends on."""
        shared = {
            "collection": collection.identity(), "split": self.split, "titles": collection.title, "depth": self.depth,
            "remove_identical": self.remove_identical,
        }  # fmt: skip
        if isinstance(model, Bm25):
            settings = {name: getattr(model, name) for name in ("k1", "b", "stemmer", "stopwords")}
            return shared | {"bm25": settings}
        return shared | {"model": model.identity, "index": [type(self.index).__name__, vars(self.index)]}

    def _rank(self, directory: Path, title: str, texts: Texts, model: Bm25 | Retriever) -> None:
        queries = judged_queries(texts.collection, read_judgments(texts.collection, self.split))
        ranker = make_ranker(title, directory, model, self.index, self.batch_tokens, self.device)
        ranker.index(texts)
        run = ranker.search(queries, self.depth + self.remove_identical)
        if self.remove_identical:
            run = run.without_own()
        write_run(directory / RUN, run.cut(self.depth), title)
        write_json(directory / RESULTS, {"passages": texts.count, "passages_per_second": ranker.rate})
        ranker.free()

    def _measured(self, directory: Path, collection: Collection) -> dict[str, Any]:
        """The results of a finished pair; measures that were not asked for before are computed from its run."""
        results = read_json(directory / RESULTS)
        if results.get("asked") != self.measures:
            qrels = read_judgments(collection, self.split)
            measured = evaluate(qrels, read_run(directory / RUN), self.measures)
            own = sum(judged.get(query, 0) > 0 for query, judged in qrels.items())
            results |= {"asked": self.measures, "mean": measured.mean, "queries": measured.queries, "own_relevant": own}
            write_json(directory / PER_QUERY, measured.per_query)
            write_json(directory / RESULTS, results)
        return results


def read_judgments(collection: Collection, split: str) -> dict[str, dict[str, int]]:
    """query id -> passage id -> relevance."""
    qrels: dict[str, dict[str, int]] = {}
    for judgment in collection.judgments(split):
        qrels.setdefault(judgment.query_id, {})[judgment.passage_id] = judgment.relevance
    return qrels
