"""Teachers trained on the collection: what they read and are to write, their models, and their options."""

from types import SimpleNamespace

import pytest
import torch
from support.stores import write_store

from bmae_lightning.pretraining.generate.sampling import Sampling
from bmae_lightning.pretraining.generate.trained import IGNORED, TrainedContinuationTeacher, TrainedQueryTeacher
from bmae_lightning.runtime.errors import BadInput

END = 3
PASSAGES = [[10, 11, 12, 13, 14, 15], [20], [30, 31, 32]]
QUERIES = [[40, 41, 42, 43], [44]]


@pytest.fixture
def stores(tmp_path):
    return write_store(tmp_path / "p", PASSAGES, "p"), write_store(tmp_path / "q", QUERIES, "q")


def test_a_pair_is_the_beginning_of_a_passage_and_its_query_both_ended(stores):
    teacher = TrainedQueryTeacher(Sampling(tokens=4), length=5)
    qrels = {"q0": {"p0": 1, "p2": 0}, "q1": {"p2": 2}}
    collate, count = teacher.examples(*stores, qrels, END)
    assert count == 2
    input_BL, real_BL, label_BT = collate([(0, 0), (1, 7)])
    assert input_BL.tolist() == [[10, 11, 12, 13, END], [30, 31, 32, END, 0]]
    assert real_BL.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert label_BT.tolist() == [[40, 41, 42, END], [44, END, IGNORED, IGNORED]]


def test_without_relevant_passages_nothing_can_be_learned(stores):
    with pytest.raises(BadInput, match=r"generate.queries: the split 'train' has no relevant passage"):
        TrainedQueryTeacher(Sampling()).examples(*stores, {"q0": {"p0": 0}}, END)


def test_windows_are_the_passages_as_one_long_text(stores):
    teacher = TrainedContinuationTeacher(Sampling(tokens=1), length=3)
    collate, count = teacher.examples(*stores, {}, END)
    assert (teacher.window, count) == (4, 2)
    input_BL, real_BL, label_BT = collate([(0, 0), (1, 0)])
    assert input_BL.tolist() == [[10, 11, 12, 13], [14, 15, 20, 30]]
    assert torch.equal(label_BT, input_BL)
    assert real_BL.all()


def test_a_collection_without_text_is_refused(tmp_path, stores):
    empty = write_store(tmp_path / "empty", [[]], "e")
    with pytest.raises(BadInput, match=r"generate.continuation: the passages have no text"):
        TrainedContinuationTeacher(Sampling()).examples(empty, stores[1], {}, END)


@pytest.mark.parametrize("kind", [TrainedQueryTeacher, TrainedContinuationTeacher])
def test_weights_depend_on_the_seed_only(kind):
    tokenizer = SimpleNamespace(get_vocab=lambda: {"[PAD]": 0, "[SEP]": END, "x": 44}, pad_token_id=0, sep_token_id=END)
    teacher = kind(Sampling(tokens=4), layers=1, width=16, heads=2, length=8)
    state, made = torch.get_rng_state(), []
    for seed in (3, 3, 4):
        model = teacher.model(tokenizer, seed)
        made.append(torch.cat([parameter.flatten() for parameter in model.parameters()]))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    assert model.config.vocab_size == 45
    assert str(teacher.steps) in teacher.description


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": 0}, "layers"),
        ({"length": 0}, "length"),
        ({"steps": 0}, "steps"),
        ({"batch_size": 0}, "batch_size"),
        ({"width": 16, "heads": 3}, "width=16 must be a multiple of heads=3"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        TrainedQueryTeacher(Sampling(), **options)
