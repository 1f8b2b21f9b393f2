from tokenizers import Tokenizer, models, pre_tokenizers

from bmae_lightning.corpus.records import Counts, Passage
from bmae_lightning.corpus.tokens.size_estimate import estimate, gigabytes
from bmae_lightning.corpus.tokens.store import write_token_store


def test_the_estimate_of_even_passages_is_exact(tmp_path):
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1, "##b": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    passages = [Passage(f"p{i:04}", "a", "ab ab", None, None) for i in range(5000)]
    found = estimate(iter(passages), Counts(5000, 0, {}, 15000), tokenizer)
    store = write_token_store(tmp_path / "s", (p.content for p in passages), (p.id for p in passages), tokenizer)
    assert found.word_pieces == len(store.tokens) == 25_000
    sizes = {path.name: path.stat().st_size for path in store.directory.iterdir() if path.name != "manifest.json"}
    assert abs(found.store - sum(sizes.values())) < 200, "but for the header of a file"
    assert found.vectors == 5000 * 768 * 4
    assert "0.0 million word pieces" in str(found)


def test_sizes_are_readable():
    assert [gigabytes(n) for n in (13_400_000, 27_162_080_256)] == ["13.4 MB", "27.2 GB"]
