"""The program: what is composed, what is refused before any stage is planned, and its exit codes."""

import pytest

from bmae_lightning.runtime.errors import EXIT_BAD_INPUT, EXIT_RESUME, Interrupted


@pytest.fixture
def run(here, monkeypatch):
    """Runs the command with something else in the place of the experiment; returns what it printed."""

    def start(experiment, *arguments, code):
        monkeypatch.setattr("bmae_lightning.command.experiment.run_experiment", experiment)
        return here(*arguments, code=code)

    return start


def fails_with(error):
    def experiment(*_):
        raise error

    return experiment


def test_the_experiment_gets_the_composed_configuration(run):
    seen = []
    run(lambda cfg, hydra: seen.append((cfg.seed, list(hydra.overrides.task))), "seed=7", "bm25", code=0)
    assert seen == [(7, ["seed=7", "stage=[bm25]"])]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["evalute"], "error: 'evalute' is neither KEY=VALUE nor a stage; did you mean 'evaluate'?"),
        (["encoder=mimilm"], "error: encoder=mimilm: there is no such option; did you mean 'minilm'?"),
        (["until=retriever1"], "error: unknown option 'until'; use rungs=1 (Retriever 1)"),
    ],
)
def test_a_mistake_in_the_command_is_one_line(run, arguments, line):
    output = run(fails_with(AssertionError("nothing runs")), *arguments, code=EXIT_BAD_INPUT)
    assert output.startswith(line)
    assert output.count("\n") == 1


def test_an_interrupted_run_says_that_it_can_be_continued(run, capfd):
    with pytest.raises(SystemExit) as ended:
        run(fails_with(Interrupted("saved")), code=EXIT_RESUME)
    assert ended.value.code == EXIT_RESUME
    assert capfd.readouterr().out == "saved\n"


def test_ctrl_c_is_one_line(run):
    output = run(fails_with(KeyboardInterrupt()), code=130)
    assert output == "error: stopped by Ctrl-C; run the same command again to continue\n"
