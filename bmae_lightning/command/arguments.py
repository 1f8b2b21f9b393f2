"""What may be typed beyond Hydra's grammar: stages as bare words, a question as it is, flags anywhere, `seeds=3`.

Only light modules are imported, since this runs before `--help`.
"""

import re
import tempfile
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

from bmae_lightning.report.comparison import CHECKED
from bmae_lightning.runtime.checks import nearest
from bmae_lightning.runtime.configuration import config_directory
from bmae_lightning.runtime.errors import BadInput

VALUED = (
    "-cd", "--config-dir", "-cn", "--config-name", "-cp", "--config-path", "-c", "--cfg", "-p", "--package", "-i",
    "--info", "--experimental-rerun",
)  # fmt: skip
"""Hydra's flags that are followed by a value."""
LOOKING = re.compile(
    r"stage=\[?(search|dashboard)\]?$|(run|qrels|pack)=|report\.(runs|name)=|check=true$", re.IGNORECASE
)
"""Arguments of commands that only look, and so leave no directory of the run behind."""
AS_HYDRA_HAS_IT = re.compile(r"""\[.*\]|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
"""A value that is a list or quoted already."""
NO_DIRECTORY = ["hydra.run.dir=.", "hydra.output_subdir=null"]
SWEEP = ("-m", "--multirun")
SHOWING = ("-c", "--cfg", "-i", "--info", "-h", "--help", "--hydra-help")
"""Hydra's flags that show something in place of running."""
SEED, SEEDS = re.compile(r"\+{0,2}seed="), re.compile(r"\+{0,2}seeds=")


def user_directories(arguments: list[str]) -> list[Path]:
    """What `-cd DIR` or `--config-dir DIR` names."""
    return [
        Path(value) for flag, value in zip(arguments, arguments[1:], strict=False) if flag in ("-cd", "--config-dir")
    ]


def completed(arguments: list[str]) -> list[str]:
    """The arguments in Hydra's grammar: `evaluate` becomes stage=[evaluate], the text after query= is quoted, and
    `seeds=3` becomes `-m seed=1,2,3`.

    A stage of the user's own directory, `stages/NAME.yaml`, is added to the package's by `+stages=[NAME]`.

    Raises:
        BadInput: a word that is neither KEY=VALUE nor a stage, stages or seeds named in both ways, seeds that are none.
    """
    # Hydra's flags come first: argparse takes no overrides behind a flag that stands between them.
    flags, overrides, words = [], [], []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if argument.startswith("-") or before in VALUED:
            flags.append(argument)
        else:
            (overrides if "=" in argument or argument.startswith(("+", "~")) else words).append(argument)
    stages, own = (
        {path.stem for place in places for path in (place / "stages").glob("*.yaml")}
        for places in ([config_directory()], user_directories(arguments))
    )
    for word in words:
        if word not in stages | own:
            hint = nearest(word, stages | own)
            raise BadInput(f"{word!r} is neither KEY=VALUE nor a stage{hint}; quote texts with spaces")
    flags, overrides = _with_seeds(flags, overrides)
    if words:
        if clash := [argument for argument in overrides if argument.startswith("stage=")]:
            raise BadInput(f"stages are named twice, by {clash[0]} and by {' '.join(words)}: keep one of them")
        overrides.append(f"stage=[{','.join(words)}]")
    added = [word for word in words if word not in stages]
    if added and not any(argument.startswith("+stages") for argument in overrides):
        overrides.append(f"+stages=[{','.join(added)}]")
    looking = NO_DIRECTORY if any(map(LOOKING.match, overrides)) else []
    if any(override.lower() == "check=true" for override in overrides):
        # A sweep must have a directory, and this process tells what all of its jobs would take.
        overrides = [item for item in overrides if not item.startswith(("hydra/launcher=", "hydra.launcher."))]
        looking = [*looking, f"hydra.sweep.dir={tempfile.mkdtemp(prefix=CHECKED)}"]
    return flags + looking + list(map(_quoted, overrides))


def _with_seeds(flags: list[str], overrides: list[str]) -> tuple[list[str], list[str]]:
    """The same with `seeds=` as a sweep over `seed=`; of what is only shown, the first of its jobs."""
    asked = [item for item in overrides if SEEDS.match(item)]
    if not asked:
        return flags, overrides
    if clash := [item for item in overrides if SEED.match(item)] + asked[1:]:
        raise BadInput(f"{asked[0]} and {clash[0]} both name seeds: keep one of them")
    if search := [item for item in overrides if item.startswith("hydra/sweeper=") and item != "hydra/sweeper=basic"]:
        raise BadInput(
            f"{asked[0]} repeats every setting, {search[0]} looks for one: search with one seed, then run what it "
            f"found with {asked[0]}"
        )
    seeds = _seeds(asked[0])
    if any(flag.partition("=")[0] in SHOWING for flag in flags):
        seeds = seeds[:1]
    if len(seeds) > 1 and not set(flags) & set(SWEEP):
        flags = [*flags, SWEEP[0]]
    sweep = "seed=" + ",".join(seeds)
    return flags, [sweep if item == asked[0] else item for item in overrides]


def _seeds(argument: str) -> list[str]:
    """`seeds=3` is 1, 2, 3; `seeds=[5,7]` is what it lists."""
    value = argument.partition("=")[2].replace(" ", "")
    if re.fullmatch(r"[1-9]\d{0,2}", value):
        return [str(seed) for seed in range(1, int(value) + 1)]
    seeds = value[1:-1].split(",")
    if re.fullmatch(r"\[\d+(,\d+)*\]", value) and len(set(map(int, seeds))) == len(seeds):
        return seeds
    raise BadInput(
        f"{argument}: give how many seeds, as seeds=3 for 1, 2 and 3, or each of them once, as seeds=[5,7,11]"
    )


def _quoted(argument: str) -> str:
    """query=TEXT with the text in Hydra's quotes, unless it is quoted or a list."""
    key, _, text = argument.partition("=")
    if key != "query" or AS_HYDRA_HAS_IT.fullmatch(text):
        return argument
    text = re.sub(r"(\\*)\$\{", lambda found: found[1] * 2 + "\\${", text)  # not an interpolation
    return "query=" + QuotedString(text, Quote.single).with_quotes()
