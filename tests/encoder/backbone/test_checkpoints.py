"""Checkpoints of every family load weight by weight; what one has and the model does not read is an error, or known."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.families import FAMILIES, write_family
from transformers import BertTokenizer, ElectraForPreTraining

from bmae_lightning.encoder.checkpoint import find_checkpoint
from bmae_lightning.encoder.pretrained import PretrainedEncoder
from bmae_lightning.encoder.tokenizer import PretrainedTokenizer, load_tokenizer
from bmae_lightning.runtime.errors import BadInput

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(30))]
TOKENIZER = BertTokenizer(vocab={token: i for i, token in enumerate(TOKENS)})
OTHER_LAYERS = ("mpnet", "deberta", "deberta-v2", "deberta-v3", "modernbert")
LIMITS = {"roberta": 39, "xlm_roberta": 39, "camembert": 39, "mpnet": 38}


def source(directory, **options):
    return PretrainedEncoder(str(directory), PretrainedTokenizer(str(directory)), **options)


def load(directory, **options):
    return source(directory, **options).masked_lm(len(TOKENS))


def changed(directory, remove=(), config=None, **tensors):
    """The checkpoint with other tensors and another configuration."""
    path = directory / "model.safetensors"
    state = {name: value for name, value in load_file(path).items() if name not in remove} | tensors
    save_file(state, path, metadata={"format": "pt"})
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | (config or {})))
    return directory


@pytest.mark.parametrize("family", FAMILIES)
def test_every_weight_arrives_and_a_head_that_is_not_there_is_new(family, tmp_path):
    written = write_family(family, tmp_path / "whole", TOKENIZER)
    assert source(tmp_path / "whole").dimensions() == (3, LIMITS.get(family, 40), family not in OTHER_LAYERS)
    model, new = load(tmp_path / "whole")
    assert not new
    for name, value in written.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name
    written.half().base_model.save_pretrained(tmp_path / "bare")
    model, new = load(tmp_path / "bare", dropout=0.25)
    assert new
    assert not [name for name in new if name.startswith(model.base_model_prefix)]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert {part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)} == {0.25}
    for name, value in written.base_model.state_dict().items():
        assert torch.equal(model.base_model.state_dict()[name].half(), value), name


@pytest.mark.parametrize("family", FAMILIES)
def test_a_weight_that_is_not_read_and_one_that_is_missing_are_named(family, tmp_path):
    model = write_family(family, tmp_path, TOKENIZER)
    name = f"{model.base_model_prefix}.distance.weight"
    changed(tmp_path, **{name: torch.zeros(2, 2)})
    with pytest.raises(BadInput, match=rf"has 1 parameters that a \w+ForMaskedLM does not read, such as {name}"):
        load(tmp_path)
    prefix = f"{model.base_model_prefix}.embeddings."
    lost = next(name for name, value in model.named_parameters() if name.startswith(prefix) and value.ndim == 1)
    changed(tmp_path, remove=(name, lost))
    with pytest.raises(BadInput, match=f"lacks 1 parameters of the network, such as {lost}"):
        load(tmp_path)


def test_heads_of_published_checkpoints_are_left_out(tmp_path):
    write_family("bert", tmp_path / "bert", TOKENIZER)
    changed(
        tmp_path / "bert", **{"cls.seq_relationship.weight": torch.zeros(2), "bert.pooler.dense.weight": torch.ones(2)}
    )
    write_family("roberta", tmp_path / "roberta", TOKENIZER)
    changed(
        tmp_path / "roberta",
        **{"roberta.pooler.dense.weight": torch.zeros(2), "roberta.embeddings.position_ids": torch.ones(2)},
    )
    for name in ("bert", "roberta"):
        assert load(tmp_path / name)[1] == []
    config = write_family("electra-small", tmp_path / "electra", TOKENIZER).config
    ElectraForPreTraining(config).save_pretrained(tmp_path / "electra")
    assert {name.split(".")[0] for name in load(tmp_path / "electra")[1]} == {
        "generator_predictions",
        "generator_lm_head",
    }


def test_debertas_head_is_the_one_that_the_weights_have(tmp_path):
    model = write_family("deberta-v3", tmp_path, TOKENIZER)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["legacy"]  # as published
    (tmp_path / "config.json").write_text(json.dumps(config))
    changed(tmp_path, **{"mask_predictions.dense.weight": torch.zeros(2, 2)})
    loaded, new = load(tmp_path)
    assert not new
    assert torch.equal(loaded.lm_predictions.lm_head.dense.weight, model.lm_predictions.lm_head.dense.weight)
    (tmp_path / "model.safetensors").rename(tmp_path / "x.safetensors")
    torch.save(load_file(tmp_path / "x.safetensors"), tmp_path / "pytorch_model.bin")
    assert load(tmp_path)[1] == []


@pytest.mark.parametrize(
    ("family", "change"),
    [
        ("bert", {"position_embedding_type": "relative_key"}),
        ("electra", {"position_embedding_type": "relative_key_query"}),
        ("roberta", {"is_decoder": True}),
        ("mpnet", {"relative_attention_num_buckets": 16}),
    ],
)
def test_a_configuration_that_would_not_be_followed_is_refused(family, change, tmp_path):
    write_family(family, tmp_path, TOKENIZER)
    ((name, value),) = change.items()
    changed(tmp_path, config=change)
    with pytest.raises(BadInput, match=f"its config.json has {name}={value!r}"):
        source(tmp_path).dimensions()


def test_the_old_layout_of_sentence_transformers_is_read(tmp_path):
    write_family("bert", tmp_path / "0_Transformer", TOKENIZER)
    modules = [{"idx": 0, "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    assert load(tmp_path)[1] == []
    assert find_checkpoint(str(tmp_path)) == tmp_path / "0_Transformer"
    assert find_checkpoint(str(tmp_path), whole=True) == tmp_path
    assert len(load_tokenizer(find_checkpoint(str(tmp_path)))) == len(TOKENS)


def test_rows_of_a_padded_vocabulary_are_spare(tmp_path):
    write_family("bert", tmp_path, TOKENIZER, vocab_size=64)
    assert load(tmp_path)[0].config.vocab_size == 64
    with pytest.raises(BadInput, match="has 64 word pieces, the tokenizer of the prepared corpus has 65"):
        source(tmp_path).masked_lm(65)
