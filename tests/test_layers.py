"""The architecture as tests: reading order is data-flow order, groups mirror modules, no file grows too long."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "bmae_lightning"
SOURCES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    ["errors", "rank", "progress", "native", "kernels"],
    ["corpus"],
    ["shards"],
    ["noise", "batch", "function_words"],
    ["vocabulary", "vocabulary_head"],
    ["loss"],
    ["generator.generator"],
    ["mask"],
    ["corruption"],
    ["view"],
    ["encoder", "bottleneck"],
    ["generator"],
    ["gather"],
    ["objective"],
    ["decoder"],
    ["bmae"],
    ["diagnostics"],
    ["representation"],
    ["run"],
    ["negatives", "index", "measure", "generate"],
    ["configuration", "arguments", "fingerprint", "report"],
    ["stage.context"],
    ["spec", "snapshot"],
    [
        "dual_encoder",
        "vector_files",
        "encoding",
        "grad_cache",
        "cross_encoder",
        "classifier",
        "teacher_scores",
        "pair_texts",
    ],
    ["scoring", "portable", "model_card"],
    ["external"],
    ["tracking", "lit"],
    ["stage"],
    ["pipeline"],
    ["inspection"],
    ["experiment"],
    ["__main__"],
]
"""From left to right; a module may import from its own layer and those before it."""

GROUPS_WITHOUT_A_MODULE = {
    "experiment", "recipe", "until", "scale", "stages", "needs", "trainer", "logger", "optim", "schedule",
}  # fmt: skip
"""Groups that are no module: `needs` only names inputs, `recipe` sets stages, `until` ends them early, `stages` is `stage`, `logger` is `tracking`, `optim` and `schedule` are lit.optimisation."""


def layer(module: str) -> int:
    """Index of the layer of `a.b` (without the package's name): the longest name that fits counts."""
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        for number, names in enumerate(LAYERS):
            if ".".join(parts[:length]) in names:
                return number
    raise AssertionError(f"{module} stands in no layer of tests/test_layers.py")


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports at its top level, without the package's name."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bmae_lightning."):
            found.add(node.module.removeprefix("bmae_lightning."))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_to_the_left(path):
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    if path.name == "__init__.py":
        return
    wrong = [module for module in imported(path) if layer(module) > layer(name)]
    assert not wrong, f"{name} imports {wrong} from its right"


def test_only_lit_stage_and_tracking_import_lightning():
    users = {
        str(path.relative_to(PACKAGE).parts[0])
        for path in SOURCES
        if re.search(r"^\s*(import|from) pytorch_lightning", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert users <= {"lit", "stage", "tracking"}
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
    listed = set(re.findall(r"^    (bmae_lightning\.\w+)$", (ROOT / "setup.cfg").read_text(), re.MULTILINE))
    for path in PACKAGE.rglob("__init__.py"):
        if path.parent != PACKAGE:
            assert path.read_text() == "", f"{path} must be empty"
            assert f"bmae_lightning.{path.parent.name}" in listed
    for path in SOURCES:
        assert (path.parent / "__init__.py").is_file(), f"{path.parent} is no package"


def test_groups_mirror_modules():
    for directory in sorted((ROOT / "conf").iterdir()):
        if not directory.is_dir() or directory.name in GROUPS_WITHOUT_A_MODULE:
            continue
        module = {"decoders": "decoder"}.get(directory.name, directory.name)
        for path in directory.glob("*.yaml"):
            targets = re.findall(r"^\s*_target_: (\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            own = f"bmae_lightning.{module}."
            assert not targets or any(target.startswith(own) for target in targets), path


def test_targets_take_no_arbitrary_keywords():
    import importlib
    import inspect

    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        for target in re.findall(r"^\s*_target_: (bmae_lightning\S+)$", path.read_text(encoding="utf-8"), re.MULTILINE):
            module, name = target.rsplit(".", 1)
            made = getattr(importlib.import_module(module), name)
            if inspect.isclass(made) and "__init__" not in vars(made):
                continue
            parameters = inspect.signature(made).parameters
            assert not any(p.kind is p.VAR_KEYWORD for p in parameters.values()), target


def test_yaml_files_parse():
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        yaml.safe_load(path.read_text(encoding="utf-8"))
