"""What was made from what, as W&B's artifacts: corpus, encoder, retriever, run of a collection.

An artifact is named like the directory of its stage, which has its fingerprint, and refers to the manifest there:
nothing is hashed or copied. `use_artifact` does not work offline; what it does online with an artifact that is not
logged yet, which is to log it and then to take it as an input, is a record that `wandb sync` carries out later.
"""

from pathlib import Path
from typing import Any

from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.run_stage import MANIFEST

KINDS = {
    "Prepare": "corpus", "Pretrain": "encoder", "TrainRetriever": "retriever", "TrainReranker": "reranker",
    "Bm25Ranking": "run", "Evaluate": "run", "Rerank": "run", "Compare": "run",
}  # fmt: skip
"""Class of a stage -> type of its artifact; of any other stage it is the stage's name."""
LEFT_OUT = {"checkpoints", "csv", "tensorboard", "lock", "done"}
"""What lies in the directory of a stage and is no part of what it made."""


def used(run: Any, directory: Path) -> None:
    """The result of a stage as an input of the run."""
    if artifact := describe(directory):
        run._log_artifact(artifact, aliases=["latest"], is_user_created=True, use_after_commit=True)


def made(run: Any, directory: Path, upload: bool = False) -> None:
    """The result of a stage as what the run made.  upload: with all of its files, as one more artifact."""
    if not (artifact := describe(directory)):
        return
    run.log_artifact(artifact)
    if upload:
        import wandb

        files = wandb.Artifact(f"{artifact.name}-files", type=artifact.type, metadata=artifact.metadata)
        for path in sorted(directory.rglob("*")):
            name = path.relative_to(directory)
            if path.is_file() and name.parts[0] not in LEFT_OUT and not name.parts[0].startswith("."):
                files.add_file(str(path), name=str(name), policy="immutable", skip_cache=True)
        run.log_artifact(files)


def describe(directory: Path) -> Any:
    """The artifact of a finished or running stage, None where it has no manifest."""
    import wandb

    if not (directory / MANIFEST).is_file():
        return None
    manifest = read_json(directory / MANIFEST)
    context, kind = manifest["context"], manifest["config"]["_target_"].rpartition(".")[2]
    about = {name: context.get(name) for name in ("stage", "arm", "directory")}
    about |= {"fingerprint": manifest["fingerprint"], "command": context.get("job", {}).get("command")}
    artifact = wandb.Artifact(directory.name, type=KINDS.get(kind, context["stage"]), metadata=about)
    artifact.add_reference((directory / MANIFEST).absolute().as_uri(), checksum=False)
    return artifact
