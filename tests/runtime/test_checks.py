"""The message of a check names the option and its value."""

import pytest

from bmae_lightning.runtime.checks import at_least


def test_at_least_names_the_option_that_is_too_small():
    at_least(1, depth=1, shard=None)
    with pytest.raises(ValueError, match="^shard must be at least 1, got 0$"):
        at_least(1, depth=3, shard=0)
