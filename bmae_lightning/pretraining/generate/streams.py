"""Generated texts as streams for pre-training: two token stores and `generated.jsonl`, row i about passage i.

Queries are joined as `q1 [SEP] q2 [SEP] .. qk [SEP]`; a continuation that is empty is replaced by the passage itself,
one that is absent stays an empty row (MASTER, streams of DOR and GOR).
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path

from bmae_lightning.corpus.tokens.store import TokenStore, TokenStoreWriter
from bmae_lightning.corpus.tokens.tokenise import ContentTokenizer
from bmae_lightning.pretraining.generate.record import Generated
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import writing_text

BATCH = 1024
"""Passages tokenised at a time."""


def write_streams(
    directory: Path,
    records: Iterable[Generated],
    passages: TokenStore,
    tokenizer,
    advance: Callable[[int], None],
) -> dict[str, int]:
    """Write queries/, continuation/ and generated.jsonl into `directory`.

    Args:
        records: one per passage, in the order of the store.
        passages: the prepared passages.
        tokenizer: the prepared corpus's.
        advance: told the number of passages done.

    Returns:
        How many passages have queries, how many queries there are, how many passages have a continuation, and how many
        of those were empty, so that the passage stands for them.

    Raises:
        BadInput: other passages than the store's.
    """
    content = ContentTokenizer(tokenizer)
    encode, size, digest, separator = content.encode, content.vocabulary_size, content.digest, tokenizer.sep_token_id
    counts = dict.fromkeys(("passages_with_queries", "queries", "passages_with_continuation", "empty_continuations"), 0)
    with ExitStack() as stack:
        queries = stack.enter_context(TokenStoreWriter(directory / "queries", size, digest))
        continuation = stack.enter_context(TokenStoreWriter(directory / "continuation", size, digest))
        file = stack.enter_context(writing_text(directory / "generated.jsonl"))
        row, stream = 0, iter(records)
        while chunk := list(islice(stream, BATCH)):
            asked = iter(encode([query for record in chunk for query in record.queries]))
            continued = iter(encode([record.continuation or "" for record in chunk]))
            for record in chunk:
                if row == len(passages) or record.id != passages.external_id(row):
                    raise BadInput(f"{directory}: generated texts of {record.id!r} in row {row} of another passage")
                kept = [ids for ids in islice(asked, len(record.queries)) if ids]
                queries.append(list(chain.from_iterable([*ids, separator] for ids in kept)), record.id)
                goes_on, absent = next(continued), record.continuation is None
                empty = not absent and not goes_on
                continuation.append(passages[row] if empty else goes_on, record.id)
                counts["passages_with_queries"] += bool(kept)
                counts["queries"] += len(kept)
                counts["passages_with_continuation"] += not absent
                counts["empty_continuations"] += empty
                row += 1
            file.writelines(record.line() for record in chunk)
            advance(len(chunk))
        if row != len(passages):
            raise BadInput(f"{directory}: generated texts of {row} passages instead of {len(passages)}")
        queries.commit()
        continuation.commit()
    return counts
