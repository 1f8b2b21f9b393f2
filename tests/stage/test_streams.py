"""Streams of a batch: files, distribution of the window, aligned values, absent texts, what is refused."""

import json
import pickle

import numpy as np
import pytest
import torch
from support.paths import GOLDEN
from support.stores import write_store
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.corpus.statistics.token_values import StatisticsOptions
from bmae_lightning.corpus.statistics.write import write_statistics
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.lit.data import BatchDataset, StepBatches
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.bottleneck import ClsBottleneck
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.bag_of_words import BagOfWordsDecoder
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.decoder.shallow import ShallowDecoder
from bmae_lightning.pretraining.mask.keyword import KeywordMask
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.objective.masked import MaskedObjective
from bmae_lightning.pretraining.view import View
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_array
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.streams import PassageBatches, Stream, check_needs, needs, open_streams

VOCABULARY = Vocabulary.from_tokens((GOLDEN / "vocab_tiny.txt").read_text().splitlines())


def store(directory, rows, tokenizer="digest", ids="p"):
    return write_store(directory, rows, ids, 200, tokenizer)


def rows_of(lengths, seed=0):
    draw = np.random.default_rng(seed)
    return [draw.integers(104, 200, size) for size in lengths]


def content(tokens):
    """The ids between [CLS] and [SEP] of every row."""
    assert (tokens.ids_BL[:, 0] == 101).all()
    found = []
    for ids_L, real_L in zip(tokens.ids_BL, tokens.real_BL, strict=True):
        ids = ids_L[real_L].tolist()
        assert ids[-1] == 102
        assert (ids_L[~real_L] == 0).all()
        found.append(ids[1:-1])
    return found


@pytest.fixture
def passages(tmp_path):
    return store(tmp_path / "passages", rows_of((12, 3, 0, 6, 7, 40)))


def test_right_crop_keeps_the_beginning(passages):
    batch = PassageBatches({"passage": Stream(passages)}, VOCABULARY, 8)([(row, 0) for row in range(6)])
    assert content(batch.streams["passage"]) == [passages[row][:6].tolist() for row in range(6)]
    assert batch.passage_B.tolist() == list(range(6))
    assert batch.epoch_B.tolist() == [0] * 6


def test_window_crop_is_uniform_over_all_places(passages):
    """Row 0 has 12 tokens of which 6 stay, so there are 7 places; shorter rows stay whole."""
    collate = PassageBatches({"passage": Stream(passages)}, VOCABULARY, 8, "window", seed=3)
    draws = 7000
    kept = content(collate([(0, epoch) for epoch in range(draws)]).streams["passage"])
    whole = passages[0].tolist()
    windows = [whole[start : start + 6] for start in range(7)]
    counts = np.array([sum(row == window for row in kept) for window in windows])
    assert counts.sum() == draws
    assert (abs(counts - draws / 7) < 4.5 * (draws * 6 / 49) ** 0.5).all()
    rest = content(collate([(row, 5) for row in range(1, 4)]).streams["passage"])
    assert rest == [passages[row].tolist() for row in range(1, 4)]


def test_window_depends_on_seed_epoch_passage_and_stream_alone(tmp_path):
    rows = rows_of((60,) * 20)
    passages, others = store(tmp_path / "a", rows), store(tmp_path / "b", rows)
    streams = {"passage": Stream(passages), "queries": Stream(others)}

    def windows(items, seed=1, names=("passage", "queries")):
        collate = PassageBatches({name: streams[name] for name in names}, VOCABULARY, 12, "window", seed)
        return {name: content(tokens) for name, tokens in collate(items).streams.items()}

    items = [(row, row % 3) for row in range(20)]
    together = windows(items)
    alone = [windows([item])["passage"][0] for item in items]
    assert together["passage"] == alone == windows(items[::-1])["passage"][::-1]
    assert windows(items, names=("passage",))["passage"] == alone
    differ = [
        windows(items, seed=2)["passage"],
        windows([(row, epoch + 1) for row, epoch in items])["passage"],
        together["queries"],
    ]
    for other in differ:
        assert sum(a != b for a, b in zip(together["passage"], other, strict=True)) > 10


def test_titles_are_joined_to_their_texts(tmp_path):
    """With [SEP] between them or without, the first one only; what is cut off is counted without it."""
    sep = VOCABULARY.sep_id
    rows = [[10, 11, sep, 12, 13], [10, sep, *range(20, 40)], [*range(20, 40)], [], [10, sep, 11, sep, 12], [1, 2, 3],
            [*range(20, 26)], [*range(20, 27)], [*range(20, 25), sep, 26], [*range(20, 26), sep, 27]]  # fmt: skip
    passages, queries = store(tmp_path / "a", rows), store(tmp_path / "b", rows)
    place_N = np.arange(len(passages.tokens), dtype=np.float32)
    streams = {"passage": Stream(passages, None, ["place"], {"place": place_N}), "queries": Stream(queries)}
    items = [(row, 0) for row in range(len(rows))]
    with_it = PassageBatches(streams, VOCABULARY, 8)(items).streams
    batch = PassageBatches(streams, VOCABULARY, 8, separator=False)(items).streams
    wanted = [[*row[: row.index(sep)], *row[row.index(sep) + 1 :]] if sep in row else row for row in rows]
    assert content(batch["passage"]) == [row[:6] for row in wanted]
    assert batch["passage"].ids_BL.shape == (len(rows), 8)
    assert content(with_it["passage"]) == content(with_it["queries"]) == content(batch["queries"])
    tokens = batch["passage"]
    for row, start in enumerate(passages.offsets[:-1]):
        size = int(tokens.real_BL[row].sum()) - 2
        places = (tokens.values["place"][row, 1 : 1 + size] - start).long().tolist()
        assert [rows[row][place] for place in places] == wanted[row][:6]
        assert not tokens.values["place"][row, 1 + size :].any()
        assert (tokens.ids_BL[row, 2 + size :] == VOCABULARY.pad_id).all()


@pytest.mark.parametrize("crop", ["right", "window"])
def test_values_stay_with_their_tokens(passages, crop):
    """Numbers of a store whose value at a token is its place in the store; a neighbour has those of its own row."""
    place_N = np.arange(len(passages.tokens), dtype=np.float32)
    numbers = {"importance": place_N, "keyword_weight": -place_N}
    neighbour = np.array([5, 0, -1, 0, 5, 4])
    streams = {
        "passage": Stream(passages, None, ["importance", "keyword_weight"], numbers),
        "neighbour": Stream(passages, neighbour, ["importance"], numbers),
    }
    batch = PassageBatches(streams, VOCABULARY, 8, crop)([(row, 2) for row in range(6)])
    for name, source in (("passage", range(6)), ("neighbour", neighbour)):
        tokens = batch.streams[name]
        value_BL = tokens.values["importance"]
        assert value_BL.dtype == torch.float32
        for row, origin in enumerate(source):
            size = int(tokens.real_BL[row].sum()) - 2
            assert size == (0 if origin < 0 else min(6, len(passages[origin])))
            places = value_BL[row, 1 : size + 1].long().numpy()
            assert (np.diff(places) == 1).all()
            assert tokens.ids_BL[row, 1 : size + 1].tolist() == passages.tokens[places].tolist()
            assert size == 0 or passages.offsets[origin] <= places[0] <= places[-1] < passages.offsets[origin + 1]
            assert (value_BL[row, size + 1 :] == 0).all()
            assert value_BL[row, 0] == 0
    passage = batch.streams["passage"].values
    assert torch.equal(passage["keyword_weight"], -passage["importance"])
    assert set(batch.streams["neighbour"].values) == {"importance"}


def encoder():
    torch.manual_seed(0)
    sizes = {"vocab_size": 200, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(**sizes, intermediate_size=32, max_position_embeddings=32, hidden_dropout_prob=0.0)
    return Encoder(BertForMaskedLM(config), VOCABULARY)


@pytest.mark.parametrize("absent", [{1, 3}, {0, 1, 2, 3}])
def test_absent_texts_have_no_loss_and_do_no_harm(tmp_path, absent):
    """A stream that a passage lacks is an empty row (docs/methods.md §10)."""
    passages = store(tmp_path / "passages", rows_of((12, 1, 9, 6)))
    generated = store(
        tmp_path / "queries", [[] if row in absent else ids for row, ids in enumerate(rows_of((8,) * 4, 1))]
    )
    numbers = {"keyword_weight": np.zeros(len(passages.tokens), np.float32)}
    neighbour = np.array([-1 if row in absent else 2 for row in range(4)])
    streams = {
        "passage": Stream(passages),
        "queries": Stream(generated),
        "neighbour": Stream(passages, neighbour, ["keyword_weight"], numbers),
    }
    batch = PassageBatches(streams, VOCABULARY, 16)([(row, 0) for row in range(4)])
    decoders = {
        "shallow": ShallowDecoder(UniformMask(0.5, specials="skip"), BertCorruption(), stream="queries"),
        "counted": ShallowDecoder(UniformMask(0.5), BertCorruption(), stream="queries"),
        "keywords": ShallowDecoder(KeywordMask(0.5), BertCorruption(), stream="neighbour"),
        "enhanced": EnhancedDecoder(UniformMask(0.5), stream="queries"),
        "pooled": EnhancedDecoder(UniformMask(0.5), stream="queries", rows="pooled"),
        "bag": BagOfWordsDecoder(stream="queries"),
        "second": ShallowDecoder(UniformMask(0.5), BertCorruption(), stream="queries", span="second_half"),
    }
    model = BottleneckMAE(encoder(), ClsBottleneck(), {"passage": View(UniformMask(0.3), BertCorruption())}, decoders)
    output = model(batch)
    sum(loss.total for loss in output.losses.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)
    for name in decoders:
        loss = output.losses[name]
        for row in range(4):
            assert (loss.count_B[row] == 0) == (row in absent), (name, row)
            assert (loss.total_B[row] == 0) == (row in absent)
        for parameter in model.decoders[name].parameters():
            assert parameter.grad is not None


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
def test_masks_are_the_same_for_any_batch_size_and_number_of_workers(tmp_path):
    """Selection of every (passage, epoch) of two epochs, whatever the other rows and the padding are."""
    count = 40
    passages = store(tmp_path / "passages", rows_of(np.random.default_rng(5).integers(1, 60, count)))
    numbers = {"keyword_weight": np.random.default_rng(1).normal(size=len(passages.tokens)).astype(np.float32)}
    neighbour = np.roll(np.arange(count), 1)
    streams = {
        "passage": Stream(passages, None, ["keyword_weight"], numbers),
        "neighbour": Stream(passages, neighbour, ["keyword_weight"], numbers),
    }
    collate = PassageBatches(streams, VOCABULARY, 30, "window", seed=7)
    views = {
        "a": View(UniformMask(0.3), BertCorruption()),
        "b": View(KeywordMask(0.5), BertCorruption(), "neighbour"),
        "c": View(KeywordMask(0.5), BertCorruption(), span="second_half"),
    }

    def masks(batch_size, workers):
        order = StepBatches(count, batch_size, 2 * count // batch_size, 7, 1, 0, 1, 0)
        loader = DataLoader(BatchDataset(collate), sampler=order, batch_size=None, num_workers=workers)
        found = {}
        for batch in loader:
            noise = Noise(7, batch.epoch_B, batch.passage_B)
            for name, view in views.items():
                text = view(batch, VOCABULARY, noise, name)
                for row, key in enumerate(zip(batch.passage_B.tolist(), batch.epoch_B.tolist(), strict=True)):
                    real_L = text.tokens.real_BL[row]
                    found[(*key, name)] = text.ids_BL[row, real_L].tolist(), text.labels_BL[row, real_L].tolist()
        return found

    one = masks(8, 0)
    assert len(one) == 2 * count * len(views)
    for other in (masks(8, 4), masks(20, 0), masks(40, 4)):
        assert other == one
    assert one[(3, 0, "a")] != one[(3, 1, "a")]


def test_batches_travel_to_workers_by_path(tmp_path):
    passages = store(tmp_path / "passages", rows_of((1000,) * 50))
    batches = PassageBatches({"passage": Stream(passages)}, VOCABULARY, 30)
    assert len(pickle.dumps(batches)) < 20_000


def test_streams_of_the_original_collator(tmp_path):
    """The recorded texts of MASTER's code: k queries with a separator each; an empty continuation is the passage."""
    from safetensors.torch import load_file

    records = json.loads((GOLDEN / "master" / "records.json").read_text())["records"]
    inputs = load_file(GOLDEN / "master" / "inputs.safetensors")
    queries = [[id for query in record["queries"] for id in [*query, 102]] for record in records]
    texts = {
        "passage": ("e1", "passage", [record["text"] for record in records]),
        "queries": ("d2_dor", "query", queries),
        "continuation": ("d3_gor", "gpt", [record["next"][0] or record["text"] for record in records]),
    }
    assert [row.count(102) for row in queries] == [len(record["queries"]) for record in records]
    streams = {name: Stream(store(tmp_path / name, rows)) for name, (_, _, rows) in texts.items()}
    batch = PassageBatches(streams, VOCABULARY, 20, "window")([(row, 0) for row in range(5)])
    for name, (recorded, attention, rows) in texts.items():
        labels_BL = inputs[f"{recorded}.labels"]
        original_BL = torch.where(labels_BL >= 0, labels_BL, inputs[f"{recorded}.ids"])
        tokens = batch.streams[name]
        compared = 0
        for row, text in enumerate(rows):
            size = int(inputs[f"attn.{attention}"][row].sum())
            assert size == int(tokens.real_BL[row].sum())
            theirs, ours = original_BL[row, 1 : size - 1].tolist(), tokens.ids_BL[row, 1 : size - 1].tolist()
            places = [start for start in range(len(text)) if text[start : start + 18] == theirs]
            assert places
            if len(text) <= 18:
                assert ours == theirs
                compared += 1
        assert compared >= 2


def parts(**decoders):
    return needs({"passage": View(UniformMask(0.3), BertCorruption())}, decoders, MaskedObjective())


def shallow(stream="passage", mask=None):
    return ShallowDecoder(mask or UniformMask(0.5), BertCorruption(), stream=stream)


def test_needs_name_part_stream_and_values():
    views = {
        "passage": View(UniformMask(0.3), BertCorruption()),
        "other": View(KeywordMask(0.3), BertCorruption(), "neighbour", alone=False),
    }
    decoders = {"a": shallow("queries"), "b": EnhancedDecoder(KeywordMask(0.5)), "c": BagOfWordsDecoder()}
    found = [(need.part, need.stream, need.values) for need in needs(views, decoders, MaskedObjective())]
    assert found == [
        ("view.passage", "passage", ()),
        ("decoders.a", "queries", ()),
        ("decoders.b", "passage", ("keyword_weight",)),
        ("decoders.c", "passage", ()),
    ]


@pytest.mark.parametrize(
    ("decoder", "inputs", "message"),
    [
        (("querys", None), {}, r"decoders.d.stream=querys is no stream; did you mean 'queries'"),
        (
            ("queries", None),
            {},
            r"decoders.d reads the stream 'queries', which the stage `generate` writes.*requires: {generate: generate}",
        ),
        (
            ("continuation", None),
            {"generate": None},
            r"decoders.d reads the stream 'continuation'.*inputs.generate is empty",
        ),
        (("passage", KeywordMask(0.5)), {}, r"decoders.d.mask reads keyword_weight.*inputs.statistics is empty"),
        (
            ("queries", KeywordMask(0.5)),
            {"generate": "x", "statistics": "x"},
            r"decoders.d.mask reads keyword_weight.*not for generated text.*mask@decoders.d.mask=uniform",
        ),
    ],
)
def test_what_is_missing_is_named_before_anything_runs(decoder, inputs, message):
    with pytest.raises(BadInput, match=message):
        check_needs(parts(d=shallow(*decoder)), inputs)


def test_what_is_there_is_accepted():
    wanted = parts(a=shallow("neighbour", KeywordMask(0.5)), b=shallow("queries"))
    check_needs(wanted, {"statistics": "x", "generate": "y"})


@pytest.fixture
def prepared(tmp_path, passages):
    (tmp_path / "corpus.json").write_text(json.dumps({"name": "the corpus"}))
    write_array(tmp_path / "neighbour.npy", np.array([1, 0, -1, -1, -1, -1]))
    write_array(tmp_path / "next.npy", np.array([1, -1, -1, -1, -1, -1]))
    return Prepared(tmp_path)


def test_opens_only_what_is_asked_for(prepared, tmp_path):
    store(tmp_path / "generated" / "queries", [[5]] * 6)
    opened = open_streams(parts(), prepared, {})
    assert list(opened) == ["passage"]
    assert not opened["passage"].values
    opened = open_streams(
        parts(a=shallow("neighbour"), b=shallow("queries"), c=shallow("next")),
        prepared,
        {"generate": tmp_path / "generated"},
    )
    assert list(opened) == ["passage", "neighbour", "queries", "next"]
    assert opened["neighbour"].rows[np.array([0, 1, 2])].tolist() == [1, 0, -1]
    assert opened["next"].rows[np.array([0, 1, 2])].tolist() == [1, -1, -1]


def test_other_passages_tokenizers_and_documents_are_refused(prepared, tmp_path):
    wanted, inputs = parts(d=shallow("queries")), {"generate": tmp_path / "generated"}
    with pytest.raises(BadInput, match="queries cannot be used: manifest.json is missing"):
        open_streams(wanted, prepared, inputs)
    store(tmp_path / "generated" / "queries", [[5]] * 6, tokenizer="another")
    with pytest.raises(BadInput, match="it was made by tokenizer another"):
        open_streams(wanted, prepared, inputs)
    for ids in ([f"p{row}" for row in range(5)], [f"q{row}" for row in range(6)]):
        store(tmp_path / "generated" / "queries", [[5]] * len(ids), ids=ids)
        with pytest.raises(BadInput, match=f"holds {len(ids)} rows for other passages than the 6 of"):
            open_streams(wanted, prepared, inputs)
    write_array(tmp_path / "neighbour.npy", np.full(6, -1))
    with pytest.raises(BadInput, match="decoders.d reads the stream 'neighbour', but no passage of the corpus has one"):
        open_streams(parts(d=shallow("neighbour")), prepared, {})


def test_statistics_of_another_tokenizer_or_without_the_value_are_refused(prepared, tmp_path):
    directory = tmp_path / "statistics"
    directory.mkdir()
    wanted, inputs = parts(d=shallow("neighbour", KeywordMask(0.5))), {"statistics": directory}
    with pytest.raises(BadInput, match="statistics.json is missing"):
        open_streams(wanted, prepared, inputs)
    write_statistics(directory, prepared.passages(), VOCABULARY.rules(), StatisticsOptions())
    stream = open_streams(wanted, prepared, inputs)["neighbour"]
    assert np.array_equal(stream.numbers["keyword_weight"], np.load(directory / "keyword_weight.npy"))
    with pytest.raises(BadInput, match="reads the value 'fame', the statistics .* have"):
        open_streams(parts(d=shallow(mask=KeywordMask(0.5, "fame"))), prepared, inputs)
    write_statistics(
        directory, store(tmp_path / "other", rows_of((12, 3)), "another"), VOCABULARY.rules(), StatisticsOptions()
    )
    with pytest.raises(BadInput, match="made with tokenizer another"):
        open_streams(wanted, prepared, inputs)


def test_unknown_crop(passages):
    with pytest.raises(ValueError, match="crop must be one of right, window, got 'left'"):
        PassageBatches({"passage": Stream(passages)}, VOCABULARY, 8, "left")
