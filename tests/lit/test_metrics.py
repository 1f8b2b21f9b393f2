"""metrics.jsonl holds exact means over micro-batches, the asked-for steps, nothing of steps that are made again."""

import pytest
from support.regression import At, Regression, lines, train

from bmae_lightning.lit.metrics import StepMetrics
from bmae_lightning.lit.metrics_file import read_metrics
from bmae_lightning.runtime.errors import BadInput


def test_the_loss_is_the_weighted_sum_of_the_means(tmp_path):
    train(tmp_path)
    for line in lines(tmp_path):
        assert line["loss"] == pytest.approx(line["loss/square"] + 0.5 * line["loss/size"])


def test_micro_batches_log_what_one_batch_logs(tmp_path):
    train(tmp_path / "one", Regression(dropout=0.0))
    train(tmp_path / "two", Regression(dropout=0.0), accumulate_grad_batches=2)
    for one, two in zip(lines(tmp_path / "one"), lines(tmp_path / "two"), strict=True):
        assert two == pytest.approx(one, abs=1e-6)


def test_every_fourth_line_the_last_one_and_those_with_something_to_say(tmp_path):
    module = Regression()
    train(tmp_path, module, [At(3, lambda: module.once.update({"validation/RR@10": 0.25}))], log_every=4)
    found = lines(tmp_path)
    assert [line["step"] for line in found] == [3, 4, 6]
    assert [line.get("validation/RR@10") for line in found] == [0.25, None, None]
    assert read_metrics(tmp_path / "metrics.jsonl")[-1]["step"] == 6


def test_lines_count_their_own_step_alone(tmp_path):
    train(tmp_path / "all")
    train(tmp_path / "some", log_every=3)
    wanted = {line["step"]: line for line in lines(tmp_path / "all")}
    assert lines(tmp_path / "some") == [wanted[3], wanted[6]]


def test_the_learning_rate_is_that_of_the_next_step(tmp_path):
    train(tmp_path)
    assert [line["lr"] for line in lines(tmp_path)] == pytest.approx([0.1, 0.08, 0.06, 0.04, 0.02, 0.0])


def test_a_loss_that_is_no_number_ends_the_run_at_its_step(tmp_path):
    module = Regression()

    def spoil():
        module.parts["loss/size"] = (module.count(1) * float("nan"), module.count(1))

    with pytest.raises(BadInput, match=r"regression: the loss is nan at step 2; lower lr or use trainer\.precision"):
        train(tmp_path, module, [At(2, spoil)])
    assert [line["step"] for line in lines(tmp_path)] == [1]


def test_half_a_line_and_later_steps_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "loss": 1.0}\n{"step": 4, "loss": 1.0}\n{"step": 5, "lo')
    train(tmp_path)
    assert [line["step"] for line in lines(tmp_path)] == [0, 1, 2, 3, 4, 5, 6]


def test_the_progress_counts_items(tmp_path, capfd):
    train(tmp_path)
    assert "24/24 rows" in capfd.readouterr().err
    assert StepMetrics(tmp_path / "x", "label", 6, 4, 1, "rows").means == {}
