"""The vocabulary of arguments: what each check takes, in which type it returns it, and what it says
otherwise."""

import numpy as np
import pytest

from keras_detblocks import checks

INTS = [3, np.int64(3), np.uint8(3)]
NO_INTS = [True, np.True_, 1.5, np.float64(3.0), "3", (3,), None, 0, -1]


@pytest.mark.parametrize("value", INTS)
def test_ints_of_any_kind_become_pythons(value):
    for result in (
        checks.check_int(value, "n"),
        *checks.check_ints([value, value], "n"),
        *checks.check_pair(value, "n"),
    ):
        assert type(result) is int and result == 3
    assert checks.check_levels((value, np.int32(5))) == (3, 5)


@pytest.mark.parametrize("value", NO_INTS)
def test_no_ints(value):
    for check in (
        checks.check_int,
        checks.check_pair,
        lambda v, name: checks.check_ints((v,), name),
    ):
        with pytest.raises(
            ValueError, match="`filters` must be .*int.* of at least 1.*Received: filters="
        ):
            check(value, "filters")


def test_limits_of_ints():
    assert (
        checks.check_int(None, "n", optional=True) is None
        and checks.check_int(0, "n", least=0) == 0
    )
    assert (
        checks.check_ints(np.arange(1, 4), "n") == (1, 2, 3)
        and checks.check_ints((), "n", empty=True) == ()
    )
    for call in (
        lambda: checks.check_int(2, "n", odd=True),
        lambda: checks.check_ints((1, 2), "n", odd=True),
        lambda: checks.check_ints((), "n"),
        lambda: checks.check_ints(3, "n"),
        lambda: checks.check_pair((1, 2, 3), "n"),
        lambda: checks.check_pair((1, 9), "n", most=8),
        lambda: checks.check_int(9, "n", most=8),
    ):
        with pytest.raises(ValueError, match="`n` must be"):
            call()


def test_numbers():
    for value in (0.5, np.float32(0.5), np.float64(0.5)):
        assert type(checks.check_number(value, "x", least=0, below=1)) is float
    assert (
        checks.check_number(1, "x") == 1.0 and checks.check_number(None, "x", optional=True) is None
    )
    for value in (True, "1", float("nan"), float("inf"), 1.0, -0.1, None, 10**400):
        with pytest.raises(
            ValueError, match="`x` must be a finite number at least 0 and below 1. Received: x="
        ):
            checks.check_number(value, "x", least=0, below=1)
    with pytest.raises(ValueError, match="above 0 and at most 2"):
        checks.check_number(0, "x", above=0, most=2)


def test_flags_and_choices():
    assert checks.check_flag(np.True_, "f") is True
    with pytest.raises(ValueError, match="`f` must be True or False. Received: f=1"):
        checks.check_flag(1, "f")
    assert checks.check_choice(None, "c", ("batch", None)) is None
    with pytest.raises(
        ValueError,
        match="`c` must be 'batch', 'group' or None. Did you mean 'batch'. Received: c='bach'",
    ):
        checks.check_choice("bach", "c", ("batch", "group", None))
    with pytest.raises(ValueError, match="must be 1 or 2. Received: c=True"):
        checks.check_choice(True, "c", (1, 2))


@pytest.mark.parametrize("levels", [(), (3, 3), (4, 3), (True,), (3.0,), "345", 3, None, (-1,)])
def test_no_levels(levels):
    with pytest.raises(ValueError, match="`levels` must be ascending level numbers"):
        checks.check_levels(levels)


def test_level_names():
    assert [checks.level_number(key) for key in ("P3", "P12", "p3", "P3_logits", 3, None)] == [
        3,
        12,
        None,
        None,
        None,
        None,
    ]
    assert checks.level_name(7) == "P7" and checks.level_size((25, 21), 2) == (7, 6)
    assert (
        checks.check_levels(range(3, 6)) == (3, 4, 5)
        and checks.check_levels(None, optional=True) is None
    )
