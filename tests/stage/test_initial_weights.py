"""What a stage starts from: a new encoder, a pre-trained one, or the retriever of an earlier rung."""

import pytest
import torch
from support.stages import context, prepare

from bmae_lightning.encoder.scratch import ScratchEncoder
from bmae_lightning.encoder.tokenizer import TrainedTokenizer
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.retrieval.dual_encoder import save_dual_encoder
from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.stage.initial_weights import start_encoder, start_retriever
from bmae_lightning.stage.prepared import Prepared


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, collection):
    return Prepared(prepare(tmp_path_factory.mktemp("weights") / "prepare", collection))


def start(prepared, made, representation=None, **options):
    """(retriever, its record) as a stage with these options starts."""
    representation = representation or PooledRepresentation("cls")
    digest = prepared.passages().tokenizer_digest
    config = RetrieverConfig(
        **{"tokenizer": digest, "similarity": "dot", "query_length": 8, "passage_length": 8, **options},
        **representation.record(),
    )
    source = ScratchEncoder(TrainedTokenizer(300), 1, 16, 2)
    return start_retriever(made, source, Vocabulary(prepared.tokenizer()), representation, config), config


def weights(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_an_earlier_retriever_is_continued(prepared, tmp_path):
    first, config = start(prepared, context(tmp_path / "retriever1"), shared=False)
    assert first.passage_encoder is not None
    with torch.no_grad():
        next(first.passage_encoder.parameters()).add_(1.0)
    save_dual_encoder(first, config, prepared.tokenizer_directory, tmp_path / "retriever1" / "retriever")
    made = context(tmp_path / "retriever2", retriever=tmp_path / "retriever1")
    again, _ = start(prepared, made, shared=False, query_length=16)
    assert torch.equal(weights(again), weights(first))
    new, _ = start(prepared, context(tmp_path / "other"), shared=False, query_length=16)
    assert not torch.equal(weights(new), weights(first))


def test_a_continued_retriever_names_words_as_before(prepared, tmp_path):
    first, config = start(prepared, context(tmp_path / "retriever1"), HybridRepresentation("cls", 4, 6))
    save_dual_encoder(first, config, prepared.tokenizer_directory, tmp_path / "retriever1" / "retriever")
    made = context(tmp_path / "retriever2", retriever=tmp_path / "retriever1")
    with pytest.raises(BadInput, match="whose lexical_head is 'mlm', but this stage has lexical_head='linear'"):
        start(prepared, made, HybridRepresentation("cls", 4, 6, lexical_head="linear"))


@pytest.mark.parametrize(
    ("options", "representation", "name"),
    [
        ({"similarity": "cos"}, None, "similarity is 'dot'"),
        ({"shared": False}, None, "shared is True"),
        ({}, HybridRepresentation("cls", 4, lexical=0), "dense is None"),
        ({"tokenizer": "other"}, None, "tokenizer is "),
    ],
)
def test_an_earlier_retriever_must_make_the_same_vectors(prepared, tmp_path, options, representation, name):
    first, config = start(prepared, context(tmp_path / "retriever1"))
    save_dual_encoder(first, config, prepared.tokenizer_directory, tmp_path / "retriever1" / "retriever")
    made = context(tmp_path / "retriever2", retriever=tmp_path / "retriever1")
    with pytest.raises(BadInput, match=f"retriever2: it continues the retriever in .*whose {name}"):
        start(prepared, made, representation, **options)


def test_an_encoder_needs_its_record_and_the_pooling_of_the_stage(prepared, tmp_path):
    source, vocabulary = ScratchEncoder(TrainedTokenizer(300), 1, 16, 2), Vocabulary(prepared.tokenizer())
    digest = prepared.passages().tokenizer_digest
    made = context(tmp_path / "retriever1", encoder=tmp_path / "pretrain")
    directory = tmp_path / "pretrain" / "encoder"
    masked_lm, _ = source.masked_lm(vocabulary.size)
    masked_lm.save_pretrained(directory)
    with pytest.raises(BadInput, match="retriever_spec.json is missing; run the pretrain stage again"):
        start_encoder(made, source, vocabulary, digest)
    RetrieverConfig("mean", digest).save(directory)
    loaded = start_encoder(made, source, vocabulary, digest, "mean")
    assert torch.equal(weights(loaded.masked_lm), weights(masked_lm))
    with pytest.raises(BadInput, match="representation: this stage has pooling='cls', but the encoder in"):
        start_encoder(made, source, vocabulary, digest, "cls")
    with pytest.raises(BadInput, match="this stage has tokenizer='other'"):
        start_encoder(made, source, vocabulary, "other")
