"""What there is to choose from: every backbone, its size, and its published weights."""

from . import cspnet, regnet
from .complexity import complexity

# Recommended checkpoints: the paper's own training where there is one; top-1 in percent from timm's results at 224 (CSPNets: 256).
_REGNET_TOP1 = {
    "X": (68.76, 72.48, 73.90, 75.05, 76.94, 78.16, 78.49, 79.06, 79.21, 79.61, 79.84, 80.26),
    "Y": (70.29, 74.00, 75.27, 76.33, 77.88, 78.90, 79.25, 79.73, 79.87, 80.38, 80.28, 80.80),
}
_REGNET_CODES = ("002", "004", "006", "008", "016", "032", "040", "064", "080", "120", "160", "320")
# name: variant, MACs, parameters and activations at 224x224 with 1000 classes (a test counts them again), channels of P2 to P5,
# top-1
_OTHERS = {
    "CSPResNet50": ("cspresnet50", 3_458_753_512, 21_616_168, 8_806_888, (128, 256, 512, 1024), 79.58),
    "CSPResNet50D": ("cspresnet50d", 3_698_394_088, 21_635_400, 9_609_704, (128, 256, 512, 1024), None),
    "CSPResNet50W": ("cspresnet50w", 3_843_924_968, 28_118_216, 9_333_736, (256, 512, 1024, 2048), None),
    "CSPResNeXt50": ("cspresnext50", 3_074_425_832, 20_569_896, 12_143_592, (256, 512, 1024, 2048), 80.55),
    "CSPDarknet53": ("cspdarknet53", 5_002_568_680, 27_642_184, 12_871_144, (128, 256, 512, 1024), 80.08),
    "CSPDarknet53Cfg": ("cspdarknet53_cfg", 5_002_568_680, 27_642_184, 12_871_144, (128, 256, 512, 1024), None),
    "Darknet53": ("darknet53", 7_109_157_864, 41_609_928, 9_484_264, (128, 256, 512, 1024), 80.01),
    "CS3DarknetS": ("cs3darknet_s", 545_424_360, 3_276_344, 2_271_464, (64, 128, 256, 512), None),
    "CS3DarknetM": ("cs3darknet_m", 1_584_022_504, 9_310_240, 4_046_440, (96, 192, 384, 768), 76.97),
    "CS3DarknetL": ("cs3darknet_l", 3_711_239_144, 21_164_168, 6_548_968, (128, 256, 512, 1024), 80.35),
    "CS3DarknetX": ("cs3darknet_x", 6_397_215_720, 35_046_320, 8_687_720, (160, 320, 640, 1280), 81.86),
    "CSPDenseNet121": ("cspdensenet121", 2_483_855_597, 5_916_757, 7_179_059, (72, 123, 238, 434), None),
    "CSPDenseNet169": ("cspdensenet169", 2_939_153_213, 10_842_485, 7_606_339, (72, 123, 302, 738), None),
    "CSPDenseNet201": ("cspdensenet201", 3_774_599_645, 15_507_445, 8_184_931, (72, 123, 430, 834), None),
    "CSPDenseNet264": ("cspdensenet264", 5_103_093_117, 26_427_989, 8_901_507, (72, 123, 558, 1186), None),
    "CSPPeleeNet": ("csppeleenet", 561_747_944, 2_856_488, 3_571_336, (128, 256, 512, 704), None),
}


def list_models(pretrained=False):
    """Names of the backbone constructors; with `pretrained` those that `weights="imagenet"` works for.

    >>> "RegNetY008" in list_models(pretrained=True)
    True
    """
    names = [f"RegNet{family}{code}" for family in "XY" for code in _REGNET_CODES] + list(_OTHERS)
    return [name for name in names if row(name)["weights"]] if pretrained else names


def row(name):
    """Facts about one backbone, see `model_table`."""
    if name in _OTHERS:
        variant, macs, params, activations, channels, top1 = _OTHERS[name]
        weights, licence = cspnet.IMAGENET.get(variant), "Apache-2.0"
    else:
        variant = f"regnet{name[6].lower()}_{name[7:]}"
        spec = regnet.VARIANTS[variant].to_anynet()
        macs, params, activations = complexity(spec)
        channels, weights, licence = spec.widths, f"timm/{variant}.pycls_in1k", "MIT"
        top1 = _REGNET_TOP1[name[6]][_REGNET_CODES.index(name[7:])]
    return {
        "name": name,
        "params": params,
        "macs": macs,
        "activations": activations,
        "strides": (4, 8, 16, 32),
        "channels": channels,
        "weights": weights,
        "top1": top1,
        "licence": licence if weights else None,
    }
