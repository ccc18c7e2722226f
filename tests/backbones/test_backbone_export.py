"""One small backbone of each family in every export format: all in one model, one conversion a
format."""

import backbone_families
import pytest

from keras_detblocks import export


@pytest.fixture(scope="module")
def every_family():
    return backbone_families.every_family()


@pytest.mark.slow
@pytest.mark.parametrize("format", ["saved_model", "onnx", "tflite"])
def test_exports(every_family, tmp_path, format):
    """Each export is opened in a process of its own and compared with Keras before it is
    returned."""
    report = getattr(export, f"to_{format}")(every_family, tmp_path / f"backbones.{format}")
    assert set(report.max_error) == {
        f"{name}_P{level}" for name in backbone_families.TRUNKS for level in (3, 4)
    }
    assert not {"SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "TILE"} & set(report.operators)
