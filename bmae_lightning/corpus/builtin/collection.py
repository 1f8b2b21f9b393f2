"""The built-in collection: the documentation of installed packages as queries (summaries) and passages (the rest).

Real English on any machine without a download, written as a BEIR directory; it moves with the packages' versions and
shows that the whole path works, it is no evidence about a method.
"""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from bmae_lightning.corpus.builtin.docstring_text import query_and_passage
from bmae_lightning.corpus.builtin.docstrings import package_docstrings, package_files, package_version
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_text

_WORDS = re.compile(r"\w+")
_LETTERS = re.compile(r"[^\W\d_]+")  # passages that differ in nothing but numbers and punctuation are near-equal
SPLITS = ("train", "dev", "test")
_SHARES = (70, 80, 100)  # a module's hash modulo 100 below 70: train, below 80: dev, else test


class PackageCount(NamedTuple):
    """What one package gave to the collection."""

    package: str
    version: str
    pairs: int


class _Pair(NamedTuple):
    package: str
    module: str
    id: str
    query: str
    passage: str


class BuiltinCorpus:
    """Pairs of (summary line, rest of the docstring) of the public objects of installed packages.

    packages: import names; "stdlib" is the standard library. min_query_words, min_passage_words: shorter ones are left
    out (a word is a run of letters, digits and underscores). Raises ValueError for an empty list or a number below 1.
    """

    def __init__(
        self, packages: list[str] = ("stdlib", "numpy"), min_query_words: int = 5, min_passage_words: int = 30
    ):
        self.packages = list(dict.fromkeys(packages))
        if isinstance(packages, str) or not self.packages:
            raise ValueError(f"packages={packages!r} is not a list of package names; use e.g. [stdlib, numpy].")
        at_least(1, min_query_words=min_query_words, min_passage_words=min_passage_words)
        self.min_query_words = min_query_words
        self.min_passage_words = min_passage_words

    def identity(self) -> dict[str, str]:
        """What a result depends on apart from the options: package -> version, cheap to find.

        Raises BadInput if one is not installed.
        """
        for package in self.packages:
            package_files(package) if package != "stdlib" else None
        return {package: package_version(package) for package in self.packages}

    def splits(self) -> list[str]:
        """Names of the judged splits."""
        return list(SPLITS)

    def has_documents(self) -> bool:
        """Passages say of which module they are."""
        return True

    def write(self, directory: str | Path) -> list[PackageCount]:
        """Writes corpus.jsonl (metadata: doc_id = module, position), queries.jsonl and qrels/{train,dev,test}.tsv.

        The same versions give the same bytes. Returns what each package gave. Raises BadInput if a package is missing
        or if the pairs come from fewer than three modules, since modules are what is divided into splits.
        """
        versions = self.identity()
        pairs = self._pairs()
        split_of = _split_modules({pair.module for pair in pairs}, self.packages)
        position: Counter[str] = Counter()
        corpus, queries, qrels = [], [], {split: ["query-id\tcorpus-id\tscore\n"] for split in SPLITS}
        for pair in pairs:
            place = {"doc_id": pair.module, "position": position[pair.module]}
            position[pair.module] += 1
            corpus.append(_json({"_id": pair.id, "title": "", "text": pair.passage, "metadata": place}))
            queries.append(_json({"_id": f"query:{pair.id}", "text": pair.query}))
            qrels[split_of[pair.module]].append(f"query:{pair.id}\t{pair.id}\t1\n")
        directory = Path(directory)
        write_text(directory / "corpus.jsonl", "".join(corpus))
        write_text(directory / "queries.jsonl", "".join(queries))
        for split, lines in qrels.items():
            write_text(directory / "qrels" / f"{split}.tsv", "".join(lines))
        taken = Counter(pair.package for pair in pairs)
        return [PackageCount(package, versions[package], taken[package]) for package in self.packages]

    def _pairs(self) -> list[_Pair]:
        pairs: list[_Pair] = []
        ids: Counter[str] = Counter()
        seen: set[str] = set()
        for package in self.packages:
            for doc in package_docstrings(package):
                query, passage = query_and_passage(doc.text)
                if _words(query) < self.min_query_words or _words(passage) < self.min_passage_words:
                    continue
                normal = " ".join(_LETTERS.findall(passage.lower()))
                if normal in seen:
                    continue
                seen.add(normal)
                id = re.sub(r"\s", "", f"{doc.module}.{doc.object}".rstrip("."))
                ids[id] += 1
                pairs.append(_Pair(package, doc.module, id if ids[id] == 1 else f"{id}#{ids[id]}", query, passage))
        words = [" ".join(_WORDS.findall(pair.query.lower())) for pair in pairs]
        occurrences = Counter(words)
        return [pair for pair, query in zip(pairs, words, strict=True) if occurrences[query] == 1]


def _words(text: str) -> int:
    return len(_WORDS.findall(text))


def _hash(module: str) -> int:
    return int.from_bytes(hashlib.sha256(module.encode()).digest()[:8], "big")


def _split_modules(modules: set[str], packages: list[str]) -> dict[str, str]:
    """Module -> split by a stable hash of its name; a split left empty takes the next module from the largest split."""
    if len(modules) < len(SPLITS):
        raise BadInput(
            f"packages={packages} document {len(modules)} modules well enough, train, dev and test need one each; "
            f"add packages, e.g. stdlib, or lower min_passage_words."
        )
    members: dict[str, list[str]] = {split: [] for split in SPLITS}
    for module in sorted(modules, key=lambda name: (_hash(name), name)):
        members[next(s for s, end in zip(SPLITS, _SHARES, strict=True) if _hash(module) % 100 < end)].append(module)
    for split in SPLITS:
        if not members[split]:
            members[split].append(max(members.values(), key=len).pop())
    return {module: split for split, names in members.items() for module in names}


def _json(record: dict) -> str:
    return json.dumps(record, ensure_ascii=False) + "\n"
