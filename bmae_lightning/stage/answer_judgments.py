"""What a ranking found, judged by what its passages say: for questions that come with accepted answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bmae_lightning.evaluation.measure.answers import judge
from bmae_lightning.evaluation.measure.ranking import Measure, Measured, by_answers, canonical, evaluate, find_measure
from bmae_lightning.evaluation.measure.trec import Qrels, Run, read_run, write_qrels
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.stage import Context
from bmae_lightning.stage.prepared import Prepared


def judge_by_answers(directory: Path, title: str, prepared: Prepared, split: str, run: Run) -> Qrels:
    """Look through the text (not the title) of all passages of a run; the judgments go to answers.<split>.trec, too.

    directory, title: of the stage whose run it is.
    """
    texts = ((passage.id, passage.text) for passage in prepared.source().passages())
    judged = judge(run, prepared.answers(split), texts, f"{title}: answers of {split}")
    write_qrels(directory / f"answers.{split}.trec", judged)
    return judged


def measure_by_answers(context: Context, prepared: Prepared, split: str, measures: Sequence[str | Measure]) -> Measured:
    """Measure run.<split>.trec of a stage by judgments from answers, over all questions of the split.

    measures: such as answer_R@k; passages below their largest k are not looked through.
    """
    depth = max(find_measure(measure).k for measure in measures)
    run = read_run(context.directory / f"run.{split}.trec").cut(depth)
    judged = judge_by_answers(context.directory, context.title, prepared, split, run)
    return evaluate({query: judged.get(query, {}) for query in prepared.answers(split)}, run, measures)


def require_measures(prepared: Prepared, measures: Mapping[str, Sequence[str | Measure]]) -> None:
    """Raise BadInput for a measure that needs answers where a split has judgments alone, or the other way round.

    measures: of every split.
    """
    corpus = prepared.record["name"]
    for split, asked in measures.items():
        answered, judged = bool(prepared.answers(split)), any(prepared.qrels(split).values())
        for name, measure in zip(canonical(asked), asked, strict=True):
            if by_answers(measure) and not answered:
                raise BadInput(
                    f"measures: {name} needs questions with answers, but the split {split!r} of {corpus} has judgments "
                    "alone: leave it out"
                )
            if not by_answers(measure) and not judged:
                raise BadInput(
                    f"measures: {name} needs judgments, but the split {split!r} of {corpus} has answers alone: use "
                    "answer_R@k, as in measures=[answer_R@20,answer_R@100]"
                )
