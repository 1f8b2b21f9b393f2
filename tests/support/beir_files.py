"""Folders as BEIR's archives unpack: a directory for each collection, CQADupStack's forums inside one."""

import json
import random
from collections.abc import Iterable
from pathlib import Path

import yaml
from support.paths import CONF

SUITE = yaml.safe_load((CONF / "stages" / "suite.yaml").read_text(encoding="utf-8"))["suite"]


def write_suite(directory: Path, members: Iterable[str] = SUITE["sets"]["beir18"], passages: int = 8) -> Path:
    """Collections of conf/stages/suite.yaml, a query for every second passage."""
    for member in members:
        for part in SUITE["parts"].get(member, [""]):
            _write(directory / member / part, passages)
    return directory


def _write(directory: Path, passages: int) -> None:
    draw = random.Random(str(directory.name))
    words = ["".join(draw.choice("bdgklmnprst") + draw.choice("aeiou") for _ in range(2)) for _ in range(40)]
    texts = [draw.sample(words, 12) for _ in range(passages)]
    (directory / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"doc{i}", "title": words[i], "text": " ".join(text)} for i, text in enumerate(texts)]
    queries = [{"_id": f"q{i}", "text": " ".join(texts[i][:4]), "metadata": {}} for i in range(0, passages, 2)]
    for file, records in (("corpus", corpus), ("queries", queries)):
        (directory / f"{file}.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    lines = "".join(f"{query['_id']}\tdoc{query['_id'][1:]}\t1\n" for query in queries)
    (directory / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
