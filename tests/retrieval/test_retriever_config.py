"""The record beside every checkpoint: round trip, and a mismatch that names both values."""

from pathlib import Path

import pytest

from bmae_lightning.retrieval.retriever_config import FILE, RetrieverConfig
from bmae_lightning.runtime.errors import BadInput

CONFIG = RetrieverConfig("mean", "abc", "cos", 32, 64)


def test_round_trip_and_absence(tmp_path):
    assert RetrieverConfig.load(tmp_path) is None
    CONFIG.save(tmp_path)
    assert RetrieverConfig.load(tmp_path) == CONFIG


def test_a_mismatch_names_both_values():
    with pytest.raises(BadInput, match=r"representation: .*pooling='cls'.*pooling='mean'"):
        CONFIG.require(Path("x"), {"pooling": "representation"}, pooling="cls")
    CONFIG.require(Path("x"), {}, pooling="mean", tokenizer="abc")
    RetrieverConfig("cls", "abc").require(Path("x"), {}, similarity="dot")


def test_a_damaged_or_newer_record_is_named(tmp_path):
    (tmp_path / FILE).write_text("{")
    with pytest.raises(BadInput, match=FILE):
        RetrieverConfig.load(tmp_path)
    (tmp_path / FILE).write_text('{"pooling": "cls", "tokenizer": "a", "new": 1}')
    with pytest.raises(BadInput, match="not written by this version"):
        RetrieverConfig.load(tmp_path)


def test_a_record_of_an_older_version_describes_a_shared_pooled_encoder(tmp_path):
    (tmp_path / FILE).write_text('{"pooling": "cls", "tokenizer": "a", "similarity": "dot"}')
    config = RetrieverConfig.load(tmp_path)
    assert (config.shared, config.dense, config.lexical, config.activation, config.separator) == (
        True,
        None,
        0,
        "none",
        "include",
    )
