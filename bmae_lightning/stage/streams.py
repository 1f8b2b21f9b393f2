"""From rows of the corpus to batches: the streams and values that parts of the model read, where they lie, how texts
are cut.

Streams of a passage: itself, the next one or the neighbour in its document (MASTER's adjacent spans), generated queries
and a generated continuation (MASTER's outside teachers). Data workers only slice memory-mapped ids; no Python runs per
token.
Shapes: B passages.
"""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bmae_lightning.corpus.document_order import REMEDY, STREAMS
from bmae_lightning.corpus.statistics.write import Statistics
from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.runtime.checks import choice, nearest
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import MappedArray
from bmae_lightning.stage.prepared import Prepared

if TYPE_CHECKING:
    import torch

    from bmae_lightning.encoder.batch import TextBatch, Tokens
    from bmae_lightning.encoder.vocabulary import Vocabulary
    from bmae_lightning.lit.data import Item
    from bmae_lightning.pretraining.decoder.decoder import Decoder
    from bmae_lightning.pretraining.noise import Noise
    from bmae_lightning.pretraining.objective.objective import Objective
    from bmae_lightning.pretraining.view import View

CROPS = ("right", "window")
OWN = ("passage", *STREAMS)
GENERATED = ("queries", "continuation")


@dataclass(frozen=True)
class Need:
    """What one part of the model reads.

    Attributes:
        part: its key in the configuration, `decoders.next`.
        stream: name of its text.
        values: names of the `Tokens.values` that its mask reads.
    """

    part: str
    stream: str
    values: tuple[str, ...]


def needs(views: Mapping[str, View], decoders: Mapping[str, Decoder], objective: Objective) -> list[Need]:
    """What the views that are encoded and the decoders read."""
    from bmae_lightning.pretraining.bmae import used_views

    found = []
    for group, parts in (("view", used_views(views, decoders, objective)), ("decoders", decoders)):
        for name, part in parts.items():
            if part.stream is not None:
                mask = getattr(part, "mask", None)
                found.append(Need(f"{group}.{name}", part.stream, tuple(getattr(mask, "values", ()))))
    return found


def check_needs(wanted: Iterable[Need], inputs: Mapping[str, object]) -> None:
    """Whether the inputs of the stage (role -> what makes it, or None) hold what the parts read.

    Raises:
        BadInput: an unknown stream, or an input that is missing or of other passages; names the remedy.
    """
    for need in wanted:
        if need.stream not in OWN + GENERATED:
            raise BadInput(f"{need.part}.stream={need.stream} is no stream{nearest(need.stream, OWN + GENERATED)}")
        if need.stream in GENERATED:
            _require("generate", f"{need.part} reads the stream {need.stream!r}", "writes", inputs)
        if need.values and need.stream in GENERATED:
            raise BadInput(
                f"{need.part}.mask reads {', '.join(need.values)}, which the stage `statistics` knows for passages and "
                f"not for generated text ({need.part}.stream={need.stream}): choose mask@{need.part}.mask=uniform"
            )
        if need.values:
            _require("statistics", f"{need.part}.mask reads {', '.join(need.values)}", "computes", inputs)
    _check_one_collection(inputs)


def _require(role: str, reads: str, makes: str, inputs: Mapping[str, object]) -> None:
    if not inputs.get(role):
        raise BadInput(
            f"{reads}, which the stage `{role}` {makes}, but pretrain.inputs.{role} is empty: add "
            f"`requires: {{{role}: {role}}}` to its YAML, or ++pretrain.inputs.{role}={role} to the command"
        )


def _check_one_collection(inputs: Mapping[str, object]) -> None:
    """Refuse statistics or generated texts (planned nodes) of another collection than that of the passages."""
    corpus = getattr(inputs.get("corpus"), "key", None)
    for role in ("statistics", "generate"):
        of = getattr(inputs.get(role), "inputs", {}).get("corpus", corpus)
        if of != corpus:
            raise BadInput(
                f"the passages of {corpus} are to be pre-trained on, but a mask or decoder needs the stage `{role}`, "
                f"which is of {of}: choose others for the general collection, as "
                "'decoders@general.decoders=[enhanced]' mask@general.decoders.enhanced.mask=uniform"
            )


@dataclass(frozen=True)
class Stream:
    """Where the texts of a stream lie.

    Attributes:
        store: their word pieces.
        rows: the row of the store for every passage, -1 for none; None: the same row.
        values: names of the numbers that go with it.
        numbers: name -> array aligned with `store.tokens`.
    """

    store: TokenStore
    rows: MappedArray | np.ndarray | None = None
    values: Sequence[str] = ()
    numbers: Mapping[str, np.ndarray] | Statistics = field(default_factory=dict)


def open_streams(wanted: Iterable[Need], prepared: Prepared, inputs: Mapping[str, Path | None]) -> dict[str, Stream]:
    """The streams that the parts read, from what the stages wrote.

    Args:
        wanted: see `needs`.
        prepared: the prepared corpus.
        inputs: directories by role, `statistics` and `generate`.

    Raises:
        BadInput: an input is missing, damaged, or made with another tokenizer or from other passages.
    """
    wanted = list(wanted)
    check_needs(wanted, inputs)
    passages = prepared.passages()
    statistics = Statistics(inputs["statistics"], passages) if any(need.values for need in wanted) else {}
    opened = {}
    for name in dict.fromkeys(need.stream for need in wanted):
        values = sorted({value for need in wanted if need.stream == name for value in need.values})
        for value in values:
            statistics[value]  # a name that it does not know is refused here, before any worker starts
        if name in GENERATED:
            opened[name] = Stream(_generated(inputs["generate"], name, passages))
        elif name in STREAMS:
            part = next(need.part for need in wanted if need.stream == name)
            opened[name] = Stream(passages, _order(prepared, part, name), values, statistics)
        else:
            opened[name] = Stream(passages, None, values, statistics)
    return opened


def _generated(directory: Path, name: str, passages: TokenStore) -> TokenStore:
    store = TokenStore(directory / name, passages.tokenizer_digest)
    if not filecmp.cmp(store.directory / "ids.txt", passages.directory / "ids.txt", shallow=False):
        raise BadInput(
            f"{store.directory} holds {len(store)} rows for other passages than the {len(passages)} of "
            f"{passages.directory}: delete {directory} and run the stage `generate` again"
        )
    return store


def _order(prepared: Prepared, part: str, name: str) -> MappedArray:
    rows = prepared.order(name)
    if not (rows.array >= 0).any():
        of = prepared.record["name"]
        raise BadInput(f"{part} reads the stream {name!r}, but no passage of {of} has one: {REMEDY}")
    return rows


@dataclass(frozen=True)
class PassageBatches:
    """Collates (row, epoch) pairs into a `TextBatch`.

    Args:
        streams: where the texts of each stream lie.
        vocabulary: for the special ids.
        length: word pieces with [CLS] and [SEP] of the longest text.
        crop: what is kept of a longer one: `right` cuts its end off, `window` keeps a contiguous window whose place is
            uniformly random, by (seed, epoch, passage, stream) alone (MASTER's released code).
        seed: of the windows.
        separator: whether the [SEP] between title and text stays in a passage (RetroMAE's released code has none while
            it pre-trains, and one while it fine-tunes).

    Raises:
        ValueError: another crop.
    """

    streams: Mapping[str, Stream]
    vocabulary: Vocabulary
    length: int
    crop: str = "right"
    seed: int = 0
    separator: bool = True

    def __post_init__(self) -> None:
        choice(CROPS, crop=self.crop)

    def __call__(self, items: Sequence[Item]) -> TextBatch:
        import torch

        return self.of(*torch.tensor(items, dtype=torch.int64).T)

    def of(self, row_B: torch.Tensor, epoch_B: torch.Tensor) -> TextBatch:
        """The batch of passages given by their rows, each in an epoch."""
        from bmae_lightning.encoder.batch import TextBatch
        from bmae_lightning.pretraining.noise import Noise

        noise = Noise(self.seed, epoch_B, row_B)
        tokens = {name: self._tokens(name, stream, row_B.numpy(), noise) for name, stream in self.streams.items()}
        return TextBatch(tokens, row_B, epoch_B)

    def _tokens(self, name: str, stream: Stream, passage_B: np.ndarray, noise: Noise) -> Tokens:
        import torch

        row_B = passage_B if stream.rows is None else stream.rows[passage_B]
        start_B = stream.store.offsets[row_B]
        size_B = np.where(row_B < 0, 0, stream.store.offsets[row_B + 1] - start_B)
        joined = not self.separator and name in OWN
        kept_B = size_B.clip(max=self.length - 2 + joined)
        if self.crop == "window":
            start_B = start_B + noise.below(f"crop/{name}", 1, torch.from_numpy(size_B - kept_B + 1))[:, 0].numpy()
        values = {key: stream.numbers[key] for key in stream.values}
        tokens = self.vocabulary.cut(stream.store.tokens, start_B, kept_B, values)
        return self._joined(tokens) if joined else tokens

    def _joined(self, tokens: Tokens) -> Tokens:
        """Texts that are one piece too long, without their first inner [SEP], or else without that piece."""
        import torch

        first_B = (tokens.ids_BL == self.vocabulary.sep_id).int().argmax(1)
        last_B = tokens.real_BL.sum(1) - 1
        too_long_B = torch.where(last_B < self.length, last_B + 1, self.length - 1)
        return tokens.without(first_B.where(first_B < last_B, too_long_B), self.vocabulary.pad_id)
