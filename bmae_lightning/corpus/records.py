"""The three records every collection is made of: passages, queries and judgments of their relevance.

They are small immutable tuples with the fields of the BEIR layout and hold no equation.
"""

from typing import NamedTuple

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
