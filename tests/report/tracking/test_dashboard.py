"""The workspace for W&B: axes are what varies, panels name keys that runs have, and W&B's own classes read it."""

import json
from pathlib import Path

import pytest

from bmae_lightning.report.tracking.dashboard import Dashboard, axes
from bmae_lightning.runtime.errors import BadInput


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """Two jobs of a sweep, which differ in a mask rate and in steps."""
    monkeypatch.setenv("WANDB_API_KEY", "")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    for number, (rate, steps) in enumerate([(0.3, 10), (0.5, 20)]):
        nodes = {"bm25": tmp_path / "store" / "bm25", "evaluate@ours": tmp_path / "store" / f"evaluate-{number}"}
        for directory in nodes.values():
            directory.mkdir(parents=True, exist_ok=True)
            measured = {"test": {"mean": {"RR@10": 0.5, "R@50": 1.0}, "queries": 2}, "passages_per_second": 9.0}
            (directory / "metrics.json").write_text(json.dumps(measured))
        job = {
            "name": "ours", "method": "retromae", "encoder": "tiny", "seed": 42, "command": f"{number}",
            "masks": {"decoders.enhanced": {"policy": "UniformMask", "rate": rate}},
            "overrides": [f"decoders.enhanced.mask.rate={rate}", f"pretrain.steps={steps}", "+experiment=retromae"],
            "config": {"decoders": {"enhanced": {"mask": {"rate": rate}}}, "pretrain": {"steps": steps}},
        }  # fmt: skip
        place = tmp_path / "multirun" / "monday" / str(number)
        place.mkdir(parents=True)
        result = {"job": job, "nodes": {key: str(path) for key, path in nodes.items()}}
        (place / "result.json").write_text(json.dumps(result))
    return tmp_path


def written(outputs: Path) -> dict:
    Dashboard(title="t", project="p", entity="e").run(outputs)
    return json.loads((outputs / "wandb" / "dashboard.json").read_text())


def test_axes_are_what_varies_once_and_the_measure_is_that_of_the_arm(outputs, capsys):
    sections = written(outputs)["spec"]["section"]["panelBankConfig"]["sections"]
    (panel,) = sections[0]["panels"]
    assert [column["accessor"] for column in panel["config"]["columns"]] == [
        "config:masks/decoders/enhanced/rate.value", "config:config.value.pretrain.steps",
        "summary:evaluate/test/RR@10",
    ]  # fmt: skip
    assert sections[1]["panels"][0]["config"]["metrics"] == ["evaluate/test/RR@10"]
    assert "wandb login" in capsys.readouterr().out


def test_the_usual_axes_where_nothing_varies(outputs):
    job = json.loads((outputs / "multirun" / "monday" / "0" / "result.json").read_text())
    assert list(axes([job])) == ["method", "encoder", "seed", "masks/decoders/enhanced/rate"]


def test_nothing_finished_is_said(tmp_path):
    with pytest.raises(BadInput, match=f"no job is finished in {tmp_path}: run one first"):
        Dashboard(title="t").run(tmp_path)


def test_the_package_of_wandb_reads_it(outputs):
    workspaces = pytest.importorskip("wandb_workspaces.workspaces")
    view = workspaces.internal.View.model_validate(written(outputs))
    made = workspaces.Workspace._from_model(view)
    assert [type(section.panels[0]).__name__ for section in made.sections][:3] == [
        "ParallelCoordinatesPlot", "BarPlot", "LinePlot",
    ]  # fmt: skip
