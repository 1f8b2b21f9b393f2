"""Look at what was trained: the best passages of a finished index for questions from the command line."""

import shutil
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bmae_lightning.corpus.tokens.store import write_token_store
from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.retrieval.index.index import Index
from bmae_lightning.retrieval.search import check_index, search
from bmae_lightning.retrieval.vector_files import open_vectors
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.stage import device_of
from bmae_lightning.runtime.table import print_text, printable
from bmae_lightning.stage.example_queries import excerpt
from bmae_lightning.stage.prepared import Prepared


@dataclass(kw_only=True)
class Lookup:
    """Prints the best passages with their scores; writes nothing.

    Args:
        query: one question or several.
        arm: the arm whose retriever searches; None for the one with pre-training.
        indexes: stages whose index may be searched, the preferred ones first.
        index: exact or faiss.
        depth: passages per question.
        batch_tokens: word pieces encoded at a time.
        device: a trainer's accelerator, `cpu`, `gpu` or `auto`.

    Raises:
        ValueError: no question, an empty one, or a depth that is too small.
    """

    query: str | list | None
    arm: str | None
    indexes: list[str]
    index: Index
    depth: int
    batch_tokens: int
    device: str

    def __post_init__(self) -> None:
        asked = [self.query] if isinstance(self.query, str) else self.query or []
        self.queries = [" ".join(str(text).split()) for text in asked]
        if not self.queries or not all(self.queries):
            raise ValueError('query is empty: ask something, as in search query="how to sort a list"')
        at_least(1, depth=self.depth)

    def run(self, title: str, corpus: Path, retriever: Path, vectors: Path) -> None:
        """Search and print.

        Args:
            title: what is searched.
            corpus, retriever: directories of the stages.
            vectors: file of the passages' vectors.

        Raises:
            BadInput: files of a stage are missing, or a question of which the tokenizer leaves nothing.
        """
        from bmae_lightning.retrieval.dual_encoder import load_dual_encoder

        prepared, device = Prepared(corpus), device_of(self.device)
        model, config = load_dual_encoder(retriever / "retriever")
        model.to(device)
        check_index(self.index, model.representation.lexical)
        passages = prepared.passages()
        with tempfile.TemporaryDirectory() as temporary:
            asked = write_token_store(Path(temporary) / "queries", self.queries, None, prepared.tokenizer())
            if not asked.lengths.all():
                nothing = self.queries[int(np.argmin(asked.lengths))]
                raise BadInput(f"query={nothing!r}: the tokenizer finds no word in it")
            found = search(
                self.index, model, open_vectors(vectors), asked, np.arange(len(asked)), config.query_length,
                self.batch_tokens, device, self.depth, lambda count: None,
            )  # fmt: skip
            cut = asked.lengths + 2 > config.query_length
        run = Run.from_rows(list(map(str, range(len(asked)))), passages.external_ids, found.rows, found.scores)
        texts = prepared.passage_texts({passage for query in run for passage in run.passages(query)})
        lines = [f"{title}, {len(passages):,} passages"]
        for number, query in enumerate(self.queries):
            more = f" (its first {config.query_length - 2} word pieces count)" if cut[number] else ""
            lines += ["", printable(query) + more]
            for rank, (passage, score) in enumerate(run[str(number)], 1):
                lines += [f"{rank:4}  {score:11.5f}  {passage}", *_wrapped(printable(excerpt(texts[passage])))]
        print_text("\n".join(lines) + "\n")


def _wrapped(text: str) -> list[str]:
    room = max(20, shutil.get_terminal_size().columns - 6)
    return textwrap.wrap(text, room, initial_indent=" " * 6, subsequent_indent=" " * 6)
