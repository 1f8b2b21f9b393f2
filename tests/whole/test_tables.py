"""The tables of the papers in experiments/: all that are owed are there, with every row and every number as printed."""

import re

import pytest
import yaml
from support.paths import SHARED
from support.tables import COVERAGE, ENTRIES, EXPERIMENTS, OURS, ROWS, TABLES, number, read, row, rows_of

PAPER_RESULTS = SHARED / "paper_results.yaml"
OWED = {
    "retromae": {"table": [1, 2, 3, 4, 5, 6]},
    "dupmae": {"table": [1, 2, 3]},
    "simlm": {"table": [2, 4, 5, 6, 7, 8, 10, 12], "figure": [3]},
    "master": {"table": [2, 3, 4, 5, 6, 7, 8], "figure": [3, 3]},
    "cdmae": {"table": [1, 2, 3, 4, 5, 6], "figure": [4]},
}
"""Tables and figures with rows of the paper's own."""
ALL = {"retromae": 6, "dupmae": 3, "simlm": 14, "master": 9, "cdmae": 6}
"""How many tables each paper has."""
PLACES = {
    "msmarco_dev": "msmarco/dev", "trec_dl19": "msmarco/dl19", "trec_dl20": "msmarco/dl20", "nq_test": "nq/test",
}  # fmt: skip
STAGES = {
    "Retriever_1": "evaluate", "BM25_negatives": "evaluate", "BM25 negatives": "evaluate",
    "BM25 negatives (Retriever_1)": "evaluate", "Retriever_2": "evaluate2", "hard_negatives": "evaluate2",
    "+ mined negatives": "evaluate2", "+ mined negatives (Retriever_2)": "evaluate2",
    "DupMAE (stage 2)": "evaluate2", "Retriever_distil": "evaluate_distilled",
    "reranker_distilled": "evaluate_distilled", "+ distillation": "evaluate_distilled",
    "+ distillation (Retriever_distill)": "evaluate_distilled", "DupMAE (stage 3)": "evaluate_distilled",
    "Cross-encoder re-ranker": "rerank",
}  # fmt: skip
"""How a paper calls a rung, in the head of a column or in the name of a row -> the stage that measures it."""


def entries(paper: str, kind: str, owed: bool) -> list[int]:
    return sorted(number(name) for name, entry in COVERAGE[paper].items() if kind in name and ("why" in entry) != owed)


def test_every_table_of_the_papers_is_listed_and_those_that_are_owed_are_there():
    assert set(COVERAGE) == set(OWED)
    for paper, owed in OWED.items():
        assert entries(paper, "table", owed=True) == owed["table"]
        assert entries(paper, "figure", owed=True) == owed.get("figure", [])
        listed = entries(paper, "table", owed=True) + entries(paper, "table", owed=False)
        assert sorted(listed) == list(range(1, ALL[paper] + 1))
        for entry in COVERAGE[paper].values():
            assert len(entry.keys() & {"table", "benchmark", "why"}) == 1
            assert ("table" in entry) == ("rows" in entry)
            assert len(entry.get("why", "a reason of four words").split()) > 3


def test_every_such_table_has_its_yaml_and_rows():
    assert set(TABLES) == set(ENTRIES) | set(OURS)
    used = set()
    for table in TABLES:
        paper, name, entry = ENTRIES.get(table, (table.split("_")[0], table, {"rows": OURS.get(table)}))
        assert rows_of(table) == [f"{paper}/{file}" for file in [*entry["rows"], *entry.get("also", [])]]
        used |= {EXPERIMENTS / f"{path}.yaml" for path in rows_of(table)}
        text = (EXPERIMENTS / "table" / f"{table}.yaml").read_text(encoding="utf-8")
        place = f"{name.split('_')[0].title()} {name.split('_')[1]}"
        assert table in OURS or re.search(rf"^# \w+ {place}: ", text, re.MULTILINE), table
        config = read(f"table/{table}")
        assert config["group"] == table
        if table not in OURS:
            assert config["baseline"] is False, "baselines are rows of the paper"
        for reference in config.get("paper_table", {}).get("references", []):
            assert len(reference["why"].split()) > 3
            assert len(reference["values"]) == len(config["paper_table"]["columns"])
    assert used == set(ROWS)


def as_printed(table: dict, name: str) -> dict[tuple[str, str, str], float | None]:
    """(collection/split, stage, measure) -> fraction, of a row of paper_results.yaml; the stage is empty where the
    table does not tell it."""
    found = {}
    for key, value in table["rows"][name].items():
        place, _, measure = key.rpartition("/")
        stage = STAGES.get(place) or STAGES.get(name.partition(" | ")[2]) or STAGES.get(name) or ""
        if not place:
            place, stage = ("beir/test", "suite") if "BEIR" in table["caption"] else ("glue/dev", "glue")
        measure = measure.replace("MRR", "RR").replace("@1k", "@1000")
        measure = f"answer_{measure}" if place == "nq_test" else measure
        share = value if value is None or table["unit"] == "fraction" else round(value / 100, 6)
        found[PLACES.get(place, "msmarco/dev" if place in STAGES else place), stage, measure] = share
    return found


def held(path: str) -> dict[tuple[str, str, str], float]:
    """As `as_printed`, of the file of a row."""
    return {
        (place, stage, measure): value
        for place, stages in row(path).get("paper_results", {}).items()
        for stage, values in stages.items()
        for measure, value in values.items()
    }


def keyed(values: dict[tuple[str, str, str], float | None], stages: bool) -> dict:
    """Without nulls; without the stages where the table does not tell them."""
    return {(k if stages else (k[0], k[2])): value for k, value in values.items() if value is not None}


@pytest.mark.skipif(
    not PAPER_RESULTS.is_file(), reason="paper_results.yaml, the papers' numbers, is not beside this checkout"
)
@pytest.mark.parametrize("table", sorted(name for name, (_, entry, _) in ENTRIES.items() if "table" in entry))
def test_numbers_are_those_of_the_papers(table):
    """Every printed row is a row here or one of the references, every printed value stands in it, and no other."""
    paper, name, entry = ENTRIES[table]
    results = yaml.safe_load(PAPER_RESULTS.read_text(encoding="utf-8"))["papers"][paper]["tables"][name]
    mine: dict[str, dict] = {}
    for file, names in entry["rows"].items():
        values = held(f"{paper}/{file}")
        for one in [names] if isinstance(names, str) else names:
            printed = as_printed(results, one)
            rung = {stage for _, stage, _ in printed} - {""} if isinstance(names, list) else set()
            own = {key: value for key, value in values.items() if not rung or key[1] in rung}
            mine.setdefault(one, {}).update(keyed(own, all(stage for _, stage, _ in printed)))
    columns = read(f"table/{table}")["paper_table"]["columns"]
    for reference in read(f"table/{table}")["paper_table"].get("references", []):
        cells = zip(columns, reference["values"], strict=True)
        cut = [(column.split("/"), value) for column, value in cells]
        of = {("/".join(c[:2]), c[2] if len(c) == 4 else "", c[-1]): value for c, value in cut}
        stages = all(stage for _, stage, _ in as_printed(results, reference["label"]))
        assert reference["label"] not in mine
        mine[reference["label"]] = keyed(of, stages)
    wanted = {one: as_printed(results, one) for one in results["rows"]}
    assert mine == {one: keyed(cells, all(stage for _, stage, _ in cells)) for one, cells in wanted.items()}
    ordered = [(place, measure) for place, _, measure in next(iter(wanted.values()))]
    cut = [column.split("/") for column in columns]
    assert [("/".join(parts[:2]), parts[-1]) for parts in cut] == ordered, "columns stand in the paper's order"


def test_the_readme_lists_what_there_is():
    text = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    listed = {name: int(rows) for name, rows in re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE)}
    assert listed == {table: len(rows_of(table)) for table in TABLES}
    assert set(re.findall(r"(?:\+table|NAME)=(\w+)", text)) <= {*TABLES, "X"}
    for folder, rows in re.findall(r"\+(\w+)=([tf]\d\w[\w,]*)", text):
        assert all((EXPERIMENTS / folder / f"{name}.yaml").is_file() for name in rows.split(","))


@pytest.mark.parametrize("path", ROWS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_row_says_what_it_repeats(path):
    """One file for one row of one table: what differs, the name of the row, and what is printed for it."""
    folder, file, text = path.parent.name, path.stem, path.read_text(encoding="utf-8")
    config = row(f"{folder}/{file}")
    first, second = text.splitlines()[:2]
    assert first == "# @package _global_"
    assert second.endswith(f": +{folder}={file}")
    assert config["name"] in (f"{folder}_{file}", "none")
    tables = [table for table in TABLES if f"{folder}/{file}" in rows_of(table)]
    assert len(tables) == 1
    if tables[0] in OURS:
        assert "paper_results" not in config
        return
    _, name, entry = ENTRIES[tables[0]]
    place = f"{name.split('_')[0].title()} {name.split('_')[1]}"
    assert re.search(rf" {place}\b", second), second
    printed = entry["rows"].get(file)
    if file in entry.get("also", []):
        assert "paper_results" not in read(f"{folder}/{file}"), "numbers stand once, in the paper's own row"
        assert "authors' weights" in config["paper_row"]["system"]
    elif printed:
        assert config["paper_source"].endswith(f" {place}")
        assert f'"{printed if isinstance(printed, str) else printed[0].split(" | ")[0]}"' in second
        label = config["paper_row"]["label"]
        assert isinstance(label, dict) == isinstance(printed, list)
        assert label == printed or isinstance(label, dict)
        assert config["paper_row"].keys() >= {"label", "system", "from"}
        assert config["paper_row"]["from"] in {*COVERAGE, None} - {folder}
    if "recipe: retriever1" in text:
        raise AssertionError("a generic fine-tuning is nobody's printed number")
