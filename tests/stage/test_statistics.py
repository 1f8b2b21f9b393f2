"""The stage on a prepared collection, what pre-training opens of it, and how YAMLs pull it in."""

import json

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from support.masks import select
from support.stages import context, prepare

from bmae_lightning.command.plan import read_entry
from bmae_lightning.corpus.statistics.write import Statistics
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.mask.importance import ImportanceMask
from bmae_lightning.pretraining.mask.keyword import KeywordMask
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.runtime.configuration import build, config_directory
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.fingerprint import fingerprint
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.statistics import CorpusStatistics


@pytest.fixture(scope="module")
def prepared(collection, tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("statistics") / "prepare", collection, 200)


def test_writes_values_for_every_token_and_what_the_report_reads(prepared, tmp_path, capsys):
    CorpusStatistics().run(context(tmp_path / "s", "statistics", corpus=prepared))
    store = Prepared(prepared).passages()
    statistics = Statistics(tmp_path / "s", store)
    for name in statistics.names:
        assert len(statistics[name]) == len(store.tokens) > 1000
        assert np.isfinite(statistics[name]).all()
        assert len(np.unique(statistics[name])) >= 10
    metrics = json.loads((tmp_path / "s" / "metrics.json").read_text())
    assert metrics["passages"] == len(store)
    assert metrics["tokens"] == len(store.tokens)
    assert metrics["occurrences/word-2"] == metrics["occurrences/word-1"] - len(store)
    assert not any(isinstance(value, dict) for value in metrics.values())
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == [
        "importance.npy", "keyword_weight.npy", "metrics.json", "statistics.json",
    ]  # fmt: skip
    assert "statistics: word-1: 1,500 occurrences, 297 kept" in capsys.readouterr().out


def test_values_cut_with_the_passage_serve_both_masks(prepared, tmp_path):
    CorpusStatistics(keyword="idf", threads=1).run(context(tmp_path / "s", "statistics", corpus=prepared))
    store, vocabulary = Prepared(prepared).passages(), Vocabulary(Prepared(prepared).tokenizer())
    statistics = Statistics(tmp_path / "s", store)
    tokens = vocabulary.pad([store[row] for row in range(8)], 24)
    for name, mask in (("importance", ImportanceMask(0.5)), ("keyword_weight", KeywordMask(0.5))):
        value_BL = torch.zeros(tokens.ids_BL.shape)
        for row in range(8):
            values = statistics[name][store.offsets[row] : store.offsets[row + 1]][:22]
            value_BL[row, 1 : len(values) + 1] = torch.from_numpy(values.copy())
        tokens.values[name] = value_BL
        mask_BL = select(mask, tokens, vocabulary, Noise(0, torch.zeros(8).long(), torch.arange(8)), "x")
        assert 0.3 < mask_BL.sum() / tokens.real_BL.sum() < 0.6


def test_statistics_of_another_tokenizer_are_refused(prepared, collection, tmp_path):
    CorpusStatistics().run(context(tmp_path / "s", "statistics", corpus=prepared))
    prepare(tmp_path / "other", collection)
    with pytest.raises(
        BadInput, match=r"made with tokenizer \w{12}, the passages .*other/passages with \w{12}; run the"
    ):
        Statistics(tmp_path / "s", Prepared(tmp_path / "other").passages())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keyword": "tf"}, "keyword must be one of"),
        ({"memory_gb": 0.001}, "memory_gb must be at least 0.016, got 0.001"),
        ({"threads": 0}, "threads must be at least 1, or null for one per processor, got 0"),
    ],
)
def test_impossible_options(arguments, message):
    with pytest.raises(ValueError, match=message):
        CorpusStatistics(**arguments)


def composed(*overrides):
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        return OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)


@pytest.mark.parametrize("mask", ["importance", "keyword"])
def test_a_mask_that_reads_statistics_makes_them_an_input(mask):
    plain = composed("+experiment=retromae")
    plain_inputs = read_entry(plain["pretrain"]).inputs
    assert "statistics" not in plain_inputs
    config = composed(
        "+experiment=retromae", f"mask@decoders.enhanced.mask={mask}", "mask@view.passage.mask=importance"
    )
    entry = read_entry(config["pretrain"])
    assert entry.inputs == plain_inputs | {"statistics": "statistics"}
    assert build(entry.options["decoders"]["enhanced"]["mask"]).values
    assert config["view"]["passage"]["mask"]["rate"] == plain["view"]["passage"]["mask"]["rate"]


def test_the_stage_has_every_option_in_its_yaml():
    node = OmegaConf.to_container(OmegaConf.load(config_directory() / "stages" / "statistics.yaml"))["statistics"]
    assert node.pop("inputs") == {"corpus": "prepare"}
    built = build(node, "statistics")
    assert built.options == CorpusStatistics().options
    assert set(node) - {"_target_"} == set(vars(built.options)) | {"memory_gb", "threads"}
    with pytest.raises(BadInput, match="statistics: pmi_mode must be one of joint, split, minseg, got 'log'"):
        build(node | {"pmi_mode": "log"}, "statistics")


def test_resources_are_no_part_of_the_result():
    assert fingerprint({"window": 4, "memory_gb": 1.0, "threads": 2}, {}) == fingerprint({"window": 4}, {})
    assert fingerprint({"window": 4}, {}) != fingerprint({"window": 3}, {})
