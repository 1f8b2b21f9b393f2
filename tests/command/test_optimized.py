"""The number that a search chooses by: where it is measured, what is refused, what the remedies do."""

import copy
import functools
import json
import shlex

import pytest
from support.compose import composed
from support.quick_hydra import quicken

from bmae_lightning.command.optimized import find_optimized
from bmae_lightning.command.plan import plan
from bmae_lightning.runtime.errors import BadInput

SPLITS = ["train", "dev", "test"]
DEV = "corpus.evaluated=[dev,test]"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    quicken(monkeypatch)


composed_once = functools.cache(composed)


def configured(tmp_path, *overrides, **changes):
    """Composed once for all tests; changes: of plain options at the top."""
    config = composed_once("+experiment=retromae", "corpus=beir", "corpus.path=x", *overrides)
    return copy.deepcopy(config) | {"output_dir": str(tmp_path)} | changes


def found(tmp_path, *overrides, splits=SPLITS, searching=True, **changes):
    config = configured(tmp_path, *overrides, **changes)
    return find_optimized(config, plan(config, config["name"], {}), splits, searching)


@pytest.mark.parametrize(
    ("overrides", "changes", "place"),
    [
        ([DEV], {}, "dev/evaluate/RR@10"),
        ([DEV, "measures=[RR@10,{dev: [R@50]}]"], {}, "dev/evaluate/R@50"),
        ([DEV, "recipe=ladder"], {}, "dev/evaluate_distilled/RR@10"),
        ([DEV, "recipe=ladder"], {"rungs": 3}, "dev/rerank/RR@10"),
        ([DEV], {"stage": ["bm25"]}, "dev/bm25/RR@10"),
        ([DEV], {"stage": "bm25"}, "dev/bm25/RR@10"),
        ([DEV], {"optimized_metric": "dev/bm25/R@50"}, "dev/bm25/R@50"),
        ([DEV], {"optimized_metric": "dev/evaluate/MRR@10"}, "dev/evaluate/RR@10"),
        (["retriever1.validation.every=0.5"], {"optimized_metric": "dev/retriever1/RR@10"}, "dev/retriever1/RR@10"),
    ],
)
def test_the_place_is_the_first_measure_of_the_last_rung_on_dev_or_the_named_one(tmp_path, overrides, changes, place):
    assert str(found(tmp_path, *overrides, **changes)) == place


def test_the_arm_with_pretraining_counts(tmp_path):
    nodes = plan(config := configured(tmp_path, DEV), "retromae", {})
    place = find_optimized(config, nodes, SPLITS, True)
    assert place.directory == nodes["evaluate@retromae"].directory != nodes["evaluate@none"].directory


def test_a_job_that_is_no_trial_may_measure_nothing_on_dev(tmp_path):
    assert found(tmp_path, searching=False) is None
    assert str(found(tmp_path, DEV, searching=False)) == "dev/evaluate/RR@10"


HELD_OUT = "optimized_metric=train/retriever1/RR@10 retriever1.validation.split=train retriever1.validation.every=0.5"


@pytest.mark.parametrize(
    ("changes", "splits", "remedy"),
    [
        ({}, SPLITS, "'corpus.evaluated=[dev,test]'"),
        ({}, ["train", "test"], HELD_OUT),
        (
            {"optimized_metric": "test/evaluate/RR@10"}, SPLITS,
            "optimized_metric=dev/evaluate/RR@10 'corpus.evaluated=[dev,test]'",
        ),
    ],
)  # fmt: skip
def test_the_remedy_that_is_told_works(tmp_path, changes, splits, remedy):
    with pytest.raises(BadInput) as refused:
        found(tmp_path, splits=splits, **changes)
    assert remedy in str(refused.value)
    assert found(tmp_path, *shlex.split(remedy), splits=splits).split != "test"


@pytest.mark.parametrize(
    ("overrides", "changes", "splits", "message"),
    [
        ([], {"stage": ["bm25"]}, ["train", "test"], "give it judgments for dev, which may be a part of train's"),
        ([], {"stage": ["bm25"]}, ["test"], "give it judgments for dev that are not those of the reported queries"),
        ([DEV], {"stage": ["retriever1"]}, SPLITS, r"stage=\[retriever1\] ends before its last rung is measured"),
        ([], {"optimized_metric": "dl19/evaluate/RR@10"}, SPLITS, "chosen on dl19 are no longer tested by it"),
        ([], {"optimized_metric": "dev/evaluate/RR@10"}, ["train", "test"], "hold queries out of training"),
        (
            [],
            {"optimized_metric": "test/evaluate/RR@10"},
            ["train", "test"],
            "tested by it; .* hold queries out of train",
        ),
        ([], {"optimized_metric": "dev/evaluate/RR@10"}, SPLITS, "measured in this job; there is nothing that one may"),
        ([DEV], {"optimized_metric": "dev/evaluate2/RR@10"}, SPLITS, "there is dev/bm25/RR@10, .*dev/evaluate/RR@10"),
        ([DEV], {"optimized_metric": "dev/evaluate"}, SPLITS, "must be SPLIT/STAGE/MEASURE"),
        ([DEV], {"optimized_metric": "dev/evaluate/RR10"}, SPLITS, "unknown measure 'RR10'"),
    ],
)
def test_what_cannot_be_chosen_by_is_refused(tmp_path, overrides, changes, splits, message):
    with pytest.raises(BadInput, match=message):
        found(tmp_path, *overrides, splits=splits, **changes)


def test_the_value_is_read_where_it_is_measured(tmp_path):
    place = found(tmp_path, DEV)
    place.directory.mkdir(parents=True)
    (place.directory / "metrics.json").write_text(json.dumps({"dev": {"mean": {"RR@10": 0.25}}, "test": {}}))
    assert place.value() == 0.25
    looks = [{"step": 1, "loss": 3.0}, *({"step": n, "validation/RR@10": v} for n, v in ((2, 0.5), (4, 0.375)))]
    for keep, value in {"last": 0.375, "best": 0.5}.items():
        place = found(tmp_path, *HELD_OUT.split(), f"retriever1.validation.keep={keep}")
        place.directory.mkdir(parents=True)
        (place.directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in looks))
        assert place.value() == value
