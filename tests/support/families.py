"""Small random encoders of every family, as models and as checkpoints in published layouts."""

from pathlib import Path

import torch
import transformers
from transformers import PreTrainedModel

SIZES = {
    "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64,
    "max_position_embeddings": 40, "pad_token_id": 0,
}  # fmt: skip
QUIET = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
RELATIVE = {
    "relative_attention": True, "position_buckets": 8, "pos_att_type": ["p2c", "c2p"], "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
}  # fmt: skip
FAMILIES = {
    "bert": ("Bert", QUIET),
    "roberta": ("Roberta", QUIET | {"type_vocab_size": 1}),
    "xlm_roberta": ("XLMRoberta", QUIET | {"type_vocab_size": 1}),
    "camembert": ("Camembert", QUIET | {"type_vocab_size": 1}),
    "electra": ("Electra", QUIET | {"embedding_size": 32}),
    "electra-small": ("Electra", QUIET | {"embedding_size": 16}),
    "distilbert": ("DistilBert", {"dropout": 0.0, "attention_dropout": 0.0, "hidden_dim": 64}),
    "mpnet": ("MPNet", QUIET),
    "deberta": ("Deberta", QUIET | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}),
    "deberta-v2": ("DebertaV2", QUIET | RELATIVE | {"type_vocab_size": 0}),
    "deberta-v3": ("DebertaV2", QUIET | RELATIVE | {"position_biased_input": False, "legacy": False}),
    "modernbert": ("ModernBert", {"local_attention": 8, "global_attn_every_n_layers": 2}),
}
"""Name -> what transformers calls it, options beside SIZES."""
OTHERS = {"prenorm": ("RobertaPreLayerNorm", QUIET | {"type_vocab_size": 1})}
"""Of which the package has no file."""
PACKED = ["bert", "roberta", "xlm_roberta", "camembert", "electra", "electra-small", "distilbert", "modernbert"]


def masked_lm_of(family: str, vocabulary: int, **more) -> PreTrainedModel:
    """In float32 and evaluation mode."""
    name, options = (FAMILIES | OTHERS)[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**(SIZES | options | {"vocab_size": vocabulary} | more))
    return getattr(transformers, f"{name}ForMaskedLM")(config).eval()


def write_family(family: str, directory: Path, tokenizer, **more) -> PreTrainedModel:
    """A checkpoint with its tokenizer; returns the model that is in it."""
    model = masked_lm_of(family, len(tokenizer), **more)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return model
