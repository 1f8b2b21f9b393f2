"""One query with the best passage of every arm as HTML, and texts cut to a readable length; no equation here."""

from html import escape

from bmae_lightning.report.content import Answer, Case
from bmae_lightning.report.table import printable

LONGEST = 300  # characters of a passage


def excerpt(text: str, most: int = LONGEST) -> str:
    """The text on one line, cut after at most so many characters, between words where there are any."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    head = text[:most]
    return (head.rsplit(" ", 1)[0] if " " in head[most // 2 :] else head) + " …"


def case_rows(case: Case) -> str:
    """The rows of one case: the query, then every passage that is best for some arms with those arms and its grade."""
    head = f"{_text(case.text)}<small>query {_text(case.query)}; {_text(case.chosen)}</small>"
    lines = [f'<tr><th scope="rowgroup" colspan="3">{head}</th></tr>']
    for answer in case.answers:
        arms = "".join(
            f"{_text(arm)}<small>{_text(case.measure)} {value:.3f}</small>" for arm, value in answer.values.items()
        )
        passage = f"{_text(answer.text)}<small>{_text(answer.passage)}</small>" if answer.passage else "nothing found"
        lines.append(
            f'<tr><th scope="row">{arms or "judged relevant"}</th><td class="text">{_verdict(answer)}</td>'
            f'<td class="text">{passage}</td></tr>'
        )
    return "<tbody>" + "\n".join(lines) + "</tbody>"


def _verdict(answer: Answer) -> str:
    if answer.relevance is None:
        return "not judged" if answer.passage else ""
    if answer.relevance < 1:
        return '<span class="bad">not relevant</span>'
    grade = f" ({answer.relevance})" if answer.relevance > 1 else ""
    return f'<span class="good">relevant{grade}</span>'


def _text(text: str) -> str:
    return escape(printable(text))
