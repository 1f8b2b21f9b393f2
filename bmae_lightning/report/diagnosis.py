"""Figures and a table of a pre-training run: is the bottleneck used, which loss moves the encoder, what is masked.

The numbers are those of `bmae_lightning.pretraining.diagnostics`, read from `metrics.jsonl`.
"""

from collections.abc import Mapping, Sequence

from bmae_lightning.report.content import Curve, Diagnosis
from bmae_lightning.runtime.table import SUMMARY, Column, Table, is_number

KINDS = ("true", "shuffled", "zero")
PERCENT, NATS = ".1%", ".3f"
COLUMNS = (
    Column("hidden", PERCENT), Column("function words", PERCENT), Column("loss: true", NATS), Column("shuffled", NATS),
    Column("zero", NATS), Column("saved", NATS), Column("gradient share", PERCENT),
)  # fmt: skip
ABOUT = (
    "Losses of the decoders in nats per label, without dropout, with the passage's own bottleneck (true), with that of "
    "another passage of the batch (shuffled) and with zeros (zero). Saved: shuffled less true; where it is 0, the "
    "decoder does not use the bottleneck. Gradient share: length of the gradient of the weighted loss at the encoder's "
    "last layer, as a share of all. Hidden: share of the positions that are masked. Function words: share of English "
    "function words and punctuation among the hidden positions, and among all. Hidden and function words are means "
    "over the run."
)


def diagnosis(arm: str, lines: Sequence[Mapping[str, float]]) -> Diagnosis | None:
    """Figures and table of one run, None where no line holds a diagnosis; lines: as in `metrics.jsonl`.

    Shares of what is hidden are means over the run, everything else is of the last line that has it.
    """
    looks = [line for line in lines if any(name.startswith(("bottleneck/", "gradient_share/")) for name in line)]
    if not looks:
        return None
    last = looks[-1]
    losses = [name.removeprefix("loss/") for name in last if name.startswith("loss/")]
    read = [name for name in losses if f"bottleneck/{name}/true" in last]
    shares = [name for name in losses if f"gradient_share/{name}" in last]

    def series(name: str) -> list[tuple[float, float]]:
        return [(line["step"], line[name]) for line in looks if name in line]

    saved = {name: [(line["step"], gap(line, name)) for line in looks if gap(line, name) is not None] for name in read}
    curves = (
        [Curve("Is the bottleneck used? Loss it saves", saved, y="shuffled - true (nats)", linear=True)] if read else []
    )
    for name in read:
        kinds = {kind: series(f"bottleneck/{name}/{kind}") for kind in KINDS if f"bottleneck/{name}/{kind}" in last}
        curves.append(Curve(f"Bottleneck of {name}: true, shuffled, zero", kinds, dashed=list(KINDS[1:])))
    if len(shares) > 1:
        shown = {name: series(f"gradient_share/{name}") for name in shares}
        curves.append(Curve("Who moves the encoder?", shown, y="gradient share", linear=True))
    texts = sorted({name for line in looks for name in line if name.startswith("function_words/text")})
    rows = [
        [
            name,
            mean(lines, f"mask_rate/{name}"),
            mean(looks, f"function_words/{name}"),
            *(last.get(f"bottleneck/{name}/{kind}") for kind in KINDS),
            gap(last, name),
            last.get(f"gradient_share/{name}"),
        ]
        for name in losses
    ]
    rows += [[_text_name(name), "", mean(looks, name), "", "", "", "", ""] for name in texts]
    rows = [["" if value is None else value for value in row] for row in rows]
    columns = [f"step {last['step']:,}", *COLUMNS]
    marks = [(len(losses), 0, SUMMARY)] if texts else []
    return Diagnosis(arm, curves, Table(f"Pre-training ({arm})", columns, rows, marks, [ABOUT]))


def gap(line: Mapping[str, float], name: str) -> float | None:
    """Nats per label that the passage's own vector saves."""
    true, shuffled = line.get(f"bottleneck/{name}/true"), line.get(f"bottleneck/{name}/shuffled")
    return None if true is None or shuffled is None else shuffled - true


def mean(lines: Sequence[Mapping[str, float]], name: str) -> float | None:
    """Over the lines that have it, None where none has."""
    found = [line[name] for line in lines if is_number(line.get(name))]
    return sum(found) / len(found) if found else None


def _text_name(name: str) -> str:
    stream = name.removeprefix("function_words/text").removeprefix("/")
    return f"all words ({stream})" if stream else "all words"
