"""From one composed configuration to a finished experiment: resolve it, plan its stages, run them, print the result."""

import copy
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from bmae_lightning.command.budget import spend
from bmae_lightning.command.check import check, row_label, stand_in
from bmae_lightning.command.job import describe_job
from bmae_lightning.command.look import judge_files, judges_files, look_up, lookup_of
from bmae_lightning.command.optimized import find_optimized
from bmae_lightning.command.pipeline import Pipeline
from bmae_lightning.command.plan import Node, find_goals, plan, read_entries, read_entry
from bmae_lightning.command.search import searching
from bmae_lightning.command.track import track
from bmae_lightning.corpus.doctor import look_over
from bmae_lightning.corpus.document_order import STREAMS, DocumentOrder, check_order, documents_file
from bmae_lightning.encoder.checkpoint import without_downloads
from bmae_lightning.evaluation.glue.data import find_tasks, open_glue
from bmae_lightning.report.along import AXES
from bmae_lightning.report.printed import BACKBONE, check_options
from bmae_lightning.report.tables import show_tables
from bmae_lightning.retrieval.model_options import label_models
from bmae_lightning.runtime.checks import choice, nearest
from bmae_lightning.runtime.configuration import build, config_directory
from bmae_lightning.runtime.errors import Absent, BadInput
from bmae_lightning.runtime.file_digest import file_digest
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.former import renamed_option
from bmae_lightning.runtime.process import print_once, process_rank

INSTANCES = ("view", "decoders", "losses")
"""Groups that are lists of named instances, at the top or in a stage; each entry needs a `_target_`."""
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
    if missing := OmegaConf.missing_keys(cfg):
        key = min(missing)
        raise BadInput(f"{key} must be given: add {key}=VALUE to the command")
    for group in INSTANCES:
        for place in [group, *(f"{name}.{group}" for name, node in cfg.items() if isinstance(node, DictConfig))]:
            if OmegaConf.select(cfg, place) is not None:
                _drop_unselected(cfg, hydra_cfg, group, place)
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)
    _check_groups(config, hydra_cfg)
    _check_requirement(config)
    _check_values(config)
    check_options(config)
    spend(config)
    if judges_files(config):
        judge_files(config)
        return None
    lookup = lookup_of(config)
    config["output_dir"] = str(Path(config["output_dir"]).absolute())
    job = copy.deepcopy(describe_job(config, hydra_cfg))
    published = {stage: (config[stage]["corpus"] or {}).get("expected") for stage in ("prepare", "prepare_general")}
    asked = take_corpus_options(config)
    if config["check"]:
        stand_in(config, asked)
    corpus = build(config["corpus"], "corpus")
    if asked["check"]:
        order = DocumentOrder(asked["documents"], asked["neighbours"])
        look_over(corpus, asked["expected"], _vector_bytes(config), Path(config["output_dir"]), order)
        return None
    if not lookup:
        _check_order(plan(config, config["name"], {}))
    extra = {"prepare": _identity(corpus, config["prepare"]["documents"])} | _general(config) | _files(config)
    if lookup:
        look_up(lookup, config, extra, hydra_cfg)
        return None
    searched = searching(hydra_cfg)
    if config["check"]:
        with without_downloads():
            pipeline = _planned(cfg, config, corpus, extra, job)
            check(pipeline, row_label(config), published, config["check_tflops"])
        find_optimized(config, pipeline.nodes, pipeline.splits, searched)
        return 0.0 if searched else None
    pipeline = _planned(cfg, config, corpus, extra, job)
    place = find_optimized(config, pipeline.nodes, pipeline.splits, searched)
    pipeline.run()
    value = place and place.value()
    if process_rank() == 0:
        _record(config, pipeline, hydra_cfg, {str(place): value} if place else {})
        _show(pipeline.nodes)
        track(config, pipeline, hydra_cfg)
    return value


def _planned(
    cfg: DictConfig, config: dict[str, Any], corpus: Any, extra: dict[str, Any], job: dict[str, Any]
) -> Pipeline:  # fmt: skip
    """The stages that the command asks for, ready to be checked and run."""
    nodes, group = plan(config, config["name"], extra | _models(config)), config["group"] or config["name"]
    if config["general"]["corpus"] and "prepare_general" not in nodes:
        print_once("general.corpus: no stage reads it; general=before pre-trains on it first")
    splits, elsewhere = corpus.splits(), config["check"]
    return Pipeline(nodes, group, Path(config["output_dir"]), _origins(cfg, config), splits, job, elsewhere)


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
    overrides = [item for item in hydra_cfg.overrides.task if not item.startswith(("output_dir=", "logger="))]
    directories = {key: str(node.directory) for key, node in pipeline.nodes.items()}
    places = {axis: config[axis] for axis in AXES}
    run_dir.mkdir(parents=True, exist_ok=True)
    result = {"overrides": overrides, "nodes": directories, "places": places, "fingerprint": pipeline.fingerprint()}
    write_json(run_dir / "result.json", result | {"job": pipeline.job, "optimized": optimized})


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


def _check_groups(config: dict[str, Any], hydra_cfg: DictConfig) -> None:
    """Refuse `+group=option` where there is no such group: Hydra would make it a new key, which nothing reads."""
    for item in hydra_cfg.overrides.task:
        key = item[1:].partition("=")[0]
        if item.startswith("+") and isinstance(config.get(key), str) and key not in hydra_cfg.runtime.choices:
            groups = [path.name for path in config_directory().iterdir() if path.is_dir()]
            hint = renamed_option(item[1:]) or (
                f" (tables of papers and their rows need -cd experiments){nearest(key, groups)}"
            )
            raise BadInput(f"{item}: there is no group {key!r}{hint}")


def _check_values(config: dict[str, Any]) -> None:
    """Refuse values of another kind where a traceback would follow."""
    general, check, tflops = config["general"]["corpus"], config["check"], config["check_tflops"]
    if general is not None and not (isinstance(general, dict) and "_target_" in general):
        raise BadInput(
            f"general.corpus={general} is no collection: name its format and its place, as "
            "corpus@general.corpus=files general.corpus.path=DIR"
        )
    if not isinstance(check, bool):
        raise BadInput(f"check={check} must be true or false")
    if isinstance(tflops, bool) or not isinstance(tflops, int | float) or not tflops > 0:
        raise BadInput(f"check_tflops={tflops} must be a number above 0, 10^12 operations a second of a GPU")


def _check_requirement(config: dict[str, Any]) -> None:
    """Refuse what cannot be run yet."""
    try:
        choice((None, BACKBONE), requires=config["requires"])
    except ValueError as error:
        raise BadInput(str(error)) from error
    if config["requires"] == BACKBONE:
        raise BadInput(
            f"requires={BACKBONE}: {config['name']} starts from an encoder that is not a BERT, which cannot be loaded "
            "yet; leave this row out, or take a BERT (encoder=bert_base requires=null), which is another row"
        )


def _drop_unselected(cfg: DictConfig, hydra_cfg: DictConfig, group: str, place: str) -> None:
    """Remove what an experiment sets for instances that the command has left out, as decoders=[…] does.

    place: dotted key of the list, `decoders` or `retriever1.losses`.

    Raises:
        BadInput: settings for something that the group does not offer, or that the command itself names.
    """
    sources = [Path(source.path) for source in hydra_cfg.runtime.config_sources if source.schema == "file"]
    offered = {path.stem for source in sources for path in (source / group).glob("*.yaml")}
    typed = {override.lstrip("+").split("=")[0] for override in hydra_cfg.overrides.task}
    found = OmegaConf.select(cfg, place)
    left = [name for name, node in found.items() if not isinstance(node, DictConfig) or "_target_" not in node]
    for name in left:
        if name not in offered:
            known = {other for other in found if other not in left} | offered
            raise BadInput(f"{place}.{name} is no known instance{nearest(name, known)}")
        if any(key.startswith(f"{place}.{name}.") for key in typed):
            override = group if place == group else f"{group}@{place}"
            raise BadInput(f"{place}.{name} is set but not selected: add {name} to {override}=[…]")
        with open_dict(cfg):
            del found[name]
    if left and not found and place.startswith("general."):  # [] means the method's own there
        with open_dict(cfg):
            del cfg.general[group]


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
