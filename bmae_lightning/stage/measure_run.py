"""Measure a ranking that a stage has written, say the result and store it."""

from bmae_lightning.evaluation.measure.ranking import Measure, by_answers, evaluate
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.stage import Context
from bmae_lightning.stage.answer_judgments import measure_by_answers
from bmae_lightning.stage.prepared import Prepared


def measure_run(context: Context, prepared: Prepared, split: str, measures: list[str | Measure]) -> dict:
    """Measure run.<split>.trec of a stage, say and store the result; per-query values go to per_query.<split>.json."""
    answered = [measure for measure in measures if by_answers(measure)]
    judged = [measure for measure in measures if not by_answers(measure)]
    parts = [measure_by_answers(context, prepared, split, answered)] if answered else []
    if judged:
        parts.append(evaluate(prepared.qrels_path(split), context.directory / f"run.{split}.trec", judged))
    mean = {name: value for part in parts for name, value in part.mean.items()}
    per_query = {name: values for part in parts for name, values in part.per_query.items()}
    write_json(context.directory / f"per_query.{split}.json", per_query)
    shown = "  ".join(f"{name} {value:.3f}" for name, value in mean.items())
    print_once(f"{context.title}: {split}, {parts[0].queries:,} queries: {shown}")
    return {"mean": mean, "queries": parts[0].queries}
