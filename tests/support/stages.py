"""Stages run by themselves: built as configured, the context they are given, and a corpus prepared for them."""

from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from support.compose import composed

from bmae_lightning.command.plan import read_entry
from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.encoder.tokenizer import TrainedTokenizer
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.stage import Context, Stage
from bmae_lightning.stage.prepare import Prepare


def composed_stage(name: str, *overrides: str) -> Stage:
    """The stage of that name as the configuration with some overrides builds it, with a tiny encoder and no logger."""
    GlobalHydra.instance().clear()
    config = composed("encoder=tiny", "logger=none", *overrides)
    made = build(read_entry(config[name]).options, name)
    made.name = name
    return made


def context(directory: Path, stage: str = "", **inputs: Path) -> Context:
    """Of the stage that writes to `directory`, which is made and names the stage unless `stage` does; without arm."""
    directory.mkdir(parents=True, exist_ok=True)
    return Context(stage or directory.name, "", directory, inputs, "group", directory.parent)


def prepare(directory: Path, corpus: Any, tokenizer: Any = 300, **options: Any) -> Path:
    """`directory` with what the prepare stage writes.

    Args:
        corpus: a collection, or a directory in BEIR layout.
        tokenizer: a tokenizer's source, or how many word pieces are trained on the collection.
        options: further ones of the stage.
    """
    source = BeirCorpus(str(corpus)) if isinstance(corpus, str | Path) else corpus
    pieces = TrainedTokenizer(tokenizer) if isinstance(tokenizer, int) else tokenizer
    Prepare(corpus=source, tokenizer=pieces, **options).run(context(directory, "prepare"))
    return directory
