import numpy as np
import pytest
from neck_golden import features

import keras_detblocks as kdb

CHANNELS = {2: 4, 3: 6, 4: 8, 5: 10}


def reach(neck, x, changed):
    """The output levels that change when one input does."""
    before = neck(x)
    after = neck({**x, changed: x[changed] + 1})
    return {k for k in before if not np.allclose(before[k], after[k], atol=1e-6)}


def test_topology_is_figure_6c():
    """Each input reaches the levels that the F column and then the bottom-up P column connect it
    to."""
    x = features(CHANNELS, (96, 64))
    neck = kdb.EFM(8)
    assert {k: tuple(v.shape) for k, v in neck(x).items()} == {
        "P3": (2, 12, 8, 8),
        "P4": (2, 6, 4, 8),
        "P5": (2, 3, 2, 8),
    }
    widths = {
        name: w.shape[2]
        for name, w in ((w.path.split("/")[1], w) for w in neck.weights)
        if w.shape[:1] == (1,)
    }
    # concat[CCP(C_l), CCP(C_{l-1}), CCP(F_{l+1})], halved by pool_size=2
    assert widths == {"F3": (6 + 4 + 8) // 2, "F4": (8 + 6 + 8) // 2, "F5": (10 + 8) // 2}
    # Top-down, then bottom-up.
    assert all(reach(neck, x, f"P{l}") == {"P3", "P4", "P5"} for l in CHANNELS)


def test_pooling_divides_the_gathered_maps():
    shapes = {f"P{l}": (None, None, None, 64) for l in CHANNELS}
    counts = {}
    for pool_size in (1, 2, 4):
        neck = kdb.EFM(64, pool_size=pool_size)
        neck.build(shapes)
        counts[pool_size] = sum(neck.fuses[f"P{l}"].conv.kernel.shape[2] for l in (3, 4, 5))
    assert counts == {1: 512, 2: 256, 4: 128}  # 4: the paper's 75 % less


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: kdb.EFM(8)(features({3: 4, 4: 4, 5: 4}, (96, 64))), "missing P2"),
        (lambda: kdb.EFM(9), "pool_size"),
        (lambda: kdb.EFM(8)(features({2: 4, 3: 5, 4: 4, 5: 4}, (96, 64))), "channels of P3"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
