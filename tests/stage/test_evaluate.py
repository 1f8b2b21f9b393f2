"""The evaluate stage shared out: two gloo processes, or one that is killed at any shard, write what one writes."""

import os
import socket
from functools import cache

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support import forked
from support.paths import CONF
from support.retrievers import save_retriever
from support.stages import prepare

from bmae_lightning.command.plan import read_entry
from bmae_lightning.evaluation.measure.trec import read_run
from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.runtime.files import read_json, write_json
from bmae_lightning.runtime.run_stage import run_stage
from bmae_lightning.runtime.shards import ArrayShards
from bmae_lightning.stage.prepared import Prepared

REPRESENTATIONS = {"dense": PooledRepresentation("mean"), "hybrid": HybridRepresentation("cls", 6, 9)}
RUNS = ["run.test.trec", "run.train.trec"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, collection):
    """60 passages, 40 training and 20 test queries, and an untrained retriever of each kind."""
    root = tmp_path_factory.mktemp("inputs")
    corpus = prepare(root / "corpus", collection, 400)
    prepared = Prepared(corpus)
    for name, representation in REPRESENTATIONS.items():
        save_retriever(prepared, representation, root / name)
    return root


@cache
def composed(*overrides):
    """The stage's configuration."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=["+experiment=retromae", "logger=none", "measures=[RR@10]", *overrides])
    return OmegaConf.to_container(config, resolve=True)["evaluate"]


def manifest(directory, inputs, retriever, *overrides):
    """What the pipeline writes before it runs the stage."""
    small = {"shard": 7, "query_shard": 6, "depth": 30, "train_depth": 11, "batch_tokens": 100}
    config = read_entry(composed(*overrides) | small).options
    directory.mkdir(parents=True)
    context = {"stage": "evaluate", "arm": "", "directory": str(directory), "group": "g", "output_dir": str(directory)}
    context["inputs"] = {"corpus": str(inputs / "corpus"), "retriever": str(inputs / retriever)}
    write_json(directory / "manifest.json", {"fingerprint": "x", "context": context, "config": config})
    return directory / "manifest.json"


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def as_rank(rank, world, port, path):
    """A process of `torchrun`, from its environment."""
    os.environ |= {"TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": str(world)}
    run_stage(path)
    assert torch.distributed.get_world_size() == world
    assert torch.distributed.get_backend() == "gloo"


@pytest.fixture(scope="module")
def alone(tmp_path_factory, inputs):
    """One process, uninterrupted, one directory for each kind; here, so that forked processes find all imported."""
    root = tmp_path_factory.mktemp("alone")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in REPRESENTATIONS:
        run_stage(manifest(root / name, inputs, name))
    torch.set_num_threads(threads)
    return root


def product(directory):
    """The runs and what later stages read, to the byte."""
    patterns = ("run.*", "scores.*", "*.npy")
    return {path.name: path.read_bytes() for pattern in patterns for path in directory.glob(pattern)}


@pytest.mark.parametrize("kind", REPRESENTATIONS)
def test_two_processes_write_what_one_writes(kind, alone, inputs, tmp_path):
    path = manifest(tmp_path / "two", inputs, kind, "trainer=ddp_cpu")
    port = free_port()
    assert forked.codes(*(forked.fork(as_rank, rank, 2, port, path) for rank in range(2))) == [0, 0]
    found = product(tmp_path / "two")
    assert found == product(alone / kind)
    assert set(found) >= {*RUNS, "scores.test.parquet", "passages.npy"}
    assert not list((tmp_path / "two").glob("*.partial")) + list((tmp_path / "two").glob("*.shards"))
    pieces = sorted(path.name for path in (tmp_path / "two" / "checkpoints" / "train").iterdir())
    assert pieces == [f"shard-{number:06d}.npy" for number in range(7)]


@pytest.mark.parametrize("shards", [4, 9, 12, 18])
def test_kill_9_while_encoding_or_mining_changes_nothing(shards, alone, inputs, tmp_path):
    """9 shards of passages, 7 of training and 4 of test queries; killed before the next one is written."""
    path = manifest(tmp_path / "killed", inputs, "dense")

    def killed():
        forked.kill_before(ArrayShards, "write", shards)
        run_stage(path)

    assert forked.codes(forked.fork(killed)) == [-9]
    assert not (tmp_path / "killed" / "metrics.json").exists()
    kept = {file: file.stat().st_mtime_ns for file in (tmp_path / "killed" / "checkpoints").rglob("*.npy")}
    assert len(kept) == max(0, shards - 9)
    assert forked.codes(forked.fork(run_stage, path)) == [0]
    assert product(tmp_path / "killed") == product(alone / "dense")
    assert all(file.stat().st_mtime_ns == time for file, time in kept.items())


def test_an_index_of_faiss_is_searched_by_one_process(alone, inputs, tmp_path):
    path = manifest(tmp_path / "two", inputs, "dense", "trainer=ddp_cpu", "index=faiss")
    port = free_port()
    assert forked.codes(*(forked.fork(as_rank, rank, 2, port, path) for rank in range(2))) == [0, 0]
    for name in RUNS:
        found, right = read_run(tmp_path / "two" / name), read_run(alone / "dense" / name)
        assert {query: found.passages(query) for query in found} == {q: right.passages(q) for q in right}
    assert len(list((tmp_path / "two" / "checkpoints").rglob("*.npy"))) == 2


def test_what_was_measured(alone):
    for kind, width in (("dense", 16 * 4), ("hybrid", 6 * 4 + 9 * (2 + 4))):
        measured = read_json(alone / kind / "metrics.json")
        assert measured["index_bytes"] == 60 * width
        assert measured["passages_per_second"] > 0
        assert measured["test"]["milliseconds_per_query"] > 0
        assert measured["test"]["queries"] == 20


@pytest.mark.parametrize(
    ("index", "words"), [(["index=faiss"], "index=faiss"), (["index.backend=faiss"], "backend=faiss")]
)
def test_an_index_for_dense_vectors_is_refused_before_anything_runs(index, words, cli_here, tmp_path):
    output = cli_here("representation=hybrid", "retriever1.similarity=dot", *index, "logger=none", code=2)
    (line,) = (line for line in output.splitlines() if line.startswith("error: "))
    assert words in line
    assert "index=exact" in line
    assert "started" not in output
