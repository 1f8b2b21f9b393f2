"""MS MARCO's folder with TREC DL from the command to the page: every split by its own measures."""

import gzip
import json

from support.msmarco_files import GRADES, write_msmarco

GRADED = ["nDCG@10", "RR(rel=2)@10", "R(rel=2)@100", "R(rel=2)@1000"]


def test_columns_of_trec_dl_are_seen_wherever_those_of_dev_are(here, tmp_path):
    folder = write_msmarco(tmp_path / "marco")
    topics = "".join(f"{id}\tpassage number {id}\n" for id in GRADES)
    (folder / "msmarco-test2019-queries.tsv.gz").write_bytes(gzip.compress(topics.encode()))
    wanted = [
        "+experiment=none", "stage=[bm25,report]", "corpus=msmarco", f"corpus.path={folder}", "encoder=tiny",
        "corpus.evaluated=[dev,dl19]", "logger=none", "bm25.ranker.stopwords=null",
        "paper_results={msmarco/dl19: {bm25: {nDCG@10: 0.512}}}",
    ]  # fmt: skip
    printed = here(*wanted)
    (report,) = (tmp_path / "outputs" / "store").glob("report-*")
    page = (report / "report.html").read_text().replace("<wbr>", "")
    arms = json.loads((report / "report.json").read_text())["arms"]
    assert [(arm["split"], list(arm["measures"])) for arm in arms] == [
        ("dev", ["RR@10", "RR@100", "nDCG@10", "R@10", "R@50", "R@100", "R@1000"]), ("dl19", GRADED)
    ]  # fmt: skip
    assert arms[1]["measures"]["R(rel=2)@100"] == 0.5, "both that one query has, the other has none"
    assert arms[1]["paper"] == {"nDCG@10": 0.512}
    heads, *_, paper = (report / "tables" / "measures_dl19.csv").read_text().splitlines()
    assert paper.startswith("paper,0.512,")
    assert heads.split(",")[1:5] == GRADED
    for name in GRADED:
        assert name in page
        assert name in printed
    assert "have no titles" in page

    swept = here("-m", *wanted, "bm25.ranker.b=0.3,0.4")
    (comparison,) = (tmp_path / "outputs" / "multirun").glob("*")
    assert (comparison / "tables" / "measures_dl19.csv").read_text().count("bm25 bm25.ranker.b=") == 2
    assert ", dl19\n" in swept
