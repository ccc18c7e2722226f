"""One small backbone of each family, in one model."""

import dataclasses

import keras
from cases import randomize

import keras_detblocks as kdb
from keras_detblocks.backbones import anynet, cspnet, densenet
from keras_detblocks.backbones.applications import Arguments, application

SIZE = (64, 96)


def _narrow(name, depths):
    """A published CSP net, an eighth as wide and less deep."""
    spec = cspnet.CSP_VARIANTS[name]
    stem = tuple((8, kernel, stride) for _, kernel, stride in spec.stem)
    widths = tuple(width // 8 for width in spec.widths)
    return cspnet.csp_trunk(
        dataclasses.replace(spec, stem=stem, widths=widths, depths=depths), name
    )


TRUNKS = {
    "regnet": anynet.anynet_trunk(
        kdb.AnyNetSpec((1, 2, 1), (16, 24, 32), (1, 1, 1), (8, 8, 8), 0.25, 8), "regnet"
    ),
    "cspresnet": _narrow("cspresnet50", (1, 2, 1, 1)),
    "cspdarknet": _narrow("cspdarknet53", (1, 1, 2, 1, 1)),
    "cspdensenet": densenet.csp_densenet_trunk("cspdensenet", (1, 2, 2, 1), growth_rate=8),
}


def _backbone(name):
    return application(
        TRUNKS[name], Arguments(include_top=False, input_shape=(*SIZE, 3), levels=(3, 4), name=name)
    )


def every_family():
    """Image to two levels of each family."""
    keras.utils.set_random_seed(0)
    image = keras.Input((*SIZE, 3), name="image")
    maps = {name: _backbone(name)(image) for name in TRUNKS}
    outputs = {
        f"{name}_{level}": tensor
        for name, levels in maps.items()
        for level, tensor in levels.items()
    }
    return randomize(keras.Model(image, outputs, name="every_family"))
