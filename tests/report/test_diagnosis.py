"""From logged numbers to figures and the table."""

from bmae_lightning.report.diagnosis import diagnosis
from bmae_lightning.runtime.table import SUMMARY


def line(step, look=True, **more):
    """A logged step of a model with the encoder's loss, a decoder and a bag of words."""
    values = {"step": step, "loss/encoder/passage": 3.0, "loss/enhanced": 5.0, "loss/bag": 2.0, "loss": 10.0}
    values |= {"mask_rate/encoder/passage": 0.3 + step / 1000, "mask_rate/enhanced": 0.5, "mask_rate/bag": 0.0}
    if look:
        values |= {
            "bottleneck/enhanced/true": 5.0,
            "bottleneck/enhanced/shuffled": 5.25,
            "bottleneck/enhanced/zero": 5.5,
        }
        values |= {"gradient_share/encoder/passage": 0.5, "gradient_share/enhanced": 0.3, "gradient_share/bag": 0.2}
        values |= {"function_words/encoder/passage": 0.4, "function_words/enhanced": 0.2, "function_words/text": 0.35}
    return values | more


def test_figures():
    lines = [line(1, **{"bottleneck/enhanced/shuffled": 5.0}), line(2, look=False), line(3)]
    saved, losses, shares = diagnosis("retromae", lines).curves
    assert saved.series == {"enhanced": [(1, 0.0), (3, 0.25)]}
    assert list(losses.series) == ["true", "shuffled", "zero"]
    assert losses.series["shuffled"] == [(1, 5.0), (3, 5.25)]
    assert "enhanced" in losses.title
    assert shares.series == {
        "encoder/passage": [(1, 0.5), (3, 0.5)], "enhanced": [(1, 0.3), (3, 0.3)], "bag": [(1, 0.2), (3, 0.2)],
    }  # fmt: skip
    assert shares.linear


def test_the_table_has_the_last_look_and_means_of_what_is_hidden():
    lines = [
        line(0, **{"function_words/enhanced": 0.4, "bottleneck/enhanced/true": 9.0}),
        line(100, look=False),
        line(200),
    ]
    table = diagnosis("retromae", lines).table
    assert table.columns[0].name == "step 200"
    assert [table.cells(row) for row in range(3)] == [
        ["encoder/passage", "40.0 %", "40.0 %", "", "", "", "", "50.0 %"],
        ["enhanced", "50.0 %", "30.0 %", "5.000", "5.250", "5.500", "0.250", "30.0 %"],
        ["bag", "0.0 %", "", "", "", "", "", "20.0 %"],
    ]
    assert [table.cells(row) for row in table.marked(SUMMARY)] == [["all words", "", "35.0 %", "", "", "", "", ""]]


def test_texts_of_other_streams():
    found = diagnosis("x", [line(1, **{"function_words/text/queries": 0.1})])
    assert [row[0] for row in found.table.rows[3:]] == ["all words", "all words (queries)"]
    assert found.table.marked(SUMMARY) == [3]


def test_a_batch_of_one_has_no_shuffled_loss():
    single = line(1)
    del single["bottleneck/enhanced/shuffled"]
    found = diagnosis("x", [single])
    assert found.table.cells(1)[3:7] == ["5.000", "", "5.500", ""]
    assert [list(curve.series) for curve in found.curves if "true" in curve.series] == [["true", "zero"]]


def test_one_loss_has_no_shares_to_draw():
    found = diagnosis("x", [{"step": 1, "loss/encoder/passage": 3.0, "gradient_share/encoder/passage": 1.0}])
    assert found.curves == []
    assert found.table.cells(0) == ["encoder/passage", "", "", "", "", "", "", "100.0 %"]
    assert len(found.table.rows) == 1


def test_nothing_was_looked_at():
    assert diagnosis("x", [line(1, look=False)]) is None
    assert diagnosis("x", []) is None
