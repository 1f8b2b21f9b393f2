"""When the loops serve, how rows are shared among threads; forks, missing numba or a missing cache do no harm."""

import multiprocessing
import os
import subprocess
import sys
import threading

import pytest
import torch
from support.paths import ROOT
from torch.utils.data import DataLoader

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.vocabulary import SPECIAL_TOKENS, Vocabulary
from bmae_lightning.pretraining.kernels import dispatch as native
from bmae_lightning.pretraining.mask.policy import MaskRequest
from bmae_lightning.pretraining.mask.words import draw_words
from bmae_lightning.pretraining.noise import Noise

COUNT, LENGTH = 64, 48

DRAW = """
import hashlib, sys, warnings
warnings.simplefilter("error")
{before}
import torch
from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.pretraining.mask.policy import MaskRequest
from bmae_lightning.pretraining.mask.words import draw_words
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.encoder.vocabulary import Vocabulary
known = Vocabulary.from_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"w{{i}}" for i in range(9)])
tokens = Tokens(torch.arange(5, 14).expand(4, 9), torch.ones(4, 9).bool())
source = Noise(0, torch.zeros(4).long(), torch.arange(4))
mask_BRL = draw_words(MaskRequest(tokens, known, source, "x", 6), torch.full((4,), 4))
print(hashlib.sha256(mask_BRL.numpy().tobytes()).hexdigest(), "numba" in sys.modules and bool(sys.modules["numba"]))
"""


def run(before=""):
    done = subprocess.run(
        [sys.executable, "-c", DRAW.format(before=before)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def threads(monkeypatch):
    """Two threads, however small the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    monkeypatch.setattr(native, "SMALL", 1)
    yield
    torch.set_num_threads(before)


def masks(rows=LENGTH):
    known = Vocabulary.from_tokens([*SPECIAL_TOKENS.values(), *(f"w{index}" for index in range(LENGTH))])
    tokens = Tokens(torch.arange(5, LENGTH + 5).expand(COUNT, LENGTH), torch.ones(COUNT, LENGTH).bool())
    source = Noise(0, torch.zeros(COUNT).long(), torch.arange(COUNT))
    return draw_words(MaskRequest(tokens, known, source, "x", rows), torch.full((COUNT,), LENGTH // 2))


def test_loops_are_for_the_cpu():
    assert native.loops(torch.ones(2, device="meta")) is None


@pytest.mark.parametrize("rows", [1, 2, 7, 64, 1000])
def test_every_row_is_done_once(threads, rows):
    seen, names = [0] * rows, set()

    def loop(first, last, step):
        names.add(threading.get_ident())
        for row in range(first, last):
            seen[row] += step

    native.spread(loop, rows, 10**9, 1)
    assert seen == [1] * rows
    assert len(names) <= 2


def test_small_work_stays_in_this_thread():
    calls = []
    native.spread(lambda first, last: calls.append((first, last, threading.get_ident())), 8, 100)
    assert calls == [(0, 8, threading.get_ident())]


def test_an_error_in_a_thread_is_raised(threads):
    def loop(first, last):
        raise RuntimeError(f"row {first}")

    with pytest.raises(RuntimeError, match="row"):
        native.spread(loop, 100, 10**9)


def test_threads_do_not_change_masks(threads):
    together = masks()
    torch.set_num_threads(1)
    assert torch.equal(masks(), together)


def _child(queue):
    queue.put(masks().numpy().tobytes())  # no operation of torch's own threads, which hang in a forked process


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_forked_processes_draw_the_same(threads):
    """A child of a process whose threads run has none of them and must start its own."""
    expected = masks().numpy().tobytes()
    assert native._threads is not None or native.twins() is None
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=_child, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == expected
    process.join(60)
    assert process.exitcode == 0


class Collate:
    def __call__(self, items):
        return masks(rows=len(items))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_data_workers_draw_the_same(threads):
    expected = masks(rows=4)
    for found in DataLoader(range(16), batch_size=4, num_workers=2, collate_fn=Collate(), timeout=60):
        assert torch.equal(found, expected)


def test_without_numba_and_without_a_cache_masks_are_the_same():
    pytest.importorskip("numba")
    digest, loaded = run()
    assert loaded == "True"
    assert run("sys.modules['numba'] = None") == [digest, "False"]
    no_place = "import numba.core.caching\nnumba.core.caching.CacheImpl._locator_classes = []"
    assert run(no_place) == [digest, "True"]


def test_numba_that_does_not_work_is_named(monkeypatch):
    def fail(name):
        raise ImportError("Numba needs another NumPy")

    monkeypatch.setattr(native, "import_module", fail)
    with pytest.warns(UserWarning, match="masks are made .* times slower: Numba needs another NumPy"):
        assert native.twins.__wrapped__() is None


def test_the_core_is_imported_without_numba():
    code = (
        "import sys, bmae_lightning.pretraining.bmae, bmae_lightning.pretraining.mask.keyword; "
        "assert 'numba' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
