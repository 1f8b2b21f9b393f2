"""docs/departures.md is what is composed: every value of its tables, and every difference of the two readings."""

import re
from dataclasses import dataclass
from functools import cache

import pytest
import yaml
from support.compose import composed
from support.paths import ROOT

PAGE = (ROOT / "docs" / "departures.md").read_text(encoding="utf-8")
ABSENT = "absent"
"""How a table writes the value of an option that a reading does not have."""
SCALES = ("laptop", "paper")
ELSEWHERE = ("reading",)
"""Keys that differ by themselves."""


@dataclass(frozen=True)
class Departure:
    """A row of a table: values are YAML, None where the cell holds none."""

    command: str
    what: str
    option: str
    scale: str
    paper: str | None
    code: str | None
    ours: str

    def __str__(self) -> str:
        return f"{self.command.split()[0].partition('=')[2]}: {self.what}"


def value(cell: str) -> str | None:
    """The last text in code style of a cell."""
    found = re.findall(r"`([^`]+)`", cell)
    return found[-1] if found else None


def departures() -> list[Departure]:
    found = []
    for section in PAGE.split("\n## ")[1:]:
        command = re.search(r"^`(\+experiment=[^`]+)`$", section, re.MULTILINE)
        if command is None:
            continue
        for line in section.splitlines():
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            if not line.startswith("| ") or cells[0] == "what" or set(line) <= set("|- "):
                continue
            assert len(cells) == 5, line
            what, paper, code, ours, option = cells
            scale = "paper" if "scale=paper" in option else "laptop"
            name = re.search(r"`([^`]+)`", option)[1]
            found.append(Departure(command[1], what, name, scale, value(paper), value(code), value(ours)))
    return found


ROWS = departures()


@cache
def config(command: str, scale: str, reading: str | None, resolve: bool = True) -> dict:
    overrides = [*command.split(), f"scale={scale}"]
    if "corpus=" not in command:
        overrides += ["corpus=beir", "corpus.path=DIR"] if scale == "paper" else []
    return composed(*overrides, *([f"reading={reading}"] if reading else []), resolve=resolve)


def held(tree: dict, option: str):
    for key in option.split("."):
        if not isinstance(tree, dict) or key not in tree:
            return ABSENT
        tree = tree[key]
    return tree


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_departure_is_what_is_composed(row):
    assert row.ours is not None, f"{row.what}: what is ours?"
    wanted = {None: row.ours, "paper": row.paper or row.ours, "code": row.code or row.ours}
    for reading, text in wanted.items():
        assert held(config(row.command, row.scale, reading), row.option) == yaml.safe_load(text), reading
    assert not row.paper or row.paper == row.ours


def read_by(raw: dict, key: str) -> str | None:
    """The option that an interpolation takes the value of `key` from, None where there is none."""
    parts = key.split(".")
    for depth, part in enumerate(parts, 1):
        raw = raw.get(part) if isinstance(raw, dict) else None
        if isinstance(raw, str) and (found := re.fullmatch(r"\$\{(?:oc\.select:)?([\w.]+)(?:,\w+)?\}", raw)):
            return ".".join([found[1], *parts[depth:]])
    return None


def flat(tree: dict, prefix: str = "") -> dict:
    found = {}
    for key, item in tree.items():
        if isinstance(item, dict):
            found |= flat(item, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = item
    return found


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("command", dict.fromkeys(re.findall(r"^`(\+experiment=[^`]+)`$", PAGE, re.MULTILINE)))
def test_every_difference_of_the_readings_is_a_row(command, scale):
    """Options of a stage that follows another one are named by that one's, an interpolation by what it reads.

    Rows of a command count for the same command with more options behind it.
    """
    whole, raw = config(command, scale, "paper"), config(command, scale, "paper", resolve=False)
    paper, code = flat(whole), flat(config(command, scale, "code"))
    rows = [row for row in ROWS if f"{command} ".startswith(f"{row.command} ")]
    named = [row.option for row in rows if row.scale in (scale, "laptop")]

    def told(key: str) -> bool:
        stage, _, rest = key.partition(".")
        if any(key == option or key.startswith(f"{option}.") for option in named) or ".requires." in key:
            return True  # what a part requires is a copy
        if source := read_by(raw, key):
            return told(source)
        node = whole.get(stage)
        return isinstance(node, dict) and "follows" in node and told(f"{node['follows']}.{rest}")

    different = {key for key in paper.keys() | code.keys() if paper.get(key, ABSENT) != code.get(key, ABSENT)}
    assert not sorted(
        key for key in different if key not in ELSEWHERE and not key.startswith("paper.") and not told(key)
    )
