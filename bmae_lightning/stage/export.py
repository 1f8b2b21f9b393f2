"""Write a finished retriever as a directory that transformers and sentence-transformers load, with a model card."""

from pathlib import Path
from typing import Any

from bmae_lightning.retrieval.model_card import base_model_of, lineage_of, model_card
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json, replacing, write_json, write_text
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.stage import Context, Stage
from bmae_lightning.stage.prepared import Prepared


class Export(Stage):
    """Writes model/: weights (safetensors only), tokenizer, the JSON files of sentence-transformers and README.md."""

    def run(self, context: Context) -> None:
        from bmae_lightning.retrieval.dual_encoder import load_dual_encoder
        from bmae_lightning.retrieval.export import save_portable

        retriever, evaluation = context.input("retriever"), context.input("evaluation")
        judged = read_json(evaluation / "manifest.json")["context"]["inputs"].get("retriever")
        if judged is None or Path(judged).name != retriever.name:
            raise BadInput(
                f"{context.stage}.inputs: evaluation ({evaluation.name}) measured another retriever than the one to be "
                f"exported ({retriever.name}); name a pair such as retriever=retriever1 and evaluation=evaluate"
            )
        prepared = Prepared(context.input("corpus"))
        model, config = load_dual_encoder(retriever / "retriever")
        config.require(retriever, {}, tokenizer=prepared.passages().tokenizer_digest)
        lineage, final = lineage_of(retriever), context.directory / "model"
        with replacing(final) as directory:
            parts = save_portable(model, config, prepared.tokenizer_directory, directory)
            text = model_card(
                context.arm, config, parts, model.width, _collection(context.input("corpus")), lineage,
                read_json(evaluation / "metrics.json"), base_model_of(lineage),
            )  # fmt: skip
            write_text(directory / "README.md", text)
        write_json(context.directory / "metrics.json", {"parameters": sum(p.numel() for p in model.parameters())})
        loads = (
            "sentence-transformers and transformers load it" if parts else "transformers loads it, see its README.md"
        )
        print_once(f"{context.title}: {final} ({loads})")


def _collection(directory: Path) -> dict[str, Any]:
    """The record of the prepare stage; the built-in collection is named by the packages it was taken from."""
    options = read_json(directory / "manifest.json")["config"]["corpus"]
    record = read_json(directory / "corpus.json")
    taken = options.get("packages")
    return record | ({"name": f"built-in ({', '.join(taken)})"} if taken else {})
