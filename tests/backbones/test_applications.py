"""Keras' own test of its applications over one constructor of each family, its bodies untouched."""

import pytest
from keras.src.applications import applications_test
from without_values import without_values

import keras_detblocks as kdb
from keras_detblocks.backbones import applications

FAMILIES = [
    (kdb.RegNetX002, 368),
    (kdb.RegNetY002, 368),
    (kdb.CS3DarknetS, 512),
    (kdb.CSPPeleeNet, 704),
]
# Not `test_application_base`: it downloads ImageNet weights and a picture.
BODIES = [
    "test_application_notop_variable_input_channels",
    "test_application_notop_custom_input_shape",
    "test_application_notop_custom_input_tensor",
    "test_application_pooling",
    "test_application_classifier_activation",
]


@pytest.fixture(autouse=True)
def channels_last_only(monkeypatch):
    """What Keras does for ConvNeXt: our families are listed as not supporting channels_first."""
    names = ["RegNet", "CSP", "CS3"]
    monkeypatch.setattr(applications_test, "MODELS_UNSUPPORTED_CHANNELS_FIRST", names)
    monkeypatch.setattr(
        applications_test, "MODEL_LIST", [(app, last, applications) for app, last in FAMILIES]
    )


@pytest.mark.filterwarnings("ignore:This model usually expects 1 or 3 input channels")
@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(
    "app, last_dim",
    [FAMILIES[0], *(pytest.param(*family, marks=pytest.mark.slow) for family in FAMILIES[1:])],
)
def test_keras_applications_contract(app, last_dim, body):
    case = applications_test.ApplicationsTest()
    # The names of the generated methods end in the model and the data format; the function below
    # them is Keras' own.
    parametrized = next(
        v for k, v in vars(applications_test.ApplicationsTest).items() if k.startswith(body)
    )
    with without_values():
        parametrized.__wrapped__(case, app, last_dim, applications, "channels_last")
