"""Every command and every program of the README is executed, the commands on a small collection with a tiny encoder."""

import os
import re
import shlex
import subprocess
import sys

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support import command as tools
from support.paths import CONF, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip()
    for kind, text in BLOCKS
    if kind == "console"
    for line in text.splitlines()
    if line.startswith("python -m bmae_lightning")
]
ABLATIONS = [
    cell
    for row in re.findall(r"^\|[^|]*\|(.*)\|$", README, re.MULTILINE)
    for cell in re.findall(r"`([^`]+=[^`]+)`", row)
]


SMALL = ["encoder=tiny", "pretrain.steps=2", "retriever1.steps=2", "pretrain.batch_size=8", "retriever1.batch_size=8"]


def block(kind: str, beginning: str) -> str:
    return next(text for found, text in BLOCKS if found == kind and beginning in text)


def test_the_commands_are_found():
    assert len(COMMANDS) >= 10
    assert len(ABLATIONS) >= 8


@pytest.mark.parametrize("line", COMMANDS)
def test_commands(line, tmp_path, collection, here):
    """What needs a hub, eight GPUs or the whole built-in collection is composed, the rest is run on something small."""
    arguments = shlex.split(line.removeprefix("python -m bmae_lightning").replace("DIR", str(collection)))
    if "-cd" in arguments:
        (tmp_path / "experiments").symlink_to(ROOT / "experiments")
        for group, name, target in (
            ("mask", "longest", "longest.LongestWords"), ("decoders", "positional", "positional.PositionalDecoder")
        ):  # fmt: skip
            (tmp_path / "myconf" / group).mkdir(parents=True)
            (tmp_path / f"{name}.py").write_text(block("python", f"class {target.split('.')[1]}"))
            (tmp_path / "myconf" / group / f"{name}.yaml").write_text(block("yaml", target))
    # recipes run in tests/test_ladder.py, two devices in tests/test_end_to_end.py
    if "scale=paper" in arguments or ("recipe=" in line and "-m" not in arguments) or "trainer=ddp_cpu" in line:
        arguments = ["--cfg", "job", "--resolve", *arguments]
    elif not {"--help", "--cfg"} & set(arguments):
        corpus = (
            [] if any(item.startswith("corpus") for item in arguments) else ["corpus=beir", f"corpus.path={collection}"]
        )
        arguments += [*corpus, *SMALL]
        if "logger=" not in line and line != COMMANDS[0]:  # the first one logs to W&B, as users do
            arguments += ["logger=none"]
        if "+table=" in line:  # all of its rows: tests/test_tables.py
            arguments += ["+retromae=t6_enhanced,t6_basic"]
        if "+experiment=retromae,dupmae" in line:  # to the report: tests/test_end_to_end.py
            arguments += ["stage=[prepare]"]
    if line == COMMANDS[0] or {"--help", "--cfg"} & set(arguments):
        output = tools.command(*arguments, cwd=tmp_path)
    else:
        output = here(*arguments)
    assert "error" not in output.lower().replace("error_", "")


@pytest.mark.parametrize("overrides", ABLATIONS)
def test_ablations_compose(overrides):
    """As on the command line, after the experiment that the ablation belongs to; of a sweep, both of its jobs."""
    words = [item for item in shlex.split(overrides.replace("DIR", "somewhere")) if item != "-m"]
    for choice in range(2 if "-m" in overrides else 1):
        chosen = [re.sub(r"=(\S+),(\S+)$", rf"=\{choice + 1}", item) if "-m" in overrides else item for item in words]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            OmegaConf.to_container(compose("config", overrides=chosen), resolve=True, throw_on_missing=True)


def test_the_raw_training_loop(tmp_path):
    """The program of the README, with a tiny checkpoint and random texts in place of the user's."""
    program = block("python", "optimiser.zero_grad()")
    setting = f"""
import sys
sys.modules["pytorch_lightning"] = None
import numpy as np
from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
words += [f"w{{i}}" for i in range(50)] + [f"##p{{i}}" for i in range(20)]
with open({str(tmp_path / "vocab.txt")!r}, "w") as file:
    file.write("\\n".join(words))
CHECKPOINT = {str(tmp_path / "checkpoint")!r}
BertTokenizerFast(vocab={str(tmp_path / "vocab.txt")!r}).save_pretrained(CHECKPOINT)
config = BertConfig(
    vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
)
BertForMaskedLM(config).save_pretrained(CHECKPOINT)
draw = np.random.default_rng(0)
BATCHES = [[draw.integers(5, len(words), 20) for _ in range(4)] for _ in range(3)]
"""
    file = tmp_path / "loop.py"
    file.write_text(setting + program + "\nassert step == 2\n")
    done = subprocess.run(
        [sys.executable, str(file)], env=tools.environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_the_readme_points_to_exists():
    for path in re.findall(r"\]\(((?!http)[^)]+)\)", README):
        assert (ROOT / path).exists(), path
    for directory in ("tests/golden", "constraints.txt", "tests/test_layers.py"):
        assert directory in README
        assert (ROOT / directory).exists()
    for target in ("demo", "test"):
        assert f"make {target}" in README
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    experiments = {path.stem for path in (CONF / "experiment").glob("*.yaml")}
    assert experiments == set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE))


def test_help_and_configuration_answer_without_torch(tmp_path):
    for arguments in (["--help"], ["--cfg", "job", "+experiment=retromae"]):
        code = (
            f"import sys; sys.argv[1:] = {arguments!r}\nfrom bmae_lightning.__main__ import main\ntry:\n    main()\n"
            "finally:\n    assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=os.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "retromae" in done.stdout
