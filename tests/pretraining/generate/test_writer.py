"""Teachers in Hugging Face format: what they read, what they write, that a text depends on its passage alone."""

import pytest
import torch

from bmae_lightning.pretraining.generate.pretrained import PretrainedTeacher
from bmae_lightning.pretraining.generate.sampling import Sampling
from bmae_lightning.pretraining.generate.writer import Writer, load_model
from bmae_lightning.runtime.errors import BadInput

PASSAGES = ["the red fox goes over a hill", "old cat", "a road " * 9, "", "the big cat goes over the old road"]


@pytest.fixture(params=["t5", "gpt2"])
def directory(request):
    return request.getfixturevalue(request.param)


def test_a_text_depends_on_seed_and_passage_not_on_the_batch(directory):
    writer = Writer(directory, Sampling(count=3, top_k=10, tokens=8), length=32)
    whole = writer.write(PASSAGES, [5, 6, 7, 8, 9], seed=1, salt="x")
    assert [len(texts) for texts in whole] == [3] * 5
    assert len({text for texts in whole for text in texts}) > 10
    assert [writer.write([text], [5 + i], 1, "x")[0] for i, text in enumerate(PASSAGES)] == whole
    assert writer.write(PASSAGES[::-1], [9, 8, 7, 6, 5], 1, "x")[::-1] == whole
    for rows, seed, salt in (([0, 1, 2, 3, 4], 1, "x"), ([5, 6, 7, 8, 9], 2, "x"), ([5, 6, 7, 8, 9], 1, "y")):
        assert writer.write(PASSAGES, rows, seed, salt) != whole


def greedy(model, ids, steps, start=None):
    """The likeliest tokens one by one, without a cache."""
    written = [] if start is None else [start]
    for _ in range(steps):
        if start is None:
            logits = model(input_ids=torch.tensor([[*ids, *written]])).logits
        else:
            logits = model(input_ids=torch.tensor([ids]), decoder_input_ids=torch.tensor([written])).logits
        written.append(int(logits[0, -1].argmax()))
        if written[-1] == model.config.eos_token_id:
            break
    return written


def test_top_1_is_the_models_own_best_and_the_prompt_is_left_out(t5, gpt2):
    for directory, start in ((t5, 0), (gpt2, None)):
        writer = Writer(directory, Sampling(top_k=1, tokens=6), length=64)
        ids = writer.tokenizer(PASSAGES[:3])["input_ids"]
        with torch.no_grad():
            expected = [greedy(writer.model, row, 6, start) for row in ids]
        decoded = [writer.tokenizer.decode(row, skip_special_tokens=True).strip() for row in expected]
        assert [texts[0] for texts in writer.write(PASSAGES[:3], [0, 1, 2], 0, "x")] == decoded


def test_long_passages_an_encoder_reads_the_beginning_a_causal_model_the_end(t5, gpt2):
    beginning, end = "the red fox goes over a hill ", " the old cat goes over a road"
    for directory, same, other in ((t5, "a" * 50, "b" * 50), (gpt2, "a" * 50, "b" * 50)):
        writer = Writer(directory, Sampling(tokens=6), length=6)
        if directory == t5:
            texts = [beginning + same, beginning + other]
        else:
            texts = [same + end, other + end]
        first, second = (writer.write([text], [0], 0, "x") for text in texts)
        assert first == second
        assert writer.write([texts[0][::-1]], [0], 0, "x") != first


def test_a_prefix_is_read(t5):
    plain = Writer(t5, Sampling(tokens=8), 32).write(["cat"], [0], 0, "x")
    assert Writer(t5, Sampling(tokens=8), 32, prefix="the old ").write(["cat"], [0], 0, "x") != plain
    assert Writer(t5, Sampling(tokens=8), 32, prefix="the old ").write(["cat"], [0], 0, "x") == Writer(
        t5, Sampling(tokens=8), 32
    ).write(["the old cat"], [0], 0, "x")


def test_a_model_that_ends_at_once_writes_the_empty_text(silent_gpt2):
    assert Writer(silent_gpt2, Sampling(tokens=4), 16).write(PASSAGES, range(5), 0, "x") == [[""]] * 5


def test_positions_are_left_for_the_continuation(gpt2):
    writer = Writer(gpt2, Sampling(tokens=50), length=1000)
    assert writer.length == 14
    assert len(writer.write(["a " * 200], [0], 0, "x")[0]) == 1
    with pytest.raises(BadInput, match=r"k.sampling.tokens=64 leaves nothing of the model's 64 positions"):
        Writer(gpt2, Sampling(tokens=64), length=10, key="k")


def test_what_cannot_write_is_refused(tmp_path, t5, gpt2):
    from transformers import BertConfig, BertForMaskedLM

    BertForMaskedLM(
        BertConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="generate.queries: the model .* 'bert', which fills masks"):
        load_model(tmp_path, "generate.queries")
    with pytest.raises(BadInput, match="no tokenizer can be loaded .* generate.queries.tokenizer=NAME"):
        PretrainedTeacher(str(tmp_path), Sampling()).find("generate.queries")
    with pytest.raises(BadInput, match="is not that of the model .* generate.queries.tokenizer=NAME"):
        PretrainedTeacher(str(t5), Sampling(), tokenizer=str(gpt2)).writer("generate.queries")
    with pytest.raises(BadInput, match="generate.queries.name=no/where: no such local directory"):
        PretrainedTeacher("no/where", Sampling()).find("generate.queries")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="generate.queries: no model configuration"):
        load_model(tmp_path / "empty", "generate.queries")


def test_a_directory_is_a_teacher_and_may_have_another_tokenizer(t5, tmp_path):
    import shutil

    shutil.copytree(t5, tmp_path / "model", ignore=shutil.ignore_patterns("tokenizer*"))
    teacher = PretrainedTeacher(str(tmp_path / "model"), Sampling(tokens=4), tokenizer=str(t5), length=8)
    teacher.find("k")
    assert teacher.writer("k").write(["cat"], [0], 0, "x") == Writer(t5, Sampling(tokens=4), 8).write(
        ["cat"], [0], 0, "x"
    )
