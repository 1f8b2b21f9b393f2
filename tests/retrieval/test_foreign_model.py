"""A model from elsewhere makes the vectors that its own library makes; mistakes are one line."""

import importlib.util
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import foreign_models as tools
from support.backbones import TOKENIZERS
from support.families import write_family
from support.vectors import encode
from transformers import AutoModel, AutoTokenizer

from bmae_lightning.corpus.records import Passage
from bmae_lightning.corpus.tokens.store import write_token_store
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.pretrained import load_masked_lm
from bmae_lightning.encoder.tokenizer import load_tokenizer
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.retrieval.dual_encoder import DualEncoder, save_dual_encoder
from bmae_lightning.retrieval.export import save_portable
from bmae_lightning.retrieval.foreign_model import LibraryModel, find_retriever
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.model_options import ModelOptions
from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.stage.texts import Texts


class Recording(ExactIndex):
    """Remembers the queries that were searched for."""

    def search(self, passages, queries, k, **more):
        self.queries = queries
        return super().search(passages, queries, k, **more)


def found(directory, **options):
    return find_retriever("x", ModelOptions(str(directory), **options), "compare[0]")


def vectors(retriever, directory, passages: bool) -> np.ndarray:
    """Of some texts, as a stage makes them."""
    config, tokenizer = retriever.layout.config, load_tokenizer(retriever.tokenizer_directory())
    prefix = config.passage_prefix if passages else config.query_prefix
    store = write_token_store(directory, [prefix + text for text in tools.texts(7, 3)], None, tokenizer)
    length = config.passage_length if passages else config.query_length
    return encode(retriever.dual_encoder(), store, np.arange(7), length, 64, "cpu", lambda n: None, passages)


@pytest.mark.parametrize("head", ["cls", "mean normalised", "projected", "max", "tanh"])
def test_sentence_transformers_directories(head, bert, tmp_path):
    prompts = {"query": "w1 w2 ", "document": "w3 "}
    similarity = "cosine" if head == "max" else "dot"
    theirs = tools.write_sentence_transformer(
        tmp_path / "model", bert, head, prompts=prompts, similarity_fn_name=similarity
    )
    retriever = found(tmp_path / "model")
    config = retriever.layout.config
    assert (config.query_prefix, config.passage_prefix) == ("w1 w2 ", "w3 ")
    assert retriever.layout.library is (head in ("max", "tanh"))
    assert config.similarity == ("cos" if head in ("max", "mean normalised") else "dot")
    right = [method(tools.texts(7, 3)) for method in (theirs.encode_query, theirs.encode_document)]
    if head == "max":
        right = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in right]
    if retriever.layout.library:
        index, done = Recording(), []
        model = LibraryModel(retriever, "cpu", 64, tmp_path, 4, index)
        model.index(iter(tools.texts(7, 3)), list("abcdefg"))
        run = model.search(list("0123456"), tools.texts(7, 3), 7, done.append)
        assert sum(done) == 7
        queries, passages = index.queries, np.concatenate([np.load(path) for path in model.paths])
        assert [len(np.load(path)) for path in model.paths] == [4, 3]
        order = np.argsort(-(queries @ passages.T), axis=1, kind="stable")
        assert [run.passages(query) for query in run] == [["abcdefg"[row] for row in rows] for rows in order]
    else:
        assert (config.query_length, config.passage_length) == (9, 9)
        queries, passages = (vectors(retriever, tmp_path / name, name == "p") for name in ("q", "p"))
    np.testing.assert_allclose(queries, right[0], atol=1e-5)
    np.testing.assert_allclose(passages, right[1], atol=1e-5)


@pytest.mark.parametrize(
    ("family", "pieces"),
    [("roberta", "roberta"), ("xlm_roberta", "deberta"), ("mpnet", "roberta"), ("modernbert", "roberta")],
)
def test_sentence_transformers_of_every_kind_of_word_pieces(family, pieces, tmp_path):
    tokenizer = TOKENIZERS[pieces](tools.texts(50, 0))
    write_family(family, tmp_path / "encoder", tokenizer, pad_token_id=tokenizer.pad_token_id, initializer_range=0.5)
    theirs = tools.write_sentence_transformer(tmp_path / "model", tmp_path / "encoder", "cls", similarity_fn_name="dot")
    retriever = found(tmp_path / "model")
    assert not retriever.layout.library
    ours = vectors(retriever, tmp_path / "store", passages=True)
    np.testing.assert_allclose(ours, theirs.encode_document(tools.texts(7, 3)), atol=1e-5)
    assert ours.std() > 1e-2


def test_a_checkpoint_without_record_is_read_by_its_first_state(bert, tmp_path):
    retriever = found(bert, query_prefix="w9 ", passage_length=10)
    config = retriever.layout.config
    assert (config.pooling, config.similarity, config.query_length, config.passage_length) == ("cls", "dot", 24, 10)
    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    for passages in (False, True):
        given = [("" if passages else "w9 ") + text for text in tools.texts(7, 3)]
        length = 10 if passages else 24
        batch = tokenizer(given, truncation=True, max_length=length, padding=True, return_tensors="pt")
        with torch.inference_mode():
            right = model(**batch).last_hidden_state[:, 0].numpy()
        np.testing.assert_allclose(vectors(retriever, tmp_path / str(passages), passages), right, atol=1e-5)
    assert found(bert, pooling="mean", similarity="cos").layout.config.pooling == "mean"


def test_pairs_of_title_and_text_as_the_tokenizer_makes_them(bert, tmp_path):
    passages = [Passage("a", "w1 w2", "w3 w4 w5", None, None), Passage("b", "", "w6", None, None)]
    retriever = found(bert, segments=True, passage_prefix="w9 ")
    collection = SimpleNamespace(
        title="pair", passages=lambda: iter(passages), check=lambda: SimpleNamespace(passages=2)
    )
    store = Texts(collection, tmp_path / "tokens").tokens(bert, "w9 ", "suite")
    ours = encode(retriever.dual_encoder(), store, np.arange(2), 24, 64, "cpu", lambda n: None, passages=True)
    model, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    for row, texts in enumerate([("w9 w1 w2", "w3 w4 w5"), ("w9 w6",)]):
        with torch.inference_mode():
            right = model(**tokenizer(*texts, return_tensors="pt")).last_hidden_state[0, 0].numpy()
        np.testing.assert_allclose(ours[row], right, atol=1e-5)
    assert retriever.record()["segments"]
    assert not found(bert).layout.config.segments


@pytest.mark.parametrize("kind", ["shared", "separate", "lexical", "as trained"])
def test_our_own_directories(kind, tmp_path):
    directory = tools.write_bert(tmp_path / "bert", head=True)
    masked_lm, _ = load_masked_lm(str(directory), len(tools.TOKENS), None, "x")
    encoder = Encoder(masked_lm, Vocabulary(load_tokenizer(directory)))
    representation = (
        HybridRepresentation("cls", 4, 3) if kind == "lexical" else HybridRepresentation("mean", 4, lexical=0)
    )
    model = DualEncoder(encoder, representation, "dot", kind in ("shared", "lexical"), segments=True).eval()
    if model.passage_encoder is not None:
        with torch.no_grad():
            for parameter in model.passage_encoder.parameters():
                parameter.add_(0.1)
    config = RetrieverConfig(
        tokenizer="digest", similarity="dot", query_length=6, passage_length=12, shared=model.shared, segments=True,
        **representation.record(),
    )  # fmt: skip
    save = save_dual_encoder if kind == "as trained" else save_portable
    save(model, config, directory, tmp_path / "model")
    retriever = found(tmp_path / "model")
    assert (retriever.layout.config.query_length, retriever.layout.config.passage_length) == (6, 12)
    again = retriever.dual_encoder()
    assert again.segments
    if retriever.layout.recorded:
        with pytest.raises(BadInput, match="makes vectors by segments=True, not False; leave segments out"):
            found(tmp_path / "model", segments=False)
    tokens = model.encoder.vocabulary.pad([np.array([7, 8, 9]), np.array([10])], 6)
    for passages in (False, True):
        with torch.inference_mode():
            for right, ours in zip(model(tokens, passages).tensors(), again(tokens, passages).tensors(), strict=True):
                torch.testing.assert_close(ours.float(), right.float(), rtol=0, atol=1e-6)


def test_identity_is_that_of_the_content(bert, tmp_path):
    shutil.copytree(bert, tmp_path / "copy")
    assert found(bert).identity == found(tmp_path / "copy").identity
    assert found(bert).identity != found(bert, query_prefix="w1 ").identity
    other = tools.write_bert(tmp_path / "other", seed=1)
    assert found(bert).identity != found(other).identity


def test_mistakes_are_one_line(bert, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match=r"compare\[0\]=Someone/Model: no such local directory.*set compare\[0\]=DIR"):
        found("Someone/Model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"compare\[0\]: no model configuration in"):
        found(tmp_path / "empty")
    with pytest.raises(BadInput, match=r"passage_length=25 must be from 3 to the 24 positions"):
        found(bert, passage_length=25)
    shutil.copytree(bert, tmp_path / "roberta")
    config = json.loads((bert / "config.json").read_text()) | {"model_type": "squeezebert"}
    (tmp_path / "roberta" / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInput, match="no encoder of type 'squeezebert' is known"):
        found(tmp_path / "roberta")
    shutil.copytree(bert, tmp_path / "st")
    (tmp_path / "st" / "modules.json").write_text('[{"path": "", "type": "x.models.Transformer"}]')
    with monkeypatch.context() as without:
        without.setattr(importlib.util, "find_spec", lambda name: None)
        with pytest.raises(
            BadInput, match=r"needs the library sentence-transformers: pip install 'bmae_lightning\[ext"
        ):
            found(tmp_path / "st")
    (tmp_path / "st" / "config_sentence_transformers.json").write_text('{"similarity_fn_name": "manhattan"}')
    with pytest.raises(BadInput, match="compares by 'manhattan'"):
        found(tmp_path / "st")
    (tmp_path / "st" / "modules.json").write_text("[{")
    with pytest.raises(BadInput, match=r"modules.json cannot be read"):
        found(tmp_path / "st")
