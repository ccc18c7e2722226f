import pytest
from export_models import grouped_model

from keras_detblocks.export import ExportError, to_saved_model


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(ExportError, match="other files"):
        to_saved_model(grouped_model(size=(32, 40)), tmp_path / "mine")
    (tmp_path / "mine" / "saved_model.pb").write_text("beside a model too")
    with pytest.raises(ExportError, match="other files"):
        to_saved_model(grouped_model(size=(32, 40)), tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
