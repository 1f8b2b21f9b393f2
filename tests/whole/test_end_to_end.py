"""Whole runs on a small collection: the report, skipping, killing, stopping, two devices, sweeps."""

import json
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from support import command as tools
from support.paths import CONF

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.encoder.tokenizer import load_tokenizer
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.record import read_record
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.train_reranker import open_scorer

metrics = tools.metrics


def losses(lines):
    return [(line["step"], line["loss"]) for line in lines]


def test_a_run_reaches_its_report_and_a_second_one_skips_everything(cli, tmp_path):
    output = cli()
    rows = [
        line.split()[0] for line in output.splitlines() if re.match(r"(bm25|no pre-training|retromae) +\d\.\d", line)
    ]
    assert rows == ["bm25", "no", "retromae"]
    page = Path(re.search(r"report: (\S+report.html)", output).group(1))
    assert "RR@10" in page.read_text()
    (link,) = (tmp_path / "outputs" / "runs").glob("*/report.html")
    assert link.resolve() == page.resolve()
    assert not link.readlink().is_absolute()
    assert "Pre-training (retromae)" in page.read_text()
    result = json.loads((page.parent / "report.json").read_text())
    first, last = result["headline"][0], result["headline"][-1]
    assert re.fullmatch(r"RR@10 on test, 20 queries: retromae has 0\.\d+, no pre-training has 0\.\d+; .*\.", first)
    assert last.endswith("no evidence about pre-training.")
    assert all(sentence in " ".join(output.split()) for sentence in result["headline"])
    assert [arm["queries"] for arm in result["arms"]] == [20, 20, 20]
    runs = list((tmp_path / "outputs" / "wandb").glob("offline-run-*"))
    assert len(runs) == 7, "one run per stage but prepare"
    assert "wandb sync" in output
    store = tmp_path / "outputs" / "store"
    encoder = next(store.glob("pretrain-*")) / "encoder"
    assert {"model.safetensors", "config.json", "tokenizer.json", "retriever_spec.json"} <= {
        p.name for p in encoder.iterdir()
    }
    for place in store.iterdir():
        record = read_record(place)
        assert record.complete, place
        assert (len(record.attempts), record.attempts[0].devices) == (1, 1), place
    ours = result["arms"][2]["origins"][0]
    stages = {place: json.loads((place / "manifest.json").read_text())["context"] for place in store.iterdir()}
    needed = [place for place, at in stages.items() if at["arm"] in ("", "retromae") and at["stage"] != "report"]
    assert len(needed) == 5
    assert ours["seconds"] == pytest.approx(sum(read_record(place).seconds for place in needed))
    assert ours["job"]["command"].startswith("python -m bmae_lightning +experiment=retromae")
    assert "`python -m bmae_lightning +exp" in (page.parent / "tables" / "behind_the_rows.md").read_text()
    again = cli()
    assert again.count(": skipped, done in") == 8
    assert "started in" not in again
    changed = cli("retriever1.lr=1e-4", "logger=none")
    started = re.findall(r"\] (\w+)(?: \((\w+)\))?: started", changed)
    assert {name for name, _ in started} == {"retriever1", "evaluate", "report"}


def wait_for_lines(output_dir, number, process):
    while process.poll() is None:
        for path in (output_dir / "store").glob("pretrain-*/metrics.jsonl"):
            if path.read_text().count("\n") >= number:
                return
        time.sleep(0.02)
    raise AssertionError(process.communicate()[0])


LONG = [
    "pretrain.steps=120",
    "pretrain.checkpoint.every_steps=7",
    "encoder.dropout=0.1",
    "stage=[prepare,pretrain]",
    "logger=none",
]


def test_kill_9_in_pretraining_continues_to_the_last_digit(cli, tmp_path, collection):
    cli(*LONG, "output_dir=whole")
    arguments = [*tools.TINY, f"corpus.path={collection}", *LONG, "output_dir=killed"]
    for lines in (20, 60):
        process = tools.start(*arguments, cwd=tmp_path)
        wait_for_lines(tmp_path / "killed", lines, process)
        process.kill()
        process.communicate()
    output = cli(*LONG, "output_dir=killed")
    assert "continuing from" in output
    (place,) = (tmp_path / "killed" / "store").glob("pretrain-*")
    attempts = read_record(place).attempts
    assert [attempt.ended is None for attempt in attempts] == [True, True, False]
    assert all(attempt.seconds > 0 for attempt in attempts)
    whole, killed = metrics(tmp_path / "whole", "pretrain"), metrics(tmp_path / "killed", "pretrain")
    assert losses(killed) == losses(whole)
    assert [line["loss/enhanced"] for line in killed] == [line["loss/enhanced"] for line in whole]


def test_sigterm_saves_and_says_how_to_continue(cli, tmp_path, collection):
    arguments = [*tools.TINY, f"corpus.path={collection}", *LONG, "pretrain.checkpoint.every_steps=1000"]
    process = tools.start(*arguments, cwd=tmp_path)
    wait_for_lines(tmp_path / "outputs", 10, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 75, output
    step = int(re.search(r"saved at step (\d+)", output).group(1))
    resumed = cli(*LONG, "pretrain.checkpoint.every_steps=1000")
    assert f"step-{step:08d}.ckpt" in resumed


def test_two_devices_in_a_sweep_equal_one(cli, tmp_path):
    rates = "decoders.enhanced.mask.rate=0.3,0.5"
    two = [
        "trainer=ddp_cpu",
        "trainer.devices=2",
        "+trainer@evaluate.trainer=cpu",
    ]  # evaluation: tests/stage/test_evaluate.py
    output = cli("-m", rates, *two, "output_dir=two", "logger=none")
    cli("-m", rates, "output_dir=one", "logger=none")
    for directory in ("one", "two"):
        assert len(list((tmp_path / directory / "store").glob("prepare-*/done"))) == 1
        assert len(list((tmp_path / directory / "store").glob("pretrain-*/done"))) == 2
        devices = {read_record(place).attempts[0].devices for place in (tmp_path / directory).glob("store/pretrain-*")}
        assert devices == {1 + (directory == "two")}
    assert output.count("retromae decoders.enhanced.mask.rate=0.3") >= 1
    table = output[output.rindex("comparison") :]
    assert len(re.findall(r"^bm25 +\d", table, re.MULTILINE)) == 1, "a sentence names it too"
    assert len(re.findall(r"decoders.enhanced.mask.rate=0\.[35]", table)) >= 2
    for stage, arm in (("pretrain", "retromae"), ("retriever1", "none")):
        one, two = (losses(metrics(tmp_path / name, stage, arm)) for name in ("one", "two"))
        assert two == [(step, pytest.approx(loss, abs=1e-4)) for step, loss in one]
    one, two = (metrics(tmp_path / name, "pretrain") for name in ("one", "two"))
    looks = 0
    for a, b in zip(one, two, strict=True):
        assert set(a) == set(b)
        for name in a:
            if name.startswith(("bottleneck/", "gradient_share/", "function_words/")):
                looks += 1
                if not name.endswith("/shuffled"):  # its partner comes from each device's own batch
                    assert b[name] == pytest.approx(a[name], rel=1e-3), name
    assert looks == 2 * 8, "at the first and the last step"


def test_a_broken_job_does_not_stop_a_sweep(cli_here):
    output = cli_here("-m", "decoders.enhanced.mask.rate=1.3,0.5", "stage=[prepare,pretrain]", "logger=none", code=2)
    assert "error: decoders.enhanced.mask: mask rate must lie in (0, 1), got 1.3" in output
    assert "pretrain (retromae): done in" in output


def test_shallow_decoders_and_other_choices_run(cli_here, tmp_path):
    output = cli_here(
        "decoders=[shallow,enhanced]", "decoders.shallow.layers=2", "decoders.shallow.init=last_layers",
        "decoders.enhanced.rows=pooled", "bottleneck=mean", "representation=mean",
        "corruption@view.passage.corruption=hide",
        "negatives=random", "index=faiss", "logger=csv", "trainer.accumulate_grad_batches=2", "baseline=false",
        "pretrain.crop=window", "pretrain.length=16", "pretrain.decay_steps=12", "pretrain.lr=0.011",
    )  # fmt: skip
    assert re.search(r"^retromae +\d", output, re.MULTILINE)
    assert metrics(tmp_path / "outputs", "pretrain")[-1]["lr"] == pytest.approx(0.011 * (12 - 6) / (12 - 1))


def test_title_and_text_are_told_apart_from_the_store_to_the_re_ranker(here, tmp_path, collection):
    titled = tmp_path / "titled"
    shutil.copytree(collection, titled)
    passages = [json.loads(line) for line in (titled / "corpus.jsonl").read_text().splitlines()]
    lines = (json.dumps(passage | {"title": " ".join(passage["text"].split()[:3]) + " :"}) for passage in passages)
    (titled / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    here(
        "+experiment=simlm", *tools.TINY[1:], "encoder.layers=3", "masked_lm.steps=2", "masked_lm.encoder.width=32",
        "logger=none",
        f"corpus.path={titled}", "corpus.title=pair", "rungs=3", "baseline=false", "reranker.steps=2",
        "evaluate.train_depth=20", "retriever2.steps=2",
    )  # fmt: skip
    (prepared,) = (tmp_path / "outputs" / "store").glob("prepare-*")
    tokenizer = load_tokenizer(prepared / "tokenizer")
    sep = tokenizer.sep_token_id
    assert all((row == sep).sum() == 1 for row in TokenStore(prepared / "passages"))
    assert not any((row == sep).any() for row in TokenStore(prepared / "queries"))
    (retriever,) = (tmp_path / "outputs" / "store").glob("retriever1-*/retriever")
    assert RetrieverConfig.load(retriever).segments
    (reranker,) = (tmp_path / "outputs" / "store").glob("reranker-*")
    pairs = open_scorer(reranker, Prepared(prepared), 64).texts.pairs([(0, 0)], 64)
    read = tokenizer.convert_ids_to_tokens(pairs.ids_PL[0])
    assert (read.count("[SEP]"), read.count(":")) == (2, 2)  # SimLM: a colon for the separator, beside the title's own


def test_masks_that_relate_to_the_encoders(cli_here):
    output = cli_here(
        "decoders=[shallow,enhanced]", "mask@decoders.shallow.mask=complement", "mask@decoders.enhanced.mask=superset",
        "stage=[prepare,pretrain]", "logger=none",
    )  # fmt: skip
    assert "pretrain (retromae): done in" in output


def test_torchrun_runs_the_same_command(tmp_path, collection):
    import subprocess
    import sys

    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--master-port=29631",
        "-m",
        "bmae_lightning",
    ]
    arguments = [*tools.TINY, f"corpus.path={collection}", "trainer=ddp_cpu", "logger=none", "baseline=false"]
    done = subprocess.run(
        [*launcher, *arguments],
        cwd=tmp_path,
        env=tools.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^report: ", done.stdout, re.MULTILINE)) == 1


EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def test_every_experiment_runs_all_its_stages_in_one_sweep(tmp_path, collection):
    """One comparison table, one group; what the experiments share (statistics, generated texts, BM25) is made once."""
    output = tools.command(
        "-m", f"+experiment={','.join(EXPERIMENTS)}", "recipe=retriever1", *tools.TINY[1:],
        f"corpus.path={collection}", "pretrain.steps=3",
        "retriever1.steps=2", "masked_lm.steps=3", "generate.queries.steps=3", "generate.continuation.steps=3",
        "baseline=false", "logger=none", cwd=tmp_path,
    )  # fmt: skip
    assert len(EXPERIMENTS) >= 12
    assert output.count("comparison: experiment=") == 1
    store = tmp_path / "outputs" / "store"
    for experiment in EXPERIMENTS:
        row = "no pre-training" if experiment == "none" else experiment
        table = output[output.rindex("comparison: ") :]
        assert re.search(rf"^{row} +\d\.\d", table, re.MULTILINE), experiment
        if experiment != "none":
            lines = metrics(tmp_path / "outputs", "pretrain", experiment)
            assert len(lines) == 3
            assert all(0 < line["loss"] < 5000 for line in lines)  # a sum over a passage's tokens, or a mean
    for stage in ("prepare", "statistics", "masked_lm", "generate", "bm25"):
        assert len(list(store.glob(f"{stage}-*/done"))) == 1, stage
    groups = {json.loads(path.read_text())["context"]["group"] for path in store.glob("*/manifest.json")}
    assert len(groups) == 1  # of W&B: tests/test_tables.py looks into the run files of a sweep
