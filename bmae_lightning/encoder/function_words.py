"""Which tokens of a vocabulary say little by themselves: English function words and punctuation.

A closed list, so that a report can tell how much of a mask is spent on words that any text would predict (the case for
weighted masks: MASTER §3.2, CDMAE §3.2).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

ARTICLES_DETERMINERS_QUANTIFIERS = """a an the this that these those each every either neither another other others
such some any no all both half many much more most several few fewer less least own same enough"""
PRONOUNS = """i me my mine myself you your yours yourself yourselves he him his himself she her hers herself it its
itself we us our ours ourselves they them their theirs themselves one ones oneself someone somebody something anyone
anybody anything everyone everybody everything nobody nothing none who whom whose which what whoever whatever
whichever"""
PREPOSITIONS_PARTICLES = """about above across after against along among amid around as at before behind below beneath
beside besides between beyond by despite down during except for from in inside into like near of off on onto out outside
over past per since than through throughout till to toward towards under underneath until unto up upon via with within
without"""
CONJUNCTIONS = """and but or nor so yet if unless although though because while whereas whether when whenever where
wherever"""
AUXILIARIES_MODALS = """be am is are was were been being have has had having do does did doing done can could may might
must shall should will would ought cannot"""
ADVERBS = """not never ever also too very just only even still again already always often how why here there then thus
hence therefore however else rather quite almost perhaps now once"""
AFTER_AN_APOSTROPHE = "s t ll re ve"
FUNCTION_WORDS = frozenset(
    f"{ARTICLES_DETERMINERS_QUANTIFIERS} {PRONOUNS} {PREPOSITIONS_PARTICLES} {CONJUNCTIONS} {AUXILIARIES_MODALS} "
    f"{ADVERBS} {AFTER_AN_APOSTROPHE}".split()
)


def function_flags(texts: Sequence[str]) -> Tensor:
    """bool [V]: a function word in any case, or no letter and no digit in it; False for a piece without a text."""
    return torch.tensor([_is_function(text) for text in texts])


def _is_function(text: str) -> bool:
    return text.strip().lower() in FUNCTION_WORDS or (text != "" and not any(sign.isalnum() for sign in text))
