"""The examples about backbones run."""

import importlib.util
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf
from without_values import without_values

import keras_detblocks as kdb

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name.replace("/", "_"), EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_csp_fusion(capsys):
    with without_values():
        savings = load("csp_fusion").main("--depths 1 2 3 2".split())
    # The paper's order and sign, and more bypass saves more.
    assert all(
        savings["first", gamma] < savings["last", gamma] < savings["full", gamma] < 0
        for gamma in (0.25, 0.5)
    )
    assert all(savings[fusion, 0.5] < savings[fusion, 0.25] for fusion in ("first", "last", "full"))
    assert "gamma" in capsys.readouterr().out


@pytest.mark.slow
def test_conv_benchmark():
    assert set(load("benchmarks/conv").main(["--smoke"])) >= {"dense", "ours, group width 8"}


@pytest.mark.slow
def test_tflite_backbones(capsys):
    load("benchmarks/tflite_backbones").main(["--smoke"])
    assert "int8" in capsys.readouterr().out


@pytest.mark.slow
def test_regnet_step(monkeypatch, capsys):
    """One tiny step each; without PyTorch its row is left out, and it is said how to get it."""
    monkeypatch.setitem(sys.modules, "torch", None)
    example = load("benchmarks/regnet_step")
    assert set(example.main(["--smoke"])) == {"plain tf.nn", "ours"}
    assert "pip install" in capsys.readouterr().out


@pytest.mark.slow
def test_regnet_step_compares_one_net():
    """With the weights of ours the plain net gives the same logits in training, and the same
    statistics."""
    example = load("benchmarks/regnet_step")
    spec = kdb.AnyNetSpec((1, 2), (16, 24), (1, 1), (8, 8), se_ratio=0.25, stem_width=8)
    model = kdb.AnyNet(
        spec,
        input_shape=(64, 64, 3),
        classes=5,
        classifier_activation=None,
        include_preprocessing=False,
    )
    x = tf.random.stateless_normal((2, 64, 64, 3), (0, 1))
    net = example.Plain(spec, classes=5)
    net(x)
    ours = {v.path: v for v in model.weights if "seed_generator" not in v.path}
    assert set(net.made) == set(ours)
    for path, variable in net.made.items():
        variable.assign(ours[path].value)
    np.testing.assert_allclose(net(x), model(x, training=True), rtol=1e-4, atol=1e-5)
    name = "s2_b2_conv2_bn/moving_mean"
    np.testing.assert_allclose(net.made[name], ours[name], rtol=1e-4, atol=1e-6)
