"""Measures activation memory, multiply-adds and latency of CSPNet's Exact Fusion Model with and
without cross-channel pooling.

    python examples/benchmarks/efm.py            # 256 filters at 320 x 320, about a minute
    python examples/benchmarks/efm.py --smoke    # small, seconds

Prints one row per pool size (1 is the model without pooling). "Gathered" are the maps that the 1x1
convolutions of the F column read, which the pooling shrinks; "activations" are all maps that the
neck writes.
"""

import argparse
import statistics
import time

import tensorflow as tf

import keras_detblocks as kdb

# Operators that write a map; the others (reshapes, reads of variables) do not.
WRITERS = {
    "Conv2D",
    "ConcatV2",
    "Maximum",
    "MaxPool",
    "ResizeNearestNeighbor",
    "LeakyRelu",
    "FusedBatchNormV3",
    "StridedSlice",
}


def trace(neck, shapes):
    """The neck as a TensorFlow function of batch 1, in inference mode."""
    model = kdb.as_model(neck, shapes, batch_size=1)
    function = tf.function(lambda x: model(x, training=False))
    return function.get_concrete_function(
        {key: tf.TensorSpec((1, *shape), name=key) for key, shape in shapes.items()}
    )


def written_mib(graph):
    """The MiB of all maps written, in float32."""
    maps = [
        op.outputs[0]
        for op in graph.get_operations()
        if op.type in WRITERS and op.outputs[0].shape.rank == 4
    ]
    return sum(x.shape.num_elements() for x in maps) * 4 / 2**20


def gigamacs(graph):
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation() | {"output": "none"}
    return tf.compat.v1.profiler.profile(graph, options=options).total_float_ops / 2e9


def milliseconds(function, shapes, repeats):
    x = {key: tf.random.normal((1, *shape)) for key, shape in shapes.items()}
    seconds = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        function(x)
        seconds.append(time.perf_counter() - start)
    return 1000 * statistics.median(seconds[2:])


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--image-size", type=int, default=320)
    parser.add_argument("--filters", type=int, default=256)
    args = parser.parse_args(arguments)
    size, filters = (64, 16) if args.smoke else (args.image_size, args.filters)
    # The widths of CSPResNet-like backbones: double per level.
    shapes = {
        f"P{l}": (-(-size // 2**l), -(-size // 2**l), filters * 2 ** (l - 2) // 2)
        for l in (2, 3, 4, 5)
    }
    print(
        f"{'pool':>4} {'params M':>9} {'GMACs':>7} {'gathered MiB':>13} {'activations MiB':>16} "
        f"{'ms':>8}"
    )
    for pool_size in (1, 2, 4):
        neck = kdb.EFM(filters, pool_size=pool_size)
        function = trace(neck, shapes)
        gathered = sum(
            shapes[l][0] * shapes[l][1] * neck.fuses[l].conv.kernel.shape[2] for l in neck.fuses
        )
        print(
            f"{pool_size:>4} {neck.count_params() / 1e6:>9.2f} {gigamacs(function.graph):>7.3f} "
            f"{gathered * 4 / 2**20:>13.2f} {written_mib(function.graph):>16.2f} "
            f"{milliseconds(function, shapes, 3 if args.smoke else 20):>8.2f}"
        )


if __name__ == "__main__":
    main()
