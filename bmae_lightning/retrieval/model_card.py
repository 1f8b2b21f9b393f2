"""The README.md of an exported retriever: what it is, how to load it, what it was trained on and how, what it measures.

Every figure is read from the manifests and results of the stages that made it.
"""

from pathlib import Path
from typing import Any

from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.files import read_json

LEFT_OUT = ("trainer", "logger", "checkpoint", "workers", "log_every", "diagnostics", "paper")
"""Options of a stage that do not change what it makes."""


def model_card(
    arm: str, config: RetrieverConfig, parts: list[str], width: int, corpus: dict[str, Any],
    lineage: list[tuple[str, dict[str, Any]]], results: dict[str, Any], base_model: str | None,
) -> str:  # fmt: skip
    """The text.

    Args:
        arm: name of the pre-training, `none` for none.
        parts: sub-directories for sentence-transformers, see `save_portable`.
        width: dimensions of the dense part.
        corpus: record of the prepare stage, with a `name`.
        lineage: name and options of every stage with training in it that led to the retriever, the first one first.
        results: metrics.json of the evaluate stage.
        base_model: name of the checkpoint it started from, if it has a public one.
    """
    head = ["---", "pipeline_tag: sentence-similarity", "tags:", "- dense-retrieval", "- masked-auto-encoder"]
    head += [f"library_name: {'sentence-transformers' if parts else 'transformers'}"]
    head += [f"base_model: {base_model}"] * bool(base_model)
    title = "without further pre-training" if arm == "none" else f"pre-trained by {arm}"
    sections = [
        "\n".join([*head, "---", "", f"# Retriever {title}"]),
        _what(config, parts, width, corpus["title"]),
        "## Use\n\n" + _use(config, parts),
        _data(corpus),
        "## Training" + "".join(f"\n\n### {name}\n\n{_options(options)}" for name, options in lineage),
        _measures(results),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def lineage_of(directory: Path) -> list[tuple[str, dict[str, Any]]]:
    """Name and options of the training stages that led to `directory`, itself included, the first one first.

    Stages whose directories are gone are left out.
    """
    found: dict[str, dict[str, Any]] = {}
    seen: set[Path] = set()

    def visit(path: Path) -> None:
        if path in seen or not (path / "manifest.json").is_file():
            return
        seen.add(path)
        manifest = read_json(path / "manifest.json")
        for source in manifest["context"]["inputs"].values():
            if source:
                visit(path.parent / Path(source).name)  # beside it, also where all of them were moved
        step = manifest["context"].get("pretrain_step")
        if "trainer" in manifest["config"]:
            start = {} if step is None else {"pretrain_step": step}
            found.setdefault(manifest["context"]["stage"], start | manifest["config"])

    visit(directory)
    return list(found.items())


def base_model_of(lineage: list[tuple[str, dict[str, Any]]]) -> str | None:
    """The hub name of the encoder that the last stage was set to start from, None for a local or a new one."""
    name = (lineage[-1][1].get("encoder") or {}).get("name") if lineage else None
    return name if name and name.count("/") == 1 and name[0] not in "./~" and not Path(name).exists() else None


def _what(config: RetrieverConfig, parts: list[str], width: int, title: str) -> str:
    state = {"cls": "the [CLS] state", "mean": "the mean of all states, [CLS] and [SEP] included"}[config.pooling]
    dense = f"{state} of the last layer" + (", mapped linearly" if config.dense else "") + f", {width} dimensions"
    lexical = (
        f"the maximum of the vocabulary logits over all positions but [CLS] ([SEP] {config.separator}d; activation "
        f"{config.activation}); passages keep the {config.lexical} largest entries, queries all"
    )
    vector = f"{dense}; {lexical}" if config.lexical and width else lexical if config.lexical else dense
    score = {"dot": "inner product", "cos": "cosine (vectors have length 1)"}[config.similarity]
    lines = [
        f"- Vector: {vector}.",
        f"- Score: {score}" + (", of both parts together." if config.lexical else "."),
        f"- Lengths in word pieces, [CLS] and [SEP] included: queries {config.query_length}, passages "
        f"{config.passage_length}; longer texts are cut.",
        f"- Prefixes: queries {config.query_prefix!r}, passages {config.passage_prefix!r}.",
        f"- {_titles(config, parts, title)}",
        "- One encoder for queries and passages."
        if config.shared
        else "- Two encoders: queries in `query/`, passages in `passage/`."
        if parts
        else "- Two encoders: that of queries here, that of passages in `passage/`.",
    ]
    if not parts:
        lines.append(
            "- sentence-transformers cannot load this directory: it has no module for the lexical part. The code below "
            "needs transformers only."
        )
    return "\n".join(lines)


def _titles(config: RetrieverConfig, parts: list[str], title: str) -> str:
    """How a passage with a title is to be given to the tokenizer."""
    if title == "drop":
        return "Titles of passages are left out."
    if title == "prepend":
        return "Passages with a title are written as title, blank, text."
    if config.segments:
        library = "`encode_document` of sentence-transformers takes them as they are, " if parts else ""
        return (
            f"Passages with a title are pairs, `(title, text)`, with token type 1 for the text: {library}a tokenizer "
            "as `tokenizer(titles, texts)`."
        )
    return "Passages with a title are written as `title [SEP] text`."


def _use(config: RetrieverConfig, parts: list[str]) -> str:
    if not parts:
        return f"```python\n{_code(config, parts)}```"
    if parts == ["."]:
        load = 'queries = passages = SentenceTransformer("DIRECTORY")\n'
    else:
        load = 'queries, passages = SentenceTransformer("DIRECTORY/query"), SentenceTransformer("DIRECTORY/passage")\n'
    code = (
        f"from sentence_transformers import SentenceTransformer\n\n{load}"
        'scores = queries.similarity(queries.encode_query(["a question"]), passages.encode_document(["a passage"]))\n'
    )
    text = f"```python\n{code}```\n\nThe same with transformers alone:\n\n```python\n{_code(config, parts)}```"
    text += "\n\nThe pooler that transformers may report as missing is not used."
    if config.shared and config.query_length != config.passage_length:
        text += (
            f"\n\n`encode_query` cuts queries after {config.query_length} word pieces where sentence-transformers "
            "knows the entry `query_length` of `sentence_bert_config.json` (6.2 does). For a version that refuses it, "
            f"remove it and set `max_seq_length = {config.query_length}` on the model before encoding queries."
        )
    return text


def _code(config: RetrieverConfig, parts: list[str]) -> str:
    """Python that defines `encode(texts, passages)`; the user replaces DIRECTORY.

    It returns vectors, or dense and lexical part where there is a lexical one.
    """
    model, states = "AutoModel.from_pretrained(directory, add_pooling_layer=False)", "model"
    if not parts:
        model, states = "BertForMaskedLM.from_pretrained(directory)", "model.bert"
    where = '"DIRECTORY"'
    if not config.shared:
        where = '"DIRECTORY/passage" if passages else ' + ('"DIRECTORY/query"' if parts else '"DIRECTORY"')
    lines = [
        "import torch",
        *(["from safetensors.torch import load_file"] if config.dense else []),
        f"from transformers import AutoTokenizer, {model.partition('.')[0]}",
        "", "",
        "def encode(texts, passages):",
        f"    directory, length = {where}, {config.passage_length} if passages else {config.query_length}",
        "    tokenizer = AutoTokenizer.from_pretrained(directory)",
        f"    model = {model}.eval()",
        f"    prefix = {config.passage_prefix!r} if passages else {config.query_prefix!r}",
        "    texts = [prefix + text for text in texts]",
        '    batch = tokenizer(texts, padding=True, truncation=True, max_length=length, return_tensors="pt")',
        "    with torch.inference_mode():",
        f"        states = {states}(**batch).last_hidden_state",
        *_pooling(config),
        *(_vectors(config) if parts else _entries(config)),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _vectors(config: RetrieverConfig) -> list[str]:
    """The end of `encode` for dense vectors, and its use."""
    linear = 'load_file(f"{directory}/2_Dense/model.safetensors")["linear.weight"].T'
    return [
        *([f"    vectors = vectors @ {linear}"] if config.dense else []),
        *(["    vectors = torch.nn.functional.normalize(vectors, dim=-1)"] if config.similarity == "cos" else []),
        "    return vectors",
        "", "",
        'scores = encode(["a question"], passages=False) @ encode(["a passage"], passages=True).T',
    ]  # fmt: skip


def _entries(config: RetrieverConfig) -> list[str]:
    """The end of `encode` for a dense and a lexical part, and its use."""
    activation = {"none": "", "relu": ".relu()", "log1p_relu": ".relu().log1p()"}[config.activation]
    linear = 'load_file("DIRECTORY/representation.safetensors")["projection.weight"].T'
    return [
        f"    vectors = vectors @ {linear}" if config.dense else "    vectors = vectors[:, :0]",
        "    with torch.inference_mode():",
        "        logits = model.cls(states[:, 1:])",
        '    counted = batch["attention_mask"][:, 1:].bool()',
        *(['    counted &= batch["input_ids"][:, 1:] != tokenizer.sep_token_id']
          if config.separator == "exclude" else []),
        '    entries = logits.masked_fill(~counted[..., None], float("-inf")).amax(dim=1)',
        "    if passages:",
        f"        values, indices = entries.topk({config.lexical}, dim=1)",
        f"        return vectors, torch.zeros_like(entries).scatter(1, indices, values{activation})",
        f"    return vectors, entries{activation}",
        "", "",
        'q, d = encode(["a question"], passages=False), encode(["a passage"], passages=True)',
        "scores = q[0] @ d[0].T + q[1] @ d[1].T",
    ]  # fmt: skip


def _pooling(config: RetrieverConfig) -> list[str]:
    if config.pooling == "cls":
        return ["    vectors = states[:, 0]"]
    return [
        '    real = batch["attention_mask"][:, :, None]',
        "    vectors = (states * real).sum(dim=1) / real.sum(dim=1)",
    ]


def _data(corpus: dict[str, Any]) -> str:
    return (
        f"## Data\n\nCollection `{corpus['name']}`: {corpus['passages']:,} passages, {corpus['queries']:,} "
        f"queries, {corpus['words']:,} words; judgments for {', '.join(corpus['splits'])}. Training reads the "
        "judgments of `train` only."
    )


def _options(options: dict[str, Any]) -> str:
    lines = ["| option | value |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in _flat(options, "")]
    return "\n".join(lines)


def _flat(options: dict[str, Any], before: str) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in options.items():
        if name in LEFT_OUT or value is None or value in ("", {}, []):
            continue
        if name == "_target_" and before:
            rows.append((before, f"`{value.rpartition('.')[2]}`"))
        elif isinstance(value, dict):
            rows += _flat(value, f"{before}.{name}" if before else name)
        elif name != "_target_":
            shown = Path(value).name if isinstance(value, str) and value.startswith("/") else value
            rows.append((f"{before}.{name}" if before else name, f"`{shown}`"))
    return rows


def _measures(results: dict[str, Any]) -> str:
    judged = {split: result for split, result in results.items() if isinstance(result, dict) and "mean" in result}
    if not judged:
        return ""
    names = list(dict.fromkeys(name for result in judged.values() for name in result["mean"]))
    lines = ["## Measures", "", f"| split | queries | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for split, result in judged.items():
        values = (f"{result['mean'][name]:.4f}" if name in result["mean"] else "" for name in names)
        lines.append(f"| {split} | {result['queries']:,} | {' | '.join(values)} |")
    return "\n".join(lines)
