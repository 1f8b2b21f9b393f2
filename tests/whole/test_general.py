"""Pre-training as a chain: on a general collection, then on the collection at hand, by command and by composition."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import quick_hydra
from support.command import TINY, write_collection
from support.compose import composed
from support.power_cuts import power_cut

RUN = [
    "pretrain.steps=2", "pretrain.checkpoint.every_steps=1", "retriever1.steps=1", "logger=none",
    "encoder.dropout=0.1",
]  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    quick_hydra.quicken(monkeypatch)


@pytest.fixture(scope="module")
def general(tmp_path_factory) -> list[str]:
    """Overrides that give a general collection: texts alone, without queries."""
    directory = tmp_path_factory.mktemp("general")
    texts = (write_collection(directory / "beir", 40) / "corpus.jsonl").read_text().splitlines()
    lines = [f"g{number}\t{json.loads(line)['text']} generally\n" for number, line in enumerate(texts)]
    (directory / "passages.tsv").write_text("".join(lines))
    return ["corpus@general.corpus=files", f"general.corpus.path={directory}"]


def weights(output_dir: Path, output: str, stage: str) -> dict[str, torch.Tensor]:
    """Of the encoder that a stage of a run left."""
    place = Path(re.search(rf"\] {re.escape(stage)}: \w+(?:, done)? in (\S+)", output)[1])
    assert place.parent == output_dir / "store"
    return load_file(place / "encoder" / "model.safetensors")


def started(output: str) -> list[str]:
    return re.findall(r"\] (\w+(?: \(\w+\))?): started", output)


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


ARM = "pretrain (retromae)"


def test_the_chain_runs_and_a_killed_one_continues(cli_here, general, tmp_path, monkeypatch):
    output = cli_here(*RUN, *general)
    store = tmp_path / "outputs" / "store"
    assert started(output)[:4] == ["prepare", "prepare_general", "pretrain_general", ARM]
    (report,) = store.glob("report-*/report.json")
    page = json.loads(report.read_text())
    titles = [curve["title"] for curve in page["curves"]]
    assert titles[:2] == ["Pre-training (general)", "Pre-training (retromae)"]
    assert page["settings"]["general corpus"].endswith("40 passages (titles: prepend), 0 queries")

    only = ["stage=[pretrain]", "baseline=false"]
    still = cli_here(*RUN, *general, *only, "pretrain.lr=0.0", "pretrain_general.lr=5e-5")
    assert started(still) == [ARM], "the general stage is the same as before"
    before = weights(tmp_path / "outputs", output, "pretrain_general")
    assert same(before, weights(tmp_path / "outputs", still, ARM)), "where it starts"
    assert not same(before, weights(tmp_path / "outputs", output, ARM))
    other = cli_here(*RUN, *general, *only, "pretrain.lr=0.0")
    assert started(other) == ["pretrain_general", ARM], "its budgets follow those of pretrain"
    scratch = cli_here(*RUN, *only, "pretrain.lr=0.0")
    assert started(scratch) == [ARM]
    assert same(weights(tmp_path / "outputs", other, ARM), weights(tmp_path / "outputs", scratch, ARM)), "unmoved"

    with power_cut(monkeypatch, 1):
        cli_here(*RUN, *general, *only, "output_dir=cut")
    cut = cli_here(*RUN, *general, *only, "output_dir=cut")
    assert "] pretrain_general: continued in" in cut
    assert same(weights(tmp_path / "outputs", output, ARM), weights(tmp_path / "cut", cut, ARM))


def test_the_part_that_a_general_collection_has(cli_here, general, tmp_path):
    """That of the whole pre-training; a checkpoint in its place; none."""
    only = [*RUN, "stage=[pretrain]", "baseline=false", "pretrain.lr=0.0", "pretrain_general.lr=5e-5"]
    alone = cli_here(*only, *general, "general=only", "pretrain.lr=5e-5")
    assert started(alone) == ["prepare", "prepare_general", ARM]
    assert started(cli_here(*only, *general)) == ["pretrain_general", ARM]
    (place,) = (tmp_path / "outputs" / "store").glob("pretrain_general-*")
    checkpoint = [f"general.checkpoint={place / 'encoder'}"]
    output = cli_here(*only, *checkpoint)
    assert started(output) == [ARM]
    assert same(load_file(place / "encoder" / "model.safetensors"), weights(tmp_path / "outputs", output, ARM))
    assert started(cli_here(*only, *checkpoint, "general=none")) == [ARM]
    assert started(cli_here(*only, *general, "general=none")) == [], "the same as without a general collection"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["general=only", "scale=paper", "encoder=tiny"], "pretrain needs a general collection: add corpus@general"),
        (["stage=[pretrain_general]"], "pretrain_general needs a general collection: add corpus@general.corpus=files"),
        (["stage=[prepare_general]"], "prepare_general: there is no collection: add corpus@general.corpus=files"),
        (
            ["corpus@general.corpus=files", "general.corpus.path=/no"],
            "general.corpus: /no does not exist: give general.corpus.path=DIR",
        ),
        (
            ["GENERAL", "mask@decoders.enhanced.mask=importance"],
            "the passages of prepare_general are to be pre-trained on, but a mask or decoder needs the stage "
            "`statistics`, which is of prepare: choose others",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_any_stage(cli_here, general, overrides, message, tmp_path):
    named = [part for override in overrides for part in (general if override == "GENERAL" else [override])]
    assert f"error: {message}" in cli_here(*named, "logger=none", code=2)
    assert not (tmp_path / "outputs" / "store").exists()


def test_the_remedy_for_statistics_of_another_collection_works(cli_here, general):
    output = cli_here(
        *RUN, *general, "mask@decoders.enhanced.mask=importance", "decoders@general.decoders=[enhanced]",
        "mask@general.decoders.enhanced.mask=uniform", "stage=[pretrain]", "baseline=false",
    )  # fmt: skip
    assert started(output) == ["prepare", "statistics", "prepare_general", "pretrain_general", ARM]


def test_what_a_chain_would_take_is_told(cli_here, general):
    here = cli_here("check=true", "logger=none", *general, "general.checkpoint=authors/general", "baseline=false")
    assert re.search(r"prepare_general, counted in the files: 40 passages \(\d+ word pieces each\)", here)
    assert "authors/general" not in here, "the general stage is in its place"
    assert "authors/general (pretrain.start)" in cli_here("check=true", "general.checkpoint=authors/general")


BERT, GENERAL = "google-bert/bert-base-uncased", (512, 256, None, 8, 1e-4)
STARTS = {
    "retromae": ("Shitao/RetroMAE", (150, 1024, None, 20, 1e-4)),
    "dupmae": ("Shitao/RetroMAE", (150, 1024, None, 20, 1e-4)),
    "cdmae": ("Shitao/RetroMAE", (150, 2048, 80000, None, 3e-4)),
    "simlm": (None, (144, 2048, 80000, None, 3e-4)),
    "master": (None, (144, 2048, 120000, None, 3e-4)),
}
"""Where pre-training starts at scale=paper, None: from the encoder, and (length, batch, steps, epochs, rate)."""


def budgets(stage: dict) -> tuple:
    return tuple(stage[name] for name in ("length", "batch_size", "steps", "epochs", "lr"))


@pytest.mark.parametrize("experiment", STARTS)
def test_every_method_starts_where_its_paper_says(experiment):
    paper = [f"+experiment={experiment}", "scale=paper", "corpus=beir", "corpus.path=DIR"]
    config = composed(*paper)
    start, wanted = STARTS[experiment]
    assert config["encoder"]["name"] == BERT, "what the arm without pre-training is"
    assert (config["pretrain"]["start"], budgets(config["pretrain"])) == (start, wanted)
    assert budgets(config["pretrain_general"]) == GENERAL
    only = composed(*paper, "general=only")["pretrain"]
    assert (only["start"], only["inputs"]["corpus"], budgets(only)) == (None, "prepare_general", GENERAL)
    none = composed(*paper, "general=none")["pretrain"]
    assert (none["start"], none["inputs"]["encoder"], budgets(none)) == (None, None, wanted)


def test_the_general_stage_is_the_methods_own_or_retromaes():
    found = {name: composed(f"+experiment={name}") for name in ("retromae", "dupmae", "cdmae")}
    for name, decoders in {"retromae": ["enhanced"], "dupmae": ["enhanced", "bag_of_words"]}.items():
        assert list(found[name]["pretrain_general"]["decoders"]) == decoders
        assert found[name]["pretrain_general"]["decoders"] == found[name]["decoders"]
    assert found["cdmae"]["pretrain_general"] == found["retromae"]["pretrain_general"], "one computation"


def test_the_methods_own_can_be_chosen(here, collection, general):
    output = here(
        "+experiment=cdmae", *TINY[1:], f"corpus.path={collection}", *RUN, *general, "view@general.view=[]",
        "decoders@general.decoders=[]", "mask@decoders.shallow.mask=uniform",
        "stage=[pretrain]", "baseline=false",
    )  # fmt: skip
    place = Path(re.search(r"\] pretrain_general: started in (\S+)", output)[1])
    assert list(json.loads((place / "manifest.json").read_text())["config"]["decoders"]) == ["shallow"]
