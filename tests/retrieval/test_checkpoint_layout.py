"""What a checkpoint from elsewhere says of its vectors, in the files of several versions."""

import json
import shutil

import pytest
from support.foreign_models import write_sentence_transformer

from bmae_lightning.retrieval.checkpoint_layout import read_layout
from bmae_lightning.retrieval.model_options import ModelOptions
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.errors import BadInput


def layout_of(directory, **options):
    return read_layout(directory, ModelOptions(str(directory), **options), "compare[0]")


def test_files_of_older_versions_say_the_same(bert, tmp_path):
    """The directory of encoder=minilm is one: sentence_transformers.models.*, pooling_mode_*, no similarity."""
    shutil.copytree(bert, tmp_path / "old")
    names = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [{"path": path, "type": f"sentence_transformers.models.{name}"} for path, name in names.items()]
    (tmp_path / "old" / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "old" / "1_Pooling").mkdir()
    modes = {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "word_embedding_dimension": 8}
    (tmp_path / "old" / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    lengths = {"max_seq_length": 11, "do_lower_case": False}
    (tmp_path / "old" / "sentence_bert_config.json").write_text(json.dumps(lengths))
    layout = layout_of(tmp_path / "old", passage_length=13)
    assert not layout.library
    assert (layout.config.pooling, layout.config.similarity) == ("mean", "cos")
    assert (layout.config.query_length, layout.config.passage_length) == (11, 13)
    (tmp_path / "old" / "sentence_bert_config.json").write_text(json.dumps(lengths | {"do_lower_case": True}))
    assert layout_of(tmp_path / "old").library


def test_a_checkpoint_says_nothing_and_is_read_by_its_first_state(bert):
    layout = layout_of(bert)
    config = layout.config
    assert (config.pooling, config.similarity, config.query_length, config.passage_length) == ("cls", "dot", 24, 24)
    assert (layout.encoders, layout.dense, layout.recorded, layout.library) == ((bert,), (None,), False, False)
    changed = layout_of(bert, pooling="mean", similarity="cos", passage_prefix="w1 ").config
    assert (changed.pooling, changed.similarity, changed.passage_prefix) == ("mean", "cos", "w1 ")


def test_a_record_of_ours_is_what_the_layout_says(bert, tmp_path):
    shutil.copytree(bert, tmp_path / "ours")
    config = RetrieverConfig("mean", "digest", "dot", 6, 12, segments=True)
    config.save(tmp_path / "ours")
    layout = layout_of(tmp_path / "ours", query_length=8)
    assert layout.recorded
    assert (layout.config.query_length, layout.config.passage_length, layout.config.pooling) == (8, 12, "mean")
    with pytest.raises(BadInput, match="makes vectors by segments=True, not False; leave segments out"):
        layout_of(tmp_path / "ours", segments=False)
    with pytest.raises(BadInput, match=r"passage_length=25 must be from 3 to the 24 positions"):
        layout_of(bert, passage_length=25)


def test_what_a_model_was_trained_for_cannot_be_changed(bert, tmp_path):
    write_sentence_transformer(tmp_path / "model", bert, "mean normalised")
    with pytest.raises(BadInput, match="by pooling=mean, not cls; leave pooling out"):
        layout_of(tmp_path / "model", pooling="cls")
    with pytest.raises(BadInput, match="by similarity=cos, not dot"):
        layout_of(tmp_path / "model", similarity="dot")
