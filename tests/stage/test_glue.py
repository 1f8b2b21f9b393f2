"""GLUE with a pre-trained encoder: both arms, the best rate, an interrupted run continues, mistakes in one line."""

import json
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support import quick_hydra
from support.glue_files import write_glue
from support.paths import CONF

import bmae_lightning.lit.classifier as classifier
from bmae_lightning.command.experiment import take_corpus_options
from bmae_lightning.command.plan import read_entry
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.plain import restored
from bmae_lightning.runtime.stage import Context
from bmae_lightning.runtime.table import Table
from bmae_lightning.stage.glue import Glue


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    quick_hydra.quicken(monkeypatch)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_glue(tmp_path_factory.mktemp("glue") / "GLUE")


@pytest.fixture(scope="module")
def config(files, collection):
    overrides = ["encoder=tiny", "logger=none", f"glue.path={files}", "corpus=beir", f"corpus.path={collection}"]
    overrides += ["glue.length=32", "glue.epochs=3", "glue.lr=[1e-3,1e-5]", "encoder.dropout=0.1"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", overrides=overrides), resolve=True)
    take_corpus_options(config)
    return config


def make(config, **changes):
    made = build(read_entry(config["glue"]).options | changes, "glue")
    made.name = "glue"
    return made


@pytest.fixture(scope="module")
def prepared(config, tmp_path_factory):
    directory = tmp_path_factory.mktemp("prepared")
    build(read_entry(config["prepare"]).options, "prepare").run(Context("prepare", "", directory, {}, "g", directory))
    return directory


def test_an_interrupted_run_continues_and_ends_with_the_same_results(config, prepared, tmp_path, monkeypatch, capsys):
    contexts = {}
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
        contexts[name] = Context("glue", "none", tmp_path / name, {"corpus": prepared, "encoder": None}, "g", tmp_path)
    make(config).run(contexts["whole"])
    whole = json.loads((tmp_path / "whole" / "metrics.json").read_text())
    assert list(whole["tasks"]) == ["CoLA", "MRPC", "STS-B", "QQP"]
    for task in whole["tasks"].values():
        assert (task["train"], task["dev"], set(task["by_lr"])) == (24, 12, {"0.001", "1e-05"})
        means = {rate: sum(scores.values()) / len(scores) for rate, scores in task["by_lr"].items()}
        assert means[f"{task['lr']:g}"] == max(means.values())
        assert task["scores"] == task["by_lr"][f"{task['lr']:g}"]
    assert whole["tasks"]["STS-B"]["scores"]["Pearson"] > 0.8
    assert not list((tmp_path / "whole").glob("runs/*/checkpoints"))
    measured = []

    def predict(*arguments):
        measured.append(arguments)
        if len(measured) == 6:
            raise OSError("power cut")
        return found(*arguments)

    found = classifier.predict
    with monkeypatch.context() as patch:
        patch.setattr(classifier, "predict", predict)
        with pytest.raises(OSError, match="power cut"):
            make(config).run(contexts["cut"])
    capsys.readouterr()
    make(config).run(contexts["cut"])
    output = capsys.readouterr().out
    assert "glue (none): CoLA: 2 of 2 rates are done" in output
    assert "glue (none): STS-B: 1 of 2 rates are done" in output
    assert "continuing from" in output
    assert len(re.findall(r"\S+ at \S+: (?:accuracy|Matthews|Pearson)", output)) == 3
    assert json.loads((tmp_path / "cut" / "metrics.json").read_text()) == whole


def test_both_arms_stand_in_the_report(cli_here, files, monkeypatch):
    monkeypatch.setattr("bmae_lightning.stage.report.write_html", lambda *_: None)  # its figures take the longest
    options = ["glue.length=32", "glue.tasks=[CoLA,STS-B]", "glue.lr=[1e-3]", "pretrain.steps=2", "logger=none"]
    output = cli_here("stage=[prepare,pretrain,glue,report]", f"glue.path={files}", *options, code=0)
    table = output[output.index("Understanding (GLUE)") :]
    rows = re.findall(
        r"^(no pre-training|retromae) +-?0\.\d{3}\*? +0\.\d{3}\*? +0\.\d{3}\*? +0\.\d{3}\*?$", table, re.MULTILINE
    )
    assert rows == ["no pre-training", "retromae"]
    assert table.count("12 examples") == 2
    report = json.loads(Path(re.search(r"report: (\S+)report.html", output).group(1), "report.json").read_text())
    (ours,) = restored(list[Table], report["tables"]["glue"])
    assert [row[0] for row in ours.rows] == ["no pre-training", "retromae"]
    assert ours.rows[0][1:] != ours.rows[1][1:]
    assert [column.key for column in ours.columns] == [
        "arm",
        "CoLA/Matthews",
        "STS-B/Pearson",
        "STS-B/Spearman",
        "mean",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": ["CoLA", "SST"]}, "glue.tasks: there is no 'SST'; there is CoLA, MRPC, STS-B, QQP"),
        ({"tasks": []}, "glue.tasks is empty"),
        ({"path": None}, "glue.path is null: set glue.path=DIR"),
        ({"lr": []}, "glue: lr is empty: name the learning rates"),
        ({"length": 1000}, "glue.length=1000: the encoder has only 128 positions"),
        ({"train_examples": 1}, "glue: train_examples must be at least 2, or null for all, got 1"),
        ({"epochs": 0}, "steps=None epochs=0 make no step"),
        ({"batch_size": 3, "trainer": "accumulates"}, "glue.batch_size=3 must be a multiple"),
    ],
)
def test_mistakes_are_told_before_any_work(config, options, message):
    if "trainer" in options:
        options = options | {"trainer": config["trainer"] | {"accumulate_grad_batches": 2}}
    with pytest.raises(BadInput, match=re.escape(message)):
        make(config, **options).preflight([])


def test_a_broken_file_is_told_before_any_work(config, tmp_path):
    broken = write_glue(tmp_path / "GLUE")
    with (broken / "QQP" / "dev.tsv").open("a") as file:
        file.write("1\t2\n")
    with pytest.raises(BadInput, match="QQP/dev.tsv:14: 2 columns instead of the 6 of QQP"):
        make(config, path=str(broken)).preflight([])


def test_fewer_examples_are_drawn_by_the_seed():
    class Seeded:
        seed = 3

    examples = list(range(100))
    assert Glue._some(Seeded, examples, None) == Glue._some(Seeded, examples, 100) == examples
    drawn = Glue._some(Seeded, examples, 10)
    assert len(set(drawn)) == 10
    assert drawn == sorted(drawn) == Glue._some(Seeded, examples, 10)
    Seeded.seed = 4
    assert Glue._some(Seeded, examples, 10) != drawn
