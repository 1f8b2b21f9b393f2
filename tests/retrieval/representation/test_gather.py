"""Gradients of several processes equal those of one: real processes, gloo, float64, DDP's averaging."""

import os
import subprocess
import sys

import pytest
import torch
from support.contrast import contrastive_loss
from support.paths import ROOT, TESTS

from bmae_lightning.retrieval.representation.gather import gather_with_grad

QUERIES, GROUP, WIDTH = 4, 2, 5

PROCESS = """
import sys
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from bmae_lightning.retrieval.representation.gather import gather_with_grad
from support.contrast import contrastive_loss

rank, world, meeting, given, result, way = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
dist.init_process_group("gloo", init_method="file://" + meeting, rank=rank, world_size=world)
given = torch.load(given, weights_only=True)
model = torch.nn.Linear(5, 5, dtype=torch.float64)
model.load_state_dict(given["model"])
model = DistributedDataParallel(model)
local = len(given["queries"]) // world
mine = slice(rank * local, (rank + 1) * local)
passages = given["passages"].view(len(given["queries"]), -1, 5)[mine].flatten(0, 1)
queries, passages = model(torch.cat([given["queries"][mine], passages])).split([local, len(passages)])
gathered = gather_with_grad(passages)
if way == "detached":
    gathered = gathered.detach()
loss = contrastive_loss(queries, gathered, 2, 0.3, offset=rank * local).loss
loss.backward()
if rank == world - 1:
    torch.save([gathered.detach(), *(p.grad for p in model.parameters())], result)
dist.barrier()
dist.destroy_process_group()
"""


def given_batch():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = torch.nn.Linear(WIDTH, WIDTH, dtype=torch.float64)
    draw = {"generator": generator, "dtype": torch.float64}
    return model, torch.randn(QUERIES, WIDTH, **draw), torch.randn(QUERIES * GROUP, WIDTH, **draw)


def several_processes(tmp_path, way, world=2):
    model, queries, passages = given_batch()
    torch.save({"model": model.state_dict(), "queries": queries, "passages": passages}, tmp_path / "given.pt")
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{TESTS}", "OMP_NUM_THREADS": "1"}
    files = [str(tmp_path / name) for name in (f"meeting-{way}", "given.pt", f"{way}.pt")]
    command = [sys.executable, "-c", PROCESS]
    processes = [subprocess.Popen([*command, str(r), str(world), *files, way], env=environment) for r in range(world)]
    assert [process.wait(timeout=120) for process in processes] == [0] * world
    return torch.load(files[2], weights_only=True)


def test_two_processes_have_the_gradient_of_one(tmp_path):
    model, queries, passages = given_batch()
    encoded = model(passages)
    contrastive_loss(model(queries), encoded, GROUP, 0.3).loss.backward()
    expected = [encoded.detach(), *(parameter.grad for parameter in model.parameters())]
    found = several_processes(tmp_path, "whole")
    for one, two in zip(expected, found, strict=True):
        torch.testing.assert_close(two, one, rtol=0, atol=1e-10)
    broken = several_processes(tmp_path, "detached")  # the test notices when passages carry no gradient
    assert (broken[1] - expected[1]).abs().max() > 1e-3


def test_one_process_gets_its_own_tensor():
    tensor = torch.ones(2, 3, requires_grad=True)
    assert gather_with_grad(tensor) is tensor


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without torch.distributed")
def test_group_of_one_gets_its_own_tensor(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        tensor = torch.ones(2, 3)
        assert gather_with_grad(tensor) is tensor
    finally:
        torch.distributed.destroy_process_group()
