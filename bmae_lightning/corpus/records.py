"""The three records every collection is made of: passages, queries and judgments of their relevance.

They are small immutable tuples with the fields of the BEIR layout.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bmae_lightning.corpus.lines import BrokenLine
from bmae_lightning.runtime.checks import choice

Text = str | tuple[str, str]
"""What is tokenised: a text, or its title and the rest."""


class Passage(NamedTuple):
    """A retrievable piece of text; passages with one `doc_id` are neighbours in the order of `position`."""

    id: str
    title: str
    text: str
    doc_id: str | None
    position: int | None

    @property
    def content(self) -> str:
        """Title and text as one string, separated by a blank; either may be empty."""
        return f"{self.title} {self.text}".strip()

    def text_of(self, title: str) -> Text:
        """What is tokenised: title and text apart where titles are a `pair` and neither is empty, else `content`."""
        return (self.title, self.text) if title == "pair" and self.title and self.text else self.content


class Query(NamedTuple):
    """A question or any other short text to retrieve passages for."""

    id: str
    text: str


class Judgment(NamedTuple):
    """One line of a qrels file; a relevance of 0 or less means judged not relevant."""

    query_id: str
    passage_id: str
    relevance: int


class Counts(NamedTuple):
    """What a collection holds; `judgments` maps each split to its number of judgments, `words` are blank-separated."""

    passages: int
    queries: int
    judgments: dict[str, int]
    words: int


TITLES = ("prepend", "pair", "drop")
TOLERATE = ("empty", "unknown")


@dataclass(frozen=True)
class Rules:
    """How the fields of a collection become records.

    title: "prepend" keeps the passages' titles (`Passage.content` puts them in front of the text), "pair" as well, and
    the prepare stage keeps title and text apart by [SEP]; "drop" empties them.
    tolerate: faults of published collections that their published results include: "empty", passages without text;
    "unknown", judgments of passages that are not there (no search finds them; never in the split `train`).

    Raises ValueError for another `title` or `tolerate`.
    """

    title: str = "prepend"
    tolerate: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        choice(TITLES, title=self.title)
        for name in self.tolerate:
            choice(TOLERATE, tolerate=name)

    def passage(
        self, source: Path | str, number: int, id: str, title: str, text: str,
        doc_id: str | None = None, position: int | None = None,
    ) -> Passage:  # fmt: skip
        """The passage of one row. Raises BrokenLine for an id that run files cannot hold, and for an empty passage."""
        _check_id(source, number, id)
        kept = "" if self.title == "drop" else title.strip()
        if not text.strip() and not kept and "empty" not in self.tolerate:
            remedy = 'its title is dropped, keep it with title="prepend"' if title.strip() else "remove the line"
            message = f"passage {id!r} has no text: {remedy}, add the text, or keep it so (corpus.tolerate=[empty])."
            raise BrokenLine(source, number, "empty", message)
        return Passage(id, kept, text.strip(), doc_id, position)


def make_query(source: Path | str, number: int, id: str, text: str) -> Query:
    """The query of one row. Raises BrokenLine for an id that run files cannot hold, and for an empty query."""
    _check_id(source, number, id)
    if not text.strip():
        raise BrokenLine(source, number, "empty", f"query {id!r} has no text: remove the line or add the text.")
    return Query(id, text.strip())


def _check_id(source: Path | str, number: int, id: str) -> None:
    if id.split() != [id]:
        message = f"the id {id!r} is empty or holds white space, which run and qrels files cannot hold; rename it."
        raise BrokenLine(source, number, "id", message)
