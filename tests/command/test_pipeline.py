"""Running what is planned: what is done is skipped, what is interrupted goes on, a former version's stages stay."""

import json

import pytest

from bmae_lightning.command.pipeline import Pipeline
from bmae_lightning.command.plan import plan
from bmae_lightning.runtime.errors import BadInput, Interrupted
from bmae_lightning.runtime.stage import Stage

RAN: list[str] = []


class Counting(Stage):
    """Writes its text, or stops as often as it is told."""

    def __init__(self, text: str = "", stops: list | None = None) -> None:
        if text == "wrong":
            raise ValueError("text must not be wrong")
        self.text, self.stops = text, stops

    def preflight(self, splits):
        if self.text not in ("", *splits):
            raise BadInput(f"{self.name}: no split {self.text}")

    def run(self, context):
        RAN.append(context.title)
        (context.directory / "checkpoints").mkdir(exist_ok=True)
        stopped = context.directory / "stopped"
        if self.stops and not stopped.exists():
            stopped.touch()
            raise Interrupted("saved")
        (context.directory / "text").write_text(f"{self.text} {context.inputs}")


@pytest.fixture
def pipeline(tmp_path):
    """Makes the pipeline of two stages; the options are those of the second."""
    RAN.clear()
    target = f"{__name__}.Counting"

    def make(**options):
        first, second = {"_target_": target, "inputs": {}}, {"_target_": target, "inputs": {"corpus": "first"}}
        config = {"first": first, "second": second | options, "stage": "second", "rungs": 0, "baseline": False}
        nodes = plan(config | {"output_dir": str(tmp_path)}, "arm", {})
        return Pipeline(nodes, "group", tmp_path, {"second": {"stops": "stops.here"}}, ["train", "test"])

    return make


def test_what_is_done_is_skipped(pipeline, tmp_path, capsys):
    pipeline().run()
    assert RAN == ["first", "second"]
    pipeline().run()
    pipeline(text="test").run()
    assert RAN == ["first", "second", "second"]
    output = capsys.readouterr().out
    assert f"[1/2] first: skipped, done in {tmp_path / 'store' / 'first-'}" in output
    assert output.count("[2/2] second: started in") == 2
    assert not list(tmp_path.glob("store/*/checkpoints")), "nothing continues a finished stage"


def test_an_interrupted_stage_is_continued_in_its_directory(pipeline, tmp_path, capsys):
    with pytest.raises(Interrupted):
        pipeline(stops=[1]).run()
    assert len(list(tmp_path.glob("store/*/done"))) == 1
    assert len(list(tmp_path.glob("store/*/checkpoints"))) == 1
    pipeline(stops=[1]).run()
    assert RAN == ["first", "second", "second"]
    assert "[2/2] second: continued in" in capsys.readouterr().out
    assert len(list(tmp_path.glob("store/*/done"))) == 2


def test_a_record_is_in_no_fingerprint(pipeline):
    made = pipeline()
    made.run()
    for node in made.nodes.values():
        record = node.directory / "record.json"
        assert len(json.loads(record.read_text())["attempts"]) == 1
        record.write_text("{}")
    again = pipeline()
    again.job = {"commit": "other"}
    assert [node.hash for node in again.nodes.values()] == [node.hash for node in made.nodes.values()]
    again.run()
    assert RAN == ["first", "second"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "wrong"}, "second: text must not be wrong"),
        ({"text": "dev"}, "second: no split dev"),
        ({"txt": "x"}, "unknown option 'second.txt'; did you mean 'text'"),
        ({"stops": [{"_target_": f"{__name__}.None"}]}, r"stops.here\[0\]._target_: cannot import"),
    ],
)
def test_a_mistake_is_found_before_anything_runs(pipeline, tmp_path, options, message):
    with pytest.raises(BadInput, match=message):
        pipeline(**options).run()
    assert not RAN
    assert not (tmp_path / "store").exists()


def test_a_manifest_says_what_the_stage_is_and_reads(pipeline, tmp_path):
    made = pipeline(text="train")
    made.run()
    first, second = (json.loads((node.directory / "manifest.json").read_text()) for node in made.nodes.values())
    assert second["config"] == {"_target_": f"{__name__}.Counting", "text": "train"}
    assert second["fingerprint"] == made.nodes["second"].hash
    assert second["context"]["inputs"] == {"corpus": first["context"]["directory"]}
    assert second["context"]["group"] == "group"


def test_a_store_of_an_earlier_version_is_named_once_and_left_alone(pipeline, tmp_path, capsys):
    for number, content in enumerate(({"fingerprint": "x"}, {"format": 3}, {"format": 3})):
        former = tmp_path / "store" / f"first-{number}"
        former.mkdir(parents=True)
        (former / "manifest.json").write_text(json.dumps(content))
        (former / "done").touch()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    pipeline().run()
    pipeline().run()
    assert RAN == ["first", "second"]
    output = capsys.readouterr().out
    assert output.splitlines()[0].startswith(f"{tmp_path / 'store'}: 3 stages of an earlier version are left alone")
    assert output.count("earlier version") == 1
    assert {path: path.read_bytes() for path in before} == before
