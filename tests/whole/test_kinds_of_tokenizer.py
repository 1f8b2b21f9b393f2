"""Chinese and mixed texts in the pieces of WordPiece, byte-level BPE and Unigram: words, statistics and every mask."""

import json

import numpy as np
import pytest
import torch
from support.kinds import KINDS, TEXTS, kind_of_tokenizer
from support.masks import noise
from support.stages import composed_stage, context, prepare
from transformers import AutoModelForMaskedLM, AutoTokenizer

from bmae_lightning.corpus.statistics.token_values import StatisticsOptions
from bmae_lightning.corpus.statistics.words import UnitReader
from bmae_lightning.corpus.statistics.write import write_statistics
from bmae_lightning.corpus.tokens.store import write_token_store
from bmae_lightning.encoder.tokenizer import TrainedTokenizer
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.mask.importance import ImportanceMask
from bmae_lightning.pretraining.mask.keyword import KeywordMask
from bmae_lightning.pretraining.mask.policy import MaskRequest
from bmae_lightning.pretraining.mask.superset import SupersetMask
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.mask.words import group_words


def write_collection(directory):
    """36 passages of two of the texts each, and a query for every one."""
    (directory / "qrels").mkdir(parents=True)
    passages = [f"{TEXTS[i % 9]} {TEXTS[(5 * i + 1) % 9]} {i}" for i in range(36)]
    records = {
        "corpus": [{"_id": f"p{i}", "title": "", "text": text} for i, text in enumerate(passages)],
        "queries": [{"_id": f"q{i}", "text": text[:8]} for i, text in enumerate(passages)],
    }
    for name, lines in records.items():
        (directory / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for split, rows in (("train", range(24)), ("dev", range(24, 30)), ("test", range(30, 36))):
        judged = "".join(f"q{i}\tp{i}\t1\n" for i in rows)
        (directory / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return directory


POLICIES = {
    "uniform": UniformMask(0.3),
    "prefix": UniformMask(0.5, fill="overshoot", specials="skip"),
    "superset": SupersetMask(0.5, 0.3),
    "importance": ImportanceMask(0.3, unit="word"),
    "keyword": KeywordMask(0.3),
}


@pytest.fixture(params=KINDS)
def texts(request, tmp_path):
    """The tokenizer's vocabulary, a store of the texts, and both with their statistics as padded tokens."""
    tokenizer = kind_of_tokenizer(request.param)
    vocabulary = Vocabulary(tokenizer)
    store = write_token_store(tmp_path / "store", TEXTS, list(map(str, range(len(TEXTS)))), tokenizer)
    numbers = write_statistics(tmp_path / "statistics", store, vocabulary.rules(), StatisticsOptions(min_count=1))
    rows = range(len(store))
    values = {
        name: [numbers[name][store.offsets[row] : store.offsets[row + 1]] for row in rows] for name in numbers.names
    }
    return vocabulary, store, vocabulary.pad([store[row] for row in rows], 512, values)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_mask_finds_words(texts, policy):
    vocabulary, _, tokens = texts
    reference_BL = torch.zeros_like(tokens.real_BL)
    request = MaskRequest(tokens, vocabulary, noise(len(TEXTS)), "x", reference_BL=reference_BL)
    mask_BL = POLICIES[policy].select(request)[:, 0]
    assert (mask_BL.sum(1) > 0).all()
    assert not (mask_BL & vocabulary.skip_V[tokens.ids_BL]).any()
    words = group_words(tokens, vocabulary).word_BL
    for row, word_L in enumerate(words):
        for word in range(int(word_L.max()) + 1):
            content_L = (word_L == word) & ~vocabulary.special_V[tokens.ids_BL[row]]
            assert len(set(mask_BL[row][content_L].tolist())) < 2, "a word is masked whole or not at all"


def test_words_of_statistics_are_those_of_masks(texts):
    vocabulary, store, tokens = texts
    units = UnitReader(store, vocabulary.rules(), "word").read(0, len(store))
    word_BL = group_words(tokens, vocabulary, vocabulary.special_V).word_BL
    assert np.diff(units.start_R).tolist() == (word_BL.max(1).values + 1).tolist()
    assert np.isfinite(tokens.values["keyword_weight"].numpy()).all()


def test_ids_behind_a_padded_vocabulary_are_never_drawn(texts):
    """A model that embeds more than the tokenizer has: corruption and labels know the tokenizer's ids."""
    vocabulary, _, tokens = texts
    selected_BL = tokens.real_BL & ~vocabulary.skip_V[tokens.ids_BL]
    made = BertCorruption(0.0, 1.0).corrupt(tokens.ids_BL, selected_BL, vocabulary, noise(len(TEXTS)), "x")
    assert made.ids_BL.max() < vocabulary.size
    assert not vocabulary.special_V[made.labels_BL[made.labels_BL >= 0]].any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_pre_training_on_a_mixed_collection(kind, tmp_path):
    """Importance of CDMAE and keyword weights of MASTER, over words of every kind of tokenizer."""
    collection = write_collection(tmp_path / "collection")
    tokenizer = TrainedTokenizer(400, kind=kind)
    prepared = prepare(tmp_path / "prepare", collection, tokenizer)
    statistics = composed_stage("statistics")
    statistics.run(context(tmp_path / "statistics", corpus=prepared))
    for experiment in ("cdmae", "retromae"):
        stage = composed_stage("pretrain", f"+experiment={experiment}", "pretrain.steps=2", "pretrain.batch_size=8")
        stage.run(context(tmp_path / experiment, corpus=prepared, statistics=tmp_path / "statistics"))
        for sample in json.loads((tmp_path / experiment / "samples.json").read_text()):
            assert sample["masked"] != sample["original"]
        exported = AutoTokenizer.from_pretrained(str(tmp_path / experiment / "encoder"))
        model = AutoModelForMaskedLM.from_pretrained(str(tmp_path / experiment / "encoder"))
        assert model.config.pad_token_id == exported.pad_token_id
