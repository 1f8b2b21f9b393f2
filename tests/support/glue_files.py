"""GLUE's folders with files in their true formats: columns, headers, quotes and a broken line as published."""

from pathlib import Path

HEADERS = {
    "CoLA": "",
    "MRPC": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n",
    "STS-B": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n",
    "QQP": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n",
}
ENDS = {"CoLA": "\n", "MRPC": "\r\n", "STS-B": "\n", "QQP": "\n"}
WORDS = ("dola", "kemi", "rutu", "bako", "sile", "nomu", "pafi", "tego")


def line(task: str, number: int) -> str:
    """Example `number` of a task: two texts are alike in odd ones; a quote that is never closed in every third."""
    words = [WORDS[(number * step) % len(WORDS)] for step in (1, 3, 5)]
    first = ('"' if number % 3 == 0 else "") + " ".join(words)
    second = " ".join(words) if number % 2 else " ".join(WORDS[(number + i) % len(WORDS)] for i in range(3))
    if task == "CoLA":
        return f"gj04\t{number % 2}\t{'' if number % 2 else '*'}\t{first} ."
    if task == "MRPC":
        return f"{number % 2}\t{700 + number}\t{800 + number}\t{first}\t{second}"
    if task == "STS-B":
        head = f"{number}\tmain-captions\tMSRvid\t2012test\t{number:04d}\tnone\tnone"
        return f"{head}\t{first}\t{second}\t{5 * (number % 2) - 0.25 * (number % 2):.3f}"
    return f"{number}\t{2 * number}\t{2 * number + 1}\t{first}\t{second}\t{number % 2}"


def write_glue(directory: Path, train: int = 24, dev: int = 12) -> Path:
    """All four tasks with so many examples each."""
    for task, header in HEADERS.items():
        (directory / task).mkdir(parents=True)
        for split, numbers in {"train": range(train), "dev": range(train, train + dev)}.items():
            text = header + "".join(line(task, number) + ENDS[task] for number in numbers)
            (directory / task / f"{split}.tsv").write_text(text, encoding="utf-8", newline="")
    return directory
