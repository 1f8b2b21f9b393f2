"""ELECTRA (Clark et al. 2020): the word embedding may be narrower than the states."""

from torch import Tensor, nn

from bmae_lightning.encoder.backbone.backbone import Backbone
from bmae_lightning.encoder.vocabulary_head import VocabularyHead


class Family(Backbone):
    """ElectraForMaskedLM.  A discriminator's checkpoint has no head that names tokens: it is new then."""

    unused = rf"{Backbone.unused}|^discriminator_predictions\."

    def widen(self, x_RTE: Tensor) -> Tensor:
        return self.base.embeddings_project(x_RTE) if hasattr(self.base, "embeddings_project") else x_RTE

    def embed(self, ids_RT: Tensor | None, vectors_RTE: Tensor | None, position_RT: Tensor) -> Tensor:
        return self.widen(super().embed(ids_RT, vectors_RTE, position_RT))

    @property
    def head(self) -> VocabularyHead:
        projection = self.masked_lm.generator_lm_head
        return VocabularyHead(self.masked_lm.generator_predictions, projection.weight, projection.bias)

    @property
    def head_parts(self) -> list[nn.Module]:
        return [self.masked_lm.generator_predictions, self.masked_lm.generator_lm_head]
