"""A small directory in the format of DPR's files: quoting, indentation, keys and names as published."""

import csv
import gzip
import json
import random
from pathlib import Path

ARTICLES = {
    "Aaron": [
        'Aaron ( or ; "Ahärôn") is a prophet, high priest, and the brother of Moses in the Abrahamic religions.',
        "Unlike Moses, who grew up in the Egyptian royal court, Aaron and his sister Miriam "
        "remained with their kinsmen.",
        "According to the Book of Exodus, Aaron first functioned as Moses' assistant at 1,234 places.",
    ],
    "Nobel Prize in Physics": [
        "The first Nobel Prize in Physics was awarded in 1901 to Wilhelm Conrad Röntgen, of Germany.",
        "Each recipient receives a medal, a diploma and a monetary award that varies throughout the years.",
    ],
    '"Hello" (song)': ['"Hello" is a song by the English singer Adele, released on 23 October 2015.'],
    "Washington, D.C.": [
        "Washington, D.C., formally the District of Columbia, is the capital of the United States.",
        "The City of Washington was founded in 1791 and Congress held its first session there in 1800.",
    ],
    "Paris": [
        "Paris is the capital and most populous city of France, with 2,140,526 residents in 2019.",
        "The art of painting started here; nothing in this block starts or ends a war of any kind.",
    ],
}
TRAIN = [  # question, answers, positives, hard negatives
    ("who was the brother of moses", ["Aaron", "Ahärôn"], [1, 2], [9, 4]),
    ("who got the first nobel prize in physics", ["Wilhelm Conrad Röntgen"], [4], [5, 1]),
    ("a question whose passages were filtered out", ["nothing"], [], [1]),
    ("who sings the 2015 song hello", ["Adele"], [6], [7, 3]),
    ("what\u2019s the capital of france", ["Paris"], [9], [7]),
    ("which city was founded in 1791", ["Washington", "The City of Washington"], [8], [9, 10]),
]
QUESTIONS = {
    "dev": [("when was adele's hello released", ["23 October 2015", "2015"]), ("capital of france", ["Paris"])],
    "test": [
        ("who won the first physics nobel", ["Wilhelm Conrad R\u006f\u0308ntgen"]),
        ("what's the capital of the united states", ["Washington, D.C.", "Washington D.C."]),
        ("who was miriam\u2019s brother", ["Aaron"]),
        ('who said "I\'m no answer"', ['no answer\'s "here"']),
    ],
}


def passages(more: int = 0) -> list[tuple[str, str, str]]:
    """(id, text, title), ids from 1; `more` articles of three blocks behind those above."""
    articles = ARTICLES | {f"Article {n}": made_up(n) for n in range(more)}
    rows = [(text, title) for title, texts in articles.items() for text in texts]
    return [(str(number), *row) for number, row in enumerate(rows, start=1)]


def made_up(number: int) -> list[str]:
    """Three blocks of words, other ones for every number."""
    draw = random.Random(number)
    words = ["".join(draw.choice("bdfgklmnprst") + draw.choice("aeiou") for _ in range(3)) for _ in range(60)]
    return [" ".join(words[start : start + 20]) for start in (0, 20, 40)]


def write_dpr(directory: Path, zipped: bool = False, more: int = 0) -> Path:
    """more: articles behind those above; every fifth of them has a training question."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "psgs_w100.tsv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(["id", "text", "title"])
        writer.writerows(passages(more))
    rows = passages(more)
    asked = [(f"{rows[i][1].split()[5]} {rows[i][1].split()[9]}", [rows[i][1].split()[3]], [i + 1], [i + 2])
             for i in range(len(passages()), len(rows), 15)]  # fmt: skip

    def contexts(ids: list[int], score: float) -> list[dict]:
        return [
            {"title": rows[id - 1][2], "text": rows[id - 1][1], "score": score, "title_score": 0, "passage_id": str(id)}
            for id in ids
        ]

    records = [
        {
            "dataset": "nq_train_psgs_w100", "question": question, "answers": answers,
            "positive_ctxs": contexts(positives, 1000), "negative_ctxs": contexts([10], 0),
            "hard_negative_ctxs": contexts(hard, 14.5),
        }
        for question, answers, positives, hard in TRAIN + asked
    ]  # fmt: skip
    (directory / "biencoder-nq-train.json").write_text(json.dumps(records, indent=4))
    for split, questions in QUESTIONS.items():
        lines = "".join(f"{question}\t{answers!r}\n" for question, answers in questions)
        (directory / f"nq-{split}.qa.csv").write_text(lines, encoding="utf-8")
    if zipped:
        for path in list(directory.iterdir()):
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    return directory
