"""Turns a raw docstring into a query (its summary) and a passage (running text without the summary and the markup).

It removes the markup of reStructuredText, numpydoc and Google style.
"""

import inspect
import re
from collections.abc import Iterator

_SIGNATURE = re.compile(r"[\w.\[\]]+\(.*\)\s*(->.*?)?(\n\s*--)?\s*$", re.DOTALL)
_UNDERLINE = re.compile(r"([-=~^*\"'#+`.:_])\1{2,}\s*$")
_TABLE_RULE = re.compile(r"[-=+|\s]{5,}$")
_SECTION = re.compile(
    r"((other |keyword )?(parameters?|arg(ument)?s?)|returns?|yields?|raises?|warns?|notes?|see also|examples?|"
    r"references|attributes|methods|warnings?|inputs?|outputs?|shape|usage|variables|receives)"
    r"\s*:{0,2}$",
    re.IGNORECASE,
)
_DROPPED_SECTIONS = frozenset(["see also", "references", "methods"])
_KEPT_DIRECTIVES = ("note", "warning", "tip", "important", "caution", "attention", "hint", "admonition")
_DIRECTIVE = re.compile(r"\.\. *([\w-]+) *::?(?:\s+(.*))?$")
_FIELD = re.compile(r":(param|type|arg|key|keyword|return|returns|rtype|raise|raises|ivar|cvar|var)\b[^:\n]*:\s*")
_NUMPYDOC_PARAMETER = re.compile(r"^(\**\w+(?:, *\**\w+)*) +: *\S.*$")
_GOOGLE_PARAMETER = re.compile(r"^(\**\w+) *\([^()]*(?:\([^()]*\))?[^()]*\) *: *(?=\S)")
_BULLET = re.compile(r"^([-*+\u2022]|\d+[.)]|\(\w\)) +")
_SENTENCE_END = re.compile(r"(?<![eE]\.g)(?<!i\.e)(?<!etc)(?<!vs)(?<!cf)[.!?] +(?=[A-Z`'\"(*])")

_INLINE = (
    (re.compile(r":[\w:+-]+:`[~!]?([^`<]*?)(?: *<[^>`]*>)?`"), r"\1"),  # roles
    (re.compile(r"``([^`]*)``"), r"\1"),
    (re.compile(r"`([^`<]*?) *<[^>`]*>`_*"), r"\1"),  # links
    (re.compile(r"`([^`]*)`_*"), r"\1"),
    (re.compile(r"\*\*([^*\s][^*]*)\*\*"), r"\1"),
    (re.compile(r"(?<![\w*])\*([^*\s][^*\n]*)\*(?![\w*])"), r"\1"),
    (re.compile(r"\[[\w#*]+\]_"), ""),
    (re.compile(r"\|(\w+)\|_?"), r"\1"),
    (re.compile(r"(?<![\w{}^\\])\{\w*\}(?!\})"), ""),  # filled in at run time
    (re.compile(r"\bhttps?://\S+"), ""),
    (re.compile(r"::(?=\s|$)"), ":"),
    (re.compile(r"\s+"), " "),
)


def query_and_passage(docstring: str) -> tuple[str, str]:
    """The summary sentence and the cleaned rest; either may be empty. Summary lines that wrap are joined.

    A leading signature, as C functions have it, is not taken for the summary. What follows the summary's first
    sentence in its paragraph goes to the passage.
    """
    paragraphs = re.split(r"\n[ \t]*\n", inspect.cleandoc(docstring).strip("\n"))
    while len(paragraphs) > 1 and _SIGNATURE.match(paragraphs[0].strip()):
        paragraphs.pop(0)
    lines = [line for line in paragraphs[0].split("\n") if not _UNDERLINE.match(line.strip())]
    if len(lines) > 1 and _SIGNATURE.match(lines[0].strip()):
        lines = lines[1:]
    summary_lines = []
    for line in lines:
        if summary_lines and _breaks_summary(line.strip()):
            break
        summary_lines.append(line.strip())
    rest = lines[len(summary_lines) :]
    summary = _inline(" ".join(summary_lines))
    query, *others = _SENTENCE_END.split(summary, maxsplit=1)
    passage = clean("\n".join(rest) + "\n\n" + "\n\n".join(paragraphs[1:]))
    return query.rstrip(" .:!"), " ".join(filter(None, [*others, passage]))


def clean(text: str) -> str:
    """Running text of a docstring's body: no doctests, code blocks, directives, headings, parameter types, marks."""
    return _inline(" ".join(_prose(text.expandtabs(8).split("\n"))))


def _breaks_summary(line: str) -> bool:
    return bool(
        _SECTION.match(line) or _BULLET.match(line) or _FIELD.match(line) or line.startswith((">>>", ".. ", "@"))
    )


def _inline(text: str) -> str:
    for pattern, replacement in _INLINE:
        text = pattern.sub(replacement, text)
    return text.strip()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _prose(lines: list[str]) -> Iterator[str]:
    section, i = "", 0
    while i < len(lines):
        line, bare = lines[i], lines[i].strip()
        i += 1
        following = lines[i].strip() if i < len(lines) else ""
        if bare and _UNDERLINE.match(following):
            section = bare.rstrip(": ").lower()
            i += 1
        elif _SECTION.match(bare) and bare.endswith(":"):
            section = bare.rstrip(": ").lower()
        elif not bare or section in _DROPPED_SECTIONS or _UNDERLINE.match(bare) or _TABLE_RULE.match(bare):
            continue
        elif bare.startswith(">>>"):  # with its output, up to the next blank line
            while i < len(lines) and lines[i].strip():
                i += 1
        elif bare.startswith("```"):
            while i < len(lines) and not lines[i].strip().startswith("```"):
                i += 1
            i += 1
        elif (directive := _DIRECTIVE.match(bare)) and directive[1] in _KEPT_DIRECTIVES:
            yield directive[2] or ""
        elif re.match(r"\.\.(\s|_|$)", bare):  # other directives, comments, link targets
            i = _after_indented(lines, i, line)
        else:
            if section and section != "notes":
                bare = _GOOGLE_PARAMETER.sub(r"\1: ", _NUMPYDOC_PARAMETER.sub(r"\1:", bare))
            yield _BULLET.sub("", _FIELD.sub("", bare))
            if bare.endswith("::"):
                i = _after_indented(lines, i, line)


def _after_indented(lines: list[str], i: int, line: str) -> int:
    while i < len(lines) and (not lines[i].strip() or _indent(lines[i]) > _indent(line)):
        i += 1
    return i
