"""Teacher scores in Parquet: what is written is read by rows of the stores; what is missing or wrong is one line."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.stores import write_store

from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.retrieval.negatives.source import Groups, RankedNegatives
from bmae_lightning.retrieval.reranking.teacher_scores import FILE, TeacherScores, write_teacher_scores
from bmae_lightning.runtime.errors import BadInput


@pytest.fixture
def stores(tmp_path):
    queries, passages = write_store(tmp_path / "queries", [[7]] * 3, ["qa", "qb", "qc"]), [[7]] * 9
    return queries, write_store(tmp_path / "passages", passages, "p")


def write(path, rows):
    queries, passages, scores = zip(*rows, strict=True)
    parts = [(list(queries[:2]), list(passages[:2]), np.array(scores[:2])),
             (list(queries[2:]), list(passages[2:]), np.array(scores[2:]))]  # fmt: skip
    return write_teacher_scores(path, [part for part in parts if len(part[2])])


ROWS = [("qb", "p8", 1.25), ("qb", "p0", -3.5), ("qa", "p8", 0.1), ("qc", "p3", 7.0), ("qa", "p1", 2.0)]


def test_scores_are_found_by_rows(tmp_path, stores):
    assert write(tmp_path / FILE, ROWS) == 5
    teacher = TeacherScores(tmp_path / FILE, *stores)
    assert len(teacher) == 5
    found = teacher.of([1, 0], [[0, 8], [8, 1]])
    assert found.tolist() == [[-3.5, 1.25], [np.float32(0.1), 2.0]]
    assert pq.read_table(tmp_path / FILE).column_names == ["query", "passage", "score"]
    assert not list(tmp_path.glob("*.tmp"))


def test_a_missing_score_names_query_and_passage(tmp_path, stores):
    write(tmp_path / FILE, ROWS)
    teacher = TeacherScores(tmp_path / FILE, *stores)
    for query, passage in ((2, 8), (0, 0), (2, 4)):
        with pytest.raises(BadInput, match=rf"no teacher score of query q{'abc'[query]} and passage p{passage}: give"):
            teacher.of([query], [[passage]])


def test_coverage_is_checked_before_training(tmp_path, stores):
    write(tmp_path / FILE, ROWS)
    teacher = TeacherScores(tmp_path / FILE, *stores)

    def groups(size, run, **options):
        return Groups({"qa": {"p8": 1}}, *stores, RankedNegatives(5, **options), Run(run), size, 0)

    teacher.check(groups(2, {"qa": [("p8", 2.0), ("p1", 1.0)]}))
    with pytest.raises(BadInput, match="query qa and passage p2"):
        teacher.check(groups(2, {"qa": [("p1", 2.0), ("p2", 1.0)]}))
    teacher.check(groups(3, {"qa": [("p1", 2.0)]}, short="repeat"))
    with pytest.raises(BadInput, match="query qa has 0 hard negatives and train_group_size=3 needs 2"):
        teacher.check(groups(3, {}, short="repeat"))
    with pytest.raises(BadInput, match="query qa has 1 hard negatives and train_group_size=3 needs 2"):
        teacher.check(groups(3, {"qa": [("p1", 2.0)]}))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS, ("qa", "p8", 0.2)], "query qa and passage p8 stands twice"),
        ([*ROWS, ("qa", "p2", float("nan"))], "the score of query qa and passage p2 is nan"),
        ([*ROWS, ("qa", "p99", 0.2)], "the id 'p99' is not in the prepared corpus"),
    ],
)
def test_wrong_rows(tmp_path, stores, rows, message):
    write(tmp_path / FILE, rows)
    with pytest.raises(BadInput, match=message):
        TeacherScores(tmp_path / FILE, *stores)


def test_no_file_and_other_files(tmp_path, stores):
    with pytest.raises(BadInput, match="no table of teacher scores"):
        TeacherScores(tmp_path / "absent.parquet", *stores)
    (tmp_path / FILE).write_text("qid\tpid\tscore\n")
    with pytest.raises(BadInput, match="no table of teacher scores"):
        TeacherScores(tmp_path / FILE, *stores)
    pq.write_table(pa.table({"qid": ["qa"], "pid": ["p1"]}), tmp_path / FILE)
    with pytest.raises(BadInput, match="no table of teacher scores .columns query, passage, score."):
        TeacherScores(tmp_path / FILE, *stores)


def test_negatives_near_a_positive_are_left_out(tmp_path, stores):
    rows = [("qa", "p0", 5.0), ("qa", "p1", 4.0), ("qa", "p2", 1.5), ("qa", "p3", 0.9), ("qa", "p4", -2.0)]
    write(tmp_path / FILE, rows)
    run = Run({"qa": [(f"p{i}", 9.0 - i) for i in range(2, 5)]})
    groups = Groups({"qa": {"p0": 1, "p1": 1}}, *stores, RankedNegatives(9, margin=3.0), run, 2, 0)
    teacher = TeacherScores(tmp_path / FILE, *stores)
    assert teacher.denoise(groups, 3.0) == 1
    assert groups.negatives == {"qa": ["p3", "p4"]}
    assert teacher.denoise(groups, 100.0) == 2
    assert groups.short == 1


def test_positives_with_an_answer_are_kept_where_the_teacher_agrees(tmp_path, stores):
    scores = {"p0": 5.0, "p1": 6.0, "p2": 4.5, "p3": 3.0, "p4": 4.0, "p5": 5.0}
    write(tmp_path / FILE, [("qa", passage, score) for passage, score in scores.items()])
    teacher = TeacherScores(tmp_path / FILE, *stores)
    run = Run({"qa": [("p4", 2.0), ("p3", 1.0)]})
    chosen = {"qa": ["p0", "p1", "p2", "p5"]}
    groups = Groups({"qa": {"p0": 1}}, *stores, RankedNegatives(5), run, 2, 0, chosen)
    teacher.choose_positives(groups)
    assert groups.positives == {"qa": ["p0", "p1", "p2", "p5"]}, "all are above the best negative, 4.0"
    chosen = {"qa": ["p3", "p4", "p2", "p5"]}
    run = Run({"qa": [("p0", 2.0), ("p1", 1.0)]})
    groups = Groups({"qa": {"p3": 1}}, *stores, RankedNegatives(5), run, 2, 0, chosen)
    teacher.choose_positives(groups)
    assert groups.positives == {"qa": ["p3", "p4", "p2", "p5"]}, "all score as high as the first, 3.0"
    groups = Groups(
        {"qa": {"p1": 1}}, *stores, RankedNegatives(5), Run({"qa": [("p5", 1.0)]}), 2, 0, {"qa": ["p1", "p0", "p3"]}
    )
    teacher.choose_positives(groups)
    assert groups.positives == {"qa": ["p1"]}, "5.0 and 3.0 are neither above the negative, 5.0, nor the first, 6.0"
    assert groups.known == {"qa": ["p1", "p0", "p3"]}
