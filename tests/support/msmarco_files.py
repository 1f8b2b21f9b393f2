"""A folder as MS MARCO and TREC DL publish it, with a dozen made-up passages."""

import gzip
import random
from pathlib import Path

from support.dpr_files import made_up

TEXTS = [
    f"made up passage number {i} about {'rivers' if i % 2 else 'hills'} and their {i * i} names" for i in range(12)
]
TRAIN, DEV = {"1048585": 3, "121352": 0, "634306": 7}, {"2": 5, "300674": 11}
GRADES = {"19335": {0: 0, 1: 3, 2: 2}, "47923": {4: 1, 5: 0}}


def write_msmarco(directory: Path) -> Path:
    """Every file there is: one is gzip, topics have unjudged queries, a query of dev has two positives."""
    directory.mkdir(parents=True)
    (directory / "collection.tsv").write_text("".join(f"{i}\t{text}\n" for i, text in enumerate(TEXTS)))
    titles = "".join(f"{i}\t{'-' if i % 3 else f'Title {i}'}\n" for i in range(len(TEXTS)))
    (directory / "para.title.txt").write_text(titles)
    queries = "".join(f"{id}\twhat is asked as {id}\n" for id in [*TRAIN, "999", *DEV])
    (directory / "queries.train.tsv").write_text(queries)
    (directory / "qrels.train.tsv").write_text("".join(f"{q}\t0\t{p}\t1\n" for q, p in TRAIN.items()))
    (directory / "queries.dev.small.tsv").write_text("".join(f"{id}\twhat is asked as {id}\n" for id in DEV))
    (directory / "qrels.dev.small.tsv").write_text(
        "".join(f"{q}\t0\t{p}\t1\n" for q, p in DEV.items()) + "2\t0\t6\t1\n"
    )
    topics = "".join(f"{id}\tgraded question {id}\n" for id in [*GRADES, "1", "3", "4"])
    (directory / "msmarco-test2019-queries.tsv.gz").write_bytes(gzip.compress(topics.encode()))
    judged = "".join(f"{q} Q0 {p} {grade}\n" for q, marks in GRADES.items() for p, grade in marks.items())
    (directory / "2019qrels-pass.txt").write_text(judged)
    return directory


def write_documents(directory: Path, documents: int = 96) -> Path:
    """The folder with documents of three passages behind those above, a training query about every fifth of them, and
    `passageID2DocumentId.tsv`, which says of each passage which document it is of, in no order."""
    write_msmarco(directory)
    lines = [(3 * n + at + len(TEXTS), n, text) for n in range(documents) for at, text in enumerate(made_up(n))]
    asked = lines[::15]
    for name, more in (
        ("collection.tsv", [f"{id}\t{text}\n" for id, _, text in lines]),
        ("queries.train.tsv", [f"9{id}\t{' '.join(text.split()[5:8])}\n" for id, _, text in asked]),
        ("qrels.train.tsv", [f"9{id}\t0\t{id}\t1\n" for id, *_ in asked]),
    ):
        with (directory / name).open("a") as file:
            file.writelines(more)
    random.Random(0).shuffle(lines)
    mapping = "".join(f"{id}\tD{n}\n" for id, n, _ in lines) + "8841822\tD9999999\n"
    (directory / "passageID2DocumentId.tsv").write_text(mapping)
    return directory
