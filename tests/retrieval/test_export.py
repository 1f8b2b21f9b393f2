"""What transformers and sentence-transformers make of an exported retriever are our vectors; its card's code runs."""

import json
import re

import numpy as np
import pytest
import torch
from support.cards import CORPUS, RESULTS
from support.families import FAMILIES, masked_lm_of
from transformers import BertTokenizerFast

from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.retrieval.dual_encoder import DualEncoder, load_dual_encoder
from bmae_lightning.retrieval.export import save_portable
from bmae_lightning.retrieval.model_card import model_card
from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.errors import BadInput

WORDS = [f"w{i}" for i in range(40)]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "##x", *WORDS]
QUERY_LENGTH, PASSAGE_LENGTH = 6, 11
PREFIXES = {"query_prefix": "w1 ", "passage_prefix": "w2 w3 "}


def exported(
    directory,
    representation,
    similarity="dot",
    shared=True,
    prefixes=PREFIXES,
    segments=False,
    corpus=CORPUS,
    family="bert",
):
    """An untrained retriever, where it was written, what sentence-transformers loads of it, and its card."""
    encoder = Encoder(masked_lm_of(family, len(TOKENS), initializer_range=0.3), Vocabulary.from_tokens(TOKENS))
    model = DualEncoder(encoder, representation, similarity, shared, segments).eval()
    if not shared:
        with torch.no_grad():
            for parameter in model.passage_encoder.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    config = RetrieverConfig(
        tokenizer="digest", similarity=similarity, query_length=QUERY_LENGTH, passage_length=PASSAGE_LENGTH,
        shared=shared, segments=segments, **representation.record(), **prefixes,
    )  # fmt: skip
    tokenizer = directory / "tokenizer"
    tokenizer.mkdir()
    BertTokenizerFast(vocab={token: i for i, token in enumerate(TOKENS)}).save_pretrained(tokenizer)
    parts = save_portable(model, config, tokenizer, directory / "model")
    return model, config, parts, model_card("none", config, parts, model.width, corpus, [], RESULTS, None)


def texts(count=9, seed=0):
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, int(draw.integers(1, 14)))) for _ in range(count)]


def ours(model, config, passages):
    """One text at a time."""
    prefix = config.passage_prefix if passages else config.query_prefix
    length = config.passage_length if passages else config.query_length
    rows = [np.array([TOKENS.index(word) for word in (prefix + text).split()]) for text in texts()]
    with torch.inference_mode():
        return [model(model.encoder.vocabulary.pad([row], length), passages) for row in rows]


def run_code(card, block, directory):
    """The `encode` of a card's block of code, which is run; None where it defines none."""
    code = re.findall(r"```python\n(.*?)```", card, re.DOTALL)[block].replace("DIRECTORY", str(directory))
    names = {}
    exec(code.replace("a question", "w5").replace("a passage", "w6 w7"), names)
    assert names["scores"].shape == (1, 1)
    return names.get("encode")


DENSE = {
    "cls": (lambda: PooledRepresentation("cls"), "dot", True),
    "mean cos": (lambda: PooledRepresentation("mean"), "cos", True),
    "projected": (lambda: HybridRepresentation("mean", 5, lexical=0), "dot", True),
    "projected cos": (lambda: HybridRepresentation("cls", 5, lexical=0), "cos", True),
    "hybrid without entries": (lambda: HybridRepresentation("cls", 5, 0), "dot", True),
    "separate": (lambda: HybridRepresentation("cls", 5, lexical=0), "cos", False),
}


@pytest.mark.parametrize("name", DENSE)
def test_both_libraries_make_our_vectors(name, tmp_path):
    from sentence_transformers import SentenceTransformer

    make, similarity, shared = DENSE[name]
    model, config, parts, card = exported(tmp_path, make(), similarity, shared)
    directory = tmp_path / "model"
    assert parts == (["."] if shared else ["query", "passage"])
    assert not [path for path in directory.rglob("*") if path.suffix in (".bin", ".pt", ".pkl")]
    query_side, passage_side = (SentenceTransformer(str(directory / part)) for part in (parts[0], parts[-1]))
    encode = run_code(card, 1, directory)
    for passages in (False, True):
        right = torch.cat([vectors.dense_BD for vectors in ours(model, config, passages)])
        loaded = passage_side if passages else query_side
        assert loaded.get_embedding_dimension() == right.shape[1]
        found = (loaded.encode_document if passages else loaded.encode_query)(texts(), convert_to_tensor=True)
        torch.testing.assert_close(found.cpu(), right, rtol=0, atol=1e-5)
        torch.testing.assert_close(encode(texts(), passages), right, rtol=0, atol=1e-5)
    assert query_side.similarity_fn_name == {"dot": "dot", "cos": "cosine"}[similarity]
    one = texts()[:2]
    scores = query_side.similarity(query_side.encode_query(one), passage_side.encode_document(one))
    torch.testing.assert_close(scores, encode(one, False) @ encode(one, True).T, rtol=0, atol=1e-5)
    run_code(card, 0, directory)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lexical", [0, 7])
def test_every_family_is_exported(family, lexical, tmp_path):
    from sentence_transformers import SentenceTransformer

    representation = HybridRepresentation("mean", 5, lexical)
    model, config, parts, card = exported(tmp_path, representation, family=family)
    encode = run_code(card, -1, tmp_path / "model")
    right = torch.cat([vectors.dense_BD for vectors in ours(model, config, True)])
    found = encode(texts(), True)
    torch.testing.assert_close(found[0] if lexical else found, right, rtol=0, atol=1e-5)
    if lexical:
        wanted = torch.cat([vectors.lexical.full() for vectors in ours(model, config, True)])
        torch.testing.assert_close(found[1], wanted, rtol=0, atol=1e-5)
    else:
        loaded = SentenceTransformer(str(tmp_path / "model"))
        torch.testing.assert_close(loaded.encode_document(texts(), convert_to_tensor=True), right, rtol=0, atol=1e-5)


def test_pairs_of_title_and_text(tmp_path):
    from sentence_transformers import SentenceTransformer

    corpus, no_prefixes = CORPUS | {"title": "pair"}, {"query_prefix": "", "passage_prefix": ""}
    model, *_, card = exported(
        tmp_path, PooledRepresentation("cls"), prefixes=no_prefixes, segments=True, corpus=corpus
    )
    assert "are pairs, `(title, text)`, with token type 1 for the text" in card
    pairs, vocabulary = [("w5 w6", "w7"), ("w8", "w9 w10 w11")], model.encoder.vocabulary
    rows = [[*title.split(), "[SEP]", *text.split()] for title, text in pairs]
    tokens = vocabulary.pad([np.array([TOKENS.index(word) for word in row]) for row in rows], PASSAGE_LENGTH)
    with torch.inference_mode():
        right = model(tokens, passages=True).dense_BD
    found = SentenceTransformer(str(tmp_path / "model")).encode_document(pairs, convert_to_tensor=True)
    torch.testing.assert_close(found.cpu(), right, rtol=0, atol=1e-5)


def test_without_the_query_length_an_older_version_needs_the_length_set(tmp_path):
    from sentence_transformers import SentenceTransformer

    model, config, _, card = exported(tmp_path, PooledRepresentation(), prefixes={})
    path = tmp_path / "model" / "sentence_bert_config.json"
    options = json.loads(path.read_text())
    assert options.pop("query_length") == QUERY_LENGTH
    path.write_text(json.dumps(options))
    loaded = SentenceTransformer(str(tmp_path / "model"))
    assert loaded.max_seq_length == PASSAGE_LENGTH
    right = torch.cat([vectors.dense_BD for vectors in ours(model, config, False)])
    assert not torch.allclose(torch.from_numpy(loaded.encode_query(texts())), right, atol=1e-3)
    loaded.max_seq_length = QUERY_LENGTH
    torch.testing.assert_close(torch.from_numpy(loaded.encode_query(texts())), right, rtol=0, atol=1e-5)
    assert f"`max_seq_length = {QUERY_LENGTH}`" in card


@pytest.mark.parametrize(
    ("representation", "shared"),
    [
        (lambda: HybridRepresentation("cls", 5, 7), True),
        (lambda: HybridRepresentation("mean", 5, 7, "log1p_relu", "exclude"), False),
        (lambda: HybridRepresentation("cls", 0, 7, "relu"), True),
        (lambda: HybridRepresentation("cls", 5, 7, lexical_head="linear"), True),
    ],
)
def test_a_lexical_part_is_made_by_the_code_of_the_card(representation, shared, tmp_path):
    model, config, parts, card = exported(tmp_path, representation(), "dot", shared)
    directory = tmp_path / "model"
    assert parts == []
    assert not (directory / "modules.json").exists()
    assert "sentence-transformers cannot load this directory" in card
    encode = run_code(card, 0, directory)
    for passages in (False, True):
        found = encode(texts(), passages)
        for row, vectors in enumerate(ours(model, config, passages)):
            lexical = vectors.lexical.full() if passages else vectors.lexical
            torch.testing.assert_close(found[0][row : row + 1], vectors.dense_BD, rtol=0, atol=1e-5)
            torch.testing.assert_close(found[1][row : row + 1], lexical, rtol=0, atol=1e-5)
    again, _ = load_dual_encoder(directory)
    assert again.representation.lexical == 7


def test_a_representation_of_ones_own_is_not_written_as_something_else(tmp_path):
    class Own(PooledRepresentation):
        pass

    with pytest.raises(BadInput, match="other programs do not know the representation Own"):
        exported(tmp_path, Own())
