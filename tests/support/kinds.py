"""The three kinds of tokenizer, trained on a small mixed collection, and texts of several scripts."""

import functools
import tempfile
from pathlib import Path

from bmae_lightning.encoder.tokenizer import TrainedTokenizer, load_tokenizer

KINDS = ("wordpiece", "bpe", "unigram")
CHINESE = [
    "今天天气很好，我们去公园看花。",
    "机器学习模型可以检索中文文档。",
    "搜索引擎返回与查询最相关的结果！",
    "北京是中国的首都，人口很多。",
    "他说：“我喜欢读书”，然后离开了。",
]
MIXED = [
    "The retriever reads 中文 and English (both scripts), doesn't it?",
    "BERT模型和GPT-2模型的比较: masked language modelling.",
    "A well-known model\nof the U.S. was re-trained; 价格是100元。",
    "東京タワーはきれいです。 Tokyo tower is “nice”.",
]
TEXTS = [*CHINESE, *MIXED]


@functools.cache
def kind_of_tokenizer(kind, size=500):
    """A tokenizer of a kind, trained on the texts."""
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "tokenizer"
        TrainedTokenizer(size, kind=kind).make(lambda: iter(TEXTS * 4), made)
        return load_tokenizer(made)
