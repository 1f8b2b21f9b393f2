"""From a corpus to token stores: check every line first, make the tokenizer, tokenise passages and queries once."""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.corpus.builtin.collection import BuiltinCorpus
from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.doctor import BYTES_PER_OFFSET, BYTES_PER_PIECE
from bmae_lightning.corpus.document_order import COLLECTION_ORDER, ORDERS, STREAMS, DocumentOrder
from bmae_lightning.corpus.records import Counts, Text
from bmae_lightning.corpus.tokens.size_estimate import SizeEstimate, estimate, gigabytes
from bmae_lightning.corpus.tokens.store import TokenStore, tokenise_once
from bmae_lightning.encoder.tokenizer import PretrainedTokenizer, TrainedTokenizer, load_tokenizer
from bmae_lightning.evaluation.measure.ranking import TRAIN
from bmae_lightning.evaluation.measure.trec import run_of_lists, write_qrels, write_run
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.cost import Cost, Sizes
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_array, write_json
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.stage import Context, Stage
from bmae_lightning.stage.prepared import ANSWERS

ASSUMED = 128
"""Word pieces of a passage where their mean is not known."""


@dataclass(kw_only=True)
class Prepare(Stage):
    """Writes beir/ (built-in collection only), tokenizer/, passages/, next.npy, neighbour.npy, queries/, qrels/,
    corpus.json; where the collection has them also answers.json and its hard negatives, run.train.trec.

    Args:
        corpus: where texts come from.
        tokenizer: where word pieces come from, unless the input `tokenizer` is another prepared corpus, whose are used.
        documents, neighbours: how it is known which passage follows which, as in `DocumentOrder`.

    Raises:
        ValueError: no corpus, or both a file of documents and the order of the collection.
    """

    corpus: Collection | BuiltinCorpus
    tokenizer: PretrainedTokenizer | TrainedTokenizer
    documents: str | None = None
    neighbours: str = ORDERS[0]

    def __post_init__(self) -> None:
        if self.corpus is None:
            raise ValueError("there is no collection: add corpus@general.corpus=files general.corpus.path=DIR")
        choice(ORDERS, neighbours=self.neighbours)
        if self.documents and self.neighbours == COLLECTION_ORDER:
            raise ValueError(f"documents={self.documents} and neighbours={COLLECTION_ORDER} exclude each other")

    def preflight(self, splits: list[str]) -> None:
        self.tokenizer.preflight()

    def cost(self, sizes: Sizes, inputs: Mapping[str, Any]) -> Cost:
        return Cost(disk=sizes.passages * (BYTES_PER_PIECE * sizes.tokens(ASSUMED) + BYTES_PER_OFFSET))

    def run(self, context: Context) -> None:
        directory = context.directory
        for name in ("beir", "tokenizer", "passages", "queries", "qrels"):
            shutil.rmtree(directory / name, ignore_errors=True)
        places, source = DocumentOrder(self.documents, self.neighbours), self._source(context)
        counts, splits = source.check(places.note), source.splits()
        print_once(f"{context.stage}: {_described(counts, splits)}")
        order = places.order()
        if order.told:
            print_once(f"{context.stage}: {order.told}")
        for stream in STREAMS:
            write_array(directory / f"{stream}.npy", getattr(order, stream))
        shared = context.inputs.get("tokenizer")
        pieces = PretrainedTokenizer(str(shared / "tokenizer")) if shared else self.tokenizer
        pieces.make(lambda: (passage.content for passage in source.passages()), directory / "tokenizer")
        tokenizer = load_tokenizer(directory / "tokenizer")
        sizes = estimate(source.passages(), counts, tokenizer)
        print_once(f"{context.stage}: {sizes}; {gigabytes(_free(directory))} are free")
        _check_space(directory, sizes)
        _write_texts(context, source, counts, tokenizer)
        _check_queries(directory / "queries", source)
        _write_judgments(directory, source, splits)
        record = {
            "name": source.name, "collection": source.node(), "title": source.title, "splits": splits,
            "passages": counts.passages, "queries": counts.queries, "words": counts.words,
            "order": order.told,
        }  # fmt: skip
        write_json(directory / "corpus.json", record)
        write_json(directory / "metrics.json", {"passages": counts.passages, "queries": counts.queries})

    def _source(self, context: Context) -> Collection:
        """The collection; the built-in one is written down first, so that later stages read what this one read."""
        if not isinstance(self.corpus, BuiltinCorpus):
            return self.corpus
        taken = self.corpus.write(context.directory / "beir")
        packages = ", ".join(f"{name} {version} ({pairs} pairs)" for name, version, pairs in taken)
        print_once(f"{context.stage}: built-in collection from {packages}")
        return BeirCorpus(str(context.directory / "beir"))


def _described(counts: Counts, splits: list[str]) -> str:
    judged = [f"{split} {counts.judgments[split]:,}" for split in splits if counts.judgments[split]]
    answered = [split for split in splits if not counts.judgments[split]]
    said = f"{counts.passages:,} passages, {counts.queries:,} queries"
    said += f", judgments: {', '.join(judged)}" if judged else ""
    return said + (f"; answers alone: {', '.join(answered)}" if answered else "")


def _write_texts(context: Context, source: Collection, counts: Counts, tokenizer: Any) -> None:
    """The token stores of passages and queries."""
    label = f"{context.stage}: tokenising"

    def passages() -> Iterator[tuple[str, Text]]:
        return ((passage.id, passage.text_of(source.title)) for passage in source.passages())

    def queries() -> Iterator[tuple[str, Text]]:
        return ((query.id, query.text) for query in source.queries())

    tokenise_once(context.directory / "passages", passages, tokenizer, f"{label} passages", counts.passages)
    tokenise_once(context.directory / "queries", queries, tokenizer, f"{label} queries", counts.queries)


def _write_judgments(directory: Path, source: Collection, splits: list[str]) -> None:
    """Judgments of every split, and the hard negatives and answers that come with the collection."""
    (directory / "qrels").mkdir()
    for split in splits:
        write_qrels(directory / "qrels" / f"{split}.trec", source.qrels(split))
    if own := run_of_lists(source.negatives(TRAIN)) if TRAIN in splits else None:
        write_run(directory / f"run.{TRAIN}.trec", own, source.name)
    answers = {split: dict(source.answers(split)) for split in splits}
    if any(answers.values()):
        write_json(directory / ANSWERS, answers)


def _free(directory: Path) -> int:
    return shutil.disk_usage(directory).free


def _check_space(directory: Path, sizes: SizeEstimate) -> None:
    """Refuse to begin what the disk cannot hold; shards of an earlier attempt are counted once more, which is safe."""
    if 2 * sizes.store > _free(directory):
        raise BadInput(
            f"disk full: {directory} has {gigabytes(_free(directory))} free, the token store of {sizes.passages:,} "
            f"passages needs about {gigabytes(2 * sizes.store)} while it is made: free space or set output_dir=DIR"
        )


def _check_queries(directory: Path, source: Collection) -> None:
    """Refuse a query of which the tokenizer leaves nothing, which could find nothing."""
    queries = TokenStore(directory)
    empty = np.flatnonzero(queries.lengths == 0)
    if len(empty):
        more = f", and {len(empty) - 1:,} more queries" if len(empty) > 1 else ""
        raise BadInput(
            f"{source.name}: the tokenizer leaves nothing of query {queries.external_ids[empty[0]]!r}{more}: remove it "
            "and its judgments, or write out its text"
        )
