"""The README.md of an exported retriever: what it is, how to load it, what it was trained on and how, what it measures.

Every figure is read from the manifests and results of the stages that made it.
"""

from pathlib import Path
from typing import Any

from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.files import read_json

LEFT_OUT = ("trainer", "logger", "checkpoint", "workers", "log_every", "diagnostics", "paper")
"""Options of a stage that do not change what it makes."""


def model_card(
    arm: str, config: RetrieverConfig, parts: list[str], width: int, corpus: dict[str, Any],
    lineage: list[tuple[str, dict[str, Any]]], results: dict[str, Any], base_model: str | None,
) -> str:  # fmt: skip
    """The text, from the template `model_card.md.jinja`.

    Args:
        arm: name of the pre-training, `none` for none.
        parts: sub-directories for sentence-transformers, see `save_portable`.
        width: dimensions of the dense part.
        corpus: record of the prepare stage, with a `name`.
        lineage: name and options of every stage with training in it that led to the retriever, the first one first.
        results: metrics.json of the evaluate stage.
        base_model: name of the checkpoint it started from, if it has a public one.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    environment.filters["repr"] = repr
    template = environment.from_string(Path(__file__).with_name("model_card.md.jinja").read_text(encoding="utf-8"))
    measured = {split: result for split, result in results.items() if isinstance(result, dict) and "mean" in result}
    text = template.render(
        arm=arm, config=config, parts=parts, width=width, corpus=corpus, base_model=base_model, measured=measured,
        measures=list(dict.fromkeys(name for result in measured.values() for name in result["mean"])),
        lineage=[(name, _flat(options, "")) for name, options in lineage],
        activation={"none": "", "relu": ".relu()", "log1p_relu": ".relu().log1p()"}[config.activation],
    )  # fmt: skip
    return text.rstrip() + "\n"


def lineage_of(directory: Path) -> list[tuple[str, dict[str, Any]]]:
    """Name and options of the training stages that led to `directory`, itself included, the first one first.

    Stages whose directories are gone are left out.
    """
    found: dict[str, dict[str, Any]] = {}
    seen: set[Path] = set()

    def visit(path: Path) -> None:
        if path in seen or not (path / "manifest.json").is_file():
            return
        seen.add(path)
        manifest = read_json(path / "manifest.json")
        for source in manifest["context"]["inputs"].values():
            if source:
                visit(path.parent / Path(source).name)  # beside it, also where all of them were moved
        step = manifest["context"].get("pretrain_step")
        if "trainer" in manifest["config"]:
            start = {} if step is None else {"pretrain_step": step}
            found.setdefault(manifest["context"]["stage"], start | manifest["config"])

    visit(directory)
    return list(found.items())


def base_model_of(lineage: list[tuple[str, dict[str, Any]]]) -> str | None:
    """The hub name of the encoder that the last stage was set to start from, None for a local or a new one."""
    name = (lineage[-1][1].get("encoder") or {}).get("name") if lineage else None
    return name if name and name.count("/") == 1 and name[0] not in "./~" and not Path(name).exists() else None


def _flat(options: dict[str, Any], before: str) -> list[tuple[str, str]]:
    """(dotted key, value) of the options that change the result, for a table of Markdown."""
    rows: list[tuple[str, str]] = []
    for name, value in options.items():
        if name in LEFT_OUT or value is None or value in ("", {}, []):
            continue
        if name == "_target_" and before:
            rows.append((before, f"`{value.rpartition('.')[2]}`"))
        elif isinstance(value, dict):
            rows += _flat(value, f"{before}.{name}" if before else name)
        elif name != "_target_":
            shown = Path(value).name if isinstance(value, str) and value.startswith("/") else value
            rows.append((f"{before}.{name}" if before else name, f"`{shown}`"))
    return rows
