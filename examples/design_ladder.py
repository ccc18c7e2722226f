"""The ladder of design spaces, AnyNetX_A to E and RegNetX, at toy scale: what each constraint does
to the error distribution.

    python examples/design_ladder.py --out ladder
    python examples/design_ladder.py --out ladder100 --nets 100

The first trains 8 nets of each space for 6 epochs on the digit scans; building and tracing a net
takes most of its seconds on a CPU. The number of nets is part of a sweep's settings, so that
another one needs another folder.

Run it again to continue after an interruption, or in a second shell to share the work;
`ladder/report.html` has the figures. Expected output: a line per space with its number of nets,
least and mean error, and the p-value of its difference to AnyNetX_A. The paper compares 500 nets of
10 ImageNet epochs. Measured once with `--nets 16`: mean error A 0.045, B 0.034, C 0.034, D 0.026, E
0.029, RegNetX 0.095, with p = 0.18, 0.23, 0.00, 0.03 and 0.46 against A. So D and E are better than
A as in the paper, and the least errors (0.010 to 0.018) do not tell the spaces apart. Two RegNetX
of 11 and 12 blocks hardly learned in six epochs (0.47 and 0.60) and make its mean; the median of
the other fourteen is 0.023.
"""

import argparse
import pathlib

from keras_detblocks import design
from keras_detblocks.design import Choice, Range

TOY = {"stages": 3, "stem_width": 16}
LADDER = [
    space.derive(
        space.name,
        depths=Range(1, 4),
        widths=Range(8, 96, 8),
        group_widths=Choice((1, 2, 4, 8)),
        **TOY,
    )
    for space in (
        design.AnyNetX_A,
        design.AnyNetX_B,
        design.AnyNetX_C,
        design.AnyNetX_D,
        design.AnyNetX_E,
    )
]
REGNET = design.RegNetXSpace.derive(
    "RegNetX",
    depth=Range(3, 12),
    w_0=Range(8, 96, 8),
    w_a=Range(2, 64, 0.1),
    group_width=Choice((1, 2, 4, 8)),
    **TOY,
)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=pathlib.Path,
        default=pathlib.Path("ladder"),
        help="folder of the sweeps and the report",
    )
    parser.add_argument("--storage", default=None, help="database that several machines reach")
    parser.add_argument("--nets", type=int, default=8, help="for each space")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="under a minute: two small spaces, one net each, one epoch",
    )
    options = parser.parse_args(arguments)

    task = design.Classification(
        "digits", epochs=1 if options.smoke else options.epochs, image_size=16
    )
    window = (1e4, 1e5) if options.smoke else (3e5, 1e6)  # multiply-adds at 16x16
    nets, spaces = (1, [LADDER[0], REGNET]) if options.smoke else (options.nets, [*LADDER, REGNET])
    results = [
        design.sweep(
            space,
            nets,
            task,
            options.storage,
            out=options.out,
            constraints={"macs": window},
            image_size=16,
            classes=10,
        )
        for space in spaces
    ]
    for result in results:
        distribution = design.edf(result.errors)
        p = design.permutation_test(result.errors, results[0].errors, rng=0).mean_p
        print(
            f"{result.name:10} n={len(result)} min {distribution.min:.3f} mean "
            f"{distribution.mean:.3f} p={p:.2f}"
        )
    print(design.report(results, options.out / "report.html"))


if __name__ == "__main__":
    main()
