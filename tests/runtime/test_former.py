"""Former places and options: every one is answered with the new one, which exists."""

import importlib
import subprocess
import sys

import pytest
from support.paths import PACKAGE, ROOT

from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.former import FormerPlaces, new_place, renamed_option

PLACES = dict(
    line.split(" ") for line in (PACKAGE / "runtime" / "former_places.txt").read_text(encoding="utf-8").splitlines()
)


def exists(path: str) -> bool:
    module = PACKAGE.joinpath(*path.split("."))
    if module.is_dir() or module.with_suffix(".py").is_file():
        return True
    module, _, name = f"bmae_lightning.{path}".rpartition(".")
    return hasattr(importlib.import_module(module), name)


@pytest.mark.parametrize("former", PLACES)
def test_the_new_place_of_every_former_one_exists(former):
    assert exists(PLACES[former])


def test_what_lies_below_a_former_place_is_found_too():
    assert new_place("bmae_lightning.mask.policy.MaskPolicy") == "bmae_lightning.pretraining.mask.policy.MaskPolicy"
    assert new_place("bmae_lightning.loss.contrastive") == "bmae_lightning.retrieval.loss.contrastive"
    assert new_place("bmae_lightning.stage.bm25.TRAIN") == "bmae_lightning.evaluation.measure.ranking.TRAIN"
    assert new_place("bmae_lightning.encoder.model") is None
    assert new_place("somebody.mask.policy") is None


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("from bmae_lightning.run import read_run", "bmae_lightning.run is now bmae_lightning.evaluation.measure.trec"),
        ("import bmae_lightning.mask.policy", "bmae_lightning.mask is now bmae_lightning.pretraining.mask"),
        ("import bmae_lightning.loss", "loss.contrastive is bmae_lightning.retrieval.loss.contrastive"),
    ],
)
def test_a_former_import_ends_in_one_line(line, message):
    done = subprocess.run([sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert message in done.stderr.splitlines()[-1]


def test_a_module_that_never_was_is_left_to_python():
    assert FormerPlaces().find_spec("bmae_lightning.nothing") is None


def test_a_former_target_names_the_new_one():
    with pytest.raises(
        BadInput, match=r"^mask._target_: bmae_lightning.mask.uniform.UniformMask is now bmae_lightning.pre"
    ):
        build({"_target_": "bmae_lightning.mask.uniform.UniformMask", "rate": 0.3}, "mask")
    with pytest.raises(BadInput, match="is now bmae_lightning.corpus.builtin.collection.BuiltinCorpus"):
        build({"_target_": "bmae_lightning.corpus.builtin.BuiltinCorpus"}, "corpus")


def test_an_option_that_never_was_has_no_successor():
    assert renamed_option("retriever1.nothing") == ""


def test_a_former_option_names_the_new_one():
    assert renamed_option("distilled.group") == "; use train_group_size"
    assert renamed_option("group") == ""
    assert renamed_option("distilled.distillation.alpha") == "; use losses.contrastive.weight of the same stage"
    assert renamed_option("distilled.distillation.kind") == "; use distilled.losses.distillation"
    assert renamed_option("retriever1.form") == "; use losses.contrastive.form of the same stage"
