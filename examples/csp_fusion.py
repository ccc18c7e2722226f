"""Shows what the paper's fusion modes save: PeleeNet's dense stages with plain, first, last and
full fusion at gamma 0.25 and 0.5.

    python examples/csp_fusion.py

The paper's figures (https://arxiv.org/abs/1911.11929) are printed beside ours. The widths of its
transitions were not published, so these are our choices: the transition of fusion last keeps the
width of the processed part; that of fusion first passes on `1 - gamma / 2` of the stage's width, so
that its stages end narrower than the plain net's; the first of full fusion's two is half as wide as
the processed part. At equal width full fusion costs more than the plain net: closeness to the
paper's figures is no evidence of equal nets.

Expected: first saves most, then last, then full, as in the paper. Takes half a minute.
"""

import argparse

import keras

import keras_detblocks as kdb

PAPER = {
    ("first", 0.5): -26,
    ("last", 0.5): -21,
    ("full", 0.5): -13,
    ("last", 0.25): -11,
    ("full", 0.25): -3,
}
DEPTHS = (3, 4, 8, 6)


def net(fusion, gamma, depths=DEPTHS, image_size=(224, 224)):
    """Stem, dense stages under one fusion mode, pooling between them; first ends a stage narrower,
    the others at plain's width."""
    image = keras.Input((*image_size, 3))
    x = kdb.conv_norm_act(image, 32, 3, 2, name="stem1")
    x = kdb.conv_norm_act(x, 32, 3, 2, name="stem2")
    for stage, (depth, width) in enumerate(zip(depths, (16, 32, 64, 64))):
        block = kdb.TwoWayDenseBlock(depth, 32, width, name=f"dense{stage}")
        wide = x.shape[-1] + depth * 32
        if fusion == "plain":
            x = kdb.conv_norm_act(block(x), wide, 1, name=f"transition{stage}")
        else:
            part = wide - round(x.shape[-1] * gamma)
            # This and the next line: chosen, not published.
            part = part // 2 if fusion == "full" else part
            end = round(wide * (1 - gamma / 2)) if fusion == "first" else wide
            x = kdb.CrossStage(block, end, fusion, gamma, part, name=f"stage{stage}")(x)
        if stage < len(depths) - 1:
            x = keras.layers.AveragePooling2D(2, padding="same")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(1000)(x))


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--depths", type=int, nargs=4, default=DEPTHS, help="of the stages (default: PeleeNet's)"
    )
    depths = parser.parse_args(arguments).depths
    plain = kdb.complexity(net("plain", 0.0, depths))
    print(f"{'fusion':8}{'gamma':>6}{'MACs':>10}{'params':>10}{'saved':>8}{'paper':>8}")
    print(f"{'plain':8}{'-':>6}{plain.macs / 1e6:9.1f}M{plain.params / 1e6:9.2f}M")
    savings = {}
    for gamma in (0.25, 0.5):
        for fusion in ("first", "last", "full"):
            counted = kdb.complexity(net(fusion, gamma, depths))
            savings[fusion, gamma] = saved = 100 * (counted.macs / plain.macs - 1)
            paper = f"{PAPER[fusion, gamma]:+d} %" if (fusion, gamma) in PAPER else "-"
            numbers = f"{counted.macs / 1e6:9.1f}M{counted.params / 1e6:9.2f}M{saved:+7.1f} %"
            print(f"{fusion:8}{gamma:>6}{numbers}{paper:>8}", flush=True)
    return savings


if __name__ == "__main__":
    main()
