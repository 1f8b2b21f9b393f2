"""GLUE's files as they are published, all that can be wrong with them, and the hub without a network."""

import gzip
import sys
import types

import pytest
from support.glue_files import HEADERS, line, write_glue

from bmae_lightning.evaluation.glue.data import TASKS, Example, GlueFiles, GlueHub, find_tasks, open_glue
from bmae_lightning.runtime.errors import BadInput


@pytest.fixture
def glue(tmp_path):
    return write_glue(tmp_path / "GLUE", train=6, dev=4)


def test_every_format_is_read(glue):
    source = GlueFiles(str(glue))
    for task in TASKS.values():
        train, dev = source.read(task, "train"), source.read(task, "dev")
        assert (len(train.examples), len(dev.examples), train.left_out) == (6, 4, 0)
    cola = source.read(TASKS["CoLA"], "train").examples
    assert cola[0] == Example('"dola dola dola .', None, 0.0)
    assert cola[1] == Example("kemi bako nomu .", None, 1.0)
    assert source.read(TASKS["MRPC"], "train").examples[1] == Example("kemi bako nomu", "kemi bako nomu", 1.0)
    assert source.read(TASKS["STS-B"], "train").examples[3] == Example('"bako kemi tego', "bako kemi tego", 4.75)
    assert source.read(TASKS["QQP"], "dev").examples[0] == Example('"pafi rutu pafi', "pafi tego dola", 0.0)


def test_a_zipped_file_and_a_line_feed_of_another_kind(glue):
    path = glue / "CoLA" / "train.tsv"
    odd = "gj04\t1\t\ta\x0bb\u2028c\n"
    path.with_name("train.tsv.gz").write_bytes(gzip.compress(path.read_bytes() + odd.encode()))
    path.unlink()
    assert GlueFiles(str(glue)).read(TASKS["CoLA"], "train").examples[-1].first == "a\x0bb\u2028c"


def test_mrpc_as_microsoft_published_it(glue):
    folder = glue / "MRPC"
    whole = HEADERS["MRPC"] + "".join(line("MRPC", number) + "\r\n" for number in range(10))
    (folder / "msr_paraphrase_train.txt").write_text(whole, encoding="utf-8", newline="")
    for name in ("train.tsv", "dev.tsv"):
        (folder / name).unlink()
    source = GlueFiles(str(glue))
    with pytest.raises(BadInput, match=r"dev_ids.tsv: there is no such file, so that nothing says which pairs"):
        source.read(TASKS["MRPC"], "dev")
    (folder / "mrpc_dev_ids.tsv").write_text("702\t802\n707\t807\n")
    dev, train = source.read(TASKS["MRPC"], "dev").examples, source.read(TASKS["MRPC"], "train").examples
    assert (len(dev), len(train)) == (2, 8)
    assert [example.label for example in dev] == [0.0, 1.0]
    before = source.identity([TASKS["MRPC"]])
    (folder / "mrpc_dev_ids.tsv").write_text("702\t802\n708\t808\n")
    assert source.identity([TASKS["MRPC"]]) != before


def test_the_broken_lines_of_published_qqp_are_left_out_but_no_more(glue):
    path = glue / "QQP" / "train.tsv"
    cut = ['9\t1\t2\tWhat is it?\t"', "\tWas it real? What is the evidence?\t0"]
    lines = [line("QQP", number) for number in range(2100)]
    path.write_text(HEADERS["QQP"] + "\n".join([*lines[:900], *cut, *lines[900:]]) + "\n")
    found = GlueFiles(str(glue)).read(TASKS["QQP"], "train")
    assert (len(found.examples), found.left_out) == (2100, 2)
    path.write_text(HEADERS["QQP"] + "\n".join([*lines[:900], *cut]) + "\n")
    with pytest.raises(BadInput, match=r"QQP/train.tsv:902: 5 columns instead of the 6 of QQP.*\(1 more such line"):
        GlueFiles(str(glue)).read(TASKS["QQP"], "train")


@pytest.mark.parametrize(
    ("task", "number", "broken", "message"),
    [
        ("CoLA", 2, "gj04\t1\t\n", r"CoLA/train.tsv:2: 3 columns instead of the 4 of CoLA: source, label"),
        ("CoLA", 1, "source\tlabel\tmark\tsentence\n",
         r"CoLA/train.tsv:1: .* must be 0 or 1, got 'label'; this file has no header"),
        ("MRPC", 1, "", r"MRPC/train.tsv:1: the header with the columns #1 string, #2 string, quality is missing"),
        ("MRPC", 3, "2\t1\t2\ta\tb\n", r"MRPC/train.tsv:3: the label of MRPC must be 0 or 1, got '2'"),
        ("STS-B", 1, "a\tb\tc\n", r"STS-B/train.tsv:1: the header with the columns sentence1, sentence2, score"),
        ("STS-B", 2, line("STS-B", 1).rpartition("\t")[0] + "\tnan\n",
         r"STS-B/train.tsv:2: .* a grade from 0 to 5, got 'nan'"),
        ("QQP", 4, "1\t2\t3\ta\tb\tyes\n", r"QQP/train.tsv:4: the label of QQP must be 0 or 1, got 'yes'"),
        ("QQP", 2, b"1\t2\t3\ta\xff\tb\t1\n", r"QQP/train.tsv:2: byte 8 of the line \(0xff\) is not UTF-8"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(glue, task, number, broken, message):
    path = glue / task / "train.tsv"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[number - 1] = broken if isinstance(broken, bytes) else broken.encode()
    path.write_bytes(b"".join(lines))
    with pytest.raises(BadInput, match=message):
        GlueFiles(str(glue)).read(TASKS[task], "train")


def test_missing_files_and_tasks(glue):
    (glue / "QQP" / "dev.tsv").unlink()
    with pytest.raises(BadInput, match=r"QQP/dev.tsv: there is no such file; glue.path=.*'glue.tasks=\[…\]'"):
        GlueFiles(str(glue)).read(TASKS["QQP"], "dev")
    with pytest.raises(BadInput, match="dev.tsv: there is no such file"):
        GlueFiles(str(glue)).identity(find_tasks(["QQP"]))
    (glue / "CoLA" / "dev.tsv").write_text("")
    with pytest.raises(BadInput, match="0 examples of CoLA's dev split"):
        GlueFiles(str(glue)).read(TASKS["CoLA"], "dev")
    with pytest.raises(BadInput, match="glue.tasks: there is no 'SST'; there is CoLA, MRPC, STS-B, QQP"):
        find_tasks(["SST"])
    with pytest.raises(BadInput, match="glue.tasks is empty"):
        find_tasks([])


def test_results_depend_on_the_files_of_their_tasks_only(glue):
    source, tasks = GlueFiles(str(glue)), find_tasks(["CoLA"])
    before = source.identity(tasks)
    (glue / "QQP" / "dev.tsv").write_text("changed")
    assert source.identity(tasks) == before
    with (glue / "CoLA" / "dev.tsv").open("a") as file:
        file.write("gj04\t1\t\tmore .\n")
    assert source.identity(tasks) != before


def test_the_hub(monkeypatch):
    assert isinstance(open_glue("hub"), GlueHub)
    with pytest.raises(
        BadInput, match="glue.path is null: set glue.path=DIR to a folder with GLUE's files, or glue.path=hub"
    ):
        open_glue(None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        BadInput, match=r"needs the package datasets: pip install 'bmae_lightning\[glue\]', or set glue.path"
    ):
        GlueHub().read(TASKS["CoLA"], "train")
    asked = []

    def load_dataset(name, config, split):
        asked.append((name, config, split))
        if config == "qqp":
            raise ConnectionError("no network")
        if config == "cola":
            return {"sentence": ["a", "b"], "label": [1, 0]}
        return {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [4.5, 0]}

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert GlueHub().read(TASKS["CoLA"], "train").examples == [Example("a", None, 1.0), Example("b", None, 0.0)]
    assert GlueHub().read(TASKS["STS-B"], "dev").examples == [Example("a", "c", 4.5), Example("b", "d", 0.0)]
    assert asked == [("nyu-mll/glue", "cola", "train"), ("nyu-mll/glue", "stsb", "validation")]
    with pytest.raises(BadInput, match=r"did not give QQP \(ConnectionError\).*gluebenchmark.com/tasks.*glue.path=DIR"):
        GlueHub().read(TASKS["QQP"], "dev")
