import pytest

from bmae_lightning.runtime.node_key import arm_of, node_key, stage_of


@pytest.mark.parametrize(("stage", "arm"), [("evaluate", "retromae"), ("bm25", ""), ("external", "me@home")])
def test_a_key_tells_its_stage_and_arm(stage, arm):
    key = node_key(stage, arm)
    assert (stage_of(key), arm_of(key)) == (stage, arm)
