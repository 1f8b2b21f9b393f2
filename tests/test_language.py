"""Citations lead somewhere, and wording that a reader cannot follow does not come back."""

import re
from pathlib import Path

import pytest
from support.paths import PACKAGE, ROOT

FOLDERS = ("bmae_lightning", "conf", "experiments", "tests", "benchmarks", "docs")
FILES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    if path.suffix in (".py", ".yaml", ".md") and path != Path(__file__) and "golden" not in path.parts
)
CITATION = re.compile(r"(?:docs/)?(\w+)\.md((?:,?\s+(?:and\s+)?§\d+(?:\.\d+)*)*)")
BANNED = {
    r"(?<!\.md )(finetuning|methods) §": "cite docs/finetuning.md §… or docs/methods.md §…, or write the sentence",
    r"\b(holds?|implements?|knows) no equation": "leave it out",
    r"\b(of|by) anybody\b|\banybody's\b": "say whose: from any system, of any program",
    r"\bdef test_[fp]\d{1,2}[a-z]?_": "the name of a test says the property",
    r"\bpropert(y|ies) [fpP]?\d": "say the property",
    r"\.\./shared": "a path that a reader does not have",
}
LONGEST = 120


def sections(document: Path) -> set[str]:
    """The numbers of the headings of a document, such as 2.1 in `### 2.1 RetroMAE`."""
    return set(re.findall(r"^#+ (\d+(?:\.\d+)*)\b", document.read_text(encoding="utf-8"), re.MULTILINE))


def dangling(text: str) -> list[str]:
    """Citations of documents that are not in docs/, or of sections that they do not have."""
    found = []
    for name, numbers in CITATION.findall(text):
        document = ROOT / "docs" / f"{name}.md"
        if f"docs/{name}.md" in text and not document.is_file():
            found.append(f"docs/{name}.md")
        elif document.is_file():
            found += [f"{name}.md §{n}" for n in re.findall(r"§([\d.]*\d)", numbers) if n not in sections(document)]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_citations_and_words(path):
    text = path.read_text(encoding="utf-8")
    assert not dangling(text)
    for pattern, remedy in BANNED.items():
        found = re.search(pattern, text)
        assert not found, f"{path}: {found[0]!r}: {remedy}"


def test_the_test_finds_a_section_that_does_not_exist():
    assert dangling("as docs/methods.md §2.1, §2.99 and §5 say") == ["methods.md §2.99"]
    assert dangling("see docs/nowhere.md §1") == ["docs/nowhere.md"]
    assert any(re.search(pattern, "as measured by anybody") for pattern in BANNED)


def test_documents_name_files_that_exist():
    for document in [*(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md"]:
        mentioned = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./]*)`", document.read_text(encoding="utf-8"))
        missing = [path for path in mentioned if "KIND" not in path and not (ROOT / path).exists()]
        assert not missing, f"{document.name} names {missing}"


def test_lines_of_configuration_files_are_not_too_long():
    """As ruff demands it of Python files."""
    long = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in FILES
        if path.suffix == ".yaml" and path.name != "coverage.yaml"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > LONGEST
    ]
    assert not long


def test_losses_masks_and_decoders_say_what_they_relate_to():
    folders = ("pretraining/mask", "pretraining/decoder", "retrieval/loss")
    for folder in folders:
        for path in sorted((PACKAGE / folder).glob("*.py")):
            text = path.read_text(encoding="utf-8")
            yaml = f"_target_: bmae_lightning.{folder.replace('/', '.')}.{path.stem}."
            if any(yaml in file.read_text(encoding="utf-8") for file in FILES if file.suffix == ".yaml"):
                assert "Relations:" in text, f"{path} has no line `Relations:`"
