"""Numbers per token of a store that mask policies read: how important (CDMAE) and how telling (MASTER) its word is.

Written once by `write_statistics`, beside the store and aligned with its tokens; read memory-mapped by `Statistics`.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bmae_lightning.corpus.statistics.ngram_counts import count_tables, occurrences
from bmae_lightning.corpus.statistics.token_values import NAMES, StatisticsOptions, TokenValues
from bmae_lightning.corpus.statistics.words import WordRules
from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_json, write_text, writing
from bmae_lightning.runtime.threads import Workers

FORMAT = 1
RECORD = "statistics.json"
WORK = "partial"
LEAST_MEMORY = 2**24
"""Bytes below which reading a few passages would already need more."""


def write_statistics(
    directory: Path,
    store: TokenStore,
    rules: WordRules,
    options: StatisticsOptions,
    memory_gb: float = 1.0,
    threads: int = 1,
    title: str = "statistics",
    counted: TokenStore | None = None,
) -> "Statistics":
    """Computes the statistics of a store into `directory` and opens them; what a killed call has finished is kept.

    rules: of the tokenizer.  memory_gb: of all threads' arrays together, in GiB; files
    that are memory-mapped are not part of it.  threads: at most so many; the result does not depend on them.
    counted: another store of the same tokenizer whose counts are to be used, by default the store itself.
    Raises ValueError for arguments out of range, OSError for a disk that is full.
    """
    if not memory_gb * 2**30 >= LEAST_MEMORY:
        raise ValueError(f"memory_gb must be at least {LEAST_MEMORY / 2**30:.3f}, got {memory_gb}")
    at_least(1, threads=threads)
    workers = Workers(threads, int(memory_gb * 2**30))
    counted = counted or store
    if counted.tokenizer_digest != store.tokenizer_digest:
        raise BadInput(f"{counted.directory} and {store.directory} were made by two tokenizers; prepare both with one.")
    work = directory / WORK
    _continue(work, {"format": FORMAT, "options": asdict(options), "stores": [_identity(store), _identity(counted)]})
    countings = options.countings(counted, rules)
    total_N = occurrences(countings[options.ngrams[0]].reader, options.window, workers, title)
    tables = count_tables(work, list(countings.values()), workers, title)
    values = TokenValues(options, options.countings(store, rules), total_N, len(counted))
    paths = values.write(work, tables, workers, title)
    for number, name in enumerate(NAMES):
        _join(directory / f"{name}.npy", paths, number, len(store.tokens))
    record = {
        "format": FORMAT,
        "tokenizer": store.tokenizer_digest,
        "rows": len(store),
        "tokens": len(store.tokens),
        "values": list(NAMES),
        "options": asdict(options),
        "occurrences": dict(zip(options.ngrams, total_N, strict=True)),
        "kept": {name: len(table) for name, table in tables.items()},
    }
    write_json(directory / RECORD, record)
    shutil.rmtree(work)
    return Statistics(directory, store)


def _identity(store: TokenStore) -> list[str | int]:
    return [store.tokenizer_digest, len(store), len(store.tokens)]


def _continue(work: Path, plan: dict[str, Any]) -> None:
    """Make the directory for unfinished work; what another plan has left there is removed."""
    record = work / "plan.json"
    if not record.is_file() or record.read_text(encoding="utf-8") != json.dumps(plan):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        write_text(record, json.dumps(plan))


def _join(path: Path, parts: Sequence[Path], number: int, tokens: int) -> None:
    """The rows `number` of the parts as one float32 array [tokens], a .npy file."""
    with writing(path) as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (tokens,)}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            file.write(memoryview(np.load(part, mmap_mode="r")[number]))


class Statistics:
    """The values of a store's tokens, memory-mapped; cheap to open and to pickle (only the paths travel).

    `statistics[name]` is the float32 array [tokens] of one of `names`, aligned with `store.tokens`.
    Raises BadInput, naming the directory, for missing or damaged files and for the statistics of another tokenizer or
    of other texts than those of `store`.
    """

    def __init__(self, directory: str | Path, store: TokenStore):
        self.directory, self.store = Path(directory), store
        try:
            record = json.loads((self.directory / RECORD).read_text(encoding="utf-8"))
        except OSError as error:
            raise self._unusable(f"{RECORD} is missing") from error
        except ValueError as error:
            raise self._unusable(f"{RECORD} is not JSON") from error
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise self._unusable(f"{RECORD} is not of format {FORMAT}, which this version reads")
        if record["tokenizer"] != store.tokenizer_digest:
            raise self._unusable(
                f"they were made with tokenizer {record['tokenizer'][:12]}, the passages {store.directory} with "
                f"{store.tokenizer_digest[:12]}"
            )
        for name, found in (("rows", len(store)), ("tokens", len(store.tokens))):
            if record[name] != found:
                raise self._unusable(
                    f"they describe {record[name]:,} {name}, the passages {store.directory} have {found:,}"
                )
        self.options = StatisticsOptions(**record["options"])
        self.names: tuple[str, ...] = tuple(record["values"])
        self._values = {name: self._open(name) for name in self.names}

    def __getitem__(self, name: str) -> np.ndarray:
        """float32 [tokens]. Raises BadInput for a name that is not among `names`."""
        if name not in self._values:
            raise BadInput(
                f"a mask reads the value {name!r}, the statistics {self.directory} have {', '.join(self.names)}; "
                "set the mask's option value to one of these"
            )
        return self._values[name]

    def _open(self, name: str) -> np.ndarray:
        path, size = self.directory / f"{name}.npy", len(self.store.tokens)
        try:
            if not size:
                return np.load(path)
            values = np.load(path, mmap_mode="r")
        except FileNotFoundError as error:
            raise self._unusable(f"{path.name} is missing") from error
        except (OSError, ValueError, EOFError) as error:
            raise self._unusable(f"{path.name} is damaged") from error
        if values.shape != (size,) or values.dtype != np.float32:
            raise self._unusable(f"{path.name} holds {values.dtype} {values.shape} instead of float32 {(size,)}")
        return values.view(np.ndarray)

    def _unusable(self, what: str) -> BadInput:
        return BadInput(
            f"statistics {self.directory} cannot be used: {what}; run the statistics stage again on these passages."
        )

    def __getstate__(self) -> dict:
        return {"directory": self.directory, "store": self.store}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["directory"], state["store"])
