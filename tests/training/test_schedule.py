import pytest

from keras_detblocks.training import cosine_with_warmup


def test_warm_up_rises_linearly_and_the_cosine_falls_to_its_floor():
    assert cosine_with_warmup(0, 0.0, warmup_steps=10) == pytest.approx(0.1)
    assert cosine_with_warmup(4, 0.0, warmup_steps=10) == pytest.approx(0.5)
    assert cosine_with_warmup(100, 0.5, warmup_steps=10, floor=0.02) == pytest.approx(0.51)
    assert cosine_with_warmup(100, 1.0, warmup_steps=10, floor=0.02) == pytest.approx(0.02)
    assert cosine_with_warmup(100, 1.7, warmup_steps=0, floor=0.02) == pytest.approx(0.02)
