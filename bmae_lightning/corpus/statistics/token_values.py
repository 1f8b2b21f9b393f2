"""From tables of counts to one number per token of a store: importance (CDMAE) and keyword weight (MASTER).

A block of rows at a time, each written to a file of its own, so that a run that was killed continues.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bmae_lightning.corpus.statistics.key_counts import BYTES_PER_ENTRY, Lookup, Table
from bmae_lightning.corpus.statistics.ngram_counts import Counting, chunk_tokens
from bmae_lightning.corpus.statistics.pmi import BOUNDARIES, PMI_MODES, average_mutual_information
from bmae_lightning.corpus.statistics.words import UNITS, UnitReader, Units, WordRules, row_ranges
from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.runtime.checks import at_least, choice
from bmae_lightning.runtime.files import write_array
from bmae_lightning.runtime.progress import track
from bmae_lightning.runtime.threads import Workers, in_turn

NAMES = ("importance", "keyword_weight")
WEIGHTS = ("inv_cf", "idf", "tfidf")
SHARE = 0.35
"""Of the memory for tables, and the same for the counts of a block; the rest is for what threads are working on."""

Rows = tuple[int, int]
Counts = dict[str, np.ndarray]


@dataclass(frozen=True)
class StatisticsOptions:
    """What is computed.

    keyword: weight of a word for the keyword mask: 'inv_cf' | 'idf' | 'tfidf', see `log_keyword_weight`.
    window: longest n-gram, L_w.  unit: of n-grams, 'word' | 'piece'.  pmi_mode, boundary: see
    `average_mutual_information`.  min_count: n-grams of two and more that are rarer do not exist.
    """

    keyword: str = "inv_cf"
    window: int = 4
    unit: str = "word"
    pmi_mode: str = "joint"
    boundary: str = "zero_fill"
    min_count: int = 1

    def __post_init__(self) -> None:
        choice(WEIGHTS, keyword=self.keyword)
        choice(UNITS, unit=self.unit)
        choice(PMI_MODES, pmi_mode=self.pmi_mode)
        choice(BOUNDARIES, boundary=self.boundary)
        if self.window < 2:
            raise ValueError(f"window must be at least 2, a word and its neighbour, got {self.window}")
        at_least(1, min_count=self.min_count)

    @property
    def ngrams(self) -> list[str]:
        """Names of the tables of n-grams of orders 1 .. window, which make the importance: `word-1` .. `word-4`."""
        return [f"{self.unit}-{order}" for order in range(1, self.window + 1)]

    @property
    def words(self) -> str | None:
        """Name of the table of words by occurrence, None where the keyword weight needs none."""
        return "word-1" if self.keyword == "inv_cf" else None

    @property
    def passages(self) -> str | None:
        """Name of the table of words by passage, None where the keyword weight needs none."""
        return None if self.keyword == "inv_cf" else "word-passages"

    def countings(self, store: TokenStore, rules: WordRules) -> dict[str, Counting]:
        """What each table counts in a store, by the table's name."""
        units = dict.fromkeys(["word", self.unit])
        readers = {unit: UnitReader(store, rules, unit) for unit in units}
        made = [
            Counting(name, readers[self.unit], order, self.min_count if order > 1 else 1)
            for order, name in enumerate(self.ngrams, 1)
        ]
        if self.words and self.words != self.ngrams[0]:
            made.append(Counting(self.words, readers["word"], 1))
        if self.passages:
            made.append(Counting(self.passages, readers["word"], 1, once=True))
        return {counting.name: counting for counting in made}


@dataclass(frozen=True)
class TokenValues:
    """Computes the values.

    countings: what the tables count, read from the store whose tokens get the values.  total_N: occurrences of n-grams
    of each order.  counted: number of passages that were counted.
    """

    options: StatisticsOptions
    countings: dict[str, Counting]
    total_N: Sequence[int]
    counted: int

    def write(self, directory: Path, tables: dict[str, Table], workers: Workers, title: str) -> list[Path]:
        """Files of [2, tokens] float32 in the order of the rows: the values named in `NAMES`, one after another."""
        store = self.countings[self.options.ngrams[0]].reader.store
        block_tokens = max(1, int(SHARE * workers.memory / (8 * len(tables) + 8)))
        blocks = list(row_ranges(store, block_tokens))
        paths = [directory / f"values.{first}-{last}.npy" for first, last in blocks]
        missing = [(rows, path) for rows, path in zip(blocks, paths, strict=True) if not path.is_file()]
        groups = _groups(tables, max(1, int(SHARE * workers.memory / BYTES_PER_ENTRY)))
        tokens = sum(int(store.offsets[last] - store.offsets[first]) for (first, last), _ in missing)
        if missing:
            resident = _load(tables, groups[0]) if len(groups) == 1 else None
            with track(f"{title}: values", tokens, unit="tokens") as told:
                advance = in_turn(told)
                for rows, path in missing:
                    chunks = list(row_ranges(store, chunk_tokens(workers), *rows))
                    counts: list[Counts] = [{} for _ in chunks]
                    for group in groups:
                        self._look_up(chunks, counts, resident or _load(tables, group), workers)
                    write_array(path, self._finish(chunks, counts, workers, advance))
        return paths

    def _look_up(
        self, chunks: list[Rows], counts: list[Counts], lookups: list[tuple[str, Lookup]], workers: Workers
    ) -> None:
        """Add to the counts, by table, of the n-gram that starts at each unit."""

        def look_up(chunk: int) -> None:
            read: dict[str, Units] = {}
            asked: dict[str, tuple[np.ndarray, np.ndarray]] = {}
            for name, lookup in lookups:
                units = self._read(name, chunks[chunk], read)
                if name not in asked:
                    asked = {name: units.ngram_keys(self.countings[name].order)}
                key, begin = asked[name]
                total_U = counts[chunk].setdefault(name, np.zeros(len(units.key_U), dtype=np.int64))
                total_U[begin] += lookup.find(key)

        workers.map(look_up, range(len(chunks)))

    def _finish(
        self, chunks: list[Rows], counts: list[Counts], workers: Workers, advance: Callable[[int], None]
    ) -> np.ndarray:
        def finish(chunk: int) -> np.ndarray:
            values = self._values(chunks[chunk], counts[chunk])
            counts[chunk].clear()
            advance(values.shape[1])
            return values

        return np.concatenate(workers.map(finish, range(len(chunks))), axis=1)

    def _read(self, name: str, rows: Rows, read: dict[str, Units]) -> Units:
        reader = self.countings[name].reader
        if reader.unit not in read:
            read[reader.unit] = reader.read(*rows)
        return read[reader.unit]

    def _values(self, rows: Rows, counts: Counts) -> np.ndarray:
        read: dict[str, Units] = {}
        options, ngrams = self.options, self.options.ngrams

        def count(name: str | None) -> np.ndarray | None:
            return name and counts.get(name, np.zeros(len(self._read(name, rows, read).key_U), dtype=np.int64))

        count_NU = [count(name) for name in ngrams]
        importance_U = average_mutual_information(count_NU, self.total_N, options.pmi_mode, options.boundary)
        units, words = (self._read(name, rows, read) for name in (ngrams[0], options.words or options.passages))
        times_U = words.times_in_row()[0] if options.keyword == "tfidf" else None
        weight_U = log_keyword_weight(
            options.keyword, count(options.words), count(options.passages), times_U, self.counted
        )
        return np.stack([units.spread(importance_U), words.spread(weight_U)])


def _groups(tables: dict[str, Table], entries: int) -> list[list[tuple[str, tuple[Path, int, int]]]]:
    """The tables cut into groups of pieces that hold at most `entries` keys together, in order."""
    groups: list[list] = [[]]
    room = entries
    for name, table in tables.items():
        for span in table.spans(entries):
            if span[2] > room:
                groups.append([])
                room = entries
            groups[-1].append((name, span))
            room -= span[2]
    return groups


def _load(tables: dict[str, Table], group: list[tuple[str, tuple[Path, int, int]]]) -> list[tuple[str, Lookup]]:
    return [(name, tables[name].load(*span)) for name, span in group]


def log_keyword_weight(
    kind: str, frequency_U: np.ndarray | None, passages_U: np.ndarray | None, times_U: np.ndarray | None, passages: int
) -> np.ndarray:
    """ln of the weight with which MASTER's masked keyword prediction draws every word, float64 [U]; it is above 0.

    kind: 'inv_cf' is 1 / frequency (as released), 'idf' is that of BM25, ln(1 + (D - d + 0.5) / (d + 0.5)) for a word
        in d of D passages, 'tfidf' is times * idf.  A word that was never counted is taken as seen once.
    frequency_U: occurrences in the corpus.  passages_U: passages that hold the word.  times_U: occurrences in its own
        passage. Only what the kind needs is read.  passages: of the corpus.
    """
    if kind == "inv_cf":
        return -np.log(np.maximum(frequency_U, 1))
    holding_U = np.clip(passages_U, 1, max(passages, 1))
    weight_U = np.log1p((passages - holding_U + 0.5) / (holding_U + 0.5))
    return np.log(weight_U if kind == "idf" else weight_U * times_U)
