"""Every mistake of a user: one line that names file, line or key, exit code 2, no traceback, nothing overwritten."""

import json
import resource
import shutil

import pytest


def error_line(output: str) -> str:
    """The one line of the error."""
    assert "Traceback" not in output, output
    lines = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, output
    assert output.splitlines()[-1] == lines[0], output
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pretrain.stps=3"], ["'pretrain.stps'", "did you mean 'pretrain.steps'?"]),
        (["decoders=[shalow]"], ["decoders=shalow", "did you mean 'shallow'?"]),
        (["encoder=mimilm"], ["encoder=mimilm", "did you mean 'minilm'?"]),
        (["decoders.enhancd.layers=2"], ["did you mean 'decoders.enhanced.layers'?"]),
        (["stage=[pretrian]"], ["stage=pretrian", "did you mean 'pretrain'?"]),
        (["pretrain.steps=["], ["pretrain.steps=["]),
        (["corpus.path=nosuch"], ["nosuch does not exist"]),
        (["decoders.enhanced.mask.rate=1.0"], ["decoders.enhanced.mask", "(0, 1)", "1.0"]),
        (["view.passage.mask.rate=0"], ["view.passage.mask", "(0, 1)"]),
        (["decoders.enhanced.layers=2"], ["decoders.enhanced", "layers must be 1"]),
        (["decoders.enhanced.view=half"], ["decoders.enhanced.view", "'half'", "passage"]),
        (["decoders=[skip]", "decoders.skip.skip_from=2"], ["decoders.skip", "skip_from=2", "depth of 2"]),
        (["decoders=[shallow]", "decoders.shallow.layers=3", "decoders.shallow.init=last_layers"], ["lower layers"]),
        (
            ["decoders=[shallow]", "mask@decoders.shallow.mask=complement", "decoders.shallow.span=second_half"],
            ["decoders.shallow.mask", "passage/second_half"],
        ),
        (
            ["decoders=[shallow]", "mask@decoders.shallow.mask=superset", "decoders.shallow.mask.rate=0.2"],
            ["decoders.shallow.mask", "0.2 is below encoder_rate 0.3"],
        ),
        (["pretrain.length=200"], ["pretrain.length=200", "128 positions"]),
        (["decoders=[queries]", "+pretrain.inputs.generate=null"], ["decoders.queries", "`generate`", "requires:"]),
        (
            ["mask@decoders.enhanced.mask=importance", "+pretrain.inputs.statistics=null"],
            ["decoders.enhanced.mask", "importance", "`statistics`", "requires: {statistics: statistics}"],
        ),
        (["decoders.enhanced.stream=neighbor"], ["decoders.enhanced.stream=neighbor", "did you mean 'neighbour'?"]),
        (["decoders=[]", "objective=none"], ["nothing would be learned"]),
        (["decoders=[shallow]", "+decoders.enhanced.layers=1"], ["decoders.enhanced", "not selected", "decoders=["]),
        (["pretrain.crop=left"], ["crop must be one of right, window"]),
        (["+decoders.enhanced.depth=2"], ["decoders.enhanced.depth"]),
        (["+decoders.enhnced.layers=1"], ["decoders.enhnced", "did you mean 'enhanced'?"]),
        (["pretrain.steps=many"], ["pretrain.steps", "'many'"]),
        (["pretrain.steps=null"], ["pretrain", "either steps or epochs"]),
        (["trainer=gpu"], ["trainer.accelerator=gpu", "trainer=cpu"]),
        (["pretrain.batch_size=7", "trainer.accumulate_grad_batches=2"], ["pretrain.batch_size=7"]),
        (["measures=[RR@10,Foo@3]"], ["'Foo@3'", "nDCG@10"]),
        (["encoder=hf", "encoder.name=/nonexistent/model"], ["encoder.name=/nonexistent/model", "DIR"]),
        (["pretrain.decoders_from=none.safetensors"], ["pretrain.decoders_from=none.safetensors"]),
        (["pretrain.diagnostics.every=-1"], ["pretrain", "diagnostics", "{'every': -1}"]),
        (
            ["paper_results={msmarco/dev: {evaluate: {RR@10: 35.5}}}"],
            ["paper_results.msmarco/dev.evaluate.RR@10", "35.5"],
        ),
        (["paper_results={msmarco/dev: {evaluate: {MRR10: 0.355}}}"], ["'MRR10'", "nDCG@10"]),
        (
            ["paper_results={nq/test: {evaluate_destilled: {RR@10: 0.4}}}"],
            ["paper_results.nq/test.evaluate_destilled", "did you mean 'evaluate_distilled'?"],
        ),
        (["paper_results={RR@10: 0.355}"], ["paper_results.RR@10", "collection/split", "{msmarco/dev: {evaluate: {RR"]),
        (["evaluate.splits=[dev]"], ["split 'dev'", "train, test"]),
        (["retriever1.validation.patience=2"], ["retriever1.validation", "set every"]),
        (["retriever1.validation={every: 2, split: dev}"], ["retriever1.validation.split", "'dev'", "train, test"]),
        (["representation=mean"], ["representation", "'mean'", "'cls'"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and "=" in value[0] else None,
)
def test_options(cli_here, arguments, words):
    if arguments == ["trainer=gpu"]:
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a GPU here, so asking for one is no mistake")
    line = error_line(cli_here(*arguments, "logger=none", code=2))
    assert all(word in line for word in words), line


def test_the_command_itself(cli):
    """The cases of this file that end before training run in the test's process; here is one that does not."""
    line = error_line(cli("pretrain.stps=3", "logger=none", code=2))
    assert "did you mean 'pretrain.steps'?" in line


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("corpus.jsonl", lambda text: "", ["corpus.jsonl", "empty"]),
        ("corpus.jsonl", lambda text: text + '{"_id": "x", ', ["corpus.jsonl:61", "JSON"]),
        ("corpus.jsonl", lambda text: text + '{"_id": "p3", "text": "again"}\n', ["corpus.jsonl:61", "'p3'", "unique"]),
        ("corpus.jsonl", lambda text: text + '{"_id": "x"}\n', ["corpus.jsonl:61", "'x'", "text"]),
        ("qrels/test.tsv", lambda text: text + "q1\tnosuch\t1\n", ["qrels/test.tsv:22", "'nosuch'"]),
        ("qrels/test.tsv", lambda text: text + "nosuch\tp1\t1\n", ["qrels/test.tsv:22", "'nosuch'"]),
        ("qrels/test.tsv", lambda text: text.splitlines()[0] + "\n", ["qrels/test.tsv", "no judgments"]),
        ("qrels/train.tsv", lambda text: text.replace("\t1\n", "\t0\n"), ["qrels/train.tsv", "only scores of 0"]),
        ("qrels/test.tsv", None, ["'test'", "there is train"]),
        ("qrels/train.tsv", None, ["'train'", "there is test"]),
        ("queries.jsonl", None, ["queries.jsonl"]),
        (
            "queries.jsonl",
            lambda text: text + '{"_id": "q99", "text": " "}\n',
            ["queries.jsonl:61", "'q99' has no text"],
        ),
    ],
)
def test_collections(cli_here, tmp_path, collection, file, change, words):
    broken = tmp_path / "broken"
    shutil.copytree(collection, broken)
    if change is None:
        (broken / file).unlink()
    else:
        (broken / file).write_text(change((broken / file).read_text()))
    before = {path: path.read_bytes() for path in broken.rglob("*") if path.is_file()}
    line = error_line(cli_here(f"corpus.path={broken}", "logger=none", code=2))
    assert all(word in line for word in words), line
    assert before == {path: path.read_bytes() for path in broken.rglob("*") if path.is_file()}


def test_negatives_that_the_corpus_does_not_have(cli_here, tmp_path):
    path = tmp_path / "negatives.trec"
    path.write_text("q3 Q0 p8 1 9 x\nq3 Q0 p77 2 8 x\n")
    out = cli_here("pretrain.steps=1", "negatives=file", f"negatives.path={path}", "logger=none", code=2)
    assert f"{path}: query q3 lists the passage 'p77', which the corpus does not have" in error_line(out)
    assert "] prepare: done" in out
    assert "] pretrain" not in out  # nothing is trained before it is found


def test_a_full_disk_keeps_what_is_finished(cli, tmp_path):
    cli("stage=[prepare]", "logger=none")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    line = error_line(cli("logger=none", "stage=[prepare,pretrain]", code=2, preexec_fn=limit))
    assert "disk full while pretrain" in line
    assert "output_dir=DIR" in line
    output = cli("stage=[prepare,pretrain]", "logger=none")
    assert "prepare: skipped" in output
    assert "pretrain (retromae): done in" in output


def test_a_checkpoint_of_another_architecture(cli, tmp_path):
    cli("stage=[prepare,pretrain]", "logger=none")
    directory = next((tmp_path / "outputs" / "store").glob("pretrain-*/done")).parent
    weights = f"pretrain.decoders_from={directory / 'decoders.safetensors'}"
    line = error_line(cli("stage=[prepare,pretrain]", "logger=none", "encoder.width=16", weights, code=2))
    assert "another architecture" in line
    assert "(1000, 32)" in line or "32" in line
    model = tmp_path / "model"
    shutil.copytree(directory / "encoder", model)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"hidden_size": 48, "num_attention_heads": 4}))
    line = error_line(cli("stage=[prepare,pretrain]", "logger=none", "encoder=hf", f"encoder.name={model}", code=2))
    assert "another architecture than its config.json" in line
    assert str(model) in line
