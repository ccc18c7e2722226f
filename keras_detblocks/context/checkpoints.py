"""The keys of the context blocks' weights in the reference implementations."""

import functools

import numpy as np

from ..weights import Layout, layouts_for, register_model_layout, torch_key
from .aspp import ASPP
from .rfb import RFB
from .spp import SPP, SPPCSP, SPPF

# The tail of RFBNet consists of plain ConvNormAct units, which are targets of `weights.load`
# themselves.
register_model_layout(
    Layout("conv and bn", torch_key((r"^(?:.*/)?conv/", "conv/"), (r"^(?:.*/)?norm/", "bn/")))
)


def conv_bn_key(names):
    """The key function of blocks whose units are called `<name>.conv` and `<name>.bn` in
    PyTorch."""
    rules = [(f"^{ours}/conv/", f"{theirs}/conv/") for ours, theirs in names.items()]
    rules += [(f"^{ours}/norm/", f"{theirs}/bn/") for ours, theirs in names.items()]
    return torch_key(*rules)


@layouts_for(SPP, SPPF)
def spp_layouts(_):
    return [
        Layout("ultralytics", conv_bn_key({"reduce": "cv1", "project": "cv2"})),
        Layout("YOLOX, mmdetection", conv_bn_key({"reduce": "conv1", "project": "conv2"})),
    ]


@layouts_for(SPPCSP)
def spp_csp_layouts(_):
    ours = ("deep0", "short", "deep1", "deep2", "after0", "after1", "project")
    return [Layout("YOLOv7", conv_bn_key({name: f"cv{i + 1}" for i, name in enumerate(ours)}))]


@layouts_for(RFB)
def rfb_layouts(block):
    if not block.spec.normalized:
        key = torch_key((r"^branch(\d+)_(\d+)/conv/", r"branch_\1.\2/"))
        return [Layout("ASFF authors", key)]
    rules = (
        (r"^branch(\d+)_(\d+)/", r"branch\1.\2/"),
        (r"^linear/", "ConvLinear/"),
        (r"/norm/", "/bn/"),
    )
    return [Layout("RFBNet authors", torch_key(*rules))]


@layouts_for(ASPP)
def aspp_layouts(block):
    if block.merge == "sum":
        # The keys of the whole model, of its core within the multi-scale wrapper, and of the block
        # alone.
        return [
            Layout("kazuto1011 v2", torch_key((r"^rate(\d+)/conv/", rf"{start}c\1/")))
            for start in ("", "aspp.", "base.aspp.")
        ]
    rates = range(len(block.dilations))
    branches = ["conv1x1", *(f"rate{i}" for i in rates)]
    separable = [(rf"^rate{i}_(\w+)/(?:conv/)?", rf"convs.{i + 1}.\1/") for i in rates]
    detectron2 = torch_key(*separable, *_branch_rules(branches, "/", "/norm/", ".1/", ".1.norm/"))
    from_tensorflow = functools.partial(_from_tensorflow, block)
    return [
        Layout("torchvision", torch_key(*_branch_rules(branches, ".0/", ".1/", ".1/", ".2/"))),
        Layout("detectron2", detectron2),
        Layout("kazuto1011 v3", torch_key(*_KAZUTO_V3)),
        Layout("TensorFlow DeepLab", _tensorflow_key, from_tensorflow),
        Layout("bonlime", _bonlime_key, from_tensorflow),
        # As TF 1 names variables.
        Layout("bonlime", lambda path: f"{_bonlime_key(path)}:0", from_tensorflow),
    ]


def _from_tensorflow(block, key, array):
    """Converts an array to PyTorch's order; the image pooling's rows of the projection, which
    TensorFlow has first, move to the end."""
    if array.ndim != 4:
        return array
    if key.startswith("concat_projection/") and block.image_pooling:
        array = np.roll(array, -block.filters, axis=2)
    return array.transpose(2, 3, 0, 1) if "/depthwise_" in key else array.transpose(3, 2, 0, 1)


def _branch_rules(branches, conv, norm, pool_conv, pool_norm):
    """PyTorch's names, in which branch i is `convs.i` and the image pooling the last one, with the
    given endings of the parts."""
    names = [
        *((name, f"convs.{i}", conv, norm) for i, name in enumerate(branches)),
        ("project", "project", conv, norm),
    ]
    names.append(("image_pool", f"convs.{len(branches)}", pool_conv, pool_norm))
    rules = [(f"^{ours}/conv/", theirs + conv_end) for ours, theirs, conv_end, _ in names]
    return rules + [(f"^{ours}/norm/", theirs + norm_end) for ours, theirs, _, norm_end in names]


_KAZUTO_V3 = (
    (r"/norm/", "/bn/"),
    (r"^conv1x1/", "aspp.stages.c0/"),
    *((f"^rate{i}/", f"aspp.stages.c{i + 1}/") for i in range(8)),
    (r"^image_pool/", "aspp.stages.imagepool.conv/"),
    (r"^project/", "fc1/"),
)


def _tensorflow_key(path):
    unit, part, variable = path.split("/")
    unit = _tensorflow_unit(unit)
    if part == "norm":
        return f"{unit}/BatchNorm/{variable}"
    kernel = "depthwise_weights" if unit.endswith("_depthwise") else "weights"
    return f"{unit}/{kernel if variable == 'kernel' else 'biases'}"


def _bonlime_key(path):
    """Keras' variables of layers with TensorFlow's names."""
    unit, part, variable = path.split("/")
    unit = _tensorflow_unit(unit)
    if part == "norm":
        return f"{unit}_BN/{variable}"
    return (
        f"{unit}/{'depthwise_' * (unit.endswith('_depthwise') and variable == 'kernel')}{variable}"
    )


def _tensorflow_unit(unit):
    stem, _, kind = unit.partition("_")
    if stem.startswith("rate"):
        return f"aspp{int(stem[4:]) + 1}" + (f"_{kind}" if kind else "")
    return {"conv1x1": "aspp0", "image_pool": "image_pooling", "project": "concat_projection"}[unit]
