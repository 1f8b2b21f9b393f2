"""Which stages a command runs, in which order, and where each of them writes.

`stage=` names goals. A goal's `inputs` run before it, and a report alone has all stages up to its rung of the ladder as
goals. A node is a stage for an arm; its directory is named by its fingerprint, so that runs with a common part share
it.
"""

import dataclasses
from pathlib import Path
from typing import Any

from bmae_lightning.retrieval.model_options import BM25, label_models
from bmae_lightning.runtime.checks import nearest
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.fingerprint import fingerprint
from bmae_lightning.runtime.node_key import node_key
from bmae_lightning.runtime.run_stage import DONE
from bmae_lightning.runtime.snapshots import check_kept, check_step, in_steps

PRETRAINING = "pretrain"
BASELINE_ARM = "none"
EVERYTHING = "all"
"""`collects` of a stage that reads whatever is planned."""
REQUIRES = "requires"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A stage as its YAML describes it. All but `options` are planning keys, which are in no fingerprint.

    Attributes:
        options: what the stage is built from.
        inputs: role -> the stage that makes it, which runs before (in the YAML perhaps a list, of which the first that
            there is counts); None: this stage does without.
        rung: place on the ladder of fine-tuning; a report shows the stages up to `rungs`. None: not by itself.
        if_any: where this is null or empty, a report does not show the stage, and to others it is no input.
        shown_as: what a row of the stage is called in the report, after the name of the arm; None: it has no row.
        arms: models from elsewhere; the stage runs once for each, as an arm of its name.
        collects: stages whose nodes it reads where they are planned, or `all`.
        mining: name of an option that is set to 0 unless a stage on the run's rungs has this one as input `ranking`.
        follows: the stage that options not set in the YAML are taken from; only interpolations read it.
    """

    options: dict[str, Any]
    inputs: dict[str, str | None]
    rung: int | None = None
    if_any: Any = True
    shown_as: str | None = None
    arms: list[Any] | None = None
    collects: list[str] | str | None = None
    mining: str | None = None
    follows: str | None = None

    @property
    def order(self) -> int:
        """Goals that read what is planned come after the others, one that reads everything last."""
        return 2 if self.collects == EVERYTHING else int(self.collects is not None)


PLANNING_KEYS = frozenset(field.name for field in dataclasses.fields(Entry)) - {"options"}


def read_entries(config: dict[str, Any]) -> dict[str, Entry]:
    """The stages of a resolved configuration: its top-level entries with `inputs`."""
    found = {name: read_entry(node) for name, node in config.items() if isinstance(node, dict) and "inputs" in node}

    def there(source: str | list[str] | None) -> str | None:
        sources = source if isinstance(source, list) else [source]
        return next((name for name in sources if name not in found or found[name].if_any), None)

    def with_inputs(entry: Entry) -> Entry:
        return dataclasses.replace(entry, inputs={role: there(source) for role, source in entry.inputs.items()})

    return {name: with_inputs(entry) for name, entry in found.items()}


def read_entry(node: dict[str, Any]) -> Entry:
    """Tell planning keys from options, and move every `requires` inside the options to where the stage reads it.

    `requires: {NAME: STAGE}` of a mask, decoder or corruption makes that stage an input of the stage that uses it,
    unless `inputs` has the name already; `requires: {NAME: {…}}` gives the stage an option.
    """
    planning = {key: value for key, value in node.items() if key in PLANNING_KEYS}
    inputs: dict[str, str | None] = {}
    required: dict[str, Any] = {}

    def without_requirements(part: Any) -> Any:
        if isinstance(part, list):
            return [without_requirements(item) for item in part]
        if not isinstance(part, dict):
            return part
        for name, needed in (part.get(REQUIRES) or {}).items():
            if isinstance(needed, dict):
                required[name] = without_requirements(needed)
            else:
                inputs[name] = needed
        return {key: without_requirements(value) for key, value in part.items() if key != REQUIRES}

    options = without_requirements({key: value for key, value in node.items() if key not in PLANNING_KEYS})
    return Entry(**planning | {"options": options | required, "inputs": inputs | node["inputs"]})


@dataclasses.dataclass(frozen=True)
class Node:
    """One stage of one arm.

    Attributes:
        stage: name in the configuration.
        arm: name of the arm, empty where all arms share the stage.
        config: options of the stage, resolved.
        inputs: role -> key of the node that makes it, None where this arm has none.
        hash: fingerprint.
        directory: where it writes.
        pretrain_step: which snapshot of its pre-training it starts from, None for the end or where it has none.
    """

    stage: str
    arm: str
    config: dict[str, Any]
    inputs: dict[str, str | None]
    hash: str
    directory: Path
    pretrain_step: float | None = None

    @property
    def key(self) -> str:
        return node_key(self.stage, self.arm)

    @property
    def done(self) -> bool:
        return (self.directory / DONE).is_file()


def named_stages(config: dict[str, Any]) -> list[str]:
    """The value of `stage=`, which may be one name."""
    return [config["stage"]] if isinstance(config["stage"], str) else list(config["stage"])


def find_goals(config: dict[str, Any]) -> list[str]:
    """The stages that are wanted: the named ones, and for a report alone all that it shows.

    Raises:
        BadInput: `stage` is empty or names an unknown stage, or `rungs` is no rung.
    """
    entries, named = read_entries(config), named_stages(config)
    for name in named:
        if name not in entries:
            raise BadInput(f"stage={name}: there is no such stage{nearest(name, entries)}")
    if not named:
        raise BadInput(f"stage is empty: name at least one of {', '.join(entries)}")
    rungs, top = config["rungs"], max((entry.rung or 0 for entry in entries.values()), default=0)
    if not isinstance(rungs, int) or isinstance(rungs, bool) or not 0 <= rungs <= top:
        raise BadInput(f"rungs={rungs} must be a number from 0 to {top}, the last rung of the ladder")
    if [entries[name].collects for name in named] != [EVERYTHING]:
        return named
    shown = {name: entry for name, entry in entries.items() if entry.rung is not None and entry.rung <= rungs}
    return [name for name, entry in shown.items() if entry.if_any and entry.arms != []] + named


def plan(config: dict[str, Any], arm: str, extra: dict[str, Any]) -> dict[str, Node]:
    """Every node that the goals need, by its key, in an order in which they can run.

    Args:
        config: resolved configuration. With `pretrain_step` the stages after pre-training start from that snapshot,
            with 0 without pre-training.
        arm: name of the arm with pre-training; with `baseline` the arm `none` stands beside it.
        extra: stage, or its node's key, -> content of its fingerprint that is not configuration (files, versions).

    Raises:
        BadInput: an unknown stage or input, stages that need each other in a circle, or a snapshot that is not kept.
    """
    goals = find_goals(config)
    planner = Planner(config, arm, extra, goals)
    for name in sorted(goals, key=lambda name: planner.entries[name].order):
        for each in planner.arms:
            planner.visit(name, each)
    return planner.nodes


class Planner:
    """Collects `nodes`; the arguments are those of `plan`, and its goals."""

    def __init__(self, config: dict[str, Any], arm: str, extra: dict[str, Any], goals: list[str]) -> None:
        self.entries, self.extra = read_entries(config), extra
        self.store = Path(config["output_dir"]) / "store"
        self.arms = [BASELINE_ARM, arm] if config["baseline"] and arm != BASELINE_ARM else [arm]
        self.step = check_step(config.get("pretrain_step"))
        needed = set().union(*map(self.needed_by, goals))
        rungs = max(config["rungs"], *(self.entries[name].rung or 0 for name in needed))
        climbed = [entry for entry in self.entries.values() if (entry.rung or 0) <= rungs]
        self.mined = {entry.inputs.get("ranking") for entry in climbed}
        self.nodes: dict[str, Node] = {}

    def needed_by(self, name: str) -> set[str]:
        """The stage itself and all stages that it needs, directly or not."""
        found, waiting = set(), [name]
        while waiting:
            name = waiting.pop()
            if name in self.entries and name not in found:
                found.add(name)
                waiting += filter(None, self.entries[name].inputs.values())
        return found

    def visit(self, name: str, arm: str, trail: tuple[str, ...] = ()) -> str | None:
        """Add the node of a stage for an arm, after those it needs.

        Returns its key, None where this arm has no such node.
        """
        if name in trail:
            raise BadInput(f"stages need each other in a circle: {' -> '.join((*trail, name))}")
        if name not in self.entries:
            raise BadInput(f"{trail[-1]}.inputs names an unknown stage {name!r}{nearest(name, self.entries)}")
        if name == PRETRAINING and (arm == BASELINE_ARM or self.step == 0):
            return None
        entry, arm = self.entries[name], arm if PRETRAINING in self.needed_by(name) else ""
        if (key := node_key(name, arm)) in self.nodes:
            return key
        if "corpus" in entry.inputs and entry.inputs["corpus"] is None:
            raise BadInput(
                f"{name} needs a general collection: add corpus@general.corpus=files general.corpus.path=DIR (or "
                "another format); a row that starts from the authors' checkpoint needs none"
            )
        inputs = {role: source and self.visit(source, arm, (*trail, name)) for role, source in entry.inputs.items()}
        if entry.arms is not None:
            self._add_models(name, inputs)
            return None
        return self._add(name, arm, inputs | self._collected(entry), self._checked_step(inputs))

    def _add_models(self, name: str, inputs: dict[str, str | None]) -> None:
        """A node for each of the models from elsewhere."""
        models = label_models(self.entries[name].arms or [], "compare", (*self.arms, BM25))
        if not models:
            raise BadInput(f"stage={name}: compare is empty; name retrievers, as 'compare=[DIR]'")
        for label, model in models.items():
            self._add(name, label, inputs, model=dataclasses.asdict(model))

    def _add(
        self, name: str, arm: str, inputs: dict[str, str | None], step: float | None = None, **more: Any
    ) -> str:  # fmt: skip
        options = self._options(name) | more
        hashes = {role: source and self.nodes[source].hash for role, source in inputs.items()}
        content = self.extra.get(node_key(name, arm), self.extra.get(name))
        digest = fingerprint(options, hashes if step is None else hashes | {"step": str(step)}, content)
        node = Node(name, arm, options, inputs, digest, self.store / f"{name}-{digest}", step)
        self.nodes[node.key] = node
        return node.key

    def _options(self, name: str) -> dict[str, Any]:
        """What the stage is built from, with what only the plan knows: whether a stage mines from it, names of rows."""
        entry, planned = self.entries[name], {}
        if entry.mining and name not in self.mined:
            planned[entry.mining] = 0
        if entry.collects == EVERYTHING:
            rows = {name: other.shown_as for name, other in self.entries.items()}
            planned["shown_as"] = {name: text for name, text in rows.items() if text is not None}
        return entry.options | planned

    def _collected(self, entry: Entry) -> dict[str, str]:
        """The inputs of a stage that reads what happens to be planned."""
        if entry.collects is None:
            return {}
        wanted = self.entries if entry.collects == EVERYTHING else entry.collects
        return {key: key for key, node in self.nodes.items() if node.stage in wanted}

    def _checked_step(self, inputs: dict[str, str | None]) -> float | None:
        """`pretrain_step` for a stage that reads a pre-training, which must keep it; None for any other stage.

        A share becomes a number of steps where the options say how many there are.
        """
        starts = [self.nodes[key] for key in inputs.values() if key and self.nodes[key].stage == PRETRAINING]
        if self.step is None or not starts:
            return None
        for node in starts:
            check_kept(self.step, node.config, node.directory, node.done)
        steps = starts[0].config.get("steps")
        return in_steps(self.step, steps) if steps else self.step
