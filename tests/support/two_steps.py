"""Two optimiser steps of composed stages that train, on a small prepared collection, without Lightning's Trainer."""

import json
import math
from pathlib import Path

import pytest
from support import command as tools

TINY_ENCODER = {
    "_target_": "bmae_lightning.encoder.scratch.ScratchEncoder",
    "tokenizer": {"_target_": "bmae_lightning.encoder.tokenizer.TrainedTokenizer", "size": 1000},
    "layers": 2, "width": 32, "heads": 2, "positions": 64, "dropout": 0.0, "seed": 0,
}  # fmt: skip


class Trained(Exception):
    """Ends the stage after two steps."""


def write_generated(file: Path, collection: Path) -> Path:
    """Queries and a continuation for all passages of the collection but five, made of their own words."""
    with file.open("w") as lines:
        for line in (collection / "corpus.jsonl").read_text().splitlines()[:-5]:
            passage = json.loads(line)
            words = passage["text"].split()
            texts = {"queries": [" ".join(words[:4]), " ".join(words[-4:])], "continuation": " ".join(words[::2])}
            lines.write(json.dumps({"_id": passage["_id"]} | texts) + "\n")
    return file


def make_inputs(directory: Path, collection: Path) -> dict[str, Path]:
    """Every stage that a pre-training or fine-tuning needs before it, run once on the collection: name -> directory."""
    generated = write_generated(directory / "generated.jsonl", collection)
    tools.command(
        "+experiment=master", "corruption@view.passage.corruption=replace", "corpus=beir", f"corpus.path={collection}",
        "generate=file", f"generate.texts.path={generated}", "encoder=tiny", "pretrain.steps=1",
        "pretrain.batch_size=8",
        "masked_lm.steps=1", "stage=[prepare,statistics,generate,masked_lm,pretrain,bm25]", "logger=none",
        "baseline=false",
        cwd=directory,
    )  # fmt: skip
    return {path.name.rpartition("-")[0]: path for path in (directory / "outputs" / "store").iterdir()}


def take_two_steps(
    config: dict,
    sources: dict[str, str | None],
    inputs: dict[str, Path],
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Build a pre-training on a tiny encoder and train it; asserts that all of it learns.

    config: of the stage, resolved.  sources: role -> name of the stage that it reads.  inputs: what `make_inputs` made.
    Raises BadInput where the configuration is refused.
    """
    import torch

    import bmae_lightning.stage.training as stage
    from bmae_lightning.runtime.configuration import build
    from bmae_lightning.runtime.stage import Context

    node = config | {"encoder": TINY_ENCODER, "length": 32, "batch_size": 8, "steps": 2, "epochs": None}
    if (node.get("generator") or {}).get("layers"):
        node["generator"] = node["generator"] | {"layers": 1, "width": 32, "heads": 2, "embedding": 32}
    roles = {role: source and inputs[source] for role, source in sources.items()}
    seen = []

    def train(_trainer, module, data, *_):
        module.train()
        optimiser = module.configure_optimizers()["optimizer"]
        for step in range(2):
            loss = module.training_step(data.collate([(row, 0) for row in range(8 * step, 8 * step + 8)]), step)
            optimiser.zero_grad()
            loss.backward()
            seen.append((float(loss.detach()), {name: float(mean) for name, (mean, _) in module.parts.items()}))
            check_gradients(module.model, torch)
            optimiser.step()
        raise Trained

    monkeypatch.setattr(stage, "fit", train)
    context = Context("pretrain", "row", directory, roles, "group", directory)
    made = build(node, "pretrain")
    made.preflight(["train", "test"])
    if hasattr(made, "check_inputs"):
        made.check_inputs(roles)
    with pytest.raises(Trained):
        made.run(context)
    assert len(seen) == 2
    for total, parts in seen:
        assert math.isfinite(total)
        assert total > 0
        assert all(math.isfinite(value) for value in parts.values()), parts
        assert any(value > 0 for name, value in parts.items() if name.startswith("loss/")), parts
    assert seen[0][0] != seen[1][0]


def check_gradients(model, torch) -> None:
    """Every layer of the encoder and every decoder with parameters of its own is moved by the loss."""
    owners = {f"encoder layer {i}": layer for i, layer in enumerate(model.encoder.masked_lm.bert.encoder.layer)}
    owners |= {f"decoder {name}": decoder for name, decoder in model.decoders.items() if list(decoder.parameters())}
    for name, owner in owners.items():
        gradients = [weight.grad for weight in owner.parameters() if weight.grad is not None]
        assert gradients, f"{name} has no gradient"
        assert all(torch.isfinite(gradient).all() for gradient in gradients), name
        assert any(gradient.abs().max() > 0 for gradient in gradients), f"the gradient of {name} is zero"


def fine_tune(trainer, module, data, loggers, directory: Path, *_) -> None:
    """Stands in for `lit.fit.fit`: takes the steps of a retriever or re-ranker and asserts that all of it learns."""
    import torch

    module.train()
    optimiser = module.configure_optimizers()["optimizer"]
    with (directory / "metrics.jsonl").open("w") as lines:
        for step in range(data.steps):
            first = step * data.batch_size
            loss = module.training_step(data.collate([(row, 0) for row in range(first, first + data.batch_size)]), step)
            optimiser.zero_grad()
            loss.backward()
            assert math.isfinite(float(loss.detach()))
            for name, layer in module.model.named_modules():
                if name.endswith((".query", ".key", ".value")):
                    assert layer.weight.grad is not None, name
                    assert torch.isfinite(layer.weight.grad).all(), name
                    assert layer.weight.grad.abs().max() > 0, name
            optimiser.step()
            parts = {name: float(mean) for name, (mean, _) in module.parts.items()}
            lines.write(json.dumps({"step": step + 1, "loss": float(loss.detach())} | parts) + "\n")
