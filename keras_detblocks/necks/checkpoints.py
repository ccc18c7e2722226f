"""The keys of the necks' weights in the reference implementations.

Rules are those of `weights.torch_key`: pairs (pattern of our variables' paths, their spelling).
"""

import re

from ..checks import level_name, level_number
from ..weights import Layout, layouts_for, torch_key
from .asff import ASFF
from .bifpn import BiFPN, wiring
from .csp_panet import CSPPANet
from .fpn import FPN
from .m2det import SFAM, TUM, FFMv1, FFMv2
from .mlfpn import MLFPN
from .panet import PANet

_PARTS = ("conv", "norm")


def unit_rules(ours, theirs, parts=(".conv", ".bn")):
    """Rules for one `ConvNormAct` called `ours`, whose convolution and normalization are called
    `theirs`, each with an ending."""
    return [(f"^{ours}/{part}/", f"{theirs}{ending}/") for part, ending in zip(_PARTS, parts)]


# FPN and PANet: i counts the levels from the finest, l is the level ---------------------------


@layouts_for(FPN)
def fpn_layouts(neck):
    if neck.form == "retinaface":
        return [Layout("RetinaFace", torch_key(*_retinaface_rules(neck)))]
    torchvision = "inner_blocks.{i}", "layer_blocks.{i}", "extra_blocks.p{l}"
    detectron2 = "fpn_lateral{l}", "fpn_output{l}", "top_block.p{l}"
    mmdetection = "lateral_convs.{i}", "fpn_convs.{i}", None
    rules = {
        "torchvision": _fpn_rules(neck, *torchvision, (".0", ".1")),
        "torchvision before 0.13": _fpn_rules(neck, *torchvision),
        "detectron2": _fpn_rules(neck, *detectron2, ("", ".norm")),
        "mmdetection": _fpn_rules(neck, *mmdetection, (".conv", ".bn")),
        "mmdetection, gn": _fpn_rules(neck, *mmdetection, (".conv", ".gn")),
    }
    return [Layout(name, torch_key(*each)) for name, each in rules.items()]


def _fpn_rules(neck, lateral, out, extra, parts=("", "")):
    """Rules for an FPN; `extra` is `None` if extra levels are numbered like outputs."""
    rules = []
    for i, name in enumerate(neck.laterals):
        theirs = lateral.format(i=i, l=level_number(name))
        rules += unit_rules(f"{name}_lateral", theirs, parts)
    for i, name in enumerate(neck.outs):
        rules += unit_rules(f"{name}_out", out.format(i=i, l=level_number(name)), parts)
    for i, name in enumerate(neck.extras, len(neck.outs)):
        theirs = (extra or out).format(i=i, l=level_number(name))
        # Extra levels in torchvision and detectron2 are plain convolutions.
        rules += unit_rules(name, theirs, parts if extra is None else ("", parts[1]))
    return rules


def _retinaface_rules(neck):
    rules = []
    for i, name in enumerate(neck.laterals, 1):
        rules += unit_rules(f"{name}_lateral", f"output{i}", (".0", ".1"))
    for i, name in enumerate(neck.outs, 1):
        rules += unit_rules(f"{name}_out", f"merge{i}", (".0", ".1"))
    return rules


@layouts_for(PANet)
def panet_layouts(neck):
    layouts = []
    for norm in ("bn", "gn"):
        parts = (".conv", f".{norm}")
        rules = _fpn_rules(neck, "lateral_convs.{i}", "fpn_convs.{i}", None, parts)
        rules += _path_rules(neck, "downsample_convs.{i}", "pafpn_convs.{i}", parts)
        layouts.append(Layout(f"mmdetection, {norm}", torch_key(*rules)))
    for parts in (("", ""), (".0", ".1")):
        rules = _authors_top_down_rules(neck, parts)
        names = "panet_buttomup_conv1_modules.{i}", "panet_buttomup_conv2_modules.{i}"
        rules += _path_rules(neck, *names, parts)
        layouts.append(Layout("ShuLiu1993/PANet", torch_key(*rules)))
    return layouts


def _path_rules(neck, down, fuse, parts):
    """Rules for a bottom-up path, where i counts the steps up from the finest level."""
    rules = []
    for i, name in enumerate(neck.fuses):
        ours = f"N{level_number(name)}"
        rules += unit_rules(f"{ours}_down", down.format(i=i), parts)
        rules += unit_rules(ours, fuse.format(i=i), parts)
    return rules


def _authors_top_down_rules(neck, parts):
    """Rules for the authors' top-down path: they count from the coarsest level down, and name its
    lateral convolution differently."""
    rules = []
    for i, name in enumerate(reversed(list(neck.laterals))):
        lateral = f"topdown_lateral_modules.{i - 1}.conv_lateral" if i else "conv_top"
        rules += unit_rules(f"{name}_lateral", lateral, parts)
        rules += unit_rules(f"{name}_out", f"posthoc_modules.{i}", parts)
    return rules


# CSPPANet: i counts from the finest level, t from the coarsest ----------------------------------


@layouts_for(CSPPANet)
def csp_panet_layouts(neck):
    return [
        Layout("YOLOX", torch_key(*_csp_rules(neck, _YOLOX))),
        Layout("mmdetection, YOLOXPAFPN", torch_key(*_csp_rules(neck, _MMDETECTION))),
        Layout("PaddleDetection, CSPPAN", _paddle_key(torch_key(*_csp_rules(neck, _PADDLE)))),
    ]


# Names of the path's units, of a CSP unit's parts, and of a depthwise pair: the endings of the
# convolution and of the normalization for each of its two convolutions.
_YOLOX = {
    # YOLOX names levels by number; the finest is 3.
    "lateral": lambda i, t: f"reduce_conv{t}" if t else "lateral_conv0",
    "top_down": lambda i, t: f"C3_p{i + 3}",
    "down": lambda i, t: f"bu_conv{t + 1}",
    "bottom_up": lambda i, t: f"C3_n{i + 2}",
    "csp": {"main": "conv1", "bypass": "conv2", "fuse": "conv3", "blocks": "m"},
    "pair": ((".dconv.conv", ".dconv.bn"), (".pconv.conv", ".pconv.bn")),
}
_MMDETECTION = {
    "lateral": lambda i, t: f"reduce_layers.{t}",
    "top_down": lambda i, t: f"top_down_blocks.{t - 1}",
    "down": lambda i, t: f"downsamples.{i - 1}",
    "bottom_up": lambda i, t: f"bottom_up_blocks.{i - 1}",
    "project": lambda i, t: f"out_convs.{i}",
    "csp": {"main": "main_conv", "bypass": "short_conv", "fuse": "final_conv", "blocks": "blocks"},
    "pair": (
        (".depthwise_conv.conv", ".depthwise_conv.bn"),
        (".pointwise_conv.conv", ".pointwise_conv.bn"),
    ),
}
_PADDLE = {
    "lateral": lambda i, t: f"conv_t.convs.{i}",
    "top_down": lambda i, t: f"top_down_blocks.{t - 1}",
    "down": lambda i, t: f"downsamples.{i - 1}",
    "bottom_up": lambda i, t: f"bottom_up_blocks.{i - 1}",
    "extra_lateral": "first_top_conv",
    "extra": "second_top_conv",
    "csp": {"main": "main_conv", "bypass": "short_conv", "fuse": "final_conv", "blocks": "blocks"},
    "pair": ((".dwconv", ".bn1"), (".pwconv", ".bn2")),
}


def _csp_rules(neck, names):
    levels = list(dict.fromkeys([*neck.outs, *neck.laterals, *neck.fuses]))
    levels.sort(key=level_number)
    rules = []
    for i, name in enumerate(levels):
        t, up = len(levels) - 1 - i, f"N{level_number(name)}"
        rules += unit_rules(f"{name}_lateral", names["lateral"](i, t))
        if "project" in names:
            rules += unit_rules(f"{name}_project", names["project"](i, t))
        rules += _csp_unit_rules(neck, name, names["top_down"](i, t), names)
        rules += _csp_unit_rules(neck, up, names["bottom_up"](i, t), names)
        rules += _spatial_rules(neck, f"{up}_down", names["down"](i, t), names)
    for name in neck.extras:
        key = "extra_lateral" if name.endswith("_lateral") else "extra"
        rules += _spatial_rules(neck, name, names.get(key, name), names)
    return rules


def _csp_unit_rules(neck, ours, theirs, names):
    rules = []
    for part in ("main", "bypass", "fuse"):
        rules += unit_rules(f"{ours}/{part}", f"{theirs}.{names['csp'][part]}")
    for i in range(neck.depth):
        block = f"{theirs}.{names['csp']['blocks']}.{i}"
        size = f"{neck.kernel_size}x{neck.kernel_size}"
        # If the second one is 1x1 too, both have the same name and cannot be told apart.
        rules += _spatial_rules(neck, f"{ours}/block_{i + 1}_{size}", f"{block}.conv2", names)
        rules += unit_rules(f"{ours}/block_{i + 1}_1x1", f"{block}.conv1")
    return rules


def _spatial_rules(neck, ours, theirs, names):
    if not neck.depthwise:
        return unit_rules(ours, theirs)
    depthwise, pointwise = names["pair"]
    return [
        *unit_rules(f"{ours}/depthwise", theirs, depthwise),
        *unit_rules(f"{ours}/pointwise", theirs, pointwise),
    ]


def _paddle_key(torch):
    """PaddlePaddle's key, which calls the statistics `_mean` and `_variance`."""

    def key(path):
        name = torch(path).replace(".running_mean", "._mean")
        return name.replace(".running_var", "._variance")

    return key


# BiFPN -----------------------------------------------------------------------------------------


@layouts_for(BiFPN)
def bifpn_layouts(neck):
    """The names in rwightman/efficientdet-pytorch (below `fpn.`), which counts levels from the
    lowest, and a cell's inputs before its nodes."""
    rules = []
    for name in neck.extras:
        index = neck.levels.index(level_number(name))
        rules += unit_rules(f"{name}_in", f"resample.{index}", (".conv.conv", ".conv.bn"))
    nodes = wiring(neck.levels)
    order = [f"P{level}_in" for level in neck.levels] + [name for name, _, _ in nodes]
    for cell in range(neck.num_repeats):
        for k, (name, _, sources) in enumerate(nodes):
            ours, theirs = f"{cell + 1}/{name}", f"cell.{cell}.fnode.{k}"
            for source, _ in sources:
                resample = f"{theirs}.combine.resample.{order.index(source)}"
                rules += unit_rules(f"{ours}/{source}", resample, (".conv.conv", ".conv.bn"))
            after = f"{theirs}.after_combine.conv."
            rules += [
                (f"^{ours}/fusion/", f"{theirs}.combine/"),
                (f"^{ours}/depthwise/", f"{after}conv_dw/"),
                (f"^{ours}/pointwise/", f"{after}conv_pw/"),
                (f"^{ours}/norm/", f"{after}bn/"),
            ]
    return [Layout("effdet", torch_key(*rules))]


# ASFF ------------------------------------------------------------------------------------------


@layouts_for(ASFF)
def asff_layouts(neck):
    """The authors' names, which count levels from the coarsest. A single level may lack its
    prefix."""
    fusions = list(neck.fusions.values())
    rules = [rule for fusion in fusions for rule in _asff_rules(fusion, prefixed=True)]
    layouts = [Layout("GOATmessi8/ASFF", torch_key(*rules))]
    if len(fusions) == 1:
        key = torch_key(*_asff_rules(fusions[0], prefixed=False))
        layouts.append(Layout("GOATmessi8/ASFF, one level", key))
    return layouts


def _asff_rules(fusion, prefixed):
    ours = level_name(fusion.level)
    theirs = f"level_{fusion.sources.index(fusion.level)}_fusion." if prefixed else ""
    parts = (".conv", ".batch_norm")
    rules = [(f"^{ours}/weights/", f"{theirs}weight_levels/")]
    rules += unit_rules(f"{ours}/expand", f"{theirs}expand", parts)
    for i, source in enumerate(fusion.sources):
        for part in ("compress", "stride", "weight"):
            name = f"{ours}/{level_name(source)}_{part}"
            rules += unit_rules(name, f"{theirs}{part}_level_{i}", parts)
    return rules


# MLFPN and its parts -----------------------------------------------------------------------------


def _m2det(rules, shared=False):
    return [Layout("qijiezhao/M2Det", torch_key(*rules), copy_of=first_copy if shared else None)]


@layouts_for(MLFPN)
def mlfpn_layouts(neck):
    rules = _ffmv1_rules("ffmv1/", "") + unit_rules("leach", "leach.0")
    for i in range(len(neck.ffmv2s)):
        rules += unit_rules(f"ffmv2_{i + 2}/leach", f"leach.{i + 1}")
    for i, tum in enumerate(neck.tums):
        rules += _tum_rules(tum, f"tum_{i + 1}/", f"unet{i + 1}.")
    if neck.sfam is not None:
        rules += _sfam_rules(neck.sfam, "sfam/", "sfam_module.")
    return _m2det([*rules, ("^final_norm/", "Norm/")], neck.shared)


@layouts_for(FFMv1)
def ffmv1_layouts(_):
    return _m2det(_ffmv1_rules("", ""))


def _ffmv1_rules(ours, theirs):
    rules = unit_rules(f"{ours}shallow", f"{theirs}reduce")
    return rules + unit_rules(f"{ours}deep", f"{theirs}up_reduce")


@layouts_for(FFMv2)
def ffmv2_layouts(_):
    return _m2det(unit_rules("leach", "leach.0"))


@layouts_for(TUM)
def tum_layouts(part):
    return _m2det(_tum_rules(part, "", ""))


def _tum_rules(tum, ours, theirs):
    last = tum.num_scales - 1
    rules = unit_rules(f"{ours}top", f"{theirs}toplayer.0")
    for scale in range(1, tum.num_scales):
        rules += unit_rules(f"{ours}encoder_{scale + 1}", f"{theirs}layers.{scale - 1}")
        rules += unit_rules(f"{ours}lateral_{scale}", f"{theirs}latlayer.{last - scale}")
        rules += unit_rules(f"{ours}smooth_{scale}", f"{theirs}smooth.{last - scale}")
    return rules


@layouts_for(SFAM)
def sfam_layouts(part):
    return _m2det(_sfam_rules(part, "", ""), part.shared)


def _sfam_rules(sfam, ours, theirs):
    return [
        (f"^{ours}scale_{i + 1}/{fc}/", f"{theirs}{fc}.{i}/")
        for i in range(len(sfam.gates))
        for fc in ("fc1", "fc2")
    ]


def first_copy(key):
    """The key of the shared module that M2Det's files repeat under this one: `leach.3.conv.weight`
    -> `leach.0.conv.weight`."""
    return re.sub(r"^(leach|(?:sfam_module\.)?fc[12])\.\d+\.", r"\1.0.", key)
