"""The catalog: every backbone, its size, and its published weights."""

import functools
import re
from typing import NamedTuple

from ..checks import check_flag, did_you_mean
from . import checkpoints, cspnet, densenet, regnet
from .complexity import complexity


class HubWeights(NamedTuple):
    """A checkpoint on the Hugging Face hub, in timm's layout.

    Attributes:
        id: the value for `weights=`.
        top1: pairs (side of the square test images, percent of ImageNet's validation images), the
            smaller side first; empty if the checkpoint has other classes or none.
        license: SPDX name, or the publisher's own name for it.
        classes: number in its classifier; 0 without one, for `include_top=False`.
    """

    id: str
    top1: tuple
    license: str
    classes: int


_REGNET_CODES = ("002", "004", "006", "008", "016", "032", "040", "064", "080", "120", "160", "320")
# The RegNets by printed name: the constructors of a family, then the nets that only a call builds.
_REGNETS = {
    **{f"RegNetX{code}": f"regnetx_{code}" for code in _REGNET_CODES},
    'RegNetX("400mf_tv")': "regnetx_004_tv",
    **{f"RegNetY{code}": f"regnety_{code}" for code in _REGNET_CODES},
    'RegNetY("800mf_tv")': "regnety_008_tv",
    'RegNetY("8.0gf_tv")': "regnety_080_tv",
    'RegNetY("64gf")': "regnety_640",
    'RegNetY("128gf")': "regnety_1280",
    'RegNetY("256gf")': "regnety_2560",
}
# name: variant, MACs, parameters and activations at 224x224 with 1000 classes (a test counts them
# again), channels of P2 to P5
_OTHERS = {
    "CSPResNet50": ("cspresnet50", 3_458_753_512, 21_616_168, 8_806_888, (128, 256, 512, 1024)),
    "CSPResNet50D": ("cspresnet50d", 3_698_394_088, 21_635_400, 9_609_704, (128, 256, 512, 1024)),
    "CSPResNet50W": ("cspresnet50w", 3_843_924_968, 28_118_216, 9_333_736, (256, 512, 1024, 2048)),
    "CSPResNeXt50": ("cspresnext50", 3_074_425_832, 20_569_896, 12_143_592, (256, 512, 1024, 2048)),
    "CSPDarknet53": ("cspdarknet53", 5_002_568_680, 27_642_184, 12_871_144, (128, 256, 512, 1024)),
    "CSPDarknet53Cfg": (
        "cspdarknet53_cfg",
        5_002_568_680,
        27_642_184,
        12_871_144,
        (128, 256, 512, 1024),
    ),
    "Darknet53": ("darknet53", 7_109_157_864, 41_609_928, 9_484_264, (128, 256, 512, 1024)),
    "CS3DarknetS": ("cs3darknet_s", 545_424_360, 3_276_344, 2_271_464, (64, 128, 256, 512)),
    "CS3DarknetM": ("cs3darknet_m", 1_584_022_504, 9_310_240, 4_046_440, (96, 192, 384, 768)),
    "CS3DarknetL": ("cs3darknet_l", 3_711_239_144, 21_164_168, 6_548_968, (128, 256, 512, 1024)),
    "CS3DarknetX": ("cs3darknet_x", 6_397_215_720, 35_046_320, 8_687_720, (160, 320, 640, 1280)),
    "CSPDenseNet121": ("cspdensenet121", 2_483_855_597, 5_916_757, 7_179_059, (72, 123, 238, 434)),
    "CSPDenseNet169": ("cspdensenet169", 2_939_153_213, 10_842_485, 7_606_339, (72, 123, 302, 738)),
    "CSPDenseNet201": ("cspdensenet201", 3_774_599_645, 15_507_445, 8_184_931, (72, 123, 430, 834)),
    "CSPDenseNet264": (
        "cspdensenet264",
        5_103_093_117,
        26_427_989,
        8_901_507,
        (72, 123, 558, 1186),
    ),
    "CSPPeleeNet": ("csppeleenet", 561_747_944, 2_856_488, 3_571_336, (128, 256, 512, 704)),
}
# fmt: off
# Tag, license, classes, sides of the test images; per net its top-1 at each side. The hub's id is
# timm/<net>.<tag>. Numbers of timm (https://github.com/huggingface/pytorch-image-models):
# timm/models/regnet.py, cspnet.py and results/results-imagenet.csv.
_TAGS = (
    ("pycls_in1k", "MIT", 1000, (224,), {
        "regnetx_002": (68.76,), "regnetx_004": (72.48,), "regnetx_006": (73.90,), "regnetx_008": (75.05,),
        "regnetx_016": (76.94,), "regnetx_032": (78.16,), "regnetx_040": (78.49,), "regnetx_064": (79.06,),
        "regnetx_080": (79.21,), "regnetx_120": (79.61,), "regnetx_160": (79.84,), "regnetx_320": (80.26,),
        "regnety_002": (70.29,), "regnety_004": (74.00,), "regnety_006": (75.27,), "regnety_008": (76.33,),
        "regnety_016": (77.88,), "regnety_032": (78.90,), "regnety_040": (79.25,), "regnety_064": (79.73,),
        "regnety_080": (79.87,), "regnety_120": (80.38,), "regnety_160": (80.28,), "regnety_320": (80.80,),
    }),
    ("tv2_in1k", "BSD-3-Clause", 1000, (224,), {
        "regnetx_004_tv": (74.60,), "regnetx_008": (77.29,), "regnetx_016": (79.44,), "regnetx_032": (80.92,),
        "regnetx_080": (81.55,), "regnetx_160": (82.57,), "regnetx_320": (82.82,),
        "regnety_004": (75.59,), "regnety_008_tv": (78.67,), "regnety_016": (80.67,), "regnety_032": (81.79,),
        "regnety_080_tv": (82.58,), "regnety_160": (82.65,), "regnety_320": (83.17,),
    }),
    ("ra_in1k", "Apache-2.0", 1000, (224, 288), {"regnety_032": (81.95, 82.72)}),
    ("ra3_in1k", "Apache-2.0", 1000, (224, 288), {
        "regnety_040": (82.31, 83.05), "regnety_064": (83.01, 83.72), "regnety_080": (83.17, 83.94),
    }),
    ("deit_in1k", "Apache-2.0", 1000, (224, 288), {"regnety_160": (83.00, 83.70)}),
    ("sw_in12k_ft_in1k", "Apache-2.0", 1000, (224, 288), {"regnety_120": (84.99, 85.43), "regnety_160": (85.60, 86.03)}),
    ("lion_in12k_ft_in1k", "Apache-2.0", 1000, (224, 288), {"regnety_160": (85.60, 86.00)}),
    ("sw_in12k", "Apache-2.0", 11821, (), {"regnety_120": (), "regnety_160": ()}),
    ("swag_ft_in1k", "CC-BY-NC-4.0", 1000, (384,), {"regnety_160": (86.02,), "regnety_320": (86.83,), "regnety_1280": (88.23,)}),
    ("swag_lc_in1k", "CC-BY-NC-4.0", 1000, (224,), {"regnety_160": (83.81,), "regnety_320": (84.65,), "regnety_1280": (85.96,)}),
    ("seer_ft_in1k", "seer-license", 1000, (384,), {
        "regnety_320": (83.32,), "regnety_640": (83.92,), "regnety_1280": (84.43,), "regnety_2560": (85.14,),
    }),
    ("seer", "seer-license", 0, (), {"regnety_320": (), "regnety_640": (), "regnety_1280": ()}),
    ("ra_in1k", "Apache-2.0", 1000, (256,), {"cspresnet50": (79.58,), "cspresnext50": (80.55,), "cspdarknet53": (80.08,)}),
    ("c2ns_in1k", "Apache-2.0", 1000, (256, 288), {
        "darknet53": (80.01, 80.54),
        "cs3darknet_m": (76.97, 77.64), "cs3darknet_l": (80.35, 80.88), "cs3darknet_x": (81.86, 82.23),
    }),
)
# fmt: on


def list_models(pretrained=False):
    """The names of the backbone constructors; with `pretrained` only those for which
    `weights="imagenet"` works.

    >>> "RegNetY008" in list_models(pretrained=True)
    True
    """
    pretrained = check_flag(pretrained, "pretrained")
    constructors = [name for name in names() if "(" not in name]
    return [name for name in constructors if row(name)["weights"]] if pretrained else constructors


def names():
    """The constructors in `list_models`, and the calls that build published nets without their own
    constructor.

    >>> [name for name in names() if "gf" in name]
    ['RegNetY("8.0gf_tv")', 'RegNetY("64gf")', 'RegNetY("128gf")', 'RegNetY("256gf")']
    """
    return [*_REGNETS, *_OTHERS]


def find(name, others=()):
    """Finds the one of `names()` that is meant, in any case, with any quotes (a shell removes
    some), or by timm's name of its variant. `others` are further names that the error may suggest.

    Raises:
        ValueError: for an unknown name, with the nearest known ones.

    >>> find("regnety('64GF')"), find("regnety_008")
    ('RegNetY("64gf")', 'RegNetY008')
    """
    known = {_plain(variant_of(each)): each for each in names()}
    known |= {_plain(each): each for each in names()}
    if _plain(name) in known:
        return known[_plain(name)]
    hint = did_you_mean(name, [*others, *names()])
    raise ValueError(f"Unknown backbone {name!r}. {hint}`list_models()` names all of them.")


def _plain(name):
    return re.sub(r"[\"'_]", "", str(name)).lower()


def variant_of(name):
    """The variant, by timm's name, of one of `names()`.

    >>> variant_of('RegNetY("64gf")')
    'regnety_640'
    """
    return _REGNETS[name] if name in _REGNETS else _OTHERS[name][0]


def constructor(name):
    """The function from the arguments of keras.applications to the model of one of `names()`,
    spelled as in `find`.

    >>> constructor("RegNetX('400mf_tv')")(include_top=False, input_shape=(32, 32, 3)).name
    'regnetx_004_tv'
    """
    name = find(name)
    if "(" in name:
        return functools.partial(
            getattr(regnet, name.partition("(")[0]), _REGNETS[name].partition("_")[2]
        )
    return next(vars(module)[name] for module in (regnet, cspnet, densenet) if name in vars(module))


def spec(name):
    """The `RegNetSpec` of one of `names()`, or `None` for the other families."""
    return regnet.VARIANTS[_REGNETS[name]] if name in _REGNETS else None


def published(variant):
    """Every `HubWeights` of a net, such as `"regnety_008"`.

    >>> [each.license for each in published("regnety_032")]
    ['MIT', 'BSD-3-Clause', 'Apache-2.0']
    """
    return tuple(
        HubWeights(f"timm/{variant}.{tag}", tuple(zip(sides, nets[variant])), license, classes)
        for tag, license, classes, sides, nets in _TAGS
        if variant in nets
    )


def row(name):
    """The facts about one of `names()`, see `model_table`."""
    variant, known = variant_of(name), published(variant_of(name))
    if name in _REGNETS:
        anynet = spec(name).to_anynet()
        macs, params, activations = complexity(anynet)
        channels = anynet.widths
    else:
        _, macs, params, activations, channels = _OTHERS[name]
    imagenet = checkpoints.imagenet(variant)
    recommended = next((each for each in known if each.id == imagenet), None)
    return {
        "name": name,
        "params": params,
        "macs": macs,
        "activations": activations,
        "strides": (4, 8, 16, 32),
        "channels": channels,
        "weights": recommended.id if recommended else None,
        "top1": recommended.top1[0][1] if recommended else None,
        "license": recommended.license if recommended else None,
        "checkpoints": known,
    }
