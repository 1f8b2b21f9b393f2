"""Commands that only look: `evaluate run=FILE qrels=FILE` at files, `search query=…` at what a run has finished,
`report report.runs=[DIR]` at several of these.

They plan nothing that runs, and nothing is written to the store.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from bmae_lightning.command.job import command_of
from bmae_lightning.command.plan import BASELINE_ARM, named_stages, plan
from bmae_lightning.runtime.checks import nearest
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from bmae_lightning.stage.search import Lookup

JUDGING, SEARCHING, REPORTING, PACK = "evaluate", "search", "report", "pack"
FILES = ("run", "qrels", "per_query")


def judges_files(config: dict[str, Any]) -> bool:
    """Whether the command is about run files.

    Raises:
        BadInput: half of such a command, or one mixed with stages.
    """
    given = [key for key in FILES if config[key] is not None]
    example = f"python -m bmae_lightning {JUDGING} run=FILE qrels=FILE"
    if isinstance(config.get(PACK), str):
        if given or named_stages(config) != [JUDGING]:
            raise BadInput(f"{PACK}= is measured by itself: python -m bmae_lightning {JUDGING} {PACK}=FILE")
        return True
    if not given:
        return False
    if not config["run"] or not config["qrels"]:
        raise BadInput(f"{given[0]}= needs a run and its judgments: {example}")
    if named_stages(config) != [JUDGING]:
        raise BadInput(f"run= and qrels= are measured by themselves, not with stages: {example}")
    return True


def judge_files(config: dict[str, Any]) -> None:
    """Measure the run files that the command names."""
    from bmae_lightning.command.check_pack import check_pack
    from bmae_lightning.command.measure_runs import judge
    from bmae_lightning.evaluation.measure.ranking import measures_of

    if isinstance(config.get(PACK), str):
        check_pack(config[PACK])
        return
    per_query = None if config["per_query"] is None else str(config["per_query"])
    measures = measures_of(build(config["measures"], "measures"), "")
    judge(config["run"], str(config["qrels"]), measures, per_query)


def take_runs(config: dict[str, Any]) -> dict[str, Any]:
    """Remove from the options of the report, and return, what a page over finished runs is asked for.

    Returns `runs`, None where none is asked for, and `name`.

    Raises:
        BadInput: such a command mixed with stages, or half of it.
    """
    asked = {key: config[REPORTING].pop(key) for key in ("runs", "name")}
    example = f"python -m bmae_lightning {REPORTING} report.runs=[DIR,DIR]"
    if asked["runs"] is None and asked["name"] is not None:
        raise BadInput(f"report.name is the name of a page over finished runs: {example} report.name=NAME")
    if asked["runs"] is not None and named_stages(config) != [REPORTING]:
        raise BadInput(f"report.runs= only looks at finished runs, without other stages: {example}")
    return asked


def report_finished(asked: dict[str, Any], config: dict[str, Any], hydra_cfg: DictConfig) -> None:
    """Write the page over the runs that the command names."""
    from bmae_lightning.command.report_runs import report_runs

    named = {item.lstrip("+").partition("=")[0] for item in hydra_cfg.overrides.task}
    report_runs(asked["runs"], asked["name"], config, named)


def lookup_of(config: dict[str, Any]) -> "Lookup | None":
    """What searches, if the command is a search.

    Raises:
        BadInput: a search mixed with stages, a question without a search, or wrong options of it.
    """
    wanted = SEARCHING in named_stages(config)
    if wanted != (config["query"] is not None) or (wanted and len(named_stages(config)) > 1):
        raise BadInput(f'a search stands alone and needs a question: python -m bmae_lightning {SEARCHING} query="…"')
    return build(config[SEARCHING], SEARCHING) if wanted else None


def look_up(lookup: "Lookup", config: dict[str, Any], extra: dict[str, Any], hydra_cfg: DictConfig) -> None:
    """Search the first index among `search.indexes` that these options have finished.

    extra: as for `plan`.

    Raises:
        BadInput: nothing is finished, which names the command to run, or there is no such arm.
    """
    arm = lookup.arm or config["name"]
    if arm not in (config["name"], BASELINE_ARM):
        raise BadInput(f"search.arm={arm}: there is no such arm{nearest(arm, (config['name'], BASELINE_ARM))}")
    for stage in lookup.indexes:
        nodes = plan(config | {"stage": [stage], "baseline": False}, arm, extra)
        node = list(nodes.values())[-1]
        corpus, retriever = (nodes.get(node.inputs.get(role) or "") for role in ("corpus", "retriever"))
        if not corpus or not retriever:
            raise BadInput(
                f"search.indexes: the stage {stage!r} keeps no index of a retriever; name one such as evaluate"
            )
        if node.done:
            lookup.run(f"{arm}, {stage}", corpus.directory, retriever.directory, node.directory / "passages.npy")
            return
    trains = command_of(hydra_cfg, ("stage=", "query=", f"{SEARCHING}."))
    raise BadInput(
        f"none of {', '.join(lookup.indexes)} is finished for {arm} in {Path(config['output_dir']) / 'store'} with "
        f"these options: run `{trains}` first, or give {SEARCHING} the options of a finished run"
    )
