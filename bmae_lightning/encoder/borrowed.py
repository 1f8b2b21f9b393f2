"""What decoders and representations may borrow from an encoder, as their options name it; checked without a network."""

INITS = ("random", "last_layers")
HEADS = ("mlm", "linear")


def check_copies(init: str, count: int, depth: int, copies: bool) -> None:
    """Raise ValueError where `count` layers cannot be copied from an encoder of `depth` layers.

    copies: whether its layers are built as BERT's.
    """
    if init == "last_layers" and not copies:
        raise ValueError("init: last_layers copies layers that are built as BERT's, the encoder's are not; use random")
    if init == "last_layers" and count > depth:
        raise ValueError(f"init: last_layers copies {count} layers but the encoder has {depth}; lower layers")
