"""Count the words and n-grams of the prepared passages, and give every token the numbers that mask policies read."""

import os

from bmae_lightning.corpus.statistics.write import LEAST_MEMORY, StatisticsOptions, write_statistics
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.runtime.files import read_json, write_json
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.stage import Context, Stage
from bmae_lightning.stage.prepared import Prepared


class CorpusStatistics(Stage):
    """Writes importance.npy, keyword_weight.npy and statistics.json, which `Statistics` opens, and metrics.json.

    Args:
        keyword: weight of a word for the keyword mask, `inv_cf`, `idf` or `tfidf`.
        window: longest n-gram.
        unit: what n-grams are made of, `word` or `piece`.
        pmi_mode: mutual information of n-grams of three and more, `joint`, `split` or `minseg`.
        boundary: where a passage has fewer n-grams, `available` or `zero_fill`.
        min_count: rarer n-grams do not exist.
        memory_gb: of the arrays in memory, in GiB.
        threads: None for one per processor that this process may use.
    """

    def __init__(
        self,
        keyword: str = "inv_cf",
        window: int = 4,
        unit: str = "word",
        pmi_mode: str = "joint",
        boundary: str = "available",
        min_count: int = 1,
        memory_gb: float = 1.0,
        threads: int | None = None,
    ) -> None:
        self.options = StatisticsOptions(keyword, window, unit, pmi_mode, boundary, min_count)
        if not memory_gb * 2**30 >= LEAST_MEMORY:
            raise ValueError(f"memory_gb must be at least {LEAST_MEMORY / 2**30:.3f}, got {memory_gb}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, or null for one per processor, got {threads}")
        self.memory_gb, self.threads = memory_gb, threads

    def run(self, context: Context) -> None:
        prepared = Prepared(context.input("corpus"))
        vocabulary = Vocabulary(prepared.tokenizer())
        statistics = write_statistics(
            context.directory,
            prepared.passages(),
            vocabulary.special_V.numpy(),
            vocabulary.continuation_V.numpy(),
            self.options,
            self.memory_gb,
            self.threads or _processors(),
            context.title,
        )
        record = read_json(statistics.directory / "statistics.json")
        occurrences, kept = record["occurrences"], record["kept"]
        print_once(
            f"{context.title}: "
            + "; ".join(f"{name}: {total:,} occurrences, {kept[name]:,} kept" for name, total in occurrences.items())
        )
        counts = {f"occurrences/{name}": total for name, total in occurrences.items()}
        counts |= {f"kept/{name}": total for name, total in kept.items()}
        write_json(
            context.directory / "metrics.json", {"passages": record["rows"], "tokens": record["tokens"]} | counts
        )


def _processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
