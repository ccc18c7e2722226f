"""Puts RFBNet's arrangement of RFB blocks (https://arxiv.org/abs/1711.07767) on top of any
backbone: from an image to six or seven maps.

    python examples/rfbnet.py [--size 300] [--smoke]

The first map is refined by RFB-s; from the next one a chain of RFBs, the later ones at stride 2,
makes the others, and two pairs of plain convolutions the last ones. Prints each map's shape.
"""

import argparse

import keras

import keras_detblocks as kdb

# filters, strides, visual of the chain; kernel and padding of the tail's second convolutions.
CHAINS = {
    300: [(1024, 1, 2), (512, 2, 2), (256, 2, 2)],
    512: [(1024, 1, 2), (512, 2, 2), (256, 2, 2), (256, 2, 1), (256, 2, 1)],
}
TAILS = {300: [(3, "valid"), (3, "valid")], 512: [(4, "symmetric")]}


def rfbnet(backbone, size=300, width=1.0):
    """A model from the backbone's image to a dict of maps, the finest first.

    `backbone` returns a dict of two levels, strides 8 and 16 (in the paper VGG's conv4_3 and fc7).
    The names of the further maps count on, although the last ones are not at stride 2 ** l: their
    sizes are the paper's.
    """
    first, second = sorted(backbone.output, key=lambda key: int(key[1:]))[:2]
    level, x = int(first[1:]), backbone.output[second]
    maps = {first: kdb.RFBs(round(512 * width), name="rfb_s")(backbone.output[first])}
    for i, (filters, strides, visual) in enumerate(CHAINS[size]):
        x = kdb.RFB(round(filters * width), strides=strides, visual=visual, name=f"rfb{i}")(x)
        maps[f"P{level + 1 + i}"] = x
    for i, (kernel, padding) in enumerate(TAILS[size]):
        x = kdb.ConvNormAct(round(128 * width), name=f"tail{i}_reduce")(x)
        if padding == "symmetric":  # a 4x4 kernel with one pixel on each side
            x = keras.layers.ZeroPadding2D(1)(x)
        x = kdb.ConvNormAct(round(256 * width), kernel, padding="valid", name=f"tail{i}")(x)
        maps[f"P{level + len(maps)}"] = x
    return keras.Model(backbone.input, maps, name=f"rfbnet{size}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, choices=sorted(CHAINS), default=300)
    parser.add_argument("--smoke", action="store_true", help="narrow blocks")
    options = parser.parse_args(arguments)
    shape = (options.size, options.size, 3)
    backbone = kdb.RegNetX("200mf", include_top=False, input_shape=shape, levels=(3, 4))
    model = rfbnet(backbone, options.size, width=0.125 if options.smoke else 1.0)
    for name, x in model.output.items():
        print(name, tuple(x.shape[1:]))
    return model


if __name__ == "__main__":
    main()
