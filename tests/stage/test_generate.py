"""The generate stage as a whole: each kind of teacher, killed and continued, on two devices, and what it hands on."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from omegaconf import OmegaConf
from support import compose
from support import teachers as stand_ins
from support.paths import CONF, ROOT
from support.stages import prepare

from bmae_lightning.command.plan import read_entry
from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.pretraining.generate.writer import Writer
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput, Interrupted
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.run_stage import run_stage
from bmae_lightning.stage.prepared import Prepared

SMALL = {"layers": 1, "width": 16, "heads": 2, "steps": 3, "batch_size": 4, "length": 12}
TINY = {
    "shard": 8,
    "queries": SMALL | {"sampling": {"count": 2, "tokens": 5}},
    "continuation": SMALL | {"sampling": {"tokens": 6, "top_k": None}},
}
NOT_TRACKED = {"_target_": "bmae_lightning.report.tracking.loggers.NoTracking"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, collection):
    """60 passages with judgments for `train` and `test`."""
    return prepare(tmp_path_factory.mktemp("prepared"), collection, 400)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Stand-ins for docT5query and GPT-2 as `generate=hf` takes them."""
    root = tmp_path_factory.mktemp("models")
    names = {"queries": stand_ins.save_t5(root / "t5"), "continuation": stand_ins.save_gpt2(root / "gpt2")}
    return {role: {"name": str(path), "length": 20, "sampling": {"tokens": 5}} for role, path in names.items()}


def composed(option, *changes, trainer="cpu"):
    """The configuration of the stage from its YAML files, resolved."""

    def load(name):
        return OmegaConf.load(CONF / f"{name}.yaml")

    trainers = [load("trainer/cpu")] + ([load(f"trainer/{trainer}")] if trainer != "cpu" else [])
    config = OmegaConf.merge(
        {"seed": 3, "optim": load("optim/adamw"), "schedule": load("schedule/linear"), "logger": NOT_TRACKED},
        {"trainer": OmegaConf.merge(*trainers)},
        load("stages/generate"),
        {"generate": load(f"generate/{option}")},
        *({"generate": change} for change in changes),
    )
    node = OmegaConf.to_container(config, resolve=True)["generate"]
    node["trainer"].pop("defaults", None)
    return read_entry(node).options


def manifest(directory, prepared, config):
    """What the pipeline writes before it runs a stage."""
    directory.mkdir(parents=True, exist_ok=True)
    context = {"stage": "generate", "arm": "", "directory": str(directory), "inputs": {"corpus": str(prepared)}}
    context |= {"group": "test", "output_dir": str(directory)}
    write_json(directory / "manifest.json", {"fingerprint": "x", "context": context, "config": config})
    return directory / "manifest.json"


def product(directory):
    """Everything that later stages read, to the byte."""
    assert not list(directory.glob("*.tmp"))
    names = ["generated.jsonl", *(f"{s}/{f}" for s in ("queries", "continuation") for f in ("tokens.bin", "ids.txt"))]
    return {name: (directory / name).read_bytes() for name in names}


def lines(directory):
    return [json.loads(line) for line in (directory / "generated.jsonl").read_text().splitlines()]


def worker(path, **options):
    """The stage in a process of its own, as it runs on several devices."""
    return subprocess.Popen(
        [sys.executable, "-m", "bmae_lightning.runtime.run_stage", str(path)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options,
    )  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory, prepared):
    """The finished stage with teachers that it trained, uninterrupted, on one device."""
    directory = tmp_path_factory.mktemp("trained")
    run_stage(manifest(directory, prepared, composed("trained", TINY)))
    return directory


def test_trained_teachers_write_about_every_passage(trained, prepared):
    store = Prepared(prepared).passages()
    rows = lines(trained)
    assert [row["_id"] for row in rows] == list(store.external_ids)
    assert {len(row["queries"]) for row in rows} <= {0, 1, 2}, "an empty query is none"
    assert sum(len(row["queries"]) for row in rows) > 90
    assert all(all(row["queries"]) for row in rows)
    assert all(isinstance(row["continuation"], str) and "##" not in row["continuation"] for row in rows)
    assert len({query for row in rows for query in row["queries"]}) > 30
    for name in ("queries", "continuation"):
        made = TokenStore(trained / name, store.tokenizer_digest)
        assert list(made.external_ids) == list(store.external_ids)
        assert (made.lengths > 0).mean() > 0.9
    metrics = json.loads((trained / "metrics.json").read_text())
    assert metrics["teachers"]["queries"] == "BART 1 x 16, trained here: 3 steps on the pairs of 'train'"
    assert metrics["teachers"]["continuation"] == "GPT-2 1 x 16, trained here: 3 steps on the passages"
    assert metrics["queries"] == sum(len(row["queries"]) for row in rows)
    assert metrics["passages_with_continuation"] == 60
    examples = json.loads((trained / "examples.json").read_text())
    assert [example["_id"] for example in examples] == ["p0", "p1"]
    assert not list(trained.glob("teachers/*/checkpoints"))


def test_trained_teachers_are_hugging_face_models_of_the_prepared_word_pieces(trained, prepared):
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    ids = Prepared(prepared).tokenizer()("tibaro", add_special_tokens=False)["input_ids"]
    sep = Prepared(prepared).tokenizer().sep_token_id
    for role, kind, added in (
        ("queries", AutoModelForSeq2SeqLM, [sep]),
        ("continuation", AutoModelForCausalLM, []),
    ):
        directory = trained / "teachers" / role / "model"
        assert AutoTokenizer.from_pretrained(directory)("tibaro")["input_ids"] == ids + added
        kind.from_pretrained(directory)


def test_a_teacher_learns(tmp_path, prepared):
    more = {role: {"steps": 60, "lr": 0.01, "batch_size": 16} for role in ("queries", "continuation")}
    config = composed("trained", TINY, more, {"shard": 100, "samples": 0})
    run_stage(manifest(tmp_path, prepared, config))
    for role in more:
        curve = [json.loads(line)["loss"] for line in (tmp_path / "teachers" / role / "metrics.jsonl").open()]
        assert len(curve) == 60
        assert curve[-1] < curve[0] - 1.0, role


def test_pretrained_teachers_and_one_left_out(tmp_path, prepared, models):
    change = {"shard": 25, "queries": models["queries"] | {"sampling": {"count": 4, "tokens": 5}}}
    run_stage(manifest(tmp_path / "both", prepared, composed("hf", change, {"continuation": models["continuation"]})))
    rows = lines(tmp_path / "both")
    assert max(len(row["queries"]) for row in rows) == 4
    assert json.loads((tmp_path / "both" / "metrics.json").read_text())["teachers"] == {
        role: model["name"] for role, model in models.items()
    }
    run_stage(manifest(tmp_path / "one", prepared, composed("hf", change, {"continuation": None})))
    assert lines(tmp_path / "one") == [row | {"continuation": None} for row in rows]
    assert not TokenStore(tmp_path / "one" / "continuation").lengths.any()
    alone = composed("hf", {"queries": None, "continuation": models["continuation"], "shard": 7, "batch_size": 3})
    run_stage(manifest(tmp_path / "other", prepared, alone))
    assert lines(tmp_path / "other") == [row | {"queries": []} for row in rows], "no shard, no batch, no other teacher"


def test_a_file_of_ones_own(tmp_path, prepared):
    store = Prepared(prepared).passages()
    path = tmp_path / "texts.jsonl"
    texts = [{"_id": "p7", "queries": ["dibago"], "continuation": ""}, {"_id": "p3", "continuation": "tibaro dibago"}]
    path.write_text("".join(json.dumps(text) + "\n" for text in texts))
    run_stage(manifest(tmp_path / "out", prepared, composed("file", {"texts": {"path": str(path)}})))
    queries, continuation = (TokenStore(tmp_path / "out" / name) for name in ("queries", "continuation"))
    assert queries.lengths.nonzero()[0].tolist() == [7]
    assert continuation.lengths.nonzero()[0].tolist() == [3, 7]
    assert continuation[7].tolist() == store[7].tolist()
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["teachers"]["queries"] == f"file {path}"
    assert (metrics["passages"], metrics["passages_with_queries"], metrics["passages_with_continuation"]) == (60, 1, 2)
    path.write_text('{"_id": "p7"}\n{"_id": "q7"}\n')
    with pytest.raises(BadInput, match=r"texts.jsonl:2: id 'q7' is no passage of the corpus"):
        run_stage(manifest(tmp_path / "new", prepared, composed("file", {"texts": {"path": str(path)}})))


def test_a_crash_in_the_middle_of_shards_changes_nothing(tmp_path, prepared, trained, monkeypatch):
    path = manifest(tmp_path, prepared, composed("trained", TINY))
    write, calls = Writer.write, []

    def failing(self, texts, *others):
        calls.append(len(texts))
        if len(calls) > 9:
            raise RuntimeError("the machine went away")
        return write(self, texts, *others)

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "write", failing)
        with pytest.raises(RuntimeError, match="went away"):
            run_stage(path)
    kept = {shard.name: shard.stat().st_mtime_ns for shard in (tmp_path / "checkpoints").glob("shard-*.jsonl")}
    assert len(kept) == 4
    assert not (tmp_path / "generated.jsonl").exists()
    models = {model: model.stat().st_mtime_ns for model in tmp_path.glob("teachers/*/model/model.safetensors")}
    run_stage(path)
    assert product(tmp_path) == product(trained)
    assert all((tmp_path / "checkpoints" / name).stat().st_mtime_ns == time for name, time in kept.items())
    assert all(model.stat().st_mtime_ns == time for model, time in models.items())


def test_kill_9_in_the_middle_of_shards_changes_nothing(tmp_path, prepared, trained):
    path = manifest(tmp_path, prepared, composed("trained", TINY, {"batch_size": 1}))
    process = worker(path)
    while process.poll() is None and not (tmp_path / "checkpoints" / "shard-000001.jsonl").exists():
        time.sleep(0.005)
    process.kill()
    output = process.communicate()[0]
    assert process.returncode == -signal.SIGKILL, output
    assert not (tmp_path / "checkpoints" / "shard-000007.jsonl").exists()
    run_stage(path)
    assert product(tmp_path) == product(trained)


def test_sigterm_says_how_to_continue(tmp_path, prepared, trained, monkeypatch):
    path = manifest(tmp_path, prepared, composed("trained", TINY))
    write, calls = Writer.write, []

    def asked(self, texts, *others):
        calls.append(len(texts))
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return write(self, texts, *others)

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patched:
        patched.setattr(Writer, "write", asked)
        with pytest.raises(Interrupted, match="2 of 8 shards are written; run the same command again to continue"):
            run_stage(path)
    assert signal.getsignal(signal.SIGTERM) == before
    run_stage(path)
    assert product(tmp_path) == product(trained)


def test_two_devices_write_what_one_writes(tmp_path, prepared, trained):
    config = composed("trained", TINY, trainer="ddp_cpu")
    assert (config["trainer"]["devices"], config["trainer"]["strategy"]) == (2, "ddp")
    process = worker(manifest(tmp_path, prepared, config))
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert "1 of 2 processes" in output
    assert "64/64 texts" in output, "half of 2 x 60 texts in whole shards"
    assert product(tmp_path) == product(trained)


@pytest.mark.parametrize(
    ("option", "change", "words"),
    [
        ("trained", {"queries": None, "continuation": None}, "generate=trained|hf|file"),
        ("trained", {"continuation": {"sampling": {"count": 2}}}, "continuation.sampling.count=2"),
        ("trained", {"queries": {"heads": 3}}, "generate.queries: width=128 must be a multiple of heads=3"),
        ("trained", {"queries": {"sampling": {"top_p": 2.0}}}, "generate.queries.sampling: top_p=2.0"),
        ("trained", {"queries": {"steps": "many"}}, "generate.queries.steps must be of type int"),
        ("trained", {"queries": {"layer": 1}}, "did you mean 'layers'?"),
        ("trained", {"shard": 0}, "generate: shard must be at least 1, got 0"),
        ("file", {"texts": {"path": "x.jsonl.gz"}}, "path=x.jsonl.gz"),
    ],
)
def test_wrong_options(option, change, words):
    with pytest.raises(BadInput) as caught:
        build(composed(option, change), "generate")
    assert words in str(caught.value)


def test_teachers_have_the_width_of_an_encoder_from_random_weights():
    for encoder, size in (("tiny", (32, 2)), ("small", (256, 4)), ("minilm", (128, 4))):
        node = compose.composed(f"encoder={encoder}")["generate"]
        assert {(node[role]["width"], node[role]["heads"]) for role in ("queries", "continuation")} == {size}


def test_looking_ahead(models):
    with pytest.raises(BadInput, match="generate.queries: the corpus has no judgments for the split 'train'"):
        build(composed("trained")).preflight(["test"])
    build(composed("trained", {"queries": None})).preflight(["test"])
    build(composed("hf", models)).preflight([])
    with pytest.raises(BadInput, match="generate.continuation.name=no/model: no such local directory"):
        build(composed("hf", models, {"continuation": {"name": "no/model"}})).preflight([])
    with pytest.raises(BadInput, match="generate.texts.path=none.jsonl"):
        build(composed("file", {"texts": {"path": "none.jsonl"}})).preflight([])


def test_the_report_names_the_teachers(trained, prepared):
    from bmae_lightning.stage.collected import Collected, read_node

    write_json(prepared / "manifest.json", {"config": {"corpus": {"path": "beir"}}})
    report = Collected("test", ["RR@10"], {}, "")
    for key, directory in {"prepare": prepared, "generate": trained}.items():
        report.add(read_node(key, directory, {}))
    assert report.settings["generate"].startswith("queries by BART 1 x 16, trained here: 3 steps on the pairs")
    assert "60 continuations" in report.settings["generate"]
    assert " -> " in report.settings["generated for p1"]
    curve = next(curve for curve in report.all_curves() if curve.title.startswith("Teachers"))
    assert {name: len(points) for name, points in curve.series.items()} == {"queries": 3, "continuation": 3}
