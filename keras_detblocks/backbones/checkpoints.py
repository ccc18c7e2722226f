"""Names in published checkpoints of the backbones: the keys of every reference that loads
unchanged, and the id that `weights="imagenet"` means.

Paths of our variables look like "s1_b2_conv3_bn/gamma" (AnyNet, RegNet) and
"stages_1_blocks_0_conv2_bn/gamma" (CSPNet); a rule rewrites a path, `torch_key` the suffixes.
"""

import re

from ..weights import Layout, register_model_layout, torch_key

# Keys, in any layout, of the stages whose numbers replace the braces: a net that is built up to
# some level leaves them unused. RegNets count their stages from 1.
ANYNET_STAGES = r"^(s|trunk_output\.block)({})[._]"
CSPNET_STAGES = r"^stages[._]({})[._]"
DENSENET_STAGES = r"^(stages_({})|norm)/"
CLASSIFIER = r"^((head\.)?fc\.|predictions/)"

# Variants for which only nets trained without labels are published, or nothing.
_WITHOUT_IMAGENET = ("regnety_640", "regnety_1280", "regnety_2560")
_CSP_TAGS = {
    "cspresnet50": "ra_in1k",
    "cspresnext50": "ra_in1k",
    "cspdarknet53": "ra_in1k",
    "darknet53": "c2ns_in1k",
    "cs3darknet_m": "c2ns_in1k",
    "cs3darknet_l": "c2ns_in1k",
    "cs3darknet_x": "c2ns_in1k",
}


def imagenet(variant):
    """The hub id that `weights="imagenet"` loads into a variant, or None if none is published.

    >>> imagenet("regnety_008")
    'timm/regnety_008.pycls_in1k'
    """
    tag = _CSP_TAGS.get(variant)
    if re.match(r"regnet[xy]_\d", variant) and variant not in _WITHOUT_IMAGENET:
        # The paper's own (MIT); torchvision's rounding has torchvision's weights.
        tag = "tv2_in1k" if variant.endswith("_tv") else "pycls_in1k"
    return tag and f"timm/{variant}.{tag}"


# RegNet -------------------------------------------------------------------------------------------

_UNIT = r"^s(\d+)_b(\d+)_(conv\d|downsample)_(conv|bn)/"
_PARTS = {"conv1": "f.a", "conv2": "f.b", "conv3": "f.c", "downsample": "proj"}


def _torchvision_unit(match):
    stage, block, part, kind = match.groups()
    position = "0" if kind == "conv" else "1"
    return f"trunk_output.block{stage}.block{stage}-{int(block) - 1}.{_PARTS[part]}.{position}/"


def _torchvision_squeeze(match):
    return f"trunk_output.block{match[1]}.block{match[1]}-{int(match[2]) - 1}.f.se/"


def _pycls_unit(match):
    stage, block, part, kind = match.groups()
    if part == "downsample":
        return f"s{stage}.b{block}.{'proj' if kind == 'conv' else 'bn'}/"
    return f"s{stage}.b{block}.{_PARTS[part]}{'' if kind == 'conv' else '_bn'}/"


def _rgb_stem(key, array):
    """The published pycls nets read BGR."""
    return array[:, ::-1] if key == "stem.conv.weight" and array.shape[1] == 3 else array


register_model_layout(
    Layout(
        "timm (RegNet)",
        torch_key(
            (r"^predictions/", "head/fc/"),
            (r"^stem_(conv|bn)/", r"stem/\1/"),
            (_UNIT, r"s\1/b\2/\3/\4/"),
            (r"^s(\d+)_b(\d+)_se/", r"s\1/b\2/se/"),
        ),
    )
)
register_model_layout(
    Layout(
        "torchvision (RegNet)",
        torch_key(
            (r"^predictions/", "fc/"),
            (r"^stem_conv/", "stem/0/"),
            (r"^stem_bn/", "stem/1/"),
            (_UNIT, _torchvision_unit),
            (r"^s(\d+)_b(\d+)_se/", _torchvision_squeeze),
        ),
    )
)
register_model_layout(
    Layout(
        "pycls",
        torch_key(
            (r"^predictions/", "head/fc/"),
            (r"^stem_(conv|bn)/", r"stem/\1/"),
            (_UNIT, _pycls_unit),
            (r"^s(\d+)_b(\d+)_se/fc1/", r"s\1/b\2/f/se/f_ex/0/"),
            (r"^s(\d+)_b(\d+)_se/fc2/", r"s\1/b\2/f/se/f_ex/2/"),
        ),
        _rgb_stem,
        mark=r"\.f\.a\.weight$",
    )
)

# CSPNet -------------------------------------------------------------------------------------------

_CFG_DEPTHS = (1, 2, 8, 8, 4)  # of the one net that the authors' file describes


def _cfg_module(match):
    """The number of a layer in the authors' file, where a stage consists of down, cross, route, in,
    three entries per block, the first transition, route, and the second transition."""
    index, part, block = int(match[1]), match[2], match[3]
    start = 1 + sum(7 + 3 * depth for depth in _CFG_DEPTHS[:index])
    if part.startswith("blocks"):
        offset = 4 + 3 * int(block) + int(match[4]) - 1
    else:
        after = 3 * _CFG_DEPTHS[index]
        offset = {
            "conv_down": 0,
            "conv_cross": 1,
            "conv_in": 3,
            "conv_transition_b": 4 + after,
            "conv_transition": 6 + after,
        }.get(part)
    return match[0] if offset is None else f"module_list/{start + offset}_"  # of other nets


register_model_layout(
    Layout(
        "timm (CSPNet)",
        torch_key(
            (r"^predictions/", "head/fc/"),
            (r"_(conv|bn)/", r"/\1/"),
            (r"^stem_", "stem/"),
            (r"^stages_(\d+)_", r"stages/\1/"),
            (r"/blocks_(\d+)_", r"/blocks/\1/"),
        ),
    )
)
register_model_layout(
    Layout(
        "the authors' cfg (CSPDarknet53)",
        torch_key(
            (r"^stem_conv1_", "module_list/0_"),
            (
                r"^stages_(\d+)_(conv_[a-z_]+|blocks_(\d+)_conv(\d))_(?=(conv|bn)/)",
                _cfg_module,
            ),
            (r"^(module_list/\d+)_conv/", r"\1/Conv2d/"),
            (r"^(module_list/\d+)_bn/", r"\1/BatchNorm2d/"),
        ),
    )
)
