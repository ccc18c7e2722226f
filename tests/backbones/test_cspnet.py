"""CSPNets against timm and the authors' cfg."""

import dataclasses

import backbone_golden
import golden
import keras
import numpy as np
import pytest

import keras_detblocks as kdb
from keras_detblocks.backbones import cspnet
from keras_detblocks.backbones.applications import Arguments, application


@pytest.mark.parametrize("name", ["cspresnet50", "cspdarknet53"])
@pytest.mark.slow
@pytest.mark.parametrize("size", ["200x168", "224x224"])
def test_equals_timm(name, size):
    constructor = {"cspresnet50": kdb.CSPResNet50, "cspdarknet53": kdb.CSPDarknet53}[name]
    levels = (1, 2, 3, 4, 5) if name == "cspresnet50" else (0, 1, 2, 3, 4, 5)
    errors = backbone_golden.check(f"timm_{name}_{size}", constructor, levels)
    assert max(errors.values()) <= 1e-4


@pytest.mark.slow
def test_equals_the_authors_cfg():
    """The code that made the file uses an epsilon of 1e-4, where the cfg says 1e-5."""
    spec = dataclasses.replace(cspnet.CSP_VARIANTS["cspdarknet53_cfg"], epsilon=1e-4)

    def constructor(**arguments):
        return application(cspnet.csp_trunk(spec, "net"), Arguments(**arguments))

    errors = backbone_golden.check(
        "csp_darknet53_cfg_200x168", constructor, (1, 2, 3, 4, 5), logits=False
    )
    assert max(errors.values()) <= 1e-4


@pytest.mark.parametrize(
    "file, changes, stride",
    [
        ("csp_stage_dark_25x21", dict(widths=(48,), block="dark", down_growth=True), 2),
        ("csp_stage_bottleneck_grouped_28x28", dict(widths=(64,), groups=8, cross_linear=True), 2),
        (
            "csp_stage_bottleneck_s1_14x18",
            dict(
                widths=(32,),
                cross_linear=True,
                block_ratios=(1.0,),
                bottle_ratios=(0.5,),
                expand_ratios=(2.0,),
            ),
            1,
        ),
    ],
)
def test_stage_equals_timm(file, changes, stride):
    fixture = golden.load(backbone_golden.GOLDENS / f"{file}.npz")
    x = fixture.inputs()["x"].transpose(0, 2, 3, 1)
    base = dict(
        depths=(2,),
        strides=(stride,),
        block_ratios=(0.5,),
        bottle_ratios=(1.0,),
        expand_ratios=(1.0,),
    )
    spec = cspnet.CSPSpec(stem=(), **{**base, **changes})
    image = keras.Input(x.shape[1:])
    model = keras.Model(image, cspnet.csp_stage(image, spec, 0, stride))
    weights = {f"stages.0.{key}": value for key, value in fixture.params().items()}
    kdb.weights.load(model, weights)
    fixture.check("out", np.transpose(keras.ops.convert_to_numpy(model(x)), (0, 3, 1, 2)))


def test_levels_and_output_stride():
    model = kdb.CSPDarknet53(
        include_top=False, input_shape=(64, 96, 3), levels=(0, 3), output_stride=8
    )
    assert {k: tuple(t.shape[1:3]) for k, t in model.output.items()} == {
        "P0": (64, 96),
        "P3": (8, 12),
    }
    with pytest.raises(ValueError, match="levels"):
        kdb.CSPResNet50(include_top=False, levels=(0, 1))
