"""A generating model of transformers that writes texts about passages: docT5query's or GPT-2's part in MASTER.

An encoder-decoder reads the beginning of a passage; a causal model continues its end, and the prompt is left out.
Shapes: B passages, R texts per passage, L prompt length, S steps, N = B·R.
"""

from pathlib import Path
from typing import Any

import torch

from bmae_lightning.encoder.checkpoint import first_line, load_checkpoint, quiet_transformers, read_config
from bmae_lightning.pretraining.generate.sampling import Draws, Sampling
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.runtime.errors import BadInput

TOKENIZER_FILES = ("tokenizer*.json", "vocab.*", "*.model", "*.spm")


class Writer:
    """Writes `sampling.count` texts per passage.

    Args:
        directory: of the model, in Hugging Face format.
        sampling: how tokens are drawn.
        length: tokens of a passage that are read.
        prefix: put before every passage.
        tokenizer: directory of the tokenizer; None: `directory`.
        key: config key of the teacher, for messages.

    Raises:
        BadInput: no generating model, or none that can be read.
    """

    def __init__(
        self, directory: Path, sampling: Sampling, length: int, prefix: str = "", tokenizer: Path | None = None,
        key: str = "generate",
    ) -> None:  # fmt: skip
        self.sampling, self.prefix, self.key = sampling, prefix, key
        self.model, self.tokenizer = load_model(directory, key), load_tokenizer(tokenizer or directory, key)
        self.settings = self.model.generation_config
        self._check_tokenizer(directory)
        self.reads_beginning = bool(self.model.config.is_encoder_decoder)
        self.length = self._room(length)
        self.tokenizer.truncation_side = "right" if self.reads_beginning else "left"
        pad = self.tokenizer.pad_token_id
        self.settings.update(
            do_sample=False, top_k=None, top_p=None, temperature=None, num_beams=1, num_return_sequences=1,
            max_new_tokens=sampling.tokens, max_length=None, min_length=0,
            pad_token_id=self._end() if pad is None else pad,
        )  # fmt: skip

    def write(self, texts: list[str], rows: list[int], seed: int, salt: str) -> list[list[str]]:
        """`sampling.count` texts for each of B passages, without blanks at their ends.

        Args:
            texts: the passages.
            rows: their numbers in the corpus, which with `seed` and `salt` fix what is drawn.
        """
        device = self.model.device
        given = self.tokenizer([self.prefix + text for text in texts], truncation=True, max_length=self.length)
        ids_BL, real_BL = self._pad([row or [self._end()] for row in given["input_ids"]])
        row_B = torch.tensor(rows, dtype=torch.int64, device=device)
        noise = Noise(seed, torch.zeros_like(row_B), row_B)
        uniform_BRS = noise.uniform(salt, self.sampling.tokens, rows=self.sampling.count)
        with torch.inference_mode():
            prompt = self._prompt(ids_BL.to(device), real_BL.to(device))
            written_NL = self.model.generate(
                **prompt,
                generation_config=self.settings,
                logits_processor=[Draws(self.sampling, uniform_BRS.flatten(0, 1))],
            )
        answers = self.tokenizer.batch_decode(written_NL, skip_special_tokens=True)
        if not self.reads_beginning:
            # the prompt is cut from the text, not from the ids: a first token may continue the prompt's last word
            prompts = self.tokenizer.batch_decode(written_NL[:, : ids_BL.shape[1]], skip_special_tokens=True)
            alone = self.tokenizer.batch_decode(written_NL[:, ids_BL.shape[1] :], skip_special_tokens=True)
            parts = zip(answers, prompts, alone, strict=True)
            answers = [text.removeprefix(start) if text.startswith(start) else rest for text, start, rest in parts]
        answers = [text.strip() for text in answers]
        count = self.sampling.count
        return [answers[i * count : (i + 1) * count] for i in range(len(texts))]

    def _prompt(self, ids_BL: torch.Tensor, real_BL: torch.Tensor) -> dict[str, Any]:
        """What generation starts from, once for each of the N texts; an encoder reads every passage only once."""
        real_NL = real_BL.repeat_interleave(self.sampling.count, dim=0)
        if not self.reads_beginning:
            return {"input_ids": ids_BL.repeat_interleave(self.sampling.count, dim=0), "attention_mask": real_NL}
        read = self.model.get_encoder()(input_ids=ids_BL, attention_mask=real_BL)
        read.last_hidden_state = read.last_hidden_state.repeat_interleave(self.sampling.count, dim=0)
        return {"encoder_outputs": read, "attention_mask": real_NL}

    def _check_tokenizer(self, directory: Path) -> None:
        ends = self.settings.eos_token_id
        wrong_end = ends is not None and self.tokenizer.eos_token_id not in (ends if isinstance(ends, list) else [ends])
        if wrong_end or len(self.tokenizer) > self.model.get_input_embeddings().num_embeddings:
            raise BadInput(
                f"{self.key}: the tokenizer ({len(self.tokenizer)} tokens, the end is {self.tokenizer.eos_token_id}) "
                f"is not that of the model in {directory} ({self.model.config.vocab_size} tokens, the end is {ends}); "
                f"name the right one with {self.key}.tokenizer=NAME"
            )

    def _pad(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids [B, L] and where they are real; causal models are padded on the left."""
        length = max(map(len, rows))
        ids_BL = torch.full((len(rows), length), self.settings.pad_token_id)
        real_BL = torch.zeros_like(ids_BL)
        for i, row in enumerate(rows):
            place = slice(0, len(row)) if self.reads_beginning else slice(length - len(row), length)
            ids_BL[i, place] = torch.tensor(row)
            real_BL[i, place] = 1
        return ids_BL, real_BL

    def _room(self, length: int) -> int:
        """As much of `length` as the model has positions for."""
        positions = getattr(self.model.config, "max_position_embeddings", None)
        if positions is None:
            return length
        most = positions if self.reads_beginning else positions - self.sampling.tokens
        if most < 1:
            raise BadInput(
                f"{self.key}.sampling.tokens={self.sampling.tokens} leaves nothing of the model's {positions} "
                "positions for the passage"
            )
        return min(length, most)

    def _end(self) -> int:
        """The id that ends a text, which stands for a passage without tokens, too."""
        candidates = [self.settings.eos_token_id, self.tokenizer.eos_token_id, self.tokenizer.bos_token_id, 0]
        end = next(candidate for candidate in candidates if candidate is not None)
        return end[0] if isinstance(end, list) else end


def load_tokenizer(directory: Path, key: str) -> Any:
    """The tokenizer in `directory`, of any kind.

    Raises:
        BadInput: none can be loaded; `key` is named.
    """
    from transformers import AutoTokenizer

    quiet_transformers()
    try:
        if not any(file for pattern in TOKENIZER_FILES for file in Path(directory).glob(pattern)):
            raise FileNotFoundError("no such files")  # transformers would make an empty one from config.json
        return AutoTokenizer.from_pretrained(str(directory))
    except Exception as error:  # any class: a missing package, file or conversion each fails in its own way
        raise BadInput(
            f"{key}: no tokenizer can be loaded from {directory} ({first_line(error)}); where it has spiece.model and "
            f"no tokenizer.json `pip install sentencepiece`, or name another with {key}.tokenizer=NAME"
        ) from error


def load_model(directory: Path, key: str) -> Any:
    """The sequence-to-sequence or causal model in `directory`, in 32 bit, to be used and not trained.

    Raises:
        BadInput: there is none; `key` is named.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    config = read_config(directory, key)
    if config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not config.is_encoder_decoder:
        raise BadInput(
            f"{key}: the model in {directory} is of type {config.model_type!r}, which fills masks and does not write; "
            "name an encoder-decoder (T5, BART) or a causal language model (GPT-2)"
        )
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model, _ = load_checkpoint(kind, directory, key, "model that writes")
    return model.eval().requires_grad_(False)
