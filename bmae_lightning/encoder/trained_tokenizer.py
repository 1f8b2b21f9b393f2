"""Trains a byte-level BPE or a Unigram vocabulary on a collection's own text, saved as RoBERTa's or XLM-R's.

The same texts give the same files in every run. The trainer of BPE does so by itself; that of Unigram up to the last
digits of its scores, the order of equal ones, and which of the rarest letters is how much rarer. Both keep case and
accents.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import RobertaTokenizer, XLMRobertaTokenizer

from bmae_lightning.runtime.errors import BadInput

FIRST, LAST = ["<s>", "<pad>", "</s>", "<unk>"], "<mask>"
"""Ids 0 to 3, and the last one, as published."""
LONGEST = 16
"""Characters of a piece, which in a script without blanks is a word."""
STEP = 1e-4
"""By which the trainer tells the scores of letters that it has put back."""
MAX_LENGTH = 512
"""In tokens, for the truncation of users of the tokenizer."""


def train_bpe(texts: Callable[[], Iterator[str]], size: int, directory: Path) -> None:
    """Train RoBERTa's kind: pieces of UTF-8 bytes, a blank belongs to the word behind it, nothing is unknown.

    size: more than the 256 bytes and the special tokens.  Raises BadInput for texts without a word.
    """
    splitter = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size - 1, min_frequency=2, show_progress=False, special_tokens=FIRST, max_token_length=3 * LONGEST,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    model = _trained(Tokenizer(models.BPE()), splitter, trainer, texts(), directory)
    vocabulary = model["vocab"] | {LAST: len(model["vocab"])}
    merges = [tuple(pair) for pair in model["merges"]]
    RobertaTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_LENGTH).save_pretrained(directory)


def train_unigram(texts: Callable[[], Iterator[str]], size: int, directory: Path) -> None:
    """Train XLM-R's kind: SentencePiece's Unigram model, in which `▁` stands for the blank before a word.

      Half of the vocabulary at most is single characters; others are unknown.
    Raises BadInput for texts without a word.
    """
    counts: Counter[str] = Counter()
    for text in texts():
        counts.update(text)
    letters = sorted((-count, letter) for letter, count in counts.items() if not letter.isspace())
    room = (size - len(FIRST) - 2) // 2
    rare = {ord(letter): " " for _, letter in letters[room:]}
    splitter = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    trainer = trainers.UnigramTrainer(
        vocab_size=size - 1, show_progress=False, special_tokens=FIRST, unk_token=FIRST[-1], max_piece_length=LONGEST
    )
    spelt = (text.translate(rare) for text in texts()) if rare else texts()
    model = _trained(Tokenizer(models.Unigram()), splitter, trainer, spelt, directory)
    learnt = model["vocab"][len(FIRST) :]
    lowest = min(score for _, score in learnt)
    rarest = lowest + STEP * min(room, len(letters))
    scores = {piece: lowest if len(piece) == 1 and score < rarest else score for piece, score in learnt}
    pieces = sorted((-round(score, 4), piece) for piece, score in scores.items())
    vocabulary = [(token, 0.0) for token in FIRST] + [(piece, -cost) for cost, piece in pieces] + [(LAST, 0.0)]
    XLMRobertaTokenizer(vocab=vocabulary, model_max_length=MAX_LENGTH).save_pretrained(directory)


def _trained(
    learner: Tokenizer, splitter: pre_tokenizers.PreTokenizer, trainer: trainers.Trainer, texts: Iterable[str],
    directory: Path,
) -> dict:  # fmt: skip
    """The vocabulary, and merges if any, that the trainer finds."""
    learner.pre_tokenizer = splitter
    words = 0

    def counted() -> Iterator[str]:
        nonlocal words
        for text in texts:
            words += bool(text.strip())
            yield text

    learner.train_from_iterator(counted(), trainer)
    if not words:
        raise BadInput(f"no word to train the vocabulary of {directory} on; check the collection's texts.")
    return json.loads(learner.to_str())["model"]
