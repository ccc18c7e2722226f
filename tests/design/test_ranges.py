import numpy as np
import pytest

from keras_detblocks.design import Choice, Range


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 9, "high": 8}, "`high` must be a finite number at least 9"),
        ({"low": 8, "high": 100, "quantum": 8}, "multiples of its quantum"),
        ({"low": 4, "high": 16, "quantum": 8}, "multiples of its quantum"),
        ({"low": 0, "high": 8}, "`low` must be a finite number above 0"),
        ({"low": 1, "high": 8, "scale": "normal"}, "`scale` must be"),
        ({"low": 1, "high": 8, "quantum": 0}, "`quantum` must be a finite number above 0"),
    ],
)
def test_bad_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        Range(**arguments)


@pytest.mark.parametrize("options", [(), (1, 1)], ids=str)
def test_bad_choice(options):
    with pytest.raises(ValueError, match="`options` must be"):
        Choice(options)


def test_values_are_exact_multiples():
    assert Range(2, 2.5, 0.1).values.tolist() == [2.0, 2.1, 2.2, 2.3, 2.4, 2.5]
    assert Range(8, 1024, 8).values[[0, 1, -1]].tolist() == [8, 16, 1024]
    assert Range(8, 1024, 8).values.dtype.kind == "i"


def test_log_law():
    """On a log scale every octave is drawn as often as the next, to a few percent."""
    drawn = Range(64, 1023).draw(np.random.default_rng(0), 100_000)
    octaves = np.histogram(drawn, [64, 128, 256, 512, 1024])[0]
    np.testing.assert_allclose(octaves / 25_000, 1, atol=0.03)
    uniform = Range(0, 3, scale="uniform").draw(np.random.default_rng(0), 100_000)
    np.testing.assert_allclose(np.bincount(uniform) / 25_000, 1, atol=0.03)
