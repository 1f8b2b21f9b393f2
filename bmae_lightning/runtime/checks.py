"""Checks of option values; `build` puts the configuration key of the object in front of the message."""


def at_least(least: float, **values: float | None) -> None:
    """Raise ValueError, naming the option, where one of `values` is below `least`; None passes."""
    for name, value in values.items():
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
