"""Chunked gradients equal those of one pass, with dropout, for any chunk, and across two processes."""

import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from support.contrast import contrastive_loss
from support.encoders import small_encoder
from support.paths import ROOT, TESTS

from bmae_lightning.encoder.batch import RetrievalBatch
from bmae_lightning.retrieval.dual_encoder import DualEncoder
from bmae_lightning.retrieval.grad_cache import GradCache
from bmae_lightning.retrieval.loss.contrastive import Contrastive
from bmae_lightning.retrieval.loss.distillation import Distillation, distillation_loss
from bmae_lightning.retrieval.loss.loss import ScoredBatch
from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.representation.vectors import Vectors

QUERIES, GROUP = 6, 3
FORMS = [
    ("plain", "cls", True),
    ("plain", "hybrid", True),
    ("simlm_code", "hybrid", False),
    ("eq3_literal", "cls", False),
]
STEPS = [(*form, chunk, 1.0) for form in FORMS for chunk in (None, 2)] + [("plain", "cls", True, 2, 0.5)]


def build(kind="cls", shared=True, dropout=0.2):
    encoder = small_encoder(2, dropout, initializer_range=0.3)
    representation = PooledRepresentation(kind) if kind in ("cls", "mean") else HybridRepresentation("cls", 5, 7)
    return DualEncoder(encoder, representation, "dot", bool(shared)).double().train()


def texts(model):
    draw = np.random.default_rng(0)
    pad = model.encoder.vocabulary.pad
    rows = [draw.integers(5, 45, int(draw.integers(1, 9))) for _ in range(QUERIES * (1 + GROUP))]
    teacher_Bn = torch.from_numpy(draw.normal(size=(QUERIES, GROUP)))
    return pad(rows[:QUERIES], 10), pad(rows[QUERIES:], 10), teacher_Bn


def one_by_one(model, tokens, passages):
    """Encodes text by text, so that the random numbers of a text do not depend on how texts are put together."""
    rows = range(len(tokens.ids_BL))
    return Vectors.cat([model(tokens.map(lambda t, r=row: t[r : r + 1]), passages=passages) for row in rows])


def gradients(model, cache, encode=None, form="plain"):
    """Gradients of contrast + distillation, with the same dropout at every call."""
    queries, passages, teacher_Bn = texts(model)
    model.zero_grad()
    torch.manual_seed(1)
    encode = encode or (lambda model, tokens, passages: model(tokens, passages=passages))
    contrast = contrastive_loss(
        cache(partial(encode, model, passages=False), queries),
        cache(partial(encode, model, passages=True), passages),
        GROUP, 0.5, form=form,
    )  # fmt: skip
    (0.3 * contrast.loss + distillation_loss(contrast.group_bn, teacher_Bn)).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


def largest_difference(one, two):
    assert set(one) == set(two)
    return max((one[name] - two[name]).abs().max().item() for name in one)


@pytest.mark.parametrize("kind", ["mean", "hybrid"])
@pytest.mark.parametrize("chunk", [1, 2, 4, 5, 18, 100])
def test_any_chunk_has_the_gradient_of_one_pass_with_dropout(kind, chunk):
    model = build(kind)
    whole = gradients(model, GradCache(), one_by_one)
    assert largest_difference(whole, gradients(model, GradCache(chunk), one_by_one)) < 1e-12
    if chunk >= QUERIES * GROUP:  # one chunk is one ordinary pass, random numbers included
        assert largest_difference(gradients(model, GradCache()), gradients(model, GradCache(chunk))) < 1e-12


def test_the_comparison_notices_other_dropout_and_accumulation():
    model = build()
    whole = gradients(model, GradCache())
    assert largest_difference(whole, gradients(model, GradCache(), one_by_one)) > 1e-3  # other random numbers
    model = build(dropout=0.0)
    queries, passages, _ = texts(model)

    def contrast(first, count):
        rows = slice(first, first + count), slice(first * GROUP, (first + count) * GROUP)
        sides = [
            model(t.map(lambda x, r=r: x[r]), passages=bool(i))
            for i, (t, r) in enumerate(zip((queries, passages), rows, strict=True))
        ]
        return contrastive_loss(*sides, GROUP).loss

    found = []
    for parts in (((0, 6),), ((0, 3), (3, 3))):  # one big batch; two micro-batches, accumulated
        model.zero_grad()
        for first, count in parts:
            (contrast(first, count) / len(parts)).backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad})
    assert largest_difference(*found) > 1e-3


@pytest.mark.parametrize(("form", "kind", "shared"), FORMS)
def test_forms_and_separate_encoders(form, kind, shared):
    model = build(kind, shared)
    whole = gradients(model, GradCache(), one_by_one, form)
    assert largest_difference(whole, gradients(model, GradCache(4), one_by_one, form)) < 1e-12


def test_mixed_precision_gives_the_gradient_of_one_pass():
    model = build("hybrid").float()
    found = []
    for chunk in (None, 4):
        with torch.autocast("cpu", dtype=torch.bfloat16):  # backward runs outside, as with Lightning
            queries, passages, _ = texts(model)
            model.zero_grad()
            torch.manual_seed(1)
            sides = [
                GradCache(chunk)(partial(one_by_one, model, passages=bool(side)), tokens)
                for side, tokens in enumerate((queries, passages))
            ]
            loss = contrastive_loss(*sides, GROUP).loss
        loss.backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad})
    assert largest_difference(*found) < 0.02 * max(gradient.abs().max().item() for gradient in found[0].values())


def test_the_random_state_goes_on_as_if_nothing_had_been_replayed():
    model = build()
    after = []
    for chunk in (None, 2):
        gradients(model, GradCache(chunk), one_by_one)
        after.append(torch.rand(3))
    assert torch.equal(*after)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_chunks_have_the_gradient_of_one_pass_on_a_gpu():
    model = build("hybrid").cuda()
    queries, passages, _ = texts(model)
    found = []
    for chunk in (None, 5):
        model.zero_grad()
        torch.manual_seed(1)
        sides = [
            GradCache(chunk)(partial(one_by_one, model, passages=bool(i)), t.to("cuda"))
            for i, t in enumerate((queries, passages))
        ]
        contrastive_loss(*sides, GROUP).loss.backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad})
    assert largest_difference(*found) < 1e-6


def test_without_gradient_or_chunk_it_only_encodes():
    model = build(dropout=0.0)
    queries, _, _ = texts(model)
    calls = []

    def encode(tokens):
        calls.append(len(tokens.ids_BL))
        return model(tokens, passages=False)

    with torch.no_grad():
        GradCache(2)(encode, queries)
    GradCache()(encode, queries)
    assert calls == [QUERIES, QUERIES]
    with pytest.raises(ValueError, match="chunk"):
        GradCache(0)


PROCESS = """
import sys, importlib.util
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

path, rank, world, meeting, result = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]
spec = importlib.util.spec_from_file_location("cases", path)
cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cases)
dist.init_process_group("gloo", init_method="file://" + meeting, rank=rank, world_size=world)
found = {}
for options in cases.STEPS:
    step = DistributedDataParallel(cases.Step(*options))
    step(rank, world).backward()
    found[options] = step.module.gradients()
if rank == world - 1:
    torch.save(found, result)
dist.barrier()
dist.destroy_process_group()
"""


class Step(torch.nn.Module):
    """One training step of a process, wrapped as a whole, as Lightning does."""

    def __init__(self, form, kind, shared, chunk, scale):
        super().__init__()
        self.model, self.form, self.cache, self.scale = build(kind, shared, 0.0), form, GradCache(chunk), scale

    def gradients(self):
        return {name: p.grad for name, p in self.model.named_parameters() if p.requires_grad}

    def forward(self, rank, world):
        queries, passages, teacher_Bn = texts(self.model)
        b = QUERIES // world
        mine, own = slice(rank * b, (rank + 1) * b), slice(rank * b * GROUP, (rank + 1) * b * GROUP)
        queries = self.cache(partial(self.model, passages=False), queries.map(lambda t: t[mine]))
        passages = self.cache(partial(self.model, passages=True), passages.map(lambda t: t[own])).gathered()
        passage_N = torch.arange(QUERIES * GROUP) % 5  # some stand twice, also in the groups of other processes
        positives_BP = passage_N.view(QUERIES, GROUP)[:, :1]
        labels = RetrievalBatch(None, None, passage_N[own], positives_BP[mine], teacher_Bn[mine])
        batch = ScoredBatch(queries, passages, labels, GROUP, 0.5, rank * b)
        contrastive = Contrastive(0.3, self.form, mask_known_positives=True, grad_scale=self.scale)
        return sum(loss.weight * loss(queries, passages, batch).loss for loss in (Distillation(), contrastive))


def test_two_processes_have_the_gradient_of_one_in_every_form_and_with_chunks(tmp_path):
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{TESTS}", "OMP_NUM_THREADS": "1"}
    arguments = [str(tmp_path / "meeting"), str(tmp_path / "found.pt")]
    command = [sys.executable, "-c", PROCESS, __file__]
    processes = [subprocess.Popen([*command, str(r), "2", *arguments], env=environment) for r in range(2)]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    found = torch.load(tmp_path / "found.pt", weights_only=True)
    one_pass = {}
    for form, kind, shared in FORMS:
        step = Step(form, kind, shared, None, 1.0)
        step(0, 1).backward()
        one_pass[form, kind, shared] = step.gradients()
    for *options, chunk, scale in STEPS[:-1]:
        assert largest_difference(one_pass[tuple(options)], found[*options, chunk, scale]) < 1e-10, (options, chunk)
    half = Step(*STEPS[-1])
    half(0, 1).backward()
    assert (
        largest_difference(half.gradients(), found[STEPS[-1]]) < 1e-10
    )  # the contrast is halved, the distillation not
    assert largest_difference(half.gradients(), one_pass[STEPS[-1][:3]]) > 1e-3
