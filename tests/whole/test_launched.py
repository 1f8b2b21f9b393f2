"""Processes of torchrun and srun, and jobs side by side, on one store: exact, and nothing is computed twice."""

import json
import subprocess
import sys

import pytest
from support.command import TINY, environment, start

from bmae_lightning.runtime.ledger import Ledger

LADDER = [
    *TINY, "recipe=ladder", "retriever2.steps=2", "reranker.steps=2", "distilled.steps=2", "reranker.batch_size=4",
    "evaluate.train_depth=20", "evaluate2.train_depth=20", "baseline=false", "logger=none", "trainer=ddp_cpu",
]  # fmt: skip
SLURM = {
    "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_JOB_NAME": "train", "SLURM_NNODES": "1", "SLURM_NODEID": "0",
    "SLURM_NODELIST": "127.0.0.1",
}  # fmt: skip
MOODY = """
from bmae_lightning.pretraining.mask.uniform import UniformMask


class Moody(UniformMask):
    def __init__(self, rate: float, mode: str) -> None:
        if mode == "bad":
            raise ValueError("mode must be good")
        super().__init__(rate + {"b": 0.1, "c": 0.15, "d": 0.2}.get(mode, 0.0))
        self.mode = mode

    def select(self, request):
        if self.mode == "bug":
            raise RuntimeError("out of memory")
        return super().select(request)
"""


def slurm(tasks, rank=0):
    """What srun tells one of the tasks of a node."""
    known = {"SLURM_NTASKS": tasks, "SLURM_NTASKS_PER_NODE": tasks, "SLURM_PROCID": rank, "SLURM_LOCALID": rank}
    return SLURM | {name: str(value) for name, value in known.items()}


def run_all(cwd, *commands):
    """Start commands side by side, (arguments of Python, more environment), and wait until all have ended well."""
    started = [
        subprocess.Popen(
            [sys.executable, *arguments], cwd=cwd, env=environment() | more, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )
        for arguments, more in commands
    ]  # fmt: skip
    for process in started:
        output, _ = process.communicate(timeout=500)
        assert process.returncode == 0, output


def torchrun(port, *options):
    return ["-m", "torch.distributed.run", "--master-addr", "127.0.0.1", "--master-port", str(port), *options, "-m"]


def left(output_dir):
    """Stage -> its weights, vectors and runs, as bytes, where it took one attempt and left nothing behind."""
    found = {}
    for directory in (output_dir / "store").iterdir():
        assert len(json.loads((directory / "record.json").read_text())["attempts"]) == 1, directory
        assert not [*directory.rglob("*.tmp"), *directory.glob("turn-*"), *directory.glob("checkpoints")]
        context = json.loads((directory / "manifest.json").read_text())["context"]
        files = [path for kind in ("safetensors", "npy", "trec") for path in sorted(directory.rglob(f"*.{kind}"))]
        name = directory.name if output_dir.name == "together" else f"{context['stage']}@{context['arm']}"
        found[name] = {str(path.relative_to(directory)): path.read_bytes() for path in files}
    return found


@pytest.mark.slow
def test_whoever_starts_the_processes_the_ladder_is_the_same(tmp_path, collection):
    arguments = ["bmae_lightning", *LADDER, f"corpus.path={collection}"]
    wide = ["trainer.devices=1", "trainer.num_nodes=2", "output_dir=machines"]
    run_all(tmp_path, (["-m", *arguments, "output_dir=plain"], {}))
    run_all(tmp_path, ([*torchrun(29711, "--nproc-per-node", "2"), *arguments, "output_dir=torchrun"], {}))
    machine = [torchrun(29713, "--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(rank)) for rank in (0, 1)]
    run_all(tmp_path, *(([*launcher, *arguments, *wide], {}) for launcher in machine))
    run_all(tmp_path, *((["-m", *arguments, "output_dir=srun"], slurm(2, rank)) for rank in (0, 1)))
    run_all(tmp_path, (["-m", *arguments, "output_dir=one_task"], slurm(1)))
    plain = left(tmp_path / "plain")
    assert len(plain) == 13
    for name in ("torchrun", "machines", "srun", "one_task"):
        assert left(tmp_path / name) == plain, name


@pytest.mark.slow
def test_jobs_of_several_processes_share_one_store(tmp_path, collection):
    """Two jobs of two processes each, by torchrun, by joblib and one after the other; and one command twice."""
    rates = "decoders.enhanced.mask.rate="
    arguments = ["bmae_lightning", *TINY, f"corpus.path={collection}", "logger=none", "trainer=ddp_cpu"]
    for name, options in {"basic": [], "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]}.items():
        run_all(tmp_path, (["-m", *arguments, "-m", f"{rates}0.3,0.5", f"output_dir={name}/together", *options], {}))
    jobs = [
        [*torchrun(port, "--nproc-per-node", "2"), *arguments, rates + rate, "output_dir=torchrun/together"]
        for port, rate in ((29721, "0.3"), (29723, "0.5"))
    ]
    run_all(tmp_path, *((job, {}) for job in jobs))
    basic = left(tmp_path / "basic" / "together")
    basic = {name: files for name, files in basic.items() if files}  # a report knows the directories of its sweep
    for name in ("joblib", "torchrun"):
        found = left(tmp_path / name / "together")
        assert {stage: files for stage, files in found.items() if files} == basic, name
    run_all(tmp_path, *[(["-m", *arguments, f"{rates}0.3", "output_dir=equal/together"], {})] * 2)
    found = left(tmp_path / "equal" / "together")
    assert {stage: files for stage, files in found.items() if files}.items() <= basic.items()


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_jobs_that_fail_in_other_processes_are_rows_and_the_code_is_theirs(tmp_path, collection, launcher):
    (tmp_path / "my" / "mask").mkdir(parents=True)
    (tmp_path / "my" / "mask" / "moody.yaml").write_text("_target_: moody.Moody\nrate: 0.3\nmode: a\n")
    (tmp_path / "moody.py").write_text(MOODY)
    process = start(
        "-cd", "my", "-m", *TINY, f"corpus.path={collection}", "mask@decoders.enhanced.mask=moody",
        "decoders.enhanced.mask.mode=a,b,bad,c,bug,d", f"hydra/launcher={launcher}",
        *(["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []), cwd=tmp_path,
    )  # fmt: skip
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 2, output
    (sweep,) = (tmp_path / "outputs" / "multirun").iterdir()
    jobs = Ledger(sweep).jobs().values()
    assert [job["state"] for job in jobs] == ["done", "done", "failed", "done", "failed", "done"]
    assert [job["code"] for job in jobs] == [0, 0, 2, 0, 1, 0]
    assert len({job["pid"] for job in jobs if job["state"] == "done"}) > 1, "not all in one process"
    assert "6 jobs: 4 done, 2 failed\n" in output
    page = json.loads((sweep / "report.json").read_text())
    assert sum("mask.mode=" in arm["name"] for arm in page["arms"]) == 6
    stages = [directory.name.partition("-")[0] for directory in (tmp_path / "outputs" / "store").iterdir()]
    once = ("prepare", "bm25")
    assert [stages.count(stage) for stage in once] == [1, 1]
    for directory in (tmp_path / "outputs" / "store").iterdir():
        assert len(json.loads((directory / "record.json").read_text())["attempts"]) == 1, directory
    assert list((tmp_path / "outputs" / "wandb").glob("offline-run-*"))


def test_a_job_of_slurm_is_composed_without_slurm(here):
    options = ["hydra.launcher.partition=gpu", "hydra.launcher.tasks_per_node=8", "hydra.launcher.max_num_timeout=5"]
    output = here("--cfg", "hydra", "-p", "hydra.launcher", "hydra/launcher=submitit_slurm", *options)
    assert "SlurmLauncher" in output
    assert "tasks_per_node: 8" in output
    assert "max_num_timeout: 5" in output
