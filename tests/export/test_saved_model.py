import os
import subprocess
import sys

import numpy as np
import pytest
from export_models import grouped_model, pictures

from keras_detblocks.export import ExportError, to_saved_model

LOAD = """
import sys, numpy as np, tensorflow as tf
x, want = np.load(sys.argv[2]).values()
got = tf.saved_model.load(sys.argv[1]).signatures["serving_default"](image=tf.constant(x))["output"]
print("error", float(np.abs(got - want).max()))
"""


@pytest.mark.slow
def test_it_loads_without_the_package_with_onednn_on_and_off(tmp_path):
    model = grouped_model()
    report = to_saved_model(model, tmp_path / "m", image_size=(32, 40))
    assert max(report.max_error.values()) < 1e-4
    images = pictures(3)
    np.savez(tmp_path / "data.npz", x=images, want=np.asarray(model(images)))
    for setting in "01":
        environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": setting, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-c", LOAD, str(tmp_path / "m"), str(tmp_path / "data.npz")]
        out = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert out.returncode == 0, out.stderr[-2000:]
        assert float(out.stdout.split()[-1]) < 1e-4


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(ExportError, match="other files"):
        to_saved_model(grouped_model(size=(32, 40)), tmp_path / "mine")
    (tmp_path / "mine" / "saved_model.pb").write_text("beside a model too")
    with pytest.raises(ExportError, match="other files"):
        to_saved_model(grouped_model(size=(32, 40)), tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
