"""From one composed configuration to a finished experiment: resolve it, plan its stages, run them, print the result."""

import copy
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from bmae_lightning.command.check import check, row_label, stand_in
from bmae_lightning.command.dashboard import show_dashboard, shows_dashboard
from bmae_lightning.command.job import describe_job, place_in_sweep
from bmae_lightning.command.look import judge_files, judges_files, look_up, lookup_of, report_finished, take_runs
from bmae_lightning.command.optimized import find_optimized, searching
from bmae_lightning.command.pipeline import Pipeline
from bmae_lightning.command.plan import Node, find_goals, plan, read_entries, read_entry
from bmae_lightning.command.resolve import resolved
from bmae_lightning.command.track import track
from bmae_lightning.corpus.doctor import look_over
from bmae_lightning.corpus.document_order import STREAMS, DocumentOrder, check_order, documents_file
from bmae_lightning.encoder.checkpoint import without_downloads
from bmae_lightning.evaluation.glue.data import find_tasks, open_glue
from bmae_lightning.report.content import PAGE
from bmae_lightning.report.reference import check_reference
from bmae_lightning.report.tables import show_tables
from bmae_lightning.retrieval.model_options import label_models
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import Absent, BadInput
from bmae_lightning.runtime.file_digest import file_digest
from bmae_lightning.runtime.files import link_page, write_json
from bmae_lightning.runtime.process import print_once, process_rank

USUAL_WIDTH = 768
"""Dimensions of a checkpoint that is not opened for an estimate."""
CORPUS_OPTIONS = ("check", "expected", "evaluated", "measures", "collection", "documents", "neighbours")
"""What is asked of a collection, not how it is read: never handed to it, and in no fingerprint of its stage."""


def run_experiment(cfg: DictConfig, hydra_cfg: DictConfig) -> float | None:
    """Run the selected stages and print the table of the report stage if that is among them.

    Returns what `optimized_metric` names, None where that is not measured.

    Raises:
        BadInput: any mistake of the user, as one sentence.
    """
    config = resolved(cfg, hydra_cfg)
    if judges_files(config):
        judge_files(config)
        return None
    if shows_dashboard(config):
        show_dashboard(config)
        return None
    if (finished := take_runs(config))["runs"] is not None:
        report_finished(finished, config, hydra_cfg)
        return None
    job, lookup = copy.deepcopy(describe_job(config, hydra_cfg)), lookup_of(config)
    published = {stage: (config[stage]["corpus"] or {}).get("expected") for stage in ("prepare", "prepare_general")}
    asked = take_corpus_options(config)
    if config["check"]:
        stand_in(config, asked)
    corpus = build(config["corpus"], "corpus")
    if asked["check"]:
        order = DocumentOrder(asked["documents"], asked["neighbours"])
        look_over(corpus, asked["expected"], _vector_bytes(config), Path(config["output_dir"]), order)
        return None
    if lookup:
        look_up(lookup, config, _extra(config, corpus), hydra_cfg)
        return None
    searched = searching(hydra_cfg)
    if config["check"]:
        with without_downloads():
            pipeline = _planned(cfg, config, corpus, job, elsewhere=True)
            check(pipeline, row_label(config), published, config["check_tflops"])
        _check_reference(config, pipeline.nodes, hydra_cfg)
        find_optimized(config, pipeline.nodes, pipeline.splits, searched)
        return 0.0 if searched else None
    pipeline = _planned(cfg, config, corpus, job)
    _check_reference(config, pipeline.nodes, hydra_cfg)
    place = find_optimized(config, pipeline.nodes, pipeline.splits, searched)
    pipeline.run()
    value = place and place.value()
    if process_rank() == 0:
        _record(config, pipeline, hydra_cfg, {str(place): value} if place else {})
        _show(pipeline.nodes)
        track(config, pipeline, hydra_cfg)
    return value


def check_experiment(cfg: DictConfig, hydra_cfg: DictConfig, elsewhere: bool) -> str | None:
    """Refuse what `run_experiment` refuses before any work.

    elsewhere: whether it will run on another machine, so that the devices of this one do not matter.

    Returns the fingerprint of the job, None where it runs no stages.

    Raises:
        BadInput: as there.
    """
    config = resolved(cfg, hydra_cfg)
    looks = judges_files(config) or shows_dashboard(config) or take_runs(config)["runs"] is not None
    if looks or lookup_of(config) or config["corpus"]["check"]:
        return None
    job = copy.deepcopy(describe_job(config, hydra_cfg))
    take_corpus_options(config)
    pipeline = _planned(cfg, config, build(config["corpus"], "corpus"), job, elsewhere)
    find_optimized(config, pipeline.nodes, pipeline.splits, searching(hydra_cfg))
    pipeline.check()
    return pipeline.fingerprint()


def _planned(
    cfg: DictConfig, config: dict[str, Any], corpus: Any, job: dict[str, Any], elsewhere: bool = False
) -> Pipeline:  # fmt: skip
    """The stages that the command asks for, ready to be checked and run."""
    _check_order(plan(config, config["name"], {}))
    extra = _extra(config, corpus) | _models(config)
    nodes, group = plan(config, config["name"], extra), config["group"] or config["name"]
    if config["general"]["corpus"] and "prepare_general" not in nodes:
        print_once("general.corpus: no stage reads it; general=before pre-trains on it first")
    splits, origins = corpus.splits(), _origins(cfg, config)
    return Pipeline(nodes, group, Path(config["output_dir"]), origins, splits, job, elsewhere)


def _check_reference(config: dict[str, Any], nodes: dict[str, Node], hydra_cfg: DictConfig) -> None:
    """Refuse a reference that is no row of the report; another job of a sweep may have it."""
    if "report" in nodes and getattr(hydra_cfg.mode, "name", None) != "MULTIRUN":
        check_reference(config["report"]["reference"], nodes, nodes["report"].config["shown_as"])


def _extra(config: dict[str, Any], corpus: Any) -> dict[str, Any]:
    """Stage -> what its fingerprint depends on beside options: the content of collections and files of the user."""
    return {"prepare": _identity(corpus, config["prepare"]["documents"])} | _general(config) | _files(config)


def _check_order(nodes: dict[str, Node]) -> None:
    """Refuse a pre-training that reads which passage follows which where that cannot be known.

    nodes: a plan, whatever its fingerprints; this is asked before files of gigabytes are digested for them.
    """
    for node in nodes.values():
        decoders, views = node.config.get("decoders") or {}, node.config.get("view") or {}
        read = {decoder.get("view", "passage") for decoder in decoders.values()}
        parts = {f"decoders.{name}": decoder for name, decoder in decoders.items()}
        parts |= {f"view.{name}": view for name, view in views.items() if name in read or view.get("alone")}
        for part, options in parts.items():
            if options.get("stream") in STREAMS:
                source = nodes[node.inputs["corpus"]].config
                collection = build(source["corpus"], "corpus")
                check_order(collection, source["documents"], source["neighbours"], part, options["stream"])


def _identity(corpus: Any, documents: str | None) -> Any:
    """What the prepare stage depends on beside its options."""
    return [corpus.identity(), file_digest(documents_file(documents))] if documents else corpus.identity()


def _record(
    config: dict[str, Any], pipeline: Pipeline, hydra_cfg: DictConfig, optimized: dict[str, float]
) -> None:  # fmt: skip
    """Write what this job ran, for the comparison of a sweep and for a reader of the run's directory."""
    run_dir = Path(hydra_cfg.runtime.output_dir)
    directories = {key: str(node.directory) for key, node in pipeline.nodes.items()}
    run_dir.mkdir(parents=True, exist_ok=True)
    result = place_in_sweep(config, hydra_cfg) | {"nodes": directories, "fingerprint": pipeline.fingerprint()}
    write_json(run_dir / "result.json", result | {"job": pipeline.job, "optimized": optimized})
    if "report" in pipeline.nodes:
        link_page(run_dir / PAGE, pipeline.nodes["report"].directory / PAGE)


def _show(nodes: dict[str, Node]) -> None:
    """Print the tables of the report, or of the stages where there is none, and the places of pages."""
    for node in [nodes["report"]] if "report" in nodes else nodes.values():
        show_tables(node.directory)


def take_corpus_options(config: dict[str, Any]) -> dict[str, Any]:
    """Remove them from the corpus and from its copies in stages; return them."""
    asked = {name: config["corpus"].get(name) for name in CORPUS_OPTIONS}
    for node in (config, *config.values()):
        if isinstance(node, dict) and isinstance(node.get("corpus"), dict):
            node["corpus"] = {name: value for name, value in node["corpus"].items() if name not in CORPUS_OPTIONS}
    return asked


def _general(config: dict[str, Any]) -> dict[str, str]:
    """The content of the general collection, of which only the passages are read, for the stage that prepares it.

    Pre-training on it takes the place of the checkpoint that `pretrain` would start from.
    """
    if (corpus := config["prepare_general"]["corpus"]) is None:
        return {}
    if config["pretrain"]["inputs"]["encoder"]:
        config["pretrain"]["start"] = None
    if "splits" in corpus:
        corpus["splits"] = []
    try:
        collection = build(corpus, "general.corpus")
        return {"prepare_general": _identity(collection, config["prepare_general"]["documents"])}
    except BadInput as error:
        named = re.sub(r"(?<![\w.])corpus\.(?=\w)", "general.corpus.", str(error))
        raise BadInput(f"general.corpus: {named}") from error


def _vector_bytes(config: dict[str, Any]) -> int:
    """About what one passage takes in the index, told without opening a checkpoint."""
    representation = config["representation"]
    dense = representation.get("dense", config["encoder"].get("width", USUAL_WIDTH))
    return 4 * dense + 6 * representation.get("lexical", 0)


def _files(config: dict[str, Any]) -> dict[str, str]:
    """What stages depend on apart from their options: the content of the user's own texts, rankings and GLUE files."""
    texts = build(config.get("generate", {}).get("texts"), "generate.texts")
    found = {"generate": texts.identity()} if texts else {}
    for stage, node in config.items():
        if isinstance(node, dict) and "inputs" in node and "path" in (node.get("negatives") or {}):
            found[stage] = build(node["negatives"], f"{stage}.negatives").identity()
    if path := config.get("glue", {}).get("path"):
        found["glue"] = open_glue(path).identity(find_tasks(config["glue"]["tasks"]))
    return found


def _models(config: dict[str, Any]) -> dict[str, Any]:
    """The content of the models and collections from elsewhere, for the stages that take them."""
    found, goals = {}, find_goals(config)
    if config["compare"] and "external" in goals:
        from bmae_lightning.retrieval.foreign_model import find_retriever

        for number, (label, options) in enumerate(label_models(config["compare"], "compare").items()):
            with suppress(Absent):
                found[f"external@{label}"] = find_retriever(label, options, f"compare[{number}]").identity
    if config["suite"]["collections"] and "suite" in goals:
        with suppress(Absent):
            found["suite"] = build(read_entry(config["suite"]).options, "suite").identity()
    return found


def _origins(cfg: DictConfig, config: dict[str, Any]) -> dict[str, dict[str, str]]:
    """stage -> {option: dotted key where the user sets it}, for messages.

    That is what the option interpolates; an option that a part of the stage requires is the group of its name.
    """
    raw, found = OmegaConf.to_container(cfg, resolve=False), {}
    for stage, entry in read_entries(config).items():
        found[stage] = {key: key for key in entry.options if key not in raw[stage]}
        for key, value in raw[stage].items():
            text = str(value).replace("${.follows}", str(entry.follows))
            if text.startswith("${") and text.count("$") == 1:
                found[stage][key] = text[2:-1]
    return found
