"""The changelog names every moved module and every renamed option that the program answers for."""

import re

from support.paths import ROOT

CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def listed(heading: str) -> dict[str, str]:
    """The rows of the table below a heading of the changelog, without the marks of code."""
    section = re.split(r"^##+ ", CHANGELOG.split(f"### {heading}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]
    return {
        old: re.sub("^`([^`]+)`$", r"\1", new)
        for old, new in re.findall(r"^\| `([^`]+)` \| (.+) \|$", section, re.MULTILINE)
    }


def answered(name: str) -> dict[str, str]:
    lines = (ROOT / "bmae_lightning" / "runtime" / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines if line)


def test_every_moved_module_is_listed():
    assert listed("Moved modules") == answered("former_places.txt")


def test_every_renamed_option_is_listed():
    assert listed("Renamed options") == answered("former_options.txt")


def test_every_new_place_exists():
    package = ROOT / "bmae_lightning"
    for place in listed("Moved modules").values():
        path = package / place.replace(".", "/")
        module = path.parent.with_suffix(".py")
        name = path.name
        defined = module.exists() and re.search(
            rf"^(def {name}\b|class {name}\b|{name} *[:=])", module.read_text(), re.MULTILINE
        )
        assert path.is_dir() or path.with_suffix(".py").exists() or defined, f"bmae_lightning.{place} does not exist"
