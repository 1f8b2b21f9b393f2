"""Tab-separated fields of a line as csv writes them: a field in quotation marks has its own doubled; no equation."""

import csv
from pathlib import Path

from bmae_lightning.corpus.lines import BrokenLine, as_text


def columns(path: Path, number: int, line: bytes, names: list[str]) -> list[str]:
    """The fields of a line. Raises BrokenLine if they are not as many as `names`, or the line is not UTF-8."""
    text = as_text(path, number, line)
    try:
        fields = next(csv.reader([text], delimiter="\t")) if '"' in text else text.split("\t")
    except csv.Error as error:
        message = f"not tab-separated values ({error}); write the line as csv does."
        raise BrokenLine(path, number, "columns", message) from error
    if len(fields) != len(names):
        message = f"has {len(fields)} tab-separated columns instead of {len(names)} ({', '.join(names)})"
        raise BrokenLine(path, number, "columns", f"{message}; correct the line.")
    return fields
