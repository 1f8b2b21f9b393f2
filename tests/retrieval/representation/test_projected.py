"""The projection is a linear map of the pooled state without bias, new at every build."""

import pytest
import torch

from bmae_lightning.retrieval.representation.projected import ProjectedRepresentation


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_projection_of_the_pooled_state(encoder, tokens, pooling):
    representation = ProjectedRepresentation(pooling, 5)
    representation.build(encoder)
    hidden_BLD = encoder(tokens.ids_BL, tokens.real_BL)
    vectors = representation(encoder, tokens, hidden_BLD, passages=True)
    states = hidden_BLD[:, 0]
    if pooling == "mean":
        states = torch.stack([hidden_BLD[b, : int(tokens.real_BL[b].sum())].mean(0) for b in range(4)])
    torch.testing.assert_close(vectors.dense_BD, states @ representation.projection.weight.T)
    assert vectors.lexical is None
    assert list(representation.state_dict()) == ["projection.weight"]
    assert representation.width(encoder) == 5


def test_every_build_makes_new_parameters(encoder):
    representation = ProjectedRepresentation("cls", 5)
    representation.build(encoder)
    first = representation.projection.weight
    representation.build(encoder)
    assert not torch.equal(first, representation.projection.weight)
    assert 0.01 < representation.projection.weight.std() < 0.03  # N(0, initializer_range)


def test_mistakes():
    with pytest.raises(ValueError, match="dense"):
        ProjectedRepresentation("cls", 0)
    with pytest.raises(ValueError, match="pooling"):
        ProjectedRepresentation("max", 5)
