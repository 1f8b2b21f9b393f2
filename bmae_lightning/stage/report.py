"""Collect what finished stages measured into one page, one JSON file and one table in the terminal."""

from pathlib import Path
from typing import Any

from bmae_lightning.evaluation.glue.data import TASKS, find_tasks
from bmae_lightning.evaluation.measure.ranking import canonical, check_measures
from bmae_lightning.lit.metrics import VALIDATION, read_metrics
from bmae_lightning.report.comparison import JUDGED
from bmae_lightning.report.content import BASELINE, EXTERNAL, Arm, Curve, Diagnosis, Report, Sample, arm_name
from bmae_lightning.report.diagnosis import diagnosis
from bmae_lightning.report.machine import read_json as read_report
from bmae_lightning.report.machine import write_json as write_report
from bmae_lightning.report.page import write_html
from bmae_lightning.report.scores import glue_scores
from bmae_lightning.report.significance import paired_tests
from bmae_lightning.report.table import print_report
from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.runtime.checks import nearest
from bmae_lightning.runtime.files import read_json, write_json
from bmae_lightning.runtime.stage import Context, Stage
from bmae_lightning.stage.example_queries import find_cases
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.suite import read_tables

SHOWN = (
    "batch_size", "steps", "epochs", "lr", "length", "passage_length", "train_group_size", "similarity", "temperature",
    "backbone", "forward_factor", "r_drop",
)  # fmt: skip


GLUE = "glue"
FIRST_RUNG = "evaluate"
"""The stage whose row published values belong to where none is named."""


class MakeReport(Stage):
    """Writes report.html, report.json.

    Args:
        title: name of the experiment.
        measures: columns of the table.
        split: the judged split that is compared.
        logger: tracking.
        paper_results: published values of the arm with pre-training, by measure those of the row of `evaluate`, or by
            stage (`evaluate`, `evaluate2`, `rerank`, `evaluate_distilled`, `bm25`) and measure, those of `glue` by task;
            a stage that does not run has no row.
        paper_source: where they are printed.
        significance: measures in which all pairs of arms are tested.
        cases: test queries that are shown with the best passage of every arm.
    """

    def __init__(
        self, title: str, measures: list[str], split: str, logger: Tracking,
        paper_results: dict[str, Any] | None = None, paper_source: str | None = None,
        significance: list[str] | None = None, cases: int = 0, shown_as: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        if cases < 0:
            raise ValueError(f"cases must be at least 0 (none), got {cases}")
        self.title, self.measures, self.split, self.logger = title, measures, split, logger
        self.paper = check_paper({} if paper_results is None else paper_results)
        self.paper_source = paper_source or ""
        self.significance, self.cases = significance or [], cases

    def preflight(self, splits: list[str]) -> None:
        find_tasks(self.paper.get(GLUE, TASKS))
        for values in (*(of for stage, of in self.paper.items() if stage != GLUE), self.significance):
            check_measures(list(values))

    def run(self, context: Context) -> None:
        stages = {key: directory for key, directory in context.inputs.items() if directory is not None}
        measures = canonical(self.measures)
        report = make_report(
            self.title, stages, measures, self.split, self.paper, self.paper_source,
            canonical(self.significance), self.cases,
        )  # fmt: skip
        write_report(context.directory / "report.json", report)
        write_html(context.directory / "report.html", report)
        results = {f"{arm.name}/{name}": value for arm in report.arms for name, value in arm.measures.items()}
        results |= {
            f"{arm}/{name}": v for table in report.scores for arm, of in table.rows.items() for name, v in of.items()
        }
        write_json(context.directory / "metrics.json", results)
        with self.logger.of(context) as loggers:
            for logger in loggers:
                logger.log_metrics(results, step=0)
                if hasattr(logger, "log_table"):
                    columns = ["arm", "queries", *measures]
                    rows = [[arm.name, arm.queries, *map(arm.measures.get, measures)] for arm in report.arms]
                    rows += [
                        [f"{arm.name} (paper)", None, *map(arm.paper.get, measures)] for arm in report.arms if arm.paper
                    ]
                    logger.log_table(key="comparison", columns=columns, data=rows)


def show(directory: Path) -> None:
    """Print the table of a finished report and where its page lies."""
    print_report(read_report(directory / "report.json"), directory / "report.html")


def check_paper(results: Any) -> dict[str, dict[str, float]]:
    """Published values by stage and measure, without those that are null; values by measure alone are of `evaluate`.

    Raises:
        ValueError: no such stage, a value that is not in 0..1, or values of both forms.
    """
    if not isinstance(results, dict):
        raise ValueError(f"paper_results must be values by measure, as {{RR@10: 0.3553}}, got {results!r}")
    by_stage = any(isinstance(values, dict) for values in results.values())
    if not by_stage:
        return {FIRST_RUNG: _check_values(results, "paper_results")}
    for stage, values in results.items():
        if stage not in (*JUDGED, GLUE):
            raise ValueError(f"paper_results.{stage}: no such stage is measured{nearest(stage, (*JUDGED, GLUE))}")
        if not isinstance(values, dict):
            raise ValueError(f"paper_results.{stage} must be values by measure, as {{RR@10: 0.3553}}, got {values!r}")
    return {stage: _check_values(values, f"paper_results.{stage}") for stage, values in results.items()}


def _check_values(values: dict[str, Any], key: str) -> dict[str, float]:
    for name, value in values.items():
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1):
            raise ValueError(f"{key}.{name} must lie in 0..1 like our own values, got {value!r}; 35.5 % is 0.355")
    return {name: float(value) for name, value in values.items() if value is not None}


def make_report(
    title: str, stages: dict[str, Path], measures: list[str], split: str,
    paper: dict[str, dict[str, float]] | None = None, paper_source: str = "",
    significance: list[str] | None = None, cases: int = 0,
) -> Report:  # fmt: skip
    """A report of finished stages.

    Args:
        title: name of the experiment.
        stages: `stage` or `stage@arm` -> its directory.
        measures: which measures to show.
        split: the judged split.
        paper: published values by stage and measure, of the arm with pre-training or of the only arm, and of BM25.
        paper_source: where they are printed.
        significance: measures in which all pairs of arms are tested.
        cases: how many test queries are shown, chosen by the first measure.
    """
    names = {key.partition("@")[2] for key in stages if not key.startswith(f"{EXTERNAL}@")} - {""}
    published = names - {BASELINE} or names
    diagnoses: list[Diagnosis] = []
    arms, curves, samples, settings = [], [], [], {}
    judged: dict[str, Path] = {}
    suites = read_tables(stages["suite"]) if "suite" in stages else []
    glue: dict[str, dict[str, Any]] = {}
    loss_series: dict[str, dict[str, list[tuple[float, float]]]] = {}
    looks: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = {}
    for key, directory in stages.items():
        stage, _, arm = key.partition("@")
        manifest = read_json(directory / "manifest.json")
        config = manifest["config"]
        if stage == "prepare":
            settings["corpus"] = _corpus(directory, config)
        if stage == "generate":
            settings |= _generated(directory)
            if teachers := _teacher_losses(directory):
                curves.append(Curve("Teachers of queries and continuations", teachers))
        if (directory / "metrics.jsonl").is_file():
            lines = read_metrics(directory / "metrics.jsonl")
            if stage == "pretrain":
                names = [name for name in lines[0] if name.startswith("loss/")]
                series = {name.removeprefix("loss/"): [(line["step"], line[name]) for line in lines] for name in names}
                curves.append(Curve(f"Pre-training ({arm})", series))
                if found := diagnosis(arm, lines):
                    diagnoses.append(found)
            else:
                loss_series.setdefault(stage, {})[arm_name(stage, arm)] = [
                    (line["step"], line["loss"]) for line in lines
                ]
                for name in dict.fromkeys(name for line in lines for name in line if name.startswith(VALIDATION)):
                    looks.setdefault((stage, name.removeprefix(VALIDATION)), {})[arm_name(stage, arm)] = [
                        (line["step"], line[name]) for line in lines if name in line
                    ]
            settings[key] = ", ".join(f"{name} {config[name]}" for name in SHOWN if config.get(name) is not None)
            if every := (config.get("diagnostics") or {}).get("every"):
                settings[key] += f", diagnostics every {every}"
            if (share := (config.get("train_queries") or {}).get("share", 1)) != 1:
                settings[key] += f", {100 * share:g} % of the training queries"
            if step := manifest.get("context", {}).get("pretrain_step"):
                settings[key] += f", from step {step:,} of the pre-training"
        if (directory / "samples.json").is_file():
            samples += [Sample(**sample) for sample in read_json(directory / "samples.json")]
        results = read_json(directory / "metrics.json")
        if stage == EXTERNAL:
            settings[key] = ", ".join(
                f"{name} {value}" for name, value in results["model"].items() if value is not None
            )
        if stage == GLUE:
            glue[arm_name(stage, arm)] = results
        if isinstance(results.get(split), dict):
            shown = {name: value for name, value in results[split]["mean"].items() if name in measures}
            printed = (paper or {}).get(stage) if not arm or arm in published else None
            beside = {"paper": printed, "paper_source": paper_source} if printed else {}
            judged[arm_name(stage, arm)] = directory
            arms.append(
                Arm(arm_name(stage, arm), shown, results[split]["queries"], _note(stage, arm, results), **beside)
            )
    curves += [Curve(f"Fine-tuning ({stage})", series) for stage, series in loss_series.items()]
    curves += [
        Curve(f"Validation ({stage})", series, y=measure, linear=True) for (stage, measure), series in looks.items()
    ]
    arms.sort(key=lambda arm: (arm.name != "bm25", arm.name != "no pre-training"))
    subtitle = f"{settings.get('corpus', '')}; measured on the split {split!r} by ir_measures (trec_eval)"
    judged = {arm.name: judged[arm.name] for arm in arms}
    printed = {arm_name(GLUE, arm): paper[GLUE] for arm in published if paper and GLUE in paper}
    return Report(
        title, subtitle, arms, curves, samples, settings, [], diagnoses, split, significance or [],
        paired_tests(judged, split, significance or []),
        find_cases(Prepared(stages["prepare"]), judged, split, measures[0], cases) if cases and measures and judged else [],
        suites,
        scores=glue_scores(dict(sorted(glue.items())), printed, paper_source),
    )  # fmt: skip


def _note(stage: str, arm: str, results: dict[str, Any]) -> str:
    if stage == "bm25":
        return "bm25s"
    if rate := results.get("pairs_per_second"):
        return f"re-orders the top {results['depth']}, {rate:,.0f} pairs/s"
    rate = results.get("passages_per_second")
    return f"encodes {rate:,.0f} passages/s" if rate else ""


def _generated(directory: Path) -> dict[str, str]:
    """Who wrote the generated texts, how many there are, and a few of them."""
    results = read_json(directory / "metrics.json")
    writers = "; ".join(f"{role} by {source}" for role, source in results["teachers"].items())
    counts = f"{results['queries']:,} queries, {results['passages_with_continuation']:,} continuations"
    shown = {"generate": f"{writers} ({counts})"}
    for example in read_json(directory / "examples.json"):
        text = " | ".join([*example["queries"], f"… {example['continuation'] or ''}"])
        shown[f"generated for {example['_id']}"] = f"{example['passage'][:160]} -> {text}"
    return shown


def _teacher_losses(directory: Path) -> dict[str, list[tuple[float, float]]]:
    """What the generate stage's own teachers were trained to."""
    paths = {path.parent.name: path for path in sorted(directory.glob("teachers/*/metrics.jsonl"))}
    return {role: [(line["step"], line["loss"]) for line in read_metrics(path)] for role, path in paths.items()}


def _corpus(directory: Path, config: dict[str, Any]) -> str:
    record = Prepared(directory).record
    if "packages" in config["corpus"]:
        source = "documentation of " + ", ".join(config["corpus"]["packages"])
    else:
        source = config["corpus"].get("path") or record["name"]
    return f"{source}: {record['passages']:,} passages (titles: {record['title']}), {record['queries']:,} queries"
