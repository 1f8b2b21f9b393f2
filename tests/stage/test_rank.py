"""The stage around a ranker: what is searched for, what is written, measured and kept, and what a kill leaves."""

from dataclasses import dataclass

import pytest
from support.stages import context, prepare

from bmae_lightning.evaluation.measure.scores import read_scores
from bmae_lightning.evaluation.measure.trec import Run, read_run
from bmae_lightning.report.tracking.loggers import NoTracking
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json
from bmae_lightning.stage.rank import Ranker, RankingStage


class OwnPassage(Ranker):
    """Ranks the passage of a query first, then others; stops where it is told to."""

    stop_at = ""
    ranked: list = []

    def rank(self, searches, write):
        (self.directory / "passages.npy").touch()
        (self.directory / "checkpoints").mkdir(exist_ok=True)
        for search in (search for search in searches if not search.done):
            if search.split == self.stop_at:
                raise KeyboardInterrupt
            self.ranked.append(search.split)
            best = {query: [f"p{(int(query[1:]) + i) % 60}" for i in range(search.depth)] for query in search.queries}
            write(search, Run({query: [(p, -i) for i, p in enumerate(found)] for query, found in best.items()}))
        self.figures |= {"passages_per_second": 7.0, "model": "x"}
        self.costs["test"] = {"milliseconds_per_query": 3.0}
        return True


@dataclass(kw_only=True)
class Stage(RankingStage):
    stop_at: str = ""

    def make_ranker(self, context, prepared):
        ranker = OwnPassage(context.title, context.directory)
        ranker.stop_at, ranker.ranked = self.stop_at, ranked
        return ranker


ranked: list = []


class Logged(NoTracking):
    values: dict = {}

    def log(self, context, values):
        self.values.update(values)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, collection):
    return prepare(tmp_path_factory.mktemp("rank") / "corpus", collection)


def stage(**options):
    given = {"splits": ["test"], "measures": ["RR@10", "R@5"], "depth": 5, "logger": Logged()}
    return Stage(**given | options)


def test_runs_measures_and_figures_are_written_and_logged(corpus, tmp_path):
    made = stage(train_depth=3)
    made.run(context(tmp_path / "x", corpus=corpus))
    assert read_run(tmp_path / "x" / "run.test.trec").passages("q40") == ["p40", "p41", "p42", "p43", "p44"]
    mined = read_run(tmp_path / "x" / "run.train.trec")
    assert (len(mined), mined.depth) == (40, 3)
    scores = read_scores(tmp_path / "x" / "scores.test.parquet")
    assert scores["q40"] == [(f"p{40 + i}", -i) for i in range(5)]
    assert not (tmp_path / "x" / "scores.train.parquet").exists()
    results = read_json(tmp_path / "x" / "metrics.json")
    mean = {"RR@10": 1.0, "R@5": 1.0}
    test = {"mean": mean, "queries": 20, "milliseconds_per_query": 3.0}
    assert results == {"passages_per_second": 7.0, "model": "x", "test": test}
    assert made.logger.values == {"test/RR@10": 1.0, "test/R@5": 1.0, "passages_per_second": 7.0}
    assert read_json(tmp_path / "x" / "per_query.test.json")["R@5"]["q59"] == 1.0
    assert (tmp_path / "x" / "passages.npy").exists()


def test_every_split_is_measured_by_its_own(corpus, tmp_path):
    made = stage(splits=["test", "train"], measures=["RR@10", {"train": ["R(rel=1)@5", "P@2"]}])
    made.preflight(["train", "test"])
    made.run(context(tmp_path / "x", corpus=corpus))
    results = read_json(tmp_path / "x" / "metrics.json")
    assert {split: results[split]["mean"] for split in ("test", "train")} == {
        "test": {"RR@10": 1.0}, "train": {"R@5": 1.0, "P@2": 0.5}
    }  # fmt: skip


def test_what_was_ranked_before_a_kill_is_not_ranked_again(corpus, tmp_path):
    ranked.clear()
    with pytest.raises(KeyboardInterrupt):
        stage(train_depth=3, stop_at="test").run(context(tmp_path / "x", corpus=corpus))
    assert not (tmp_path / "x" / "metrics.json").exists()
    before = (tmp_path / "x" / "run.train.trec").stat().st_mtime_ns
    stage(train_depth=3).run(context(tmp_path / "x", corpus=corpus))
    assert ranked == ["train", "test"]
    assert (tmp_path / "x" / "run.train.trec").stat().st_mtime_ns == before


def test_an_index_that_is_not_kept_leaves_the_run_and_no_costs(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(Stage, "keeps_index", False)
    stage().run(context(tmp_path / "x", corpus=corpus))
    left = {path.name for path in (tmp_path / "x").iterdir()}
    assert left == {"run.test.trec", "scores.test.parquet", "per_query.test.json", "metrics.json"}
    assert set(read_json(tmp_path / "x" / "metrics.json")["test"]) == {"mean", "queries"}


def test_mistakes_are_told_before_anything_runs(corpus, tmp_path):
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        stage(depth=0)
    with pytest.raises(ValueError, match="train_depth must be at least 0, got -1"):
        stage(train_depth=-1)
    with pytest.raises(BadInput, match="stage.splits: the corpus has no judgments for the split 'dev'"):
        stage(splits=["dev"]).preflight(["train", "test"])
    with pytest.raises(BadInput, match="unknown measure 'RRR@10'"):
        stage(measures=["RRR@10"]).preflight(["train", "test"])
    with pytest.raises(BadInput, match="measures must be a list of at least one for the split 'test'"):
        stage(measures=[{"dev": ["RR@10"]}]).preflight(["train", "test"])
