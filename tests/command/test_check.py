"""`check=true`: what jobs would take is told, nothing runs and nothing is written."""

import re
import tempfile

import pytest
from support import quick_hydra
from support.compose import composed

from bmae_lightning.encoder import checkpoint
from bmae_lightning.encoder.checkpoint import find_checkpoint, without_downloads
from bmae_lightning.report.comparison import CHECKED
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.cost import Sizes
from bmae_lightning.runtime.errors import Absent


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    quick_hydra.quicken(monkeypatch)


def row(output: str, name: str) -> list[str]:
    """The numbers of a row of the table."""
    (line,) = (line for line in output.splitlines() if line.startswith(f"{name} "))
    return line.removeprefix(name).split()


def test_a_sweep_tells_what_it_would_take_and_counts_shared_stages_once(
    cli_here, tmp_path, tmp_path_factory, monkeypatch
):
    made = tmp_path_factory.mktemp("made")
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    steps = ["pretrain.steps=100000", "retriever1.steps=50000"]
    output = cli_here("-m", "decoders.enhanced.mask.rate=0.3,0.5", *steps, "check=true")
    assert not list(tmp_path.iterdir())
    assert not list(made.glob(f"{CHECKED}*"))
    assert "started in" not in output
    group = composed("+experiment=retromae")["retriever1"]["train_group_size"]
    # prepare, bm25, pretrain, two retrievers with their evaluation, report
    rows = [line.split()[1:8] for line in output.splitlines() if line.startswith("retromae ")]
    assert rows == [["8", "0", "100,000", "0.8", "100,000", f"{0.8 * group:.1f}", "0.0"]] * 2
    (total,) = (line.split()[-9:] for line in output.splitlines() if line.startswith("all, shared stages"))
    # prepare, bm25 and the arm without pre-training are shared: 4 of 8 stages, one of two fine-tunings
    assert total[:6] == ["12", "0", "200,000", "1.6", "150,000", f"{1.2 * group:.1f}"]
    assert "2 jobs plan 16 stages, 12 of them distinct, 0 done" in output
    assert "prepare, counted in the files: 60 passages (37 word pieces each), 40 queries of train, 20" in output


def test_finished_stages_are_told_and_cost_nothing(cli_here):
    cli_here("stage=[prepare]")
    output = cli_here("check=true")
    assert row(output, "retromae")[:2] == ["8", "1"]
    assert re.search(r"prepare, prepared: 60 passages \(\d+ word pieces each\), 40 queries of train, 20", output)


def test_a_wrong_job_is_told_and_the_others_are_counted(cli_here):
    output = cli_here("-m", "pretrain.length=64,1000", "check=true", code=2)
    assert "error: pretrain.length=1000: the encoder has only 128 positions" in output
    assert row(output, "retromae")[0] == "8"


def test_collections_that_are_not_there_are_as_published_and_to_be_downloaded(here, tmp_path):
    paper = ["scale=paper", "recipe=retromae_dpr", "baseline=false", "check=true"]
    output = here("-m", "+experiment=retromae,simlm", "corpus=msmarco", *paper)
    assert row(output, "simlm")[2:4] == ["80,000", "163.8"]
    assert "prepare, as published: 8,841,823 passages (full length is assumed), 502,939 queries of train" in output
    assert "To be downloaded: msmarco (prepare.corpus)." in output
    assert not list(tmp_path.iterdir())
    output = here("+experiment=retromae", "corpus=nq", "collections.nq=nowhere", "general=only", *paper)
    assert "To be downloaded: a general collection (prepare_general.corpus)." in output
    assert "Not wholly counted, as the size of a collection is unknown: prepare_general, pretrain." in output
    assert float(row(output, "retromae")[7]) > 1


def test_a_mistake_of_several_jobs_is_told_once_and_rows_are_called_as_printed(here, collection):
    corpus = ["corpus=beir", f"corpus.path={collection}"]
    names = "paper_row={label: As printed, system: a, from: null}"
    output = here("-m", "+experiment=retromae", "pretrain.length=1000,64", "seed=1,2", "encoder=tiny", *corpus, names,
                  "check=true", code=2)  # fmt: skip
    assert output.count("error: pretrain.length=1000") == 1
    assert len(re.findall("^As printed", output, re.MULTILINE)) == 2


def test_devices_of_another_machine_do_not_matter_but_the_batch_must_fit_them(cli_here):
    cli_here("trainer=ddp", "trainer.devices=4", "check=true")
    output = cli_here("trainer=ddp", "trainer.devices=3", "check=true", code=2)
    assert "pretrain.batch_size=8 must be a multiple of devices" in output


def test_what_must_be_downloaded_is_listed_and_not_asked_for(here, collection, monkeypatch):
    asked = []

    def download(name, local_files_only=False, **_):
        asked.append(local_files_only)
        raise OSError("not in the cache")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    output = here(
        "+experiment=simlm", "scale=paper", "corpus=beir", f"corpus.path={collection}", "compare=[some/retriever]",
        f"suite.collections=[{collection}]", "check=true",
    )  # fmt: skip
    found = dict(re.findall(r"^To be downloaded: (\S+) \((.+)\)\.$", output, re.MULTILINE))
    assert found == {
        "google-bert/bert-base-uncased": "prepare.tokenizer.name",
        "google/electra-base-discriminator": "reranker.backbone",
        "google/electra-base-generator": "pretrain.generator.name",
        "some/retriever": "external.model",
    }
    assert "Not wholly checked before that is there: prepare, pretrain, reranker, external, suite." in output
    assert asked
    assert all(asked)


def test_downloads_are_off_in_the_block_only(monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: f"/{name}")
    assert str(find_checkpoint("a/b")) == "/a/b"

    def absent(*_, local_files_only, **__):
        raise OSError(str(local_files_only))

    monkeypatch.setattr("huggingface_hub.snapshot_download", absent)
    with without_downloads(), pytest.raises(Absent, match="encoder.name=a/b is not on this machine yet"):
        find_checkpoint("a/b")
    with pytest.raises(checkpoint.BadInput, match="the Hugging Face hub did not give it"):
        find_checkpoint("a/b")


WEIGHTS = 2 * 12 * 32**2
"""Of the layers of encoder=tiny."""


def test_stages_count_the_tokens_that_pass_their_weights(cli_here):
    """Operations of the stages, told as hours of a GPU that does a tenth of a million million of them in an hour."""
    slow = "check_tflops=" + format(0.1 / 3600, ".12f")
    group, pieces = composed("+experiment=retromae")["retriever1"]["train_group_size"], 37

    def hours(*overrides: str) -> float:
        output = cli_here(*overrides, "baseline=false", "check=true", slow)
        return float(row(output, "retromae")[7].replace(",", ""))

    texts = 400 * 8
    head = 32 * 1000
    pretraining = 6 * texts * pieces * (WEIGHTS + 12 * 32**2 + 2 * head)
    assert hours("stage=[pretrain]", "pretrain.steps=400") == pytest.approx(pretraining / 1e11, abs=0.06)
    learning = 6 * (texts * 32 + texts * group * pieces) * WEIGHTS
    both = hours("stage=[retriever1]", "pretrain.steps=400", "retriever1.steps=400")
    assert both == pytest.approx((pretraining + learning) / 1e11, abs=0.06)


def test_a_decoder_over_the_vocabulary_counts_its_map_whatever_head_it_has(here, collection):
    options = ["corpus=beir", f"corpus.path={collection}", "encoder=tiny", "stage=[pretrain]", "pretrain.steps=1000"]
    options += ["baseline=false", "check=true", "check_tflops=1e-6"]
    hours = {name: float(row(here(f"+experiment={name}", *options), name)[7]) for name in ("retromae", "dupmae")}
    head = 6 * 1000 * 32 * 37 * 32 * 1000 / (1e6 * 3600)
    assert hours["dupmae"] - hours["retromae"] == pytest.approx(head, abs=0.11)


def test_teachers_that_write_texts_are_counted(here, collection):
    corpus = ["corpus=beir", f"corpus.path={collection}"]
    output = here("+experiment=master", "encoder=tiny", *corpus, "stage=[generate]", "check=true", "check_tflops=1e-6")
    assert float(row(output, "master")[7]) > 0


SIMLM_FLOPS = 2.45e19
"""SimLM's pre-training, 80,000 steps of 2,048 texts of 144: 149.5 GFLOP a text with both heads at all positions and two
passes of the generator, and with two things that the estimate leaves out: the square of attention (2 %), and the
generator's projection to 768 (6 %)."""


def test_the_operations_of_simlms_pre_training_are_those_counted_by_hand():
    config = composed("scale=paper", "corpus=beir", "corpus.path=x", "+experiment=simlm")
    generator = {"generator": config["generator"]}
    planning = ("inputs", "rung", "requires")
    node = {key: value for key, value in config["pretrain"].items() if key not in planning} | generator
    for part in (node["view"]["passage"], node["decoders"]["shallow"]):
        part["corruption"].pop("requires", None)
    with without_downloads():
        found = build(node, "pretrain").cost(Sizes(8_841_823, 300), {})
    assert (found.pretrain_steps, found.pretrain_passages) == (80_000, 80_000 * 2048)
    assert found.flops == pytest.approx(SIMLM_FLOPS, rel=0.1)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("general.corpus=DIR", "corpus@general.corpus=files general.corpus.path=DIR"),
        ("check=perhaps", "check=perhaps must be true or false"),
        ("fail_fast=maybe", "fail_fast=maybe must be true or false"),
        ("check_tflops=0", "check_tflops=0 must be a number above 0"),
    ],
)
def test_values_of_another_kind_are_refused(cli, override, words):
    assert words in cli(override, code=2)


def test_what_would_be_refused_once_the_files_are_there_is_refused_before(here):
    output = here("+experiment=master", "corpus=msmarco", "corpus.path=/nowhere", "check=true", code=2)
    assert "corpus.documents=FILE" in output
    output = here("+experiment=retromae", "corpus=msmarco", "corpus.path=/nowhere", "check=true")
    assert "To be downloaded: msmarco (/nowhere is not there) (prepare.corpus)." in output
