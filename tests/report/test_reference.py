"""Which row the others are tested against: by default the arm without pre-training, of each rung and job its own."""

import pytest

from bmae_lightning.report.reference import Candidate, Reference, check_reference, find_reference
from bmae_lightning.runtime.errors import BadInput


def row(name, node, *jobs, known_as=None):
    return Candidate(name, known_as or name, node, frozenset(jobs))


LADDER = [
    row("BM25", "bm25"), row("no pre-training", "evaluate@none"), row("retromae", "evaluate@retromae"),
    row("no pre-training retriever2", "evaluate2@none"), row("retromae retriever2", "evaluate2@retromae"),
    row("simlm-base", "external@simlm-base"),
]  # fmt: skip


def test_every_rung_has_its_own_reference():
    assert find_reference(LADDER, None) == Reference("no pre-training", [
        ("BM25", "no pre-training"), ("retromae", "no pre-training"),
        ("retromae retriever2", "no pre-training retriever2"), ("simlm-base", "no pre-training"),
    ])  # fmt: skip
    assert find_reference(LADDER, "none") == find_reference(LADDER, "no pre-training") == find_reference(LADDER, None)


@pytest.mark.parametrize(
    ("wanted", "name", "of_ladder2"),
    [
        ("bm25", "BM25", "BM25"), ("retromae retriever2", "retromae retriever2", None),
        ("simlm-base", "simlm-base", "simlm-base"),
    ],
)  # fmt: skip
def test_one_row_by_its_name(wanted, name, of_ladder2):
    found = find_reference(LADDER, wanted)
    assert found.name == name
    assert dict(found.pairs).get("retromae retriever2") == of_ladder2
    assert len(found.pairs) == len(LADDER) - 1
    assert {against for _, against in found.pairs} == {name}


def test_all_pairs_where_that_is_asked_or_nothing_else_is_there():
    assert find_reference(LADDER, "all") == Reference()
    assert find_reference(LADDER[:2], None) == Reference(), "no arm with pre-training"
    assert find_reference([LADDER[0], LADDER[2]], None) == Reference(), "none without"
    unknown = find_reference(LADDER, "retromea")
    assert unknown.pairs is None
    assert unknown.unknown == (
        "report.reference=retromea: no row is called so; did you mean 'retromae' (or all, for all pairs); all pairs "
        "were tested"
    )


def test_rows_of_a_sweep_are_tested_against_the_arm_of_their_own_job():
    rows = [
        row("BM25", "bm25", 0, 1, 2),
        *(row(f"no pre-training lr={i}", "evaluate@none", i, known_as="no pre-training") for i in (0, 1)),
        *(row(f"retromae lr={i}", "evaluate@retromae", i, known_as="retromae") for i in (0, 1)),
        row("mlm", "evaluate@mlm", 2),
    ]  # fmt: skip
    found = find_reference(rows, None)
    assert found.name == "no pre-training"
    assert found.pairs == [
        ("BM25", "no pre-training lr=0"), ("retromae lr=0", "no pre-training lr=0"),
        ("retromae lr=1", "no pre-training lr=1"), ("mlm", "no pre-training lr=0"),
    ]  # fmt: skip
    assert {against for _, against in find_reference(rows, "retromae lr=1").pairs} == {"retromae lr=1"}
    assert dict(find_reference(rows, "retromae").pairs)["no pre-training lr=1"] == "retromae lr=1"


def test_a_name_that_no_row_will_have_is_refused_before_anything_runs():
    nodes = ["prepare", "pretrain@retromae", "bm25", "evaluate@none", "evaluate@retromae", "evaluate2@retromae"]
    shown_as = {"bm25": "BM25", "evaluate": "", "evaluate2": "retriever2"}
    for wanted in (None, "all", "none", "retromae", "BM25", "bm25", "RetroMAE retriever2"):
        check_reference(wanted, nodes, shown_as)
    for wanted in ("prepare", "bm26", "retromae retriever3", 3):
        with pytest.raises(BadInput, match=f"^report.reference={wanted}: no row is called so"):
            check_reference(wanted, nodes, shown_as)
    with pytest.raises(BadInput, match="did you mean 'BM25'"):
        check_reference("BM26", nodes, shown_as)
