"""Grouped 3x3 convolution, forward and training step: ours, Keras' own `groups=`, and dense, on (8,
28, 28, 128).

    python examples/benchmarks/conv.py

Takes about a minute, most of it Keras' grouped gradient. `--smoke` runs everything once on a small
map.
"""

import argparse
import time

import keras
import numpy as np

import keras_detblocks as kdb


def milliseconds(function, repeats):
    """The median time of a call, after one to warm up."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def measure(layer, shape, repeats):
    """Returns (forward, forward and gradients) in milliseconds."""
    import tensorflow as tf

    x = tf.random.stateless_normal(shape, (0, 1))
    layer.build(shape)

    @tf.function
    def forward():
        return layer(x)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x) ** 2)
        return tape.gradient(loss, [x, layer.kernel.value])

    return milliseconds(forward, repeats), milliseconds(step, max(repeats // 4, 1))


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true")
    smoke = parser.parse_args(arguments).smoke
    shape, repeats = ((1, 7, 7, 32), 1) if smoke else ((8, 28, 28, 128), 20)
    print(f"3x3 on {shape}: {'forward':>12}{'training':>12}  (ms)")
    results = {}
    for width in (8, 16):
        groups = shape[-1] // width
        for name, layer in (
            (f"ours, group width {width}", kdb.Conv2D(shape[-1], 3, groups=groups, use_bias=False)),
            (
                f"keras, group width {width}",
                keras.layers.Conv2D(shape[-1], 3, padding="same", groups=groups, use_bias=False),
            ),
        ):
            results[name] = measure(layer, shape, repeats)
    results["dense"] = measure(
        keras.layers.Conv2D(shape[-1], 3, padding="same", use_bias=False), shape, repeats
    )
    for name, (forward, training) in results.items():
        print(f"{name:26}{forward:10.2f}{training:12.2f}")
    return results


if __name__ == "__main__":
    main()
