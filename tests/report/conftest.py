"""One report that holds what is hard to show: markup, quotes, a missing value, a tie, a long name, published values."""

import pytest

from bmae_lightning.evaluation.measure.significance import Difference
from bmae_lightning.report.content import Answer, Arm, Case, Curve, Diagnosis, Report, Sample
from bmae_lightning.runtime.table import SUMMARY, Column, Table

LONG = "retromae decoders.enhanced.mask.rate=0.3"


@pytest.fixture
def report() -> Report:
    return Report(
        title="RetroMAE & <friends>",
        subtitle="test split, 'quoted' \"twice\"",
        arms=[
            Arm("BM25", {"RR@10": 0.49121, "nDCG@10": 0.53214, "R@100": 0.861, "P@5": 0.2}, 208, "k1=0.9 <b>"),
            Arm("no pre-training", {"nDCG@10": 0.5512, "RR@10": 0.5034, "R@100": float("nan")}, 208),
            Arm(
                LONG,
                {"nDCG@10": 0.55122, "RR@10": 0.5123, "R@100": 0.891, "P@5": 0.2},
                208,
                paper={"RR@10": 0.416},
                paper_source="Table <6>",
            ),
        ],
        curves=[
            Curve("pre-training", {"total <x>": [(1, 9.0), (2, 8.0)], "encoder": [(1, 5.0), (2, float("inf"))]}),
            Curve("fine-tuning", {LONG: [(step, 3.0 / (step + 1)) for step in range(1000)]}),
        ],
        samples=[
            Sample(
                "the cat sat on a <mat> &", "the [MASK] sat on [MASK] <mat> &", {"enhanced": "the dog sat on a <mat> &"}
            )
        ],
        settings={"encoder.name": "MiniLM", "corpus.path": "<script>alert(1)</script>"},
        notes=["small & noisy: see https://example.org/x"],
        diagnoses=[
            Diagnosis(
                arm="retromae <b>",
                curves=[Curve("Who moves <it>?", {"encoder": [(1, 0.9)], "enhanced": [(1, 0.1)]}, linear=True)],
                table=Table(
                    "Pre-training (retromae <b>)",
                    ["step 20", Column("hidden", ".1%"), Column("saved", ".3f")],
                    [["encoder", 0.3, ""], ["enhanced <x>", 0.5, 0.12], ["all words", "", ""]],
                    [(2, 0, SUMMARY)],
                ),
            )
        ],
        tested={"test": ["RR@10"]},
        differences=[Difference("RR@10", LONG, "BM25", 208, 0.0211, 0.04, 0.12, 0.05, 0.15, "test")],
        cases=[
            Case(
                "q7",
                "who is <she>?",
                "arms differ most",
                "RR@10",
                [
                    Answer({"BM25": 0.0, "no pre-training": 0.5}, "p<1>", "nobody & nothing", 0),
                    Answer({LONG: 1.0}, "p2", "<script>alert(2)</script>", 1),
                ],
            )
        ],
    )
