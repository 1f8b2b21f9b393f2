"""Fine-tuning losses, scores and gradients equal those of the released codes (tests/golden/README.md §6)."""

import json
from functools import cache

import pytest
import torch
from safetensors.torch import load_file
from support.compose import composed
from support.contrast import contrastive_logits, contrastive_loss
from support.paths import GOLDEN
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

from bmae_lightning.encoder.batch import Pairs, RetrievalBatch, Tokens
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.retrieval.dual_encoder import DualEncoder
from bmae_lightning.retrieval.loss.contrastive import Contrastive
from bmae_lightning.retrieval.loss.distillation import Distillation
from bmae_lightning.retrieval.loss.listwise import listwise_loss
from bmae_lightning.retrieval.loss.loss import ScoredBatch, targets, temperature_at
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.reranking.cross_encoder import CrossEncoder, group_loss, hardest_pairs

SET = GOLDEN / "retriever"
GROUP = 3
DTYPES = pytest.mark.parametrize("dtype", ["float64", "float32"])


NQ = ("corpus=nq", "corpus.path=DIR")


@cache
def released(stage, corpus=("corpus=beir", "corpus.path=DIR")):
    """The options of a stage as SimLM's released code has them."""
    return composed("+experiment=simlm", "reading=code", "scale=paper", *corpus)[stage]


def recorded(folder, case):
    return json.loads((SET / folder / "expected.json").read_text())[case]


def cases(folder, prefix=""):
    return [case for case in json.loads((SET / folder / "expected.json").read_text()) if case.startswith(prefix)]


def config():
    bert = json.loads((GOLDEN / "config.json").read_text())["bert"]
    keys = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    return BertConfig(
        **{key: bert[key] for key in (*keys, "max_position_embeddings", "layer_norm_eps", "type_vocab_size")},
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=1,
    )


def fill(model, folder, dtype, prefix):
    """Give the recorded weights to every trainable parameter; both sides must have the same names."""
    weights = load_file(SET / folder / "weights.safetensors")
    named = {f"encoder.{name.removeprefix(prefix)}": p for name, p in model.named_parameters() if p.requires_grad}
    assert set(named) == set(weights)
    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(weights[name])
    model.to(getattr(torch, dtype))
    return named


def close(value, expected, dtype, kind, relative=1e-5):
    value = torch.as_tensor(value, dtype=torch.float64).detach()
    expected = torch.as_tensor(expected, dtype=torch.float64)
    if dtype == "float64":
        bound = 1e-10 + (1e-9 * expected.abs() if kind == "gradient" else 0)
    elif kind == "gradient":
        bound = 1e-5 + 5e-5 * expected.abs()
    else:
        bound = relative * expected.abs() if kind == "loss" else 2e-5 * expected.abs().clamp(min=1)
    finite = expected.isfinite()
    assert torch.equal(value.isfinite(), finite)
    difference = (value - expected)[finite].abs()
    assert (difference <= torch.as_tensor(bound).expand_as(expected)[finite]).all(), (kind, difference.max())


def dual_encoder(folder, dtype, pooling, similarity):
    vocabulary = Vocabulary.from_tokens((GOLDEN / "vocab_tiny.txt").read_text().splitlines())
    model = DualEncoder(Encoder(BertForMaskedLM(config()), vocabulary), PooledRepresentation(pooling), similarity)
    named = fill(model, folder, dtype, "encoder.masked_lm.")
    inputs = load_file(SET / folder / "inputs.safetensors")
    queries = model(Tokens(inputs["q_ids"], inputs["q_attn"].bool()), passages=False)
    passages = model(Tokens(inputs["p_ids"], inputs["p_attn"].bool()), passages=True)
    return named, queries, passages, inputs["teacher_scores"]


def listed(queries, passages, teacher_Bn, temperature, distillation, contrastive):
    """The losses of a distilled retriever by name, and their weighted sum."""
    batch = ScoredBatch(queries, passages, RetrievalBatch(None, None, teacher_Bn=teacher_Bn), GROUP, temperature)
    named = {"distillation": distillation, "contrastive": contrastive}
    found = {name: loss(queries, passages, batch).loss for name, loss in named.items()}
    return found | {"total": sum(named[name].weight * value for name, value in found.items())}


def check(folder, case, dtype, losses, named, relative=1e-5):
    expected = recorded(folder, case)[dtype]["loss"]
    assert set(losses) == set(expected)
    for name, loss in losses.items():
        close(loss, expected[name], dtype, "loss", relative)
    losses["total"].backward()
    norms = json.loads((SET / folder / "grad_norms.json").read_text())[case][dtype]
    assert set(norms) == set(named)
    for name, parameter in named.items():
        close(torch.zeros(()) if parameter.grad is None else parameter.grad.norm(), norms[name], dtype, "gradient")


@DTYPES
@pytest.mark.parametrize("case", cases("retromae_biencoder"))
def test_plain_contrast_and_distillation(case, dtype):
    settings = recorded("retromae_biencoder", case)["settings"]
    similarity = "cos" if settings["normalise"] else "dot"
    named, queries, passages, teacher_Bn = dual_encoder("retromae_biencoder", dtype, settings["pooling"], similarity)
    matrices = load_file(SET / "retromae_biencoder" / "expected.safetensors")
    close(queries.dense_BD, matrices[f"{case}.q_reps.{dtype}"], dtype, "state")
    close(passages.dense_BD, matrices[f"{case}.p_reps.{dtype}"], dtype, "state")
    logits_BC, _ = contrastive_logits(queries, passages, GROUP, settings["temperature"])
    close(logits_BC, matrices[f"{case}.logits.{dtype}"], dtype, "state")
    contrast = contrastive_loss(queries, passages, GROUP, settings["temperature"])
    losses = {"contrastive": contrast.loss, "total": contrast.loss}
    if settings["teacher"]:
        distillation, contrastive = Distillation(kind="kl", reduction="elements"), Contrastive(settings["weight"])
        losses |= listed(queries, passages, teacher_Bn, settings["temperature"], distillation, contrastive)
    check("retromae_biencoder", case, dtype, losses, named)


@DTYPES
@pytest.mark.parametrize("case", cases("simlm_biencoder"))
def test_contrast_in_four_blocks(case, dtype):
    settings = recorded("simlm_biencoder", case)["settings"]
    similarity, temperature = ("cos", settings["t"]) if settings["l2"] else ("dot", 1.0)
    if "step" in settings:
        temperature = temperature_at(temperature, settings["step"], released("retriever1", NQ)["temperature_warmup"])
    form = released("retriever1")["losses"]["contrastive"]["form"] if settings["full"] else "plain"
    named, queries, passages, teacher_Bn = dual_encoder("simlm_biencoder", dtype, "cls", similarity)
    matrices = load_file(SET / "simlm_biencoder" / "expected.safetensors")
    close(queries.dense_BD, matrices[f"{case}.q_reps.{dtype}"], dtype, "state")
    close(passages.dense_BD, matrices[f"{case}.p_reps.{dtype}"], dtype, "state")
    masked = settings.get("mask_hn", False)
    distilling = released("distilled")["losses"]
    weight = distilling["contrastive"]["weight"] if settings["kd"] else 0
    assert weight == settings.get("kd_cont_loss_weight", 0)
    contrastive = Contrastive(weight, form, mask_hard_negatives=masked)
    contrast = contrastive_loss(
        queries, passages, GROUP, temperature, form=form,
        mask_hard_negatives=masked,
    )  # fmt: skip
    logits_BC, absent_BC = contrastive_logits(queries, passages, GROUP, temperature, form=form)
    if masked:
        for row in range(4):
            absent_BC[row, GROUP * row + 1 : GROUP * (row + 1)] = True
    close(logits_BC.masked_fill(absent_BC, -torch.inf), matrices[f"{case}.logits.{dtype}"], dtype, "state")
    assert torch.equal(matrices[f"{case}.target"], targets(4, GROUP))
    losses = {"contrastive": contrast.loss, "total": contrast.loss}
    if settings["kd"]:
        options = {name: distilling["distillation"][name] for name in ("kind", "reduction")}
        losses |= listed(queries, passages, teacher_Bn, temperature, Distillation(**options), contrastive)
    check("simlm_biencoder", case, dtype, losses, named, relative=2e-5)


@DTYPES
@pytest.mark.parametrize("case", [case for case in cases("cross_encoder") if "rdrop" not in case])
def test_cross_encoder(case, dtype):
    settings = recorded("cross_encoder", case)["settings"]
    model = CrossEncoder(BertForSequenceClassification(config()))
    named = fill(model, "cross_encoder", dtype, "classifier.")
    inputs = load_file(SET / "cross_encoder" / "inputs.safetensors")
    pairs = Pairs(inputs["ids"], inputs["attn"].bool(), inputs["token_type_ids"])
    factor = settings.get("forward_factor", 1)
    kept = hardest_pairs(model, pairs, 4, 4 // factor) if factor > 1 else pairs
    temperature = settings.get("temperature") or 1.0
    logits_Bn = model(kept).view(4, -1) / temperature
    close(
        logits_Bn, load_file(SET / "cross_encoder" / "expected.safetensors")[f"{case}.logits.{dtype}"], dtype, "state"
    )
    listwise = group_loss(model, pairs, 4, temperature, factor)
    check("cross_encoder", case, dtype, {"total": listwise.loss}, named)


def test_the_re_ranker_is_the_released_codes_with_that_reading():
    reranker = released("reranker")
    assert (reranker["train_group_size"], reranker["forward_factor"], reranker["r_drop"]) == (64, 4, True)
    assert released("retriever1")["temperature"] == recorded("simlm_biencoder", "full")["settings"]["t"]


@DTYPES
def test_r_drop_on_given_scores(dtype):
    case = "simlm_rdrop_on_given_logits"
    passes = load_file(SET / "cross_encoder" / "inputs.safetensors")["rdrop_logits"].to(getattr(torch, dtype))
    passes.requires_grad_()
    listwise = listwise_loss(passes[0], again_Bn=passes[1])
    expected = recorded("cross_encoder", case)[dtype]["loss"]
    close(listwise.loss, expected["total"], dtype, "loss")
    close(listwise.cross_entropy, (expected["ce_1"] + expected["ce_2"]) / 2, dtype, "loss")
    close(listwise.divergence, (expected["kl_a"] + expected["kl_b"]) / 2, dtype, "loss")
    listwise.loss.backward()
    gradient = load_file(SET / "cross_encoder" / "expected.safetensors")[f"{case}.grad_logits.{dtype}"]
    close(passes.grad, gradient, dtype, "gradient")
