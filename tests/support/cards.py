"""What a model card is told of the corpus and of the measures."""

CORPUS = {
    "path": "/somewhere/else", "name": "things", "passages": 60, "queries": 20, "words": 900, "title": "prepend",
    "splits": ["train", "test"],
}  # fmt: skip
RESULTS = {"test": {"mean": {"RR@10": 0.12345}, "queries": 20}, "passages_per_second": 3.0}
