"""Count the words and n-grams of the prepared passages, and give every token the numbers that mask policies read."""

from dataclasses import dataclass, fields

from bmae_lightning.corpus.statistics.token_values import StatisticsOptions
from bmae_lightning.corpus.statistics.write import LEAST_MEMORY, write_statistics
from bmae_lightning.runtime.files import read_json, write_json
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.stage import Context, Stage
from bmae_lightning.runtime.threads import processors
from bmae_lightning.stage.prepared import Prepared


@dataclass(kw_only=True)
class CorpusStatistics(Stage):
    """Writes importance.npy, keyword_weight.npy and statistics.json, which `Statistics` opens, and metrics.json.

    Args:
        keyword, window, unit, pmi_mode, boundary, min_count: as in `StatisticsOptions`.
        memory_gb: of the arrays in memory, in GiB.
        threads: None for one per processor that this process may use.
    """

    keyword: str = "tfidf"
    window: int = StatisticsOptions.window
    unit: str = StatisticsOptions.unit
    pmi_mode: str = StatisticsOptions.pmi_mode
    boundary: str = StatisticsOptions.boundary
    min_count: int = StatisticsOptions.min_count
    memory_gb: float = 1.0
    threads: int | None = None

    def __post_init__(self) -> None:
        self.options = StatisticsOptions(**{each.name: getattr(self, each.name) for each in fields(StatisticsOptions)})
        if not self.memory_gb * 2**30 >= LEAST_MEMORY:
            raise ValueError(f"memory_gb must be at least {LEAST_MEMORY / 2**30:.3f}, got {self.memory_gb}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, or null for one per processor, got {self.threads}")

    def run(self, context: Context) -> None:
        from bmae_lightning.encoder.vocabulary import Vocabulary

        prepared = Prepared(context.input("corpus"))
        vocabulary = Vocabulary(prepared.tokenizer())
        statistics = write_statistics(
            context.directory,
            prepared.passages(),
            vocabulary.rules(),
            self.options,
            self.memory_gb,
            self.threads or processors(),
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
        sizes = {"passages": record["rows"], "tokens": record["tokens"]}
        write_json(context.directory / "metrics.json", sizes | counts)
