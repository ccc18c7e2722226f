"""Draws what each receptive-field block sees: the comparison of the RFB paper's figure, and every
context block of the package.

    python examples/receptive_fields.py [--out receptive_fields.png] [--smoke]

Writes a PNG of effective receptive fields (https://arxiv.org/abs/1701.04128) and prints theoretical
and effective sizes in pixels of the block's input. About a minute on a laptop's CPU; the deformable
convolution is drawn by its regular grid only, and `SpatialPyramidPooling` not at all: each number
of its vector sees a bin of the whole image.
"""

import argparse

import keras
import numpy as np

import keras_detblocks as kdb

INCEPTION = (
    ((1, (2, 1)), (3, (2, 1), (0, 1), True, False)),
    ((1,), (3, (2, 1)), (3, (2, 1), (0, 1), True, False)),
    ((1,), (5, (2, 1)), (3, (2, 1), (0, 1), True, False)),
)
FIGURE = {
    "Inception-style": lambda c: kdb.RFB(c, INCEPTION),
    "ASPP": lambda c: kdb.ASPP(c, rates=(2, 4, 6), image_pooling=False),
    "RFB": lambda c: kdb.RFB(c, "rfb_paper"),
}
BLOCKS = {
    "SPP": lambda c: kdb.SPP(filters=c),
    "SPPF": lambda c: kdb.SPPF(c),
    "SPPCSP": lambda c: kdb.SPPCSP(c),
    "ASPP v3": lambda c: kdb.ASPP(c),
    "ASPP v2": lambda c: kdb.ASPP(c, rates=(6, 12, 18, 24), merge="sum"),
    "RFBs": lambda c: kdb.RFBs(c),
    **{
        f"RFB {name}": lambda c, name=name: kdb.RFB(c, name)
        for name in kdb.context.rfb.PRESETS
        if name != "rfb_paper"
    },
}


def deformable_grid(side):
    """The grid on which a deformable 3x3 convolution samples before it has learned offsets: the
    regular one."""
    grid = np.zeros((side, side))
    grid[side // 2 - 1 : side // 2 + 2, side // 2 - 1 : side // 2 + 2] = 1.0
    return grid


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", default="receptive_fields.png")
    parser.add_argument(
        "--smoke", action="store_true", help="the figure alone, few channels and inputs"
    )
    options = parser.parse_args(arguments)
    channels, samples, side = (32, 1, 41) if options.smoke else (64, 16, 53)
    keras.utils.set_random_seed(0)
    fields = {}
    for name, make in {**FIGURE, **({} if options.smoke else BLOCKS)}.items():
        block = make(channels)
        fields[name] = kdb.effective_receptive_field(block, (side, side, channels), samples=samples)
        theory = kdb.theoretical_receptive_field(block, channels)
        print(
            f"{name:18} theoretical {theory!s:>4}  effective {fields[name].size:5.1f}  95 % "
            f"within {fields[name].side()}"
        )
        if name == "ASPP":
            fields["deformable (grid)"] = deformable_grid(side)
            print(f"{'deformable (grid)':18} theoretical    3  before it has learned offsets")
    kdb.plot_receptive_fields(fields, options.out, columns=4)  # the paper's four are the first row
    print(f"wrote {options.out}")
    return fields


if __name__ == "__main__":
    main()
