"""What a stage is told: its title, its inputs, the splits that it needs."""

from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.stage import Context, Stage, device_of, require_splits


@dataclass(kw_only=True)
class Touch(Stage):
    """A stage of one option."""

    file: str = "made"

    def run(self, context: Context) -> None:
        (context.directory / self.file).touch()


def context(directory: Path, arm: str = "", **inputs: Path | None) -> Context:
    return Context("touch", arm, directory, inputs, "group", directory)


def test_a_stage_is_its_options_and_its_name_is_none_of_them(tmp_path):
    stage = Touch(file="x")
    stage.name = "other"
    assert [each.name for each in fields(stage)] == ["file"]
    assert Touch().name == "stage"
    stage.preflight(["train"])
    stage.check_inputs({})
    stage.check_corpus(tmp_path)
    stage.run(context(tmp_path))
    assert (tmp_path / "x").is_file()


def test_the_title_names_the_arm(tmp_path):
    assert context(tmp_path).title == "touch"
    assert context(tmp_path, "retromae").title == "touch (retromae)"


@pytest.mark.parametrize("inputs", [{}, {"corpus": None}])
def test_an_empty_input_is_named(tmp_path, inputs):
    assert context(tmp_path, corpus=tmp_path).input("corpus") == tmp_path
    with pytest.raises(BadInput, match=r"^touch\.inputs\.corpus is empty: name the stage that makes it$"):
        context(tmp_path, **inputs).input("corpus")


def test_a_split_without_judgments_is_refused():
    require_splits("bm25", ["test"], ["train", "test"])
    require_splits("bm25", [], [])
    with pytest.raises(BadInput, match=r"bm25: the corpus has passages alone .*stage=\[pretrain\]"):
        require_splits("bm25", ["test"], [])
    with pytest.raises(BadInput, match=r"bm25: the corpus has no judgments for the split 'dev'; there is train, test"):
        require_splits("bm25", ["test", "dev"], ["train", "test"])


def test_the_device_of_an_accelerator(monkeypatch):
    for there, names in ((True, ["cpu", "cuda", "cuda", "cuda"]), (False, ["cpu"] * 4)):
        monkeypatch.setattr("torch.cuda.is_available", lambda there=there: there)
        assert [device_of(name) for name in ("cpu", "gpu", "cuda", "auto")] == names
