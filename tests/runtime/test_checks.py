"""The message of a check names the option and its value."""

import pytest

from bmae_lightning.runtime.checks import at_least, choice, closest, nearest


def test_at_least_names_the_option_that_is_too_small():
    at_least(1, depth=1, shard=None)
    with pytest.raises(ValueError, match="^shard must be at least 1, got 0$"):
        at_least(1, depth=3, shard=0)


def test_choice_names_the_option_its_choices_and_the_nearest_one():
    choice(("dot", "cos"), similarity="cos")
    choice((None, "dot"), similarity=None)
    with pytest.raises(ValueError, match=r"^similarity must be one of dot, cos, got 'cosine'; did you mean 'cos'\?$"):
        choice(("dot", "cos"), similarity="cosine")
    with pytest.raises(ValueError, match="^fill must be one of exact, prefix, got None$"):
        choice({"exact": 1, "prefix": 2}, fill=None)
    with pytest.raises(ValueError, match=r"^fill must be one of exact, got \['exact'\]"):
        choice({"exact": 1}, fill=["exact"])


def test_the_nearest_name_or_all_of_them():
    names = ["shallow", "enhanced"]
    assert closest("shalow", names) == "shallow"
    assert closest("zzz", names) is None
    assert nearest("shalow", names, otherwise="; none") == "; did you mean 'shallow'?"
    assert nearest("zzz", names) == "; there is enhanced, shallow"
    assert nearest("zzz", names, otherwise="; none") == "; none"
    assert nearest("zzz", []) == ""
    assert nearest("zzz", map(str, range(13))).endswith("8 ...")
