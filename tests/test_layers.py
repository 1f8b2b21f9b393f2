"""The architecture as tests: ten wings in the order of the data, groups mirror modules, no file grows too long."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from support.paths import CONF, PACKAGE, ROOT

SOURCES = sorted(PACKAGE.rglob("*.py"))

WINGS = [
    "runtime", "corpus", "encoder", "pretraining", "evaluation", "retrieval", "report", "lit", "stage", "command",
]  # fmt: skip
"""In order: a file imports only from its own wing and from wings before it."""

GROUPS_WITHOUT_A_MODULE = {
    "experiment", "recipe", "scale", "stages", "trainer", "logger", "optim", "schedule",
}  # fmt: skip
"""Groups that are no module: `recipe` sets options of stages, `stages` is `stage`, `logger` is `tracking`, `optim` and
`schedule` are lit.optimisation."""


def imported(source: str) -> set[str]:
    """Modules of the package that a source imports, at its top or inside a function, without the package's name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole module"
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.removeprefix("bmae_lightning.") for name in names if name.startswith("bmae_lightning.")}
    return {name for name in found if (PACKAGE / Path(*name.split("."))).with_suffix(".py").is_file()}


def backwards(name: str, source: str) -> list[str]:
    """The imports of the module `name` that run back up: from a wing behind its own."""
    own = WINGS.index(name.split(".")[0])
    return sorted(module for module in imported(source) if WINGS.index(module.split(".")[0]) > own)


def circle(graph: dict[str, set[str]]) -> list[str]:
    """A path that comes back to its beginning, or nothing."""
    finished: set[str] = set()

    def walk(node: str, trail: tuple[str, ...]) -> list[str]:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node not in finished:
            for other in sorted(graph.get(node, ())):
                if found := walk(other, (*trail, node)):
                    return found
            finished.add(node)
        return []

    return next((found for node in sorted(graph) if (found := walk(node, ()))), [])


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def rooms(graph: dict[str, set[str]], depth: int) -> dict[str, set[str]]:
    """The graph between folders (and files) that lie so many names below the package."""
    found: dict[str, set[str]] = {}
    for node, others in graph.items():
        room = ".".join(node.split(".")[:depth])
        found.setdefault(room, set()).update(
            other for other in (".".join(name.split(".")[:depth]) for name in others) if other != room
        )
    return found


def test_the_package_has_ten_wings():
    assert {path.name for path in PACKAGE.iterdir()} - {"__pycache__"} == {*WINGS, "__init__.py", "__main__.py"}


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if path.parent != PACKAGE], ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_no_import_runs_back_up(path):
    assert backwards(module_name(path), path.read_text(encoding="utf-8")) == []


def test_no_circle_inside_a_wing():
    graph = {module_name(path): imported(path.read_text(encoding="utf-8")) for path in SOURCES}
    for depth in (2, 3, 4):
        assert circle(rooms(graph, depth)) == []


@pytest.mark.parametrize(
    "line",
    [
        "from bmae_lightning.stage.pretrain import Pretrain",
        "import bmae_lightning.stage.pretrain",
        "from bmae_lightning.stage import pretrain",
    ],
)
@pytest.mark.parametrize(
    "source",
    ["{}", "def late():\n    {}", "class Late:\n    def method(self):\n        if self:\n            {}"],
)
def test_the_test_finds_an_import_the_wrong_way_round(source, line):
    assert backwards("encoder.model", source.format(line)) == ["stage.pretrain"]
    assert backwards("command.pipeline", source.format(line)) == []


def test_the_test_finds_circles():
    graph = {
        "corpus.a": {"corpus.b"},
        "corpus.b": {"corpus.tokens.c"},
        "corpus.tokens.c": {"corpus.a"},
        "corpus.d": set(),
    }
    assert circle(graph) == ["corpus.a", "corpus.b", "corpus.tokens.c", "corpus.a"]
    folders = {"corpus.x.a": {"corpus.y.b"}, "corpus.y.c": {"corpus.x.d"}}
    assert circle(folders) == []
    assert circle(rooms(folders, 2)) == ["corpus.x", "corpus.y", "corpus.x"]


def test_only_lit_stage_and_tracking_import_lightning():
    users = {
        path.relative_to(PACKAGE).parent.parts[:2]
        for path in SOURCES
        if re.search(r"^\s*(import|from) pytorch_lightning", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert users <= {("lit",), ("stage",), ("report", "tracking")}
    assert not any("lightning.pytorch" in path.read_text(encoding="utf-8") for path in SOURCES)


def test_no_drawers_for_odds_and_ends_and_no_paper_names():
    names = {path.stem for path in SOURCES} | {path.parent.name for path in SOURCES}
    assert not names & {"utils", "util", "helpers", "helper", "common", "misc", "base"}
    papers = re.compile(r"^\s*(class|def) \w*(retromae|dupmae|simlm|cdmae|condenser)", re.IGNORECASE | re.MULTILINE)
    named = [path for path in SOURCES if papers.search(path.read_text(encoding="utf-8"))]
    assert not named


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 300


def test_subpackages_are_empty_and_listed_for_the_wheel():
    listed = set(re.findall(r"^    (bmae_lightning[\w.]*)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE))
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent != PACKAGE:
            assert path.read_text() == "", f"{path} must be empty"
            assert f"bmae_lightning.{module_name(path.parent)}" in listed
    for path in SOURCES:
        assert (path.parent / "__init__.py").is_file(), f"{path.parent} is no package"


def test_groups_mirror_modules():
    for directory in sorted(CONF.iterdir()):
        if not directory.is_dir() or directory.name in GROUPS_WITHOUT_A_MODULE:
            continue
        module = {"decoders": "decoder", "losses": "loss"}.get(directory.name, directory.name)
        for path in directory.glob("*.yaml"):
            targets = re.findall(r"^\s*_target_: (\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert not targets or any(module in target.split(".")[1:-1] for target in targets), path


def test_targets_take_no_arbitrary_keywords():
    import importlib
    import inspect

    for path in sorted(CONF.rglob("*.yaml")):
        for target in re.findall(r"^\s*_target_: (bmae_lightning\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            module, name = target.rsplit(".", 1)
            made = getattr(importlib.import_module(module), name)
            if inspect.isclass(made) and "__init__" not in vars(made):
                continue
            parameters = inspect.signature(made).parameters
            assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values()), target


def test_yaml_files_parse():
    for path in sorted(CONF.rglob("*.yaml")):
        yaml.safe_load(path.read_text(encoding="utf-8"))
