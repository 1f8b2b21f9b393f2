"""An archive of a run: its bytes, its measures found again, and every archive that is not to be trusted."""

import io
import json
import os
import re
import tarfile
from pathlib import Path

import pytest
from support.command import main_here

from bmae_lightning.command.check_pack import check_pack
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.run_stage import read_manifest
from bmae_lightning.stage.pack import Pack

BM25 = ["corpus=beir", "stage=[pack]", "rungs=0", "pretrain_step=0", "logger=none", "report.cases=0"]
MEASURES = "measures=[RR@10,nDCG@10,R@2]"


@pytest.fixture(scope="module")
def pack(tmp_path_factory, collection):
    """The archive that the command makes of BM25 alone."""
    root = tmp_path_factory.mktemp("pack")
    with pytest.MonkeyPatch.context() as patch:
        assert main_here(patch, root, *BM25, MEASURES, f"corpus.path={collection}") == 0
    (archive,) = (root / "outputs" / "store").glob("pack-*/pack.tar.gz")
    return archive


def stages(pack):
    """Key of a node -> its directory."""
    return {key: Path(place) for key, place in read_json(pack.parent / "manifest.json")["context"]["inputs"].items()}


def members(pack):
    with tarfile.open(pack) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def archive(path, files, *more):
    """An archive of these files, and of members that are more than a name and bytes."""
    with tarfile.open(path, "w:gz") as made:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
        for member in more:
            made.addfile(member)
    return path


def test_what_is_packed(pack):
    found, nodes = members(pack), stages(pack)
    assert list(found) == ["pack.json", *sorted(found.keys() - {"pack.json"})]
    assert found["stages/bm25/run.test.trec"] == (nodes["bm25"] / "run.test.trec").read_bytes()
    assert found["stages/bm25/scores.test.parquet"] == (nodes["bm25"] / "scores.test.parquet").read_bytes()
    assert found["qrels/test.trec"] == (nodes["prepare"] / "qrels" / "test.trec").read_bytes()
    assert found["report/report.html"] == (nodes["report"] / "report.html").read_bytes()
    for key in ("prepare", "bm25", "report"):
        manifest = json.loads(found[f"stages/{key}/manifest.json"])
        assert manifest["fingerprint"] in nodes[key].name
        assert json.loads(found[f"stages/{key}/record.json"])["versions"]
    assert "report/tables/measures.md" in found
    assert not [name for name in found if "train" in name or name.endswith((".npy", ".safetensors", ".jsonl"))]


def test_the_same_files_are_the_same_bytes(pack, tmp_path):
    for path in stages(pack)["bm25"].iterdir():
        os.utime(path, (1e9, 1e9))
    context, _ = read_manifest(pack.parent / "manifest.json")
    object.__setattr__(context, "directory", tmp_path)
    Pack().run(context)
    assert (tmp_path / "pack.tar.gz").read_bytes() == pack.read_bytes()


def test_all_measures_are_found_again(pack, here, tmp_path):
    output = here("evaluate", f"pack={pack}")
    mean = read_json(stages(pack)["bm25"] / "metrics.json")["test"]["mean"]
    assert set(mean) == {"RR@10", "nDCG@10", "R@2"}
    for name, value in mean.items():
        assert re.search(rf"^bm25 +test +{re.escape(name)} +{value:.4f} +{value:.4f} +yes$", output, re.MULTILINE)
    assert "3 of 3 values are those of the runs" in output
    assert not list(tmp_path.iterdir())


def test_a_value_that_is_not_that_of_the_run_is_told(pack, tmp_path, capsys):
    files = members(pack)
    contents = json.loads(files["pack.json"])
    contents["runs"][0]["mean"] |= {"RR@10": contents["runs"][0]["mean"]["RR@10"] - 1e-6, "answer_R@5": 0.5, "own": 1.0}
    files["pack.json"] = json.dumps(contents).encode()
    with pytest.raises(BadInput, match="1 of 5 values are not those of the runs"):
        check_pack(str(archive(tmp_path / "x.tar.gz", files)))
    states = dict(re.findall(r"^bm25 +test +(\S+) .* (yes|no|not measured)$", capsys.readouterr().out, re.MULTILINE))
    assert states == {
        "RR@10": "no",
        "nDCG@10": "yes",
        "R@2": "yes",
        "answer_R@5": "not measured",
        "own": "not measured",
    }


def test_a_file_that_was_changed_or_lost_is_told(pack, tmp_path):
    files = members(pack)
    for changed in (files | {"stages/bm25/run.test.trec": b"q Q0 d 1 1 t\n"}, dict(list(files.items())[:-1])):
        with pytest.raises(BadInput, match="x.tar.gz: stages/.* is missing or not what was packed"):
            check_pack(str(archive(tmp_path / "x.tar.gz", changed)))


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil-of-a-pack", "a/../../evil"])
def test_no_file_is_written_elsewhere(tmp_path, name):
    with pytest.raises(BadInput, match="x.tar.gz: it holds .*evil.*, which no pack does"):
        check_pack(str(archive(tmp_path / "x.tar.gz", {name: b"x"})))
    assert not Path("/tmp/evil-of-a-pack").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_only_files_are_unpacked(tmp_path, kind):
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(BadInput, match="it holds 'link', which no pack does"):
        check_pack(str(archive(tmp_path / "x.tar.gz", {}, member)))


def test_what_is_no_pack_is_told_in_one_line(tmp_path, pack, here):
    (tmp_path / "text").write_text("no archive")
    (tmp_path / "cut").write_bytes(pack.read_bytes()[:-400])
    (tmp_path / "half").write_bytes(pack.read_bytes()[:9000])
    archive(tmp_path / "other", {"a": b"b"})
    archive(tmp_path / "former", {"pack.json": b'{"format": 0}'})
    for name in ("absent", "text", "cut", "half", "other", "former"):
        with pytest.raises(BadInput, match=f"{name}: (cannot be read as an|packed by another|.* is missing)") as error:
            check_pack(str(tmp_path / name))
        assert "\n" not in str(error.value)
    output = here("bm25", "evaluate", f"pack={pack}", code=2)
    assert output == "error: pack= is measured by itself: python -m bmae_lightning evaluate pack=FILE\n"
