"""CSPDenseNet and CSPPeleeNet: our definition, so shapes, arithmetic and the paper's orders of
magnitude."""

import keras
import numpy as np
import pytest
from without_values import without_values

import keras_detblocks as kdb
from keras_detblocks.backbones import densenet
from keras_detblocks.backbones.applications import Arguments, application


@without_values()
def test_levels_at_odd_sizes():
    model = kdb.CSPPeleeNet(include_top=False, input_shape=(75, 101, 3), levels=(1, 2, 3, 4, 5))
    sizes = [tuple(t.shape[1:]) for t in model.output.values()]
    assert sizes == [(38, 51, 32), (19, 26, 128), (10, 13, 256), (5, 7, 512), (3, 4, 704)]


@without_values()
def test_dense_widths():
    """64 -> T1 of 32 + 6 * 32 halved, plus 32 bypassed, halved; the last stage only
    concatenates."""
    model = kdb.CSPDenseNet121(include_top=False, input_shape=(64, 64, 3), levels=(2, 3))
    assert model.output["P2"].shape[-1] == (32 + (32 + 6 * 32) // 2) // 2 == 72
    assert model.output["P3"].shape[-1] == (36 + (36 + 12 * 32) // 2) // 2


@without_values()
def test_peleenet_has_the_papers_size():
    """2.83 M parameters in the paper, whose widths were not published."""
    model = kdb.CSPPeleeNet(input_shape=(64, 64, 3))
    trainable = sum(int(np.prod(v.shape)) for v in model.trainable_weights)
    assert abs(trainable / 2.83e6 - 1) < 0.1


@without_values()
def test_output_stride_dilates():
    model = kdb.CSPPeleeNet(
        include_top=False, input_shape=(64, 64, 3), output_stride=16, levels=(4,)
    )
    assert model.output["P4"].shape == (None, 4, 4, 704)
    assert model.get_layer("stages_3").block.dilation_rate == 2


def test_odd_growth_of_two_branches_is_refused():
    with pytest.raises(ValueError, match="must be even"):
        kdb.TwoWayDenseBlock(2, growth_rate=7)


def test_no_drop_path():
    with pytest.raises(ValueError, match="drop_path_rate"):
        kdb.CSPDenseNet121(drop_path_rate=0.1)


@pytest.mark.slow
def test_round_trip(tmp_path, monkeypatch):
    """Of CSPPeleeNet with one layer a stage."""
    monkeypatch.setattr(densenet, "PELEENET_DEPTHS", (1, 1, 1, 1))
    trunk = densenet.csp_peleenet_trunk("net")
    model = application(trunk, Arguments(input_shape=(32, 32, 3), classes=5))
    x = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype("float32")
    model.save(tmp_path / "net.keras")
    np.testing.assert_allclose(
        keras.models.load_model(tmp_path / "net.keras")(x), model(x), atol=1e-6
    )
