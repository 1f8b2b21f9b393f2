"""What a retriever's stage refuses before it runs, and how teacher, margin and losses reach the training."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from support.stages import composed_stage, context, prepare

from bmae_lightning.evaluation.measure.trec import run_of_lists, write_run
from bmae_lightning.lit.metrics_file import read_metrics
from bmae_lightning.retrieval.reranking.teacher_scores import FILE, write_teacher_scores
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.stage.prepared import Prepared

RANKING = SimpleNamespace(stage="evaluate2", config={"train_depth": 20})
SCORES = SimpleNamespace(stage="score", config={"depth": 4})
DISTILS = "losses@retriever1.losses=[contrastive,distillation]"
LISTED = 4
RECIPES = [
    f"recipe={name}"
    for name in ("retriever1", "ladder", "cdmae", "master", "simlm", "retromae_dpr", "retromae_ance", "retromae_beir")
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, collection):
    return prepare(tmp_path_factory.mktemp("train_retriever") / "prepare", collection)


@pytest.fixture(scope="module")
def ranked(tmp_path_factory, corpus):
    """Directories of a ranking, the positive and four others for every training query, and of scores for them.

    The teacher scores the positive 1, and the others 0, -1, -2 and -3.
    """
    made = tmp_path_factory.mktemp("ranked")
    names = [f"p{i}" for i in range(60)]
    lists = {q: [next(iter(marks)), *names[45:49]] for q, marks in Prepared(corpus).qrels("train").items()}
    write_run(made / "run.train.trec", run_of_lists(lists.items()), "x")
    queries = [query for query, listed in lists.items() for _ in listed]
    passages = [passage for listed in lists.values() for passage in listed]
    scores = np.array(len(lists) * [1.0, 0.0, -1.0, -2.0, -3.0], dtype=np.float32)
    write_teacher_scores(made / FILE, [(queries, passages, scores)])
    return made


def distilled(*overrides):
    sizes = ("distilled.steps=3", "distilled.batch_size=8", f"distilled.negatives.depth={LISTED}")
    return composed_stage("distilled", *sizes, "distilled.train_group_size=3", "distilled.lr=1e-3", *overrides)


def test_stages_have_their_losses_and_follow_retriever_1():
    assert list(composed_stage("retriever1").losses) == ["contrastive"]
    losses = composed_stage("distilled", "retriever1.losses.contrastive.form=simlm_code").losses
    assert [(name, loss.weight) for name, loss in losses.items()] == [("contrastive", 0.2), ("distillation", 1.0)]
    assert losses["contrastive"].form == "simlm_code"
    other = composed_stage("retriever2", "losses@retriever1.losses=[distillation]").losses
    assert (list(other), other["contrastive"].form) == (["contrastive"], "plain")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["losses@retriever1.losses=[]"], "retriever1: losses is empty: a retriever needs at least one"),
        (["retriever1.train_group_size=0"], "train_group_size must be at least 1, got 0"),
        (["retriever1.similarity=cos", "representation=hybrid"], "cos is for dense representations"),
        (["retriever1.temperature=0"], "temperature must be above 0, got 0"),
        (["retriever1.losses.contrastive.weight=-1"], "retriever1.losses.contrastive: weight is a factor of the loss"),
        (["retriever1.positives=some"], "positives must be one of labelled, pairs, first, answers, got 'some'"),
    ],
)
def test_options_that_no_retriever_can_be_trained_with(overrides, message):
    with pytest.raises(BadInput, match=message):
        composed_stage("retriever1", *overrides)


@pytest.mark.parametrize(
    ("overrides", "scores", "message"),
    [
        ([DISTILS], None, "retriever1.losses.distillation needs a teacher's scores: set retriever1.inputs.scores"),
        (["negatives.margin=3.0"], None, "retriever1.negatives.margin needs a teacher's scores"),
        ([DISTILS], SCORES, r"retriever1.negatives.depth=200, but score.depth=4: the passages below"),
        ([DISTILS, "negatives.depth=4", "retriever1.refresh.every_steps=5"], SCORES, "score has not scored"),
        (["negatives.depth=4"], SCORES, "retriever1.inputs.scores is given, but no loss of retriever1.losses distils"),
    ],
)
def test_inputs_must_fit_the_losses(overrides, scores, message):
    with pytest.raises(BadInput, match=message):
        composed_stage("retriever1", *overrides).check_inputs({"ranking": RANKING, "scores": scores})


def test_inputs_that_fit():
    composed_stage("retriever1").check_inputs({"ranking": RANKING})
    stage = composed_stage("retriever1", DISTILS, "negatives.depth=4")
    stage.check_inputs({"ranking": RANKING, "scores": SCORES})


def test_the_loss_is_the_weighted_sum(corpus, ranked, tmp_path, capsys):
    distilled().run(context(tmp_path / "distilled", corpus=corpus, ranking=ranked, scores=ranked))
    lines = read_metrics(tmp_path / "distilled" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [1, 2, 3]
    for line in lines:
        assert line["loss"] == pytest.approx(line["loss/distillation"] + 0.2 * line["loss/contrastive"])
    assert (tmp_path / "distilled" / "retriever" / "model.safetensors").is_file()
    assert "distilled: 40 training queries, 0 with fewer than 2 hard negatives" in capsys.readouterr().out


def test_a_margin_leaves_out_what_the_teacher_scores_too_high(corpus, ranked, tmp_path, capsys):
    stage = distilled("distilled.negatives.margin=2.5", "losses@distilled.losses=[contrastive]")
    stage.run(context(tmp_path / "distilled", corpus=corpus, ranking=ranked, scores=ranked))
    printed = capsys.readouterr().out
    assert "80 negatives within 2.5 of a positive's score left out" in printed
    assert "loss/distillation" not in read_metrics(tmp_path / "distilled" / "metrics.jsonl")[0]


def test_random_negatives_have_no_teacher_score(corpus, ranked, tmp_path):
    stage = distilled("distilled.train_group_size=6")
    with pytest.raises(BadInput, match="has 4 hard negatives and train_group_size=6 needs 5: random ones"):
        stage.run(context(tmp_path / "distilled", corpus=corpus, ranking=ranked, scores=ranked))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "+retriever1.losses.distillation.kind=kl",
            "retriever1.losses.distillation is set but not selected: add distillation to losses@retriever1.losses=[…]",
        ),
        ("+retriever1.losses.hinge.margin=1", "retriever1.losses.hinge is no known instance"),
        ("retriever1.form=simlm_code", "unknown option 'retriever1.form'; use losses.contrastive.form"),
        (
            "distilled.distillation.alpha=0",
            "unknown option 'distilled.distillation.alpha'; use losses.contrastive.weight",
        ),
    ],
)
def test_settings_of_losses_that_the_stage_does_not_have(here, override, message):
    assert f"error: {message}" in here(override, code=2)


def test_fewer_queries_than_a_batch_make_it_smaller(corpus, ranked, tmp_path, capsys):
    """Otherwise each would stand in it several times, as its own negative."""
    share = ("train_queries.share=0.1", "distilled.batch_size=30")
    distilled(*share).run(context(tmp_path / "distilled", corpus=corpus, ranking=ranked, scores=ranked))
    printed = capsys.readouterr().out
    queries = int(re.search(r"distilled: (\d+) training queries", printed)[1])
    assert f"distilled: batch_size=30 becomes {queries}: with {queries} training queries" in printed
    assert f"{3 * queries - 1} negatives per query in a step" in printed
    stage = distilled(*share, "trainer.accumulate_grad_batches=30")
    with pytest.raises(BadInput, match=rf"{queries} training queries cannot be shared out among devices x .* = 30"):
        stage.run(context(tmp_path / "shared", corpus=corpus, ranking=ranked, scores=ranked))


def test_known_positives_are_masked_but_in_the_papers_recipes():
    masked = [composed_stage("retriever1", recipe).losses["contrastive"].needs_positives for recipe in RECIPES]
    assert masked == [True, True, False, False, False, False, False, False]
    assert not composed_stage("distilled", "recipe=simlm").losses["contrastive"].needs_positives
