"""How texts become terms: scripts without blanks, languages, and what stays as it was for English."""

import pytest

from bmae_lightning.retrieval.index.analyzer import CHARACTERS, Analyzer, language_of
from bmae_lightning.retrieval.index.bm25 import Bm25


def terms(analyzer, *texts):
    """The stems of every text."""
    numbers = [number for piece in analyzer.read(iter(texts)) for number in piece.tolist()]
    names = {number: stem for stem, number in analyzer.numbers.stems.items()}
    found = [[]]
    for number in numbers:
        if number < 0:
            found.append([])
        else:
            found[-1].append(names[number])
    assert not found.pop()
    return found


def found(texts, *queries, **options):
    ranker = Bm25(**options)
    ranker.index(iter(texts), [f"p{row}" for row in range(len(texts))])
    run = ranker.search([str(number) for number in range(len(queries))], queries, 10)
    return [run.passages(query) for query in run]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("桥梁的钢索", ["桥梁", "梁的", "的钢", "钢索"]),
        ("東京タワー", ["東京", "京タ", "タワ", "ワー"]),
        ("กขค", ["กข", "ขค"]),
        ("ສະບາ", ["ສະ", "ະບ", "ບາ"]),
        ("ខ្មែរ", ["ខ្", "្ម", "មែ", "ែរ"]),
        ("မြန်", ["မြ", "ြန", "န်"]),
        ("한국어 말", ["한국", "국어", "말"]),
        ("桥。梁", ["桥", "梁"]),
        ("iPhone手机12", ["iphon", "手机", "12"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
    ],
)
def test_scripts(text, expected):
    assert terms(Analyzer("auto", stemmer="english", stopwords=None), text) == [expected]
    assert terms(Analyzer("cjk"), text.replace("iPhone", "iPhon")) == [expected]


def test_english_is_what_the_pattern_of_bm25s_finds():
    import Stemmer
    from bm25s.tokenization import Tokenizer

    texts = [
        "The runners' café, in 2024: it ISN'T naïve_text",
        "",
        "a",
        "He said 東京 to the people of Köln",
        "ΟΔΟΣ İx",
    ]
    other = Tokenizer(stemmer=Stemmer.Stemmer("english"), stopwords="en")
    numbers = other.tokenize(texts, show_progress=False, allow_empty=False, return_as="ids")
    expected = other.decode(numbers)
    assert "東京" in expected[3]
    for name in ("auto", "english"):
        analyzer = Analyzer(name)
        assert terms(analyzer, *texts) == expected
        assert analyzer.language == "english"
        assert analyzer.numbers.stems == other.stem_to_sid


def test_words_and_whitespace():
    assert terms(Analyzer("words"), "The Dogs, a x.y") == [["the", "dogs"]]
    assert terms(Analyzer("whitespace"), "The Dogs,\ta x.y\n") == [["the", "dogs,", "a", "x.y"]]
    assert terms(Analyzer("english", stemmer=None), "The Dogs") == [["dogs"]]
    assert terms(Analyzer("english", stopwords=None), "The Dogs") == [["the", "dog"]]


def test_texts_end_where_they_end_whatever_they_hold():
    texts = ["one\0two", "", "\0", "three" * (CHARACTERS // 5), "four 東京 five", "six"]
    found = terms(Analyzer("cjk"), *texts)
    assert [len(text) for text in found] == [2, 0, 0, 1, 3, 1]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("the bridge is held by a cable that spans the river", "english"),
        ("die Brücke wird von einem Seil gehalten, das über den Fluss geht, und sie ist nicht neu", "german"),
        ("le pont est tenu par un câble qui passe sur la rivière et il n'est pas neuf", "french"),
        ("мост держится на тросе, который проходит над рекой, и он не новый", "russian"),
        ("suspension bridge cables", "english"),
        ("silta riippuu vaijerista joka ylittää joen", "english"),
        ("η γέφυρα κρέμεται από το καλώδιο", None),
        ("", "english"),
    ],
)
def test_language_of_the_passages(text, language):
    assert language_of([text] * 3) == language


def test_a_language_stems_and_stops():
    assert found(["Die Brücken der Stadt", "Der Fluss"], "brücke", "der", analyzer="german") == [["p0"], []]
    texts = ["Er geht mit den Kindern in die Schule", "Die Häuser der Stadt sind alt und sie sind nicht groß"]
    assert found(texts, "häusern", "der kinder", "schulen") == [["p1"], ["p0"], ["p0"]]


def test_a_chinese_collection_is_found():
    texts = [
        "桥梁的钢索支撑着河上的长桥",
        "面包店在黎明前烘烤黑麦面包",
        "彗星带着两条尾巴划过冬夜天空",
        "渡轮每半小时载车过海湾",
    ]
    queries = ["桥梁钢索", "黑麦面包店", "彗星尾巴", "渡轮海湾"]
    for options in ({}, {"analyzer": "cjk"}):
        assert [ranking[0] for ranking in found(texts, *queries, **options)] == ["p0", "p1", "p2", "p3"]
    assert found(texts, *queries, analyzer="words") == [[]] * 4


def test_a_mixed_collection_is_found_whatever_comes_first():
    texts = ["The runners of the city"] * 1200 + ["东京的地铁很快", "ソウル지하철 노선"]
    rankings = found(texts, "city runner", "东京地铁", "지하철", "runner 地铁")
    assert rankings[0][0] == "p0"
    assert rankings[1:3] == [["p1200"], ["p1201"]]
    assert rankings[3][0] == "p1200"


def test_names_that_do_not_exist():
    for wrong, name in (({"name": "klingon"}, "analyzer.*cjk.*german"), ({"stemmer": "klingon"}, "stemmer"),
                        ({"stopwords": "klingon"}, "stopwords")):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            Analyzer(**wrong)
