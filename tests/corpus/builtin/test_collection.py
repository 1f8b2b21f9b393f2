import json
import subprocess
import sys

import pytest

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.corpus.builtin.collection import BuiltinCorpus, PackageCount
from bmae_lightning.runtime.errors import BadInput


def function(name: str, summary: str, body: str) -> str:
    return f'def {name}():\n    """{summary}\n\n    {body}\n    """\n\n'


def body(word: str, words: int = 40) -> str:
    """Words of letters only: passages that differ in nothing but numbers count as near-equal."""
    word = "".join(chr(97 + int(c)) if c.isdigit() else c for c in word)
    return " ".join(f"{word}{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(words))


@pytest.fixture
def package(tmp_path, monkeypatch):
    root = tmp_path / "somebodys_library"
    root.mkdir()
    (root / "__init__.py").write_text("")
    for m in range(40):
        functions = [function(f"f{i}", f"Summary with a word{m}x{i} in it", body(f"m{m}f{i}n")) for i in range(3)]
        (root / f"module{m:02}.py").write_text("".join(functions))
    monkeypatch.syspath_prepend(tmp_path)
    return root


def passages_of(folder):
    return {passage.id: passage for passage in BeirCorpus(str(folder)).passages()}


def test_writes_a_sound_beir_directory(package, tmp_path):
    taken = BuiltinCorpus(["somebodys_library"]).write(tmp_path / "out")
    assert [(count.package, count.pairs) for count in taken] == [("somebodys_library", 120)]
    assert BuiltinCorpus(["somebodys_library"]).identity() == {"somebodys_library": taken[0].version}
    corpus = BeirCorpus(str(tmp_path / "out"))
    counts = corpus.check()
    assert (counts.passages, counts.queries, sum(counts.judgments.values())) == (120, 120, 120)
    assert list(counts.judgments) == ["train", "dev", "test"]
    passages = passages_of(tmp_path / "out")
    third = passages["somebodys_library.module07.f2"]
    assert third.doc_id == "somebodys_library.module07"
    assert third.position == 2
    assert third.title == ""
    assert third.text == body("m7f2n")
    queries = {query.id: query.text for query in corpus.queries()}
    modules = {}
    for split in corpus.splits():
        for judgment in corpus.judgments(split):
            passage = passages[judgment.passage_id]
            assert judgment.query_id not in passages
            assert queries[judgment.query_id].split("word")[1][:-6].split("x")[0] == str(int(passage.doc_id[-2:]))
            assert modules.setdefault(passage.doc_id, split) == split, "a module in two splits"
    assert list(modules.values()).count("train") > list(modules.values()).count("test") > 0


def test_another_process_writes_the_same_bytes(package, tmp_path):
    BuiltinCorpus(["somebodys_library"]).write(tmp_path / "one")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "from bmae_lightning.corpus.builtin.collection import BuiltinCorpus; "
        "BuiltinCorpus(['somebodys_library']).write(sys.argv[2]); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path, tmp_path / "two"], check=True)
    assert BeirCorpus(str(tmp_path / "one")).identity() == BeirCorpus(str(tmp_path / "two")).identity()


def test_a_new_module_moves_no_other(package, tmp_path):
    BuiltinCorpus(["somebodys_library"]).write(tmp_path / "one")
    (package / "amodule.py").write_text(function("f", "Summary with some more words", body("new")))
    BuiltinCorpus(["somebodys_library"]).write(tmp_path / "two")
    for split in ("train", "dev", "test"):
        before, after = ((tmp_path / n / "qrels" / f"{split}.tsv").read_text().splitlines() for n in ("one", "two"))
        assert set(before) <= set(after)


def test_short_near_equal_and_ambiguous_docstrings_are_left_out(package, tmp_path):
    kept, shouted = body("same"), body("same").upper().replace(" ", " 2,  ")
    (package / "zmodule.py").write_text(
        function("kept", "Only the first of near equal ones", kept)
        + function("copy", "Another summary for the same text", shouted)
        + function("short_query", "Only four words here", body("other"))
        + function("short_passage", "Summary that is long enough here", body("little", 29))
        + function("twice", "This summary is found two times", body("once"))
        + function("again", "This summary is found  two times!", body("more"))
    )
    BuiltinCorpus(["somebodys_library"]).write(tmp_path / "out")
    assert [id for id in passages_of(tmp_path / "out") if "zmodule" in id] == ["somebodys_library.zmodule.kept"]
    BuiltinCorpus(["somebodys_library"], min_query_words=4, min_passage_words=29).write(tmp_path / "more")
    names = [id.rsplit(".")[-1] for id in passages_of(tmp_path / "more") if "zmodule" in id]
    assert names == ["kept", "short_query", "short_passage"]


def test_definitions_of_one_name_get_ids_of_their_own(package, tmp_path):
    (package / "zmodule.py").write_text(
        function("f", "Summary of the first of these", body("one"))
        + function("f", "Summary of the second of these", body("two"))
    )
    BuiltinCorpus(["somebodys_library"]).write(tmp_path / "out")
    ids = [id for id in passages_of(tmp_path / "out") if "zmodule" in id]
    assert ids == ["somebodys_library.zmodule.f", "somebodys_library.zmodule.f#2"]


@pytest.mark.parametrize("modules", [3, 4, 6])
def test_few_modules_still_fill_every_split(package, tmp_path, modules):
    for path in sorted(package.glob("module*.py"))[modules:]:
        path.unlink()
    BuiltinCorpus(["somebodys_library"]).write(tmp_path / "out")
    assert all(BeirCorpus(str(tmp_path / "out")).check().judgments.values())


def test_too_few_modules(package, tmp_path):
    for path in sorted(package.glob("module*.py"))[2:]:
        path.unlink()
    with pytest.raises(BadInput, match=r"packages=\['somebodys_library'\] document 2 modules .*add packages"):
        BuiltinCorpus(["somebodys_library"]).write(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_bad_arguments(tmp_path):
    with pytest.raises(BadInput, match="pip install no_such_package_here"):
        BuiltinCorpus(["stdlib", "no_such_package_here"]).write(tmp_path / "out")
    with pytest.raises(BadInput, match="pip install no_such_package_here"):
        BuiltinCorpus(["no_such_package_here"]).identity()
    for packages in ([], "numpy"):
        with pytest.raises(ValueError, match="packages=.*is not a list of package names"):
            BuiltinCorpus(packages)
    with pytest.raises(ValueError, match="min_query_words must be at least 1, got 0"):
        BuiltinCorpus(["numpy"], min_query_words=0)


def test_the_default_collection(tmp_path):
    """No counts are pinned: they move with the versions."""
    corpus = BuiltinCorpus()
    versions = corpus.identity()
    assert list(versions) == ["stdlib", "numpy"]
    taken = corpus.write(tmp_path)
    assert taken == [PackageCount(count.package, versions[count.package], count.pairs) for count in taken]
    assert all(count.pairs > 200 for count in taken)
    judgments = BeirCorpus(str(tmp_path)).check().judgments
    assert judgments["train"] > judgments["test"] > 100
    lines = (tmp_path / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    assert not [text for text in texts if ">>>" in text]
