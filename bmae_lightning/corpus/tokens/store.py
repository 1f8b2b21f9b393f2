"""Token ids of a stream of texts on disk, memory-mapped: the only thing data workers touch.

One flat file of ids without special tokens and untruncated, int64 offsets, external ids and a manifest.
"""

import contextlib
import json
import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, tee
from pathlib import Path

import numpy as np

from bmae_lightning.corpus.records import Text
from bmae_lightning.corpus.tokens.row_index import RowIndex
from bmae_lightning.corpus.tokens.tokenise import ContentTokenizer, Pieces, stored_type
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import replacing, write_array, write_json, writing, writing_text
from bmae_lightning.runtime.process import made_by_first
from bmae_lightning.runtime.progress import track
from bmae_lightning.runtime.threads import in_order

FORMAT = 1
SHARD = 16384
"""Texts tokenised at a time; a killed run loses at most the unfinished ones."""
AHEAD = 2
"""Shards in work at once: one is read and packed while the tokenizer's own threads are at another."""
_TOKENS, _OFFSETS, IDS, _MANIFEST = "tokens.bin", "offsets.npy", "ids.txt", "manifest.json"


class TokenStoreWriter:
    """Writes a store row by row under a temporary name; `commit` renames it to `directory`.

    Used as a context manager it removes what it wrote unless `commit` was called. An older store in `directory` stays
    until then.

    Args:
        directory: of the store.
        vocabulary_size: ids must be below it; below 65,536 they are stored as uint16, else as int32.
        tokenizer_digest: of the tokenizer that made the ids.

    Raises:
        BadInput: `directory` holds something that is not a token store, or the disk is full.
    """

    def __init__(self, directory: str | Path, vocabulary_size: int, tokenizer_digest: str):
        self.directory = Path(directory)
        if self.directory.exists() and not (self.directory / _MANIFEST).is_file():
            is_empty = self.directory.is_dir() and not any(self.directory.iterdir())
            if not is_empty:
                raise BadInput(f"{self.directory} exists and is no token store; remove it or choose another directory.")
        self.vocabulary_size = vocabulary_size
        self.tokenizer_digest = tokenizer_digest
        self.dtype = stored_type(vocabulary_size)
        self._offsets = array("q", [0])
        self._whole = contextlib.ExitStack()
        self._partial = self._whole.enter_context(replacing(self.directory))
        self._partial.mkdir()
        self._files = self._whole.enter_context(contextlib.ExitStack())
        self._tokens = self._files.enter_context(writing(self._partial / _TOKENS))
        self._ids = self._files.enter_context(writing_text(self._partial / IDS))

    def append(self, token_ids: Sequence[int], external_id: str) -> None:
        """Adds one row. Raises BadInput for an external id with a line break."""
        self.extend([len(token_ids)], token_ids, [external_id])

    def extend(self, lengths: Sequence[int], token_ids: Sequence[int], external_ids: Sequence[str]) -> None:
        """Adds rows. token_ids: of all of them, one after another. Raises BadInput for an id with a line break."""
        for external_id in external_ids:
            if "\n" in external_id or "\r" in external_id:
                raise BadInput(
                    f"id {external_id!r} holds a line break, {IDS} cannot hold it; rename it in the collection."
                )
        rows = np.asarray(token_ids)
        ends = np.cumsum(lengths, dtype=np.int64)
        if len(ends) != len(external_ids) or (ends[-1] if len(ends) else 0) != rows.size:
            raise ValueError(f"{len(ends)} lengths for {len(external_ids)} ids and {rows.size} token_ids")
        if rows.size and not 0 <= rows.min() <= rows.max() < self.vocabulary_size:
            wrong = np.flatnonzero((rows < 0) | (rows >= self.vocabulary_size))[0]
            name = external_ids[np.searchsorted(ends, wrong, side="right")]
            raise ValueError(f"token_ids of {name!r} leave [0, {self.vocabulary_size}); check vocabulary_size.")
        self._tokens.write(rows.astype(self.dtype).tobytes())
        self._ids.write("".join(f"{external_id}\n" for external_id in external_ids))
        self._offsets.frombytes((self._offsets[-1] + ends).tobytes())

    def commit(self) -> "TokenStore":
        """Writes offsets and, last, the manifest; renames; returns the opened store."""
        self._files.close()
        write_array(self._partial / _OFFSETS, np.frombuffer(self._offsets, dtype=np.int64))
        manifest = {
            "format": FORMAT,
            "rows": len(self._offsets) - 1,
            "tokens": self._offsets[-1],
            "dtype": self.dtype.name,
            "vocabulary_size": self.vocabulary_size,
            "tokenizer": self.tokenizer_digest,
            "bytes": {name: (self._partial / name).stat().st_size for name in (_TOKENS, _OFFSETS, IDS)},
        }
        write_json(self._partial / _MANIFEST, manifest)
        self._whole.close()
        return TokenStore(self.directory)

    def __enter__(self) -> "TokenStoreWriter":
        return self

    def __exit__(self, kind, error, trace) -> None:
        failed = error or RuntimeError("not committed")
        with contextlib.suppress(OSError):  # the disk is full: what could not be flushed is thrown away
            self._whole.__exit__(type(failed), failed, trace)
        if isinstance(error, OSError):
            raise BadInput(
                f"{self.directory} cannot be written: {error.strerror or error}; free space or choose another disk. "
                f"Nothing was overwritten."
            ) from error


class TokenStore:
    """A read-only store; cheap to open, to pickle (only the path travels) and to share between workers.

    tokenizer_digest: if given, that of the tokenizer the reader uses. Attributes: `tokens` (all ids, flat), `offsets`
    (rows + 1), `vocabulary_size`, `tokenizer_digest`. Raises BadInput, naming the directory, for a missing, damaged or
    newer store and for another tokenizer.
    """

    def __init__(self, directory: str | Path, tokenizer_digest: str | None = None):
        self.directory = Path(directory)
        try:
            manifest = json.loads((self.directory / _MANIFEST).read_text(encoding="utf-8"))
            found = {name: (self.directory / name).stat().st_size for name in (_TOKENS, _OFFSETS, IDS)}
        except (FileNotFoundError, NotADirectoryError) as error:
            raise self._unusable(f"{Path(error.filename).name} is missing") from error
        except ValueError as error:
            raise self._unusable(f"{_MANIFEST} is not JSON") from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            version = manifest.get("format") if isinstance(manifest, dict) else None
            raise self._unusable(f"its format is {version}, this version reads {FORMAT}")
        for name, size in found.items():
            if size != manifest["bytes"][name]:
                raise self._unusable(f"{name} has {size} bytes instead of {manifest['bytes'][name]}")
        self.vocabulary_size: int = manifest["vocabulary_size"]
        self.tokenizer_digest: str = manifest["tokenizer"]
        if tokenizer_digest is not None and tokenizer_digest != self.tokenizer_digest:
            raise self._unusable(
                f"it was made by tokenizer {self.tokenizer_digest[:12]}, the encoder now has {tokenizer_digest[:12]}"
            )
        self.offsets: np.ndarray = np.load(self.directory / _OFFSETS, mmap_mode="r").view(np.ndarray)
        dtype = np.dtype(manifest["dtype"]).newbyteorder("<")
        self.tokens: np.ndarray = np.empty(0, dtype)
        if manifest["tokens"]:
            self.tokens = np.memmap(self.directory / _TOKENS, dtype=dtype, mode="r").view(np.ndarray)
        if len(self.offsets) != manifest["rows"] + 1 or self.offsets[-1] != len(self.tokens):
            raise self._unusable(f"{_OFFSETS} does not fit {_TOKENS}")
        self._lines: tuple[np.ndarray, np.ndarray] | None = None
        self._rows: RowIndex | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> np.ndarray:
        """The ids of one row, [its length], a view into the file. Raises IndexError outside 0 .. len - 1."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} in {self.directory}")
        return self.tokens[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """Tokens per row, int64 [rows]; computed at every call."""
        return np.diff(self.offsets)

    def external_id(self, row: int) -> str:
        """The id the collection gave to a row."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} in {self.directory}")
        if self._lines is None:
            content = np.memmap(self.directory / IDS, dtype=np.uint8, mode="r").view(np.ndarray)
            self._lines = content, np.concatenate(([-1], np.flatnonzero(content == ord("\n"))))
        content, ends = self._lines
        return content[ends[row] + 1 : ends[row + 1]].tobytes().decode("utf-8")

    @property
    def external_ids(self) -> "ExternalIds":
        """The ids of all rows, read from the file when asked for."""
        return ExternalIds(self)

    def row_of(self, external_id: str) -> int:
        """The row of an id. Raises KeyError if it is unknown."""
        return int(self.rows_of([external_id])[0])

    def rows_of(self, external_ids: Sequence[str]) -> np.ndarray:
        """The rows of ids, int64; the first call sorts the hashes of all (12 bytes an id).

        Raises:
            KeyError: for the first unknown id.
        """
        if self._rows is None:
            with open(self.directory / IDS, encoding="utf-8", newline="\n") as file:
                self._rows = RowIndex((line[:-1] for line in file), len(self), self.external_id)
        return self._rows.rows_of(external_ids)

    def __getstate__(self) -> dict:
        return {"directory": self.directory}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["directory"])

    def _unusable(self, what: str) -> BadInput:
        return BadInput(f"token store {self.directory} cannot be used: {what}; run the prepare stage again.")


class ExternalIds(Sequence):
    """The external ids of a store as a read-only sequence; nothing is kept in memory but the line ends."""

    def __init__(self, store: TokenStore):
        self.store = store

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, row: int) -> str:
        return self.store.external_id(int(row))


def write_token_store(
    directory: str | Path,
    texts: Iterable[Text],
    ids: Iterable[str] | None,
    tokenizer,
    shard: int = SHARD,
    progress: Callable[[int], None] | None = None,
    kept: Path | None = None,
) -> TokenStore:
    """Tokenises texts in order into a store, in the memory of a few shards.

    Texts are not truncated and get no special tokens but a [SEP] between a title and its text, given as a pair.

    ids: one external id a text, None for the row numbers; drawn in step with the texts. tokenizer: a fast tokenizer,
    left unchanged; the names of special tokens inside a text are tokenised as ordinary text. shard: texts at a time,
    which changes nothing in the result. progress: called with the number of texts done since the last call. kept:
    directory of finished shards, from which a killed run continues; the caller removes it in the end. Raises ValueError
    if there are more ids than texts or fewer, BadInput as the writer does.
    """
    content = ContentTokenizer(tokenizer)
    rows = ((text, str(i)) for i, text in enumerate(texts)) if ids is None else zip(texts, ids, strict=True)

    def drawn() -> Iterator[tuple[list[Text], list[str]]]:
        while chunk := list(islice(rows, shard)):
            yield [text for text, _ in chunk], [external_id for _, external_id in chunk]

    def tokenised(part: tuple[list[Text], list[str]]) -> tuple[Pieces, list[str]]:
        return content.pieces_kept(part[0], kept) if kept else content.pieces(part[0]), part[1]

    with TokenStoreWriter(directory, content.vocabulary_size, content.digest) as writer:
        for made, names in in_order(tokenised, drawn(), AHEAD):
            writer.extend(made.lengths, made.tokens, names)
            if progress is not None:
                progress(len(names))
        return writer.commit()


def tokenise_once(
    directory: Path, read: Callable[[], Iterable[tuple[str, Text]]], tokenizer, label: str, total: int
) -> TokenStore:
    """The store of a collection's texts in `directory`; the first process writes it unless it is there.

    Args:
        read: reads (id, text) of every text.
        label, total: what is shown of the progress, and how many texts there are.
    """
    if not made_by_first(directory):
        once, again, kept = *tee(read()), directory.with_name(f"{directory.name}.shards")
        with track(label, total, unit="texts") as advance:
            ids = (id for id, _ in again)
            write_token_store(directory, (text for _, text in once), ids, tokenizer, progress=advance, kept=kept)
        shutil.rmtree(kept, ignore_errors=True)
    return TokenStore(directory)
