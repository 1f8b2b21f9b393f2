"""The name of a sweep, and what happens at its end."""

from bmae_lightning.report.comparison import sweep_group


def test_the_name_of_a_sweep_is_stable_short_and_without_slashes():
    overrides = ["+experiment=retromae,dupmae", "pretrain.lr=1e-4,2e-4"]
    assert sweep_group(overrides) == "experiment=retromae,dupmae pretrain.lr=1e-4,2e-4"
    assert sweep_group(
        [*overrides, "logger=csv", "output_dir=x", "trainer.devices=2", "stage=[prepare]"]
    ) == sweep_group(overrides)
    assert sweep_group([]) == "sweep"
    long = [sweep_group([*overrides, f"corpus.path=/some/long/directory/of/many/names/number{i}"]) for i in (1, 2)]
    assert all(len(name) == 80 and "/" not in name for name in long)
    assert long[0] != long[1]
