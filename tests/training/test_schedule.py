from types import SimpleNamespace

import pytest

from keras_detblocks.training import callbacks, cosine_with_warmup
from keras_detblocks.training.limits import default_rate


def test_warm_up_rises_linearly_and_the_cosine_falls_to_its_floor():
    assert cosine_with_warmup(0, 0.0, warmup_steps=10) == pytest.approx(0.1)
    assert cosine_with_warmup(4, 0.0, warmup_steps=10) == pytest.approx(0.5)
    assert cosine_with_warmup(100, 0.5, warmup_steps=10, floor=0.02) == pytest.approx(0.51)
    assert cosine_with_warmup(100, 1.0, warmup_steps=10, floor=0.02) == pytest.approx(0.02)
    assert cosine_with_warmup(100, 1.7, warmup_steps=0, floor=0.02) == pytest.approx(0.02)


def test_the_clock_starts_with_the_first_step_though_a_milestone_comes_before(monkeypatch):
    """As in a run that was stopped while it measured: compiling is no training."""
    times = iter([100.0, 105.0, 205.0, 206.0])
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: next(times)))
    budget = callbacks.Budget(0.1, 0, minutes=1.0)
    budget.on_train_begin()
    with budget.paused():
        pass
    budget._tick()  # the end of the first step
    assert budget.seconds == 0.0
    with budget.paused():  # from 105 to 205
        pass
    budget._tick()
    assert budget.seconds == 6.0


def test_the_default_rate_follows_the_batch():
    assert default_rate("muon", 4) == default_rate("muon", 16) / 2 == 0.01
    assert default_rate("adamw", 1) == default_rate("adamw", 4)  # none was tried
    assert default_rate("adamw", 500) == default_rate("adamw", 32)
    assert default_rate("adamw", 32) == pytest.approx(0.008 * 2**0.5)
