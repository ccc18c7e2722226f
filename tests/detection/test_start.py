"""The start: which parts of which detectors it fits, what it leaves alone, and the file that
ships."""

import keras
import numpy as np
import pytest

import keras_detblocks as kdb
from keras_detblocks.detection.start import OBJECT, save_start, shipped_start, start_weights


def values(detector):
    return {v.path: keras.ops.convert_to_numpy(v) for v in detector.weights}


@pytest.fixture(scope="module")
def source():
    """A detector of the start's classes, with weights of its own."""
    keras.utils.set_random_seed(1)
    detector = kdb.build_detector(["round", OBJECT], (64, 64))
    rng = np.random.default_rng(0)
    for variable in detector.weights:
        variable.assign(rng.normal(1, 0.1, variable.shape).astype("float16"))
    return detector


@pytest.fixture(scope="module")
def file(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    save_start(source, path, {"license": "Apache-2.0"})
    return path


@pytest.mark.slow
def test_default_parts_start_whole(source, file):
    detector = kdb.build_detector(["a", "b", "c"], (96, 64))
    assert start_weights(detector, file) == ("backbone", "neck", "head")
    expected, received = values(source), values(detector)
    classes = {v.path for v in detector.head.classifier.weights}
    for path, value in received.items():
        wanted = expected[path][..., [1, 1, 1]] if path in classes else expected[path]
        np.testing.assert_array_equal(value, wanted, path)  # float16 numbers survive the file


@pytest.mark.slow
def test_other_levels_keep_what_the_file_lacks(source, file):
    detector = kdb.build_detector(["a"], (64, 64), levels=(3, 4, 5, 6))
    before = values(detector)
    assert start_weights(detector, file)[0] == "backbone"
    after, taken = values(detector), values(source)
    new = [path for path in after if path not in taken]
    assert all(np.array_equal(after[path], before[path]) for path in new)
    assert start_weights(kdb.build_detector(["a"], (64, 64), levels=(3, 4)), file) == (
        "backbone",
        "neck",
        "head",
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "started"),
    [
        ({"neck": "panet"}, ("backbone",)),
        ({"filters": 32}, ("backbone",)),
        ({"context": "sppf"}, ("backbone",)),
        ({"backbone": "regnety002"}, ()),
    ],
)
def test_other_parts(file, options, started):
    """A part starts if what is below it did: a neck means nothing behind another backbone."""
    detector = kdb.build_detector(["a"], (64, 64), **options)
    before = values(detector)
    assert start_weights(detector, file) == started
    backbone = {v.path for v in detector.backbone.weights}
    for path, value in values(detector).items():
        if not (started and path in backbone):
            np.testing.assert_array_equal(value, before[path], path)


def test_the_file_that_ships_fits_the_default_detector():
    path = shipped_start()
    assert path.is_file() and path.stat().st_size < 2e6
    detector = kdb.build_detector(["a"], (64, 64))
    assert start_weights(detector) == ("backbone", "neck", "head")
    assert all(np.isfinite(value).all() for value in values(detector).values())


def test_a_start_needs_the_class_of_everything(file):
    with pytest.raises(ValueError, match="needs the class 'object'"):
        save_start(kdb.build_detector(["a"], (64, 64)), file)
