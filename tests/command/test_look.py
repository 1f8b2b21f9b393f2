"""Looking at what is finished: the order of a search is that of every pair scored alone, and nothing is written."""

import numpy as np
import pytest
import torch
from support.vectors import encode_to_files
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.command import look as inspection
from bmae_lightning.command.look import judges_files, lookup_of
from bmae_lightning.command.plan import plan
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.retrieval.dual_encoder import DualEncoder, save_dual_encoder
from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.stage import Context
from bmae_lightning.stage.prepared import Prepared

HYBRID = {"dense": 6, "lexical": 9, "activation": "none", "separator": "include"}


def planned(cli_here, monkeypatch, rung):
    """Where a search of this rung looks for stages, and what it says when it finds none of them."""
    plans = []
    with monkeypatch.context() as patch:
        patch.setattr(inspection, "plan", lambda *arguments: plans.append(plan(*arguments)) or plans[-1])
        line = cli_here("search", "query=it's all", f"search.indexes=[{rung}]", code=2)
    return plans[0], line


def finished(nodes, rung, representation, more):
    """An untrained retriever and its index, as preparation, fine-tuning and evaluation leave them."""
    directory = nodes["prepare"].directory
    directory.mkdir(parents=True)
    build(nodes["prepare"].config, "prepare").run(Context("prepare", "", directory, {}, "g", directory))
    prepared = Prepared(directory)
    vocabulary = Vocabulary(prepared.tokenizer())
    config = BertConfig(
        vocab_size=vocabulary.size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        initializer_range=0.3,
    )  # fmt: skip
    torch.manual_seed(0)
    model = DualEncoder(Encoder(BertForMaskedLM(config), vocabulary), representation, "dot").eval()
    config = RetrieverConfig("cls", prepared.passages().tokenizer_digest, "dot", 9, 20, **more)
    node = nodes[f"{rung}@retromae"]
    trained = nodes[node.inputs["retriever"]].directory
    for directory in (trained, node.directory):
        directory.mkdir()
    save_dual_encoder(model, config, prepared.tokenizer_directory, trained / "retriever")
    encode_to_files(model, prepared.passages(), 20, 512, "cpu", node.directory / "passages.npy", lambda count: None)
    (node.directory / "done").touch()
    return model, prepared


def by_hand(model, prepared, text):
    """Score of every passage, one pair at a time."""
    ids = prepared.tokenizer()(text, add_special_tokens=False)["input_ids"]
    passages = prepared.passages()
    with torch.inference_mode():
        query = model(model.encoder.vocabulary.pad([np.array(ids)], 9), passages=False)
        scores = {}
        for row in range(len(passages)):
            passage = model(model.encoder.vocabulary.pad([passages[row]], 20), passages=True)
            score = query.dense_BD[0] @ passage.dense_BD[0]
            if query.lexical is not None:
                score = score + query.lexical[0] @ passage.lexical.full()[0]
            scores[passages.external_id(row)] = float(score)
    return scores


@pytest.mark.parametrize(
    ("rung", "make", "more"),
    [
        ("evaluate", lambda: PooledRepresentation("cls"), {}),
        ("evaluate_distilled", lambda: HybridRepresentation("cls", 6, 9), HYBRID),
    ],
)
def test_the_order_is_that_of_every_pair_scored_alone(cli_here, monkeypatch, tmp_path, rung, make, more):
    nodes, line = planned(cli_here, monkeypatch, rung)
    assert f"none of {rung} is finished for retromae in {tmp_path}" in line
    assert "run `python -m bmae_lightning +experiment=retromae corpus=beir encoder=tiny" in line
    assert "query=" not in line
    assert not list(tmp_path.iterdir())
    model, prepared = finished(nodes, rung, make(), more)
    text = " ".join(prepared.query_texts({"q41"})["q41"].split()[:2])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    output = cli_here("search", f"query=[{text},'what, is {text}?']", "search.depth=4", code=0)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    lines = output.splitlines()
    assert lines[0] == f"retromae, {rung}, 60 passages"
    hits = [(line.split()[2], float(line.split()[1])) for line in lines if line[:4].strip().isdigit()]
    assert len(hits) == 8
    assert any(line.startswith(f"what, is {text}?") for line in lines)
    scores = by_hand(model, prepared, text)
    best = sorted(scores, key=scores.get, reverse=True)[:4]
    assert [passage for passage, _ in hits[:4]] == best
    assert [score for _, score in hits[:4]] == pytest.approx([scores[passage] for passage in best], abs=1e-4)
    assert prepared.passage_texts({best[0]})[best[0]][:40] in output


def configured(**changes):
    nothing = {"stage": ["search"], "query": "x", "run": None, "qrels": None, "per_query": None, "measures": ["RR"]}
    options = {"arm": None, "indexes": ["evaluate"], "index": None, "depth": 3, "batch_tokens": 9, "device": "cpu"}
    content = nothing | changes
    node = {"_target_": "bmae_lightning.stage.search.Lookup", "query": content["query"], **options}
    return content | {"search": node | content.pop("search", {})}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"query": None}, "needs a question"),
        ({"stage": ["bm25"]}, "a search stands alone"),
        ({"stage": ["bm25", "search"]}, "a search stands alone"),
        ({"query": " "}, "search: query is empty"),
        ({"query": []}, "search: query is empty"),
        ({"query": ["a", ""]}, "search: query is empty"),
        ({"search": {"depth": 0}}, "search: depth must be at least 1"),
        ({"search": {"dept": 0}}, "unknown option 'search.dept'; did you mean 'depth'"),
    ],
)
def test_searches_that_cannot_be(changes, message):
    with pytest.raises(BadInput, match=message):
        lookup_of(configured(**changes))


def test_questions():
    assert lookup_of(configured(query=["a  b", 1984])).queries == ["a b", "1984"]
    assert lookup_of(configured(stage="bm25", query=None)) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"run": "a"}, "run= needs a run and its judgments: python -m bmae_lightning evaluate run=FILE qrels=FILE"),
        ({"qrels": "b"}, "qrels= needs"),
        ({"per_query": "c"}, "per_query= needs"),
        ({"run": [], "qrels": "b"}, "run= needs"),
        ({"run": "a", "qrels": "b", "stage": ["bm25", "evaluate"]}, "by themselves"),
    ],
)
def test_files_that_cannot_be_measured(changes, message):
    with pytest.raises(BadInput, match=message):
        judges_files(configured(**{"query": None, "stage": ["evaluate"]} | changes))


def test_an_arm_or_an_index_that_is_not_there(cli_here):
    assert "search.arm=retromea: there is no such arm; did you mean 'retromae'?" in cli_here(
        "search", "query=a", "search.arm=retromea", code=2
    )
    assert "search.indexes: the stage 'bm25' keeps no index" in cli_here(
        "search", "query=a", "search.indexes=[bm25]", code=2
    )
