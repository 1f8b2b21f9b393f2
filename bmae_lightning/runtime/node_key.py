"""The key of a node, which is a stage for an arm: `stage@arm`, or `stage` where all arms share it."""


def node_key(stage: str, arm: str) -> str:
    return f"{stage}@{arm}" if arm else stage


def stage_of(key: str) -> str:
    return key.partition("@")[0]


def arm_of(key: str) -> str:
    """The arm of a node, empty where all arms share it."""
    return key.partition("@")[2]
