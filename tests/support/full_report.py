"""A report with all that a page can show: twelve arms, means over seeds, intervals, daggers, failed rows, jobs."""

from dataclasses import replace

from bmae_lightning.evaluation.measure.significance import Difference
from bmae_lightning.report.content import Answer, Arm, Case, Curve, Diagnosis, Origin, Place, Report, Sample
from bmae_lightning.report.headline import with_headline
from bmae_lightning.runtime.mean import Mean
from bmae_lightning.runtime.table import FAILED, NOT_RUN, PAPER, REFERENCE, SUMMARY, Column, Table

MEASURES = ("RR@10", "nDCG@10", "R@50", "R@100", "R@1000")
LONG = "retromae decoders.enhanced.mask.rate=0.{} view.passage.mask.rate=0.15 encoder=bert_base"
TEXT = "Return a new list containing all items from the iterable in ascending order; a custom key can be supplied"
DIFFERS = "† differs from no pre-training (Holm, p < 0.05)"
COMMAND = "python -m bmae_lightning +experiment=retromae encoder=bert_base decoders.enhanced.mask.rate=0.3 seed=1"
MASKS = {"view.passage": {"policy": "UniformMask", "rate": 0.3}, "decoders.enhanced": {"policy": "UniformMask"}}


def full_report() -> Report:
    """Everything at once."""
    none = arm("no pre-training", "evaluate@none", 0.4934, seeds=3)
    own = [arm(LONG.format(i), f"evaluate@retromae{i}", 0.47 + 0.006 * i, seeds=3) for i in range(8)]
    own[5] = replace(own[5], paper={"RR@10": 0.416, "R@1000": 0.988}, paper_source="RetroMAE, Table 6")
    failed = Arm(
        "simlm", {}, 208, "RuntimeError: CUDA out of memory", node="evaluate@simlm", split="test", state=FAILED
    )
    foreign = arm("intfloat/simlm-base-msmarco-finetuned", "external@x", 0.61, "encodes 1,234 passages/s")
    arms = [arm("bm25", "bm25", 0.4912, "bm25s"), none, *own, failed, foreign]
    p = (0.3, 0.2, 0.1, 0.9, 0.8, 0.01, 0.005, 0.00001)
    steps = range(0, 3000, 10)
    return with_headline(Report(
        "comparison: retromae over decoder mask rates", "documentation of stdlib, numpy; measured on test", arms,
        curves=[
            Curve(f"Pre-training ({of.name})", {
                "encoder": [(x, 9 / (1 + x / 300) + 1) for x in steps],
                "enhanced": [(x, 8 / (1 + x / 500) + 2) for x in steps],
            }) for of in own[:2]
        ],
        samples=[Sample(TEXT, TEXT.replace("list", "[MASK]"), {"enhanced": TEXT.replace("list", "set")})],
        settings={
            "corpus": "documentation of stdlib, numpy: 9,000 passages (titles: none), 3,000 queries",
            "decoders.enhanced.mask.rate=0.3": "outputs/store/report-0123456789abcdef0123456789abcdef",
        },
        notes=["small & noisy"],
        diagnoses=[diagnosis()],
        tested={"test": ["RR@10"]},
        differences=[
            Difference("RR@10", of.name, none.name, 208, of.measures["RR@10"] - none.measures["RR@10"],
                       x, min(1, 8 * x), x / 2, min(1, 4 * x), "test")
            for of, x in zip(own, p, strict=True)
        ],
        cases=cases(),
        along=[Curve("RR@10 over the steps of pre-training", {"retromae": [(0, 0.4), (9, 0.45), (18, 0.47)]}, "step",
                     "RR@10", linear=True, marked=True)],
        tables={"glue": [daggers()], "kinds": [kinds()]},
        printed=[printed()],
        single=[
            arm(f"{of.name} seed={seed}", of.node, float(of.measures["RR@10"]) + 0.01 * (seed - 2), split="test")
            for of in own[:2] for seed in (1, 2, 3)
        ],
        verdicts=[verdicts()],
        jobs=jobs(),
        reference=none.name,
    ))  # fmt: skip


def arm(name: str, node: str, first: float, note: str = "", seeds: int = 1, split: str = "test") -> Arm:
    """A row whose other measures follow from the first one."""
    values = {measure: min(0.99, first * (1 + 0.22 * i)) for i, measure in enumerate(MEASURES)}
    measures = {name: Mean(value, 0.012, seeds) for name, value in values.items()} if seeds > 1 else values
    interval = {name: (value - 0.05, min(1.0, value + 0.05)) for name, value in values.items()} if seeds == 1 else {}
    job = {"scale": "laptop", "encoder": "bert_base", "masks": MASKS, "command": COMMAND}
    origins = [
        Origin(job | {"seed": seed}, "0123abcd", "2026-11-30T20:30:00", 3600.0 * seed, 1.5 * seed, "NVIDIA H200", 812.3,
               5000.0, 11.25, None, {"torch": "2.13.0"}, "0123456789abcdef")
        for seed in range(1, seeds + 1)
    ]  # fmt: skip
    return Arm(name, measures, 208, note, node=node, split=split, interval=interval, origins=origins)


def cases() -> list[Case]:
    """One that an arm answers with the passage that should have been found, one where no arm does."""
    places = {"bm25": Place(4, 1000), "no pre-training": Place(None, 1000), LONG.format(3): Place(1, 1000)}
    first = [
        Answer({"bm25": 0.25, "no pre-training": 0.0}, "stdlib/heapq.nsmallest", TEXT, 0),
        Answer({LONG.format(3): 1.0}, "stdlib/sorted", TEXT, 1, places),
    ]
    missed = {"bm25": Place(None, 0), "no pre-training": Place(17, 1000), LONG.format(3): Place(None, 1000)}
    second = [
        Answer({"bm25": 0.0}, "", "", None),
        Answer({"no pre-training": 0.0, LONG.format(3): 0.0}, "numpy/argsort", TEXT, None),
        Answer({}, "stdlib/list.sort", TEXT, 2, missed),
    ]
    return [
        Case("q1", "how to sort a list", "arms differ most", "RR@10", first),
        Case("q2", "sort in place", "drawn at random", "RR@10", second),
    ]


def daggers() -> Table:
    """Ours with daggers, a mean below a rule."""
    columns = ["arm", Column("Matthews", ".3f", True, "CoLA\n1,043 examples"),
               Column("accuracy", ".3f", True, "QQP\n40,430"), Column("F1", ".3f", True, "QQP\n40,430")]  # fmt: skip
    rows = [["no pre-training", 0.55, Mean(0.89, 0.002, 3), 0.87], ["retromae", 0.59, Mean(0.91, 0.001, 3), 0.88],
            ["mean", 0.57, 0.9, 0.875]]  # fmt: skip
    return Table(
        "Understanding (GLUE)", columns, rows, [(1, 2, DIFFERS), (2, 0, SUMMARY)], ["Measured on dev."]
    ).with_best()


def kinds() -> Table:
    """Numbers of several kinds, some of them missing, and code."""
    columns = ["arm", Column("seconds", ",.0f", False), Column("device hours", ".2f"), Column("command", code=True)]
    rows = [["none", 1234.5, 0.34, COMMAND], ["retromae", 98765.4, None, COMMAND], ["simlm", FAILED, "", COMMAND],
            ["mlm", 7.1, 0.002, ""]]  # fmt: skip
    return Table("Numbers", columns, rows)


def printed() -> Table:
    """A paper's table: ours, below it the paper's, what failed, what was not run, and a reference below a rule."""
    columns = ["row", *(Column(f"collection {i}\nRR@10", ".1f", True) for i in range(12))]
    rows = [
        ["RetroMAE", *[Mean(41.2, 0.31, 2)] * 6, *[40.1] * 6], [PAPER, *[41.6] * 12],
        ["CDMAE", *[FAILED] * 12], [PAPER, *[42.1] * 12],
        ["MASTER", *[NOT_RUN] * 12],
        ["ColBERT (reference)", *[36.0] * 12],
    ]  # fmt: skip
    marks = [(1, 0, PAPER), (3, 0, PAPER), (5, 0, REFERENCE), (5, 0, SUMMARY)]
    return Table("Table 6 of RetroMAE (%)", columns, rows, marks, ["ColBERT: the paper's values alone."]).with_best()


def verdicts() -> Table:
    columns = ["row", Column("ours", ".1f"), Column("paper", ".1f"), Column("difference", "+.1f"), "verdict"]
    rows = [
        ["RetroMAE", 41.2, 41.6, -0.4, "OK"], ["DupMAE", 40.9, 42.1, -1.2, "OKish"],
        ["SimLM", 36.0, 41.1, -5.1, "FAIL"], ["MASTER", 20.0, 41.5, "", "not comparable: scale=laptop"],
        ["CDMAE", FAILED, 42.1, "", FAILED],
    ]  # fmt: skip
    return Table(
        "Table 6, value by value", columns, rows, notes=["OK: within 0.5 points. Kendall's τ over 3 rows: 1.00."]
    )


def jobs() -> Table:
    columns = ["job", "state", Column("exit code", "d"), Column("seconds", ",.1f"), "varies"]
    rows = [["0", "done", 0, 120.0, "decoders.enhanced.mask.rate=0.3"],
            ["1", "failed", 1, 3.0, "decoders.enhanced.mask.rate=0.5\nRuntimeError: CUDA out of memory, tried 20 GiB"],
            ["2", "interrupted", "", 40.0, "decoders.enhanced.mask.rate=0.7"],
            ["3", "not started", "", "", "decoders.enhanced.mask.rate=0.9"]]  # fmt: skip
    return Table("Jobs", columns, rows)


def diagnosis() -> Diagnosis:
    columns = ["step 20", Column("hidden", ".1%"), Column("saved", ".3f")]
    rows = [["encoder", 0.3, ""], ["enhanced", 0.5, 0.12], ["all words", "", ""]]
    lines = {"own": [(1, 3.0), (9, 2.0)], "other": [(1, 3.0), (9, 2.8)]}
    return Diagnosis("all jobs", [Curve("Does the decoder need the vector?", lines, linear=True)],
                     Table("Pre-training (all jobs)", columns, rows, [(2, 0, SUMMARY)]))  # fmt: skip
