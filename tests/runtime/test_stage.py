"""What a stage is told, and what it may check before anything runs."""

from pathlib import Path

import pytest
import torch

from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.stage import Context, Stage, device_of, require_splits


def context(arm="", **inputs):
    return Context("retriever1", arm, Path("store/retriever1-0"), inputs, "group", Path("store"))


def test_the_title_names_the_arm_where_there_is_one():
    assert context().title == "retriever1"
    assert context("retromae").title == "retriever1 (retromae)"


def test_an_empty_input_is_named_with_its_key():
    assert context(corpus=Path("x")).input("corpus") == Path("x")
    for inputs in ({}, {"encoder": None}):
        with pytest.raises(BadInput, match="retriever1.inputs.encoder is empty: name the stage that makes it"):
            context(**inputs).input("encoder")


def test_a_stage_has_to_run_and_may_check():
    with pytest.raises(TypeError, match="run"):
        Stage()

    class Nothing(Stage):
        def run(self, context):
            pass

    stage = Nothing()
    stage.preflight(["test"])
    stage.check_inputs({})
    stage.check_corpus(Path())


def test_splits_without_judgments_are_named():
    require_splits("bm25", ["test"], ["train", "test"])
    with pytest.raises(BadInput, match="bm25: the corpus has no judgments for the split 'dev'; there is train, test"):
        require_splits("bm25", ["train", "dev"], ["train", "test"])


@pytest.mark.parametrize(
    ("accelerator", "there", "device"),
    [("cpu", True, "cpu"), ("gpu", True, "cuda"), ("auto", True, "cuda"), ("auto", False, "cpu")],
)
def test_the_device_of_an_accelerator(monkeypatch, accelerator, there, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert device_of(accelerator) == device
