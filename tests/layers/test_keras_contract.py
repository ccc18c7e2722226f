"""Keras' own test of a layer over every layer that maps one tensor to one, once per class.

Layers of lists and dicts are left to `test_contract.py`: Keras calls them with keyword arguments,
and `fit` takes no lists.
"""

import pytest
from cases import CASES
from keras.src import testing

import keras_detblocks as kdb

ONE_PER_CLASS = {case.layer: case for case in reversed(CASES) if isinstance(case.channels, int)}
del ONE_PER_CLASS["TUM"]  # a dict out


@pytest.mark.slow
@pytest.mark.parametrize("case", ONE_PER_CLASS.values(), ids=ONE_PER_CLASS)
def test_keras_layer_test(case):
    """Config, weights, symbolic and eager calls, a step of `fit`, mixed precision."""
    layer = case.build()
    expected = tuple(layer(case.inputs()).shape)
    testing.TestCase().run_layer_test(
        getattr(kdb, case.layer),
        case.made_arguments(),
        input_shape=(2, *case.shapes()),
        expected_output_shape=expected,
        expected_num_trainable_weights=len(layer.trainable_weights),
    )
