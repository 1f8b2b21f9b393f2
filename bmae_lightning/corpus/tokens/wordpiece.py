"""Trains a BERT WordPiece vocabulary on a collection's own text, and names any tokenizer by a digest.

The same texts give the same vocabulary file in every run, which the `tokenizers` trainer alone does not.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_text

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_PREFIX = "##"
_LONGEST_WORD = 100  # characters; BERT makes longer words [UNK]
_WORDS_A_LINE = 1000


def train_wordpiece(
    texts: Iterable[str],
    size: int,
    directory: str | Path,
    lowercase: bool = True,
    max_length: int = 512,
) -> Path:
    """Trains a vocabulary of at most `size` entries and saves a tokenizer `AutoTokenizer.from_pretrained` loads.

    texts: any iterable of strings, read once; memory grows with its distinct words. size: entries, special tokens
    included; a small collection gives fewer. lowercase: lower-case and strip accents. max_length: in tokens, for the
    truncation of users of the tokenizer.

    Writes tokenizer.json, tokenizer_config.json and vocab.txt and returns the directory. Raises ValueError for a size
    that has no room for an alphabet and BadInput if the texts hold no word.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    if size < 2 * len(SPECIAL_TOKENS) + 2:
        raise ValueError(f"size={size} has no room for an alphabet; use 1000 or more.")
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    splitter = pre_tokenizers.BertPreTokenizer()
    words = _count_words(texts, normalizer, splitter)
    if not words:
        raise BadInput(f"no word to train the vocabulary of {directory} on; check the collection's texts.")
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    # The trainer numbers characters in the order of a randomised hash map, and breaks ties between merges by these
    # numbers. Naming all of them as fixed first entries makes everything after them a function of the counts.
    fixed = [*SPECIAL_TOKENS, *_alphabet(words, (size - len(SPECIAL_TOKENS)) // 2)]
    known = set(fixed)
    spelt = {w: n for w, n in words.items() if known.issuperset(_characters(w))}
    trainer = trainers.WordPieceTrainer(
        vocab_size=size, min_frequency=2, show_progress=False, special_tokens=fixed, continuing_subword_prefix=_PREFIX
    )
    learner.train_from_iterator(_repeated(spelt), trainer)
    trained = learner.get_vocab()
    vocabulary = {token: index for index, token in enumerate(sorted(trained, key=trained.__getitem__))}

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=_LONGEST_WORD))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    tokenizer.decoder = decoders.WordPiece(prefix=_PREFIX)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL_TOKENS}
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": lowercase, "model_max_length": max_length, **names}
    directory = Path(directory)
    write_text(directory / "vocab.txt", "".join(f"{token}\n" for token in vocabulary))
    write_text(directory / "tokenizer.json", tokenizer.to_str(pretty=True))
    write_text(directory / "tokenizer_config.json", json.dumps(settings, indent=2) + "\n")
    return directory


def tokenizer_digest(tokenizer) -> str:
    """SHA-256 of what turns text into content ids: the vocabulary in id order, normaliser, pre-tokeniser and model.

    tokenizer: a fast transformers tokenizer or a `tokenizers.Tokenizer`. Special-token templates, truncation and
    padding are left out, since stores hold neither. Raises BadInput for a tokenizer that is not a fast one.
    """
    backend = fast_backend(tokenizer)
    settings = json.loads(backend.to_str())
    vocabulary = backend.get_vocab(with_added_tokens=True)
    model = {key: value for key, value in settings["model"].items() if key != "vocab" or isinstance(value, list)}
    parts = [
        sorted(vocabulary.items(), key=lambda item: (item[1], item[0])),
        settings["normalizer"],
        settings["pre_tokenizer"],
        model,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def fast_backend(tokenizer):
    """The `tokenizers.Tokenizer` inside a transformers tokenizer. Raises BadInput if there is none."""
    from tokenizers import Tokenizer

    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not isinstance(backend, Tokenizer):
        raise BadInput(
            f"{type(tokenizer).__name__} is not a fast tokenizer, whole words cannot be found; "
            f"use an encoder that comes with a tokenizer.json."
        )
    return backend


def _count_words(texts: Iterable[str], normalizer, splitter) -> Counter[str]:
    rough: Counter[str] = Counter()
    for text in texts:
        rough.update(normalizer.normalize_str(text).split())
    words: Counter[str] = Counter()
    for chunk, count in rough.items():
        for word, _ in splitter.pre_tokenize_str(chunk):
            if len(word) <= _LONGEST_WORD:
                words[word] += count
    return words


def _characters(word: str) -> list[str]:
    return [word[0], *(_PREFIX + character for character in word[1:])]


def _alphabet(words: Counter[str], room: int) -> list[str]:
    """The commonest characters, first ones and continuing ones apart, at most 2000 of them; sorted."""
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in _characters(word):
            counts[character] += count
    common = sorted(counts, key=lambda character: (-counts[character], character))[: min(room, 2000)]
    return sorted(common, key=lambda character: (len(character), character))


def _repeated(words: dict[str, int]) -> Iterator[str]:
    for word, count in sorted(words.items()):
        for start in range(0, count, _WORDS_A_LINE):
            yield " ".join([word] * min(_WORDS_A_LINE, count - start))
