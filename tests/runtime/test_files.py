"""What a reader of the disk may find at every moment, and that nothing else in the package writes."""

import ast
import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from support.paths import PACKAGE

from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import (
    MappedArray,
    append_text,
    growing,
    link_page,
    read_json,
    reading,
    remove_leftovers,
    replacing,
    write_array,
    write_json,
    write_text,
    writing,
    writing_text,
)  # fmt: skip


def writes(source: str) -> list[str]:
    """Calls in a source that write a file by themselves, each as 'line: call'."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name, of = getattr(node.func, "attr", getattr(node.func, "id", "")), ""
        if isinstance(node.func, ast.Attribute):
            of = ast.unparse(node.func.value)
        words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        words += [
            word.value.value for word in node.keywords if word.arg == "mode" and isinstance(word.value, ast.Constant)
        ]
        mode = next((str(word) for word in words if str(word).strip("bt+") in ("r", "w", "a", "x")), "r")
        if (
            (name == "open" and (mode[0] != "r" or "+" in mode))
            or (name in ("replace", "rename") and of == "os")
            or (name in ("save", "savez", "savetxt") and of in ("np", "numpy", "torch"))
            or (name == "dump" and of in ("json", "pickle", "yaml"))
            or (name in ("write_text", "write_bytes", "tofile") and of)
            or name in ("fsync", "open_memmap", "mkstemp", "NamedTemporaryFile")
        ):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
    return found


@pytest.mark.parametrize(
    "call",
    [
        "path.open('w')", "open(path, 'wb')", "open(path, mode='a')", "gzip.open(path, 'wt', encoding='utf-8')",
        "path.open('r+b')", "path.write_text('x')", "path.write_bytes(b'x')", "np.save(path, array)",
        "os.replace(a, b)",
        "os.fsync(file.fileno())", "json.dump(x, file)", "torch.save(x, path)", "values.tofile(path)",
    ],
)  # fmt: skip
def test_a_call_that_writes_is_found(call):
    assert writes(f"def f():\n    {call}\n") == [f"2: {call}"]


@pytest.mark.parametrize(
    "call", ["path.open()", "open(path, 'rb')", "write_text(path, 'w')", "text.replace('a', 'w')", "model.save(path)"]
)
def test_a_call_that_writes_nothing_is_not(call):
    assert writes(call) == []


def test_nothing_else_in_the_package_writes_a_file():
    sources = set(PACKAGE.rglob("*.py")) - {PACKAGE / "runtime" / "files.py"}
    assert len(sources) > 100
    found = {str(path.relative_to(PACKAGE)): writes(path.read_text(encoding="utf-8")) for path in sources}
    assert {path: calls for path, calls in found.items() if calls} == {}, "write through runtime.files"


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_what_is_there_stays_until_the_new_one_is_complete(tmp_path, kind):
    path = tmp_path / "new" / "made"

    def make(at, text, then=None):
        if kind == "directory":
            (at / "inner").mkdir(parents=True)
            at = at / "inner" / "file"
        at.write_text(text)
        if then is not None:
            raise then

    def found():
        return (path / "inner" / "file" if kind == "directory" else path).read_text()

    for text in ("first", "second"):
        with replacing(path) as temporary:
            make(temporary, text)
            assert temporary.parent == path.parent
            assert path.exists() == (text == "second")
        assert found() == text
    with pytest.raises(RuntimeError, match="stop"), replacing(path) as temporary:
        make(temporary, "third", then=RuntimeError("stop"))
    assert found() == "second"
    assert os.listdir(path.parent) == ["made"]


def test_an_error_of_the_disk_keeps_the_former_content_and_leaves_nothing(tmp_path, monkeypatch):
    path = tmp_path / "page"
    write_text(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["page"]


def test_everything_is_flushed_before_it_is_renamed(tmp_path, monkeypatch):
    events = []
    flush, rename = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: (events.append(os.readlink(f"/proc/self/fd/{handle}")), flush(handle))
    )
    monkeypatch.setattr(os, "replace", lambda one, two: (events.append(str(two)), rename(one, two)))
    with replacing(tmp_path / "model") as temporary:
        temporary.mkdir()
        (temporary / "a").write_text("x")
        (temporary / "b").write_text("x")
    assert {name.rsplit("/", 1)[1] for name in events[:2]} == {"a", "b"}
    assert events[2:] == [str(tmp_path / "model")]


def test_what_a_killed_process_left_is_removed_on_request(tmp_path):
    (tmp_path / "inner" / ".store.17.tmp" / "deep").mkdir(parents=True)
    (tmp_path / ".page.17.tmp").write_text("x")
    (tmp_path / ".hidden").write_text("x")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".hidden", "inner"]


def test_text_bytes_arrays_and_json_are_read_back(tmp_path):
    write_text(tmp_path / "text", "ä\r\nb\n")
    assert (tmp_path / "text").read_bytes() == "ä\r\nb\n".encode()
    with writing(tmp_path / "bytes") as file:
        file.write(b"\x00\xff")
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"
    write_array(tmp_path / "array.npy", np.arange(3))
    assert np.load(tmp_path / "array.npy").tolist() == [0, 1, 2]
    write_json(tmp_path / "a.json", {"ä": [1, None]})
    assert "ä" in (tmp_path / "a.json").read_text(encoding="utf-8")
    assert read_json(tmp_path / "a.json") == {"ä": [1, None]}


def test_a_name_in_gz_is_compressed_and_the_same_text_gives_the_same_bytes(tmp_path):
    for name in ("a.gz", "b.gz", "plain"):
        with writing_text(tmp_path / name) as file:
            file.write("one\ntwo\n")
        with reading(tmp_path / name) as file:
            assert file.read() == b"one\ntwo\n"
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"one\ntwo\n"
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_a_page_is_linked_and_where_that_cannot_be_another_page_leads_there(tmp_path, monkeypatch):
    page = tmp_path / "store" / "report a&b" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("the page")
    link = tmp_path / "runs" / "now" / "report.html"
    for _ in range(2):
        link_page(link, page)
    assert os.readlink(link) == "../../store/report a&b/report.html"
    assert link.read_text() == "the page"
    assert [path.name for path in link.parent.iterdir()] == ["report.html"]

    def refuse(*_):
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    link_page(link, page)
    assert not link.is_symlink()
    assert 'content="0; url=../../store/report%20a%26b/report.html"' in link.read_text()
    assert page.read_text() == "the page"


def test_a_lone_surrogate_is_an_error_in_data_and_a_question_mark_in_a_page(tmp_path):
    with pytest.raises(UnicodeEncodeError), writing_text(tmp_path / "data") as file:
        file.write("\ud800")
    assert os.listdir(tmp_path) == []
    write_text(tmp_path / "page", "a\ud800")
    assert (tmp_path / "page").read_text() == "a?"


def test_a_log_grows_by_lines_and_a_column_by_what_is_kept(tmp_path):
    append_text(tmp_path / "log", "a\n")
    append_text(tmp_path / "log", "b\n")
    assert (tmp_path / "log").read_text() == "a\nb\n"
    with growing(tmp_path / "log", 2) as file:
        file.write(b"c\n")
    assert (tmp_path / "log").read_text() == "a\nc\n"


def test_damaged_json_is_named_with_what_to_do(tmp_path):
    (tmp_path / "a.json").write_text("{")
    for name in ("a.json", "b.json"):
        with pytest.raises(BadInput, match=rf"{name}: cannot be read .*; delete .* and run the stage again"):
            read_json(tmp_path / name)


def test_a_mapped_array_travels_by_its_path_and_is_refused_at_another_size(tmp_path):
    write_array(tmp_path / "a.npy", np.arange(5))
    array = pickle.loads(pickle.dumps(MappedArray(tmp_path / "a.npy", 5, "run prepare again")))
    assert len(array) == 5
    assert array[1:3].tolist() == [1, 2]
    with pytest.raises(BadInput, match=r"a.npy has the shape \(5,\) instead of \(4,\); run prepare again"):
        MappedArray(tmp_path / "a.npy", 4, "run prepare again")
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(BadInput, match=r"a.npy cannot be read .*; run prepare again"):
        MappedArray(tmp_path / "a.npy", 5, "run prepare again")
