import json
import pathlib
import shutil
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from export_models import pictures, small_detector

from keras_detblocks import data, export
from keras_detblocks.cli import main
from keras_detblocks.export.check.detections import match
from keras_detblocks.export.detections import metadata
from keras_detblocks.export.formats import onnx, server, tflite
from keras_detblocks.export.graph import Signature
from keras_detblocks.export.runtime.metadata import read_metadata
from keras_detblocks.export.runtime.seal import BLANK, SEALED_VERSION, check_seal, seal
from keras_detblocks.export.runtime.session import Session

SIZE = (64, 96)


@pytest.fixture(scope="module")
def detector():
    return small_detector(SIZE)


@pytest.fixture(scope="module")
def images():
    return pictures(6, SIZE)


@pytest.fixture(scope="module")
def files(detector, images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    formats = ("onnx", "tflite", "tflite-int8")
    reports = export.export_all(detector, folder, formats, calibration=[(images, {"boxes": None})])
    return dict(zip(formats, reports))


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "tflite", "tflite-int8"])
def test_the_file_finds_what_keras_finds(files, detector, images, format):
    report = files[format]
    assert report.detections[1] > 4 and report.detections[0] >= 0.8 * report.detections[1]
    want = detector.predict(images, verbose=0)
    with export.open_exported(report.path) as exported:
        got = exported.predict(images)
        assert (exported.image_size, exported.class_names) == (SIZE, ("cat", "dog", "bird"))
        found, same = (
            exported.detect(images[0].astype("uint8"), 0.4),
            exported.detect([images[0].astype("uint8")], 0.4)[0],
        )
    assert len(found["scores"]) == len(same["scores"]) > 0 and found["scores"].min() >= 0.4
    assert {k: v.shape for k, v in got.items()} == {k: v.shape for k, v in want.items()}
    if format in ("onnx", "tflite"):
        np.testing.assert_array_equal(got["count"], want["count"])
        np.testing.assert_allclose(got["scores"], want["scores"], atol=1e-4)
        sure = want["scores"] > 0.3
        np.testing.assert_array_equal(got["labels"][sure], want["labels"][sure])
        np.testing.assert_allclose(got["boxes"][sure], want["boxes"][sure], atol=1e-2)


# MediaPipe in a process of its own, as an app has it; it prints a line of JSON for each pair of
# pictures and a file: what it finds, or why it refuses the file.
MEDIAPIPE = """
import json, sys, numpy as np, mediapipe as mp
from mediapipe.tasks.python import BaseOptions, vision
for images, path in zip(sys.argv[1::2], sys.argv[2::2]):
    pictures = [mp.Image(mp.ImageFormat.SRGB, x) for x in np.load(images)]
    options = vision.ObjectDetectorOptions(
        BaseOptions(path), max_results=-1, score_threshold=0.3
    )
    try:
        with vision.ObjectDetector.create_from_options(options) as detector:
            found = [detector.detect(picture).detections for picture in pictures]
    except ValueError as error:
        print(json.dumps(str(error)))
        continue
    boxes = [[d.bounding_box for d in each] for each in found]
    print(json.dumps([
        [(c.category_name, c.score, [b.origin_x, b.origin_y, b.width, b.height])
         for d, b in zip(*pair) for c in d.categories]
        for pair in zip(found, boxes)
    ]))
"""


def corner_and_sides(boxes):
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


@pytest.fixture(scope="module")
def unusual(tmp_path_factory):
    """A file of one class, an odd size, a mean for each channel, few detections and bytes in."""
    detector = small_detector(
        (75, 101),
        normalization=((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
        class_names=["the only one"],
        max_detections=7,
        score_threshold=0.2,
        resize="stretch",
    )
    for variable in detector.variables:
        if variable.path.endswith("logits_out/kernel"):
            variable.assign(2 * variable)  # sure of more
    path = tmp_path_factory.mktemp("unusual") / "m.tflite"
    export.to_tflite(detector, path, input_dtype="uint8")
    return str(path)


@pytest.mark.slow
def test_mediapipe_finds_the_same(files, unusual, agnostic, tmp_path):
    pytest.importorskip("mediapipe")
    images = pictures(20, SIZE, seed=11).astype("uint8")
    odd = np.ascontiguousarray(pictures(4, (80, 104), seed=11)[:, :75, :101].astype("uint8"))
    paths = [files["tflite"].path, files["tflite-int8"].path, unusual, agnostic[1]]
    arguments = []
    for name, path in zip(("images", "images", "odd", "images"), paths):
        np.save(tmp_path / f"{name}.npy", {"images": images, "odd": odd}[name])
        arguments += [str(tmp_path / f"{name}.npy"), path]
    command = [sys.executable, "-c", MEDIAPIPE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, pixels = done.stdout.strip().splitlines()[-4:]
    assert "require TFLite Model Metadata" in pixels  # one with outputs="pixels"
    for path, line in zip(paths, lines, strict=False):
        with export.open_exported(path) as exported:
            ours = exported.detect(list(odd if path == unusual else images), 0.3)
        for mine, theirs in zip(ours, json.loads(line)):
            theirs.sort(key=lambda found: -found[1])
            assert len(theirs) == len(mine["scores"]) > 0
            np.testing.assert_allclose([found[1] for found in theirs], mine["scores"], atol=1e-6)
            rows = zip(mine["class_names"], mine["scores"], corner_and_sides(mine["boxes"]))
            found = [
                any(
                    name == other and abs(score - s) < 1e-6 and np.abs(b - sides).max() <= 1
                    for other, s, b in theirs
                )
                for name, score, sides in rows
            ]
            # In eight bits neighbors have equal scores, and which survives may differ.
            assert np.mean(found) >= (0.8 if path == paths[1] else 1.0)


@pytest.mark.slow
def test_int8_keeps_decoding_and_suppression_in_float(files):
    """Scores of one scale with boxes would collapse to a few values."""
    with export.open_exported(files["tflite-int8"].path) as exported:
        found = exported.predict(pictures(2, SIZE, seed=5))
    assert len(np.unique(found["scores"])) > 20
    assert files["tflite-int8"].size < 0.6 * files["tflite"].size
    assert files["tflite-int8"].operators["DEQUANTIZE"] == 4  # logits and distances of two levels


@pytest.mark.slow
def test_what_a_device_must_know_is_in_the_tflite_file(files):
    with zipfile.ZipFile(files["tflite"].path) as archive:
        assert archive.read("labels.txt").decode().split() == ["cat", "dog", "bird"]
        about = json.loads(archive.read("keras_detblocks.json"))
    assert about["outputs"]["names"] == ["locations", "classes", "scores", "number"]
    assert about["image_size"] == list(SIZE) and about["letterbox"]["fill"] == 114
    canvas, _ = data.letterbox(np.zeros((10, 96, 3), "uint8"), SIZE)
    assert (canvas[-1, -1] == about["letterbox"]["fill"]).all() and (
        canvas[0, 0] == 0
    ).all()  # top left
    other = read_metadata(files["onnx"].path)
    assert other.pop("boxes").startswith("x_min") and other.pop("outputs")["form"] == "pixels"
    assert other.pop("sha256") != about["sha256"] and about | other == about


def flipped(content, place):
    damaged = bytearray(content)
    damaged[place] ^= 16
    return bytes(damaged)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_a_flipped_bit_is_told(files, tmp_path, format):
    """Wherever it lies in the model; without the checksum most of them are other values."""
    source = pathlib.Path(files[format].path)
    path, content = tmp_path / source.name, source.read_bytes()
    check_seal(source)
    for place in np.random.default_rng(0).integers(100, len(content) - 8000, 40):
        path.write_bytes(flipped(content, place))
        with pytest.raises(ValueError, match="is damaged: its sha256"):
            export.open_exported(path)


@pytest.mark.slow
def test_a_flipped_bit_in_the_metadata_is_told(files, tmp_path):
    """In every byte of an ONNX file's, and of a TFLite file's archive but for dates and the like,
    of which nothing is read."""
    content = pathlib.Path(files["onnx"].path).read_bytes()
    begin = content.index(b'{"format": "keras_detblocks.detector"')
    for place in range(begin, content.index(b"}", content.index(b'"sha256"')), 3):
        (tmp_path / "m.onnx").write_bytes(flipped(content, place))
        with pytest.raises(ValueError, match="is damaged"):
            check_seal(tmp_path / "m.onnx")
    content = pathlib.Path(files["tflite"].path).read_bytes()
    want, told = read_metadata(files["tflite"].path), 0
    places = range(content.index(b"keras_detblocks.json") - 30, len(content), 3)
    for place in places:
        (tmp_path / "m.tflite").write_bytes(flipped(content, place))
        try:
            assert read_metadata(tmp_path / "m.tflite") == want
        except ValueError as error:
            assert "is damaged" in str(error)
            told += 1
    assert told > 0.8 * len(places)


@pytest.fixture(scope="module")
def damaged(files, right, detector, tmp_path_factory):
    """A file or folder of each kind, one bit in its middle flipped, by the name of the kind."""
    folder = tmp_path_factory.mktemp("damaged")
    detector.save(folder / "m.keras")
    shutil.copytree(right[0] / "float" / "saved_model", folder / "m")
    for format in ("onnx", "tflite", "tflite-int8"):
        shutil.copyfile(files[format].path, folder / f"{format}.{format[:6].rstrip('-')}")
    found = {}
    for path in folder.iterdir():
        place = path / "saved_model.pb" if path.is_dir() else path
        content = place.read_bytes()
        place.write_bytes(flipped(content, len(content) // 2))
        found[path.stem if path.suffix != ".keras" else "keras"] = path
    return found


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["keras", "m", "onnx", "tflite", "tflite-int8"])
def test_nothing_is_opened_unchecked(damaged, rectangles, tmp_path, capsys, kind):
    """By no verb, and by no function that takes a path."""
    path = damaged[kind]
    for open_file in (Session, export.benchmark, lambda each: export.compare_latency([each])):
        with pytest.raises(ValueError, match="is damaged"):
            open_file(path)
    if kind != "keras":
        for open_file in (export.open_exported, read_metadata):
            with pytest.raises(ValueError, match="is damaged"):
                open_file(path)
    picture = next(rectangles.rglob("*.png"))
    for words in (
        ("predict", path, picture, "--out", tmp_path / "found"),
        ("evaluate", path, rectangles),
        ("compare", path, path.parent, "--data", rectangles),
        ("benchmark", path, "--images", "1"),
        ("export", path, "--out", tmp_path / "exported"),
    ):
        assert main([*map(str, words)]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert f"{path} is damaged" in said[-1] and len(said) == 1


def test_the_record_of_the_run_travels(detector, monkeypatch):
    assert "run" not in metadata(detector, None)
    monkeypatch.setattr(detector, "run_record", {"seed": 3})
    assert metadata(detector, None)["run"] == {"seed": 3}


def test_a_changed_saved_model_is_told(tmp_path):
    """In its files and in the metadata themselves."""
    (tmp_path / "variables").mkdir()
    weights, beside = tmp_path / "variables" / "a", tmp_path / "keras_detblocks.json"
    about = {
        "format": "keras_detblocks.detector",
        "version": SEALED_VERSION,
        "class_names": ["cat"],
    }
    for version in (SEALED_VERSION, 1):  # whose metadata are not covered
        weights.write_bytes(b"weights")
        beside.write_text(json.dumps(about | {"version": version, "sha256": BLANK}))
        check_seal(tmp_path)  # one that was not sealed
        seal(tmp_path)
        check_seal(tmp_path)
        (tmp_path / ".DS_Store").write_bytes(b"of a file manager")
        check_seal(tmp_path)
        weights.write_bytes(b"weighty")
        with pytest.raises(ValueError, match="is damaged"):
            check_seal(tmp_path)
    weights.write_bytes(b"weights")
    beside.write_text(json.dumps(about | {"sha256": BLANK}))
    seal(tmp_path)
    sealed = beside.read_bytes()
    for place in range(len(sealed)):
        beside.write_bytes(flipped(sealed, place))
        with pytest.raises(ValueError, match="is damaged"):
            check_seal(tmp_path)


# Without calibration pictures a detector finds nothing surely in the random ones, and the
# comparison must mean something still.


@pytest.fixture(scope="module")
def untrained():
    detector = small_detector(SIZE, name="untrained")
    for variable in detector.variables:
        if variable.path.endswith("logits_out/kernel"):
            variable.assign(variable * 0.003)
    return detector


class Kept:
    """A writer of files that keeps what it wrote, to write it again without converting."""

    def __init__(self, module, name):
        self.place, self.write, self.made = (module, name), getattr(module, name), []

    def __call__(self, *args, **kwargs):
        result = self.write(*args, **kwargs)
        self.made.append((result, [arg.read_bytes() for arg in args if _is_path(arg)]))
        return result

    def again(self):
        """A writer of the same results in turn."""
        made = iter(self.made)

        def write(*args, **kwargs):
            result, contents = next(made)
            for path, content in zip(filter(_is_path, args), contents, strict=True):
                path.write_bytes(content)
            return result

        return write


def _is_path(arg):
    return isinstance(arg, pathlib.Path)


@pytest.fixture(scope="module")
def right(untrained, tmp_path_factory):
    """Exports of a detector that finds nothing surely, `(folder, reports, what was written by
    format)`. For int8 its threshold is below some scores, for the others above all."""
    folder = tmp_path_factory.mktemp("right")
    kept = {"onnx": Kept(onnx, "write_onnx"), "tflite": Kept(tflite, "convert")}
    kept["tflite-int8"] = Kept(tflite, "convert")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(untrained, "score_threshold", 0.5)
        for format in ("onnx", "tflite"):
            patch.setattr(*kept[format].place, kept[format])
        formats = "saved_model, onnx,tflite, tflite-fp16"
        reports = export.export_all(untrained, folder / "float", formats)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(*kept["tflite-int8"].place, kept["tflite-int8"])
        reports += export.export_all(
            untrained, folder / "int8", "tflite-int8", calibration=_calibration("tflite-int8")
        )
    return folder, reports, kept


@pytest.mark.slow
def test_a_right_file_is_compared_without_sure_detections(right):
    folder, reports, _ = right
    for report in reports:
        assert report.detections[0] >= 0.9 * report.detections[1] > 4
        assert report.max_error["boxes"] < 0.5
        assert ("detect.py beside it" in str(report)) == ("tflite" in report.path)
    parts = {pathlib.Path(report.path).name: report.partitions for report in reports}
    assert parts["detector_fp16.tflite"] == parts["detector.tflite"]
    assert sorted(path.name for path in (folder / "float").iterdir()) == [
        "detect.py",
        "detector.onnx",
        "detector.tflite",
        "detector_fp16.tflite",
        "saved_model",
    ]


@pytest.mark.slow
def test_equal_scores_of_a_saturated_detector_are_no_difference(tmp_path):
    """Such as the initial values of a deep backbone give: all scores are 1, and chance chooses."""
    detector = small_detector(SIZE, max_detections=8)
    for variable in detector.variables:
        if variable.path.endswith("logits_out/kernel"):
            variable.assign(variable * 1000.0)
    assert (detector.predict(pictures(2, SIZE), verbose=0)["scores"] == 1.0).all()
    for report in export.export_all(detector, tmp_path, "onnx,tflite"):
        assert report.detections[0] == report.detections[1] > 0


def wrong_in(name, outputs):
    """Detections with one thing wrong, in either form of a file's outputs."""
    found = outputs["scores"] > 0
    boxes, labels = ("boxes", "labels") if "boxes" in outputs else ("locations", "classes")
    if name == "boxes":
        return {**outputs, boxes: outputs[boxes] * 0.3 + outputs[boxes][:, :1] * 0.1}
    if name == "labels":
        none = tf.constant(-1, outputs[labels].dtype)
        return {**outputs, labels: tf.where(found, (outputs[labels] + 1) % 3, none)}
    if name == "order":  # boxes of other scores
        return {
            **outputs,
            boxes: tf.where(found[..., None], tf.roll(outputs[boxes], 1, axis=1), 0.0),
        }
    return {key: tf.zeros_like(value) for key, value in outputs.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "format, wrong",
    [
        ("onnx", "boxes"),
        ("onnx", "labels"),
        ("onnx", "order"),
        ("onnx", "all"),
        ("tflite", "labels"),
        ("tflite-int8", "labels"),
    ],
)
def test_a_wrong_file_is_refused(right, untrained, tmp_path, monkeypatch, format, wrong):
    """One that returns something else than the right file, which is what is written."""
    kept, run = right[2][format], Session.__call__
    monkeypatch.setattr(*kept.place, kept.again())

    def run_wrong(session, **arrays):
        outputs = run(session, **arrays)
        if "scores" not in outputs:  # the network of an int8 file
            return outputs
        outputs = {name: tf.constant(value) for name, value in outputs.items()}
        return {name: value.numpy() for name, value in wrong_in(wrong, outputs).items()}

    monkeypatch.setattr(Session, "__call__", run_wrong)
    if format != "tflite-int8":
        monkeypatch.setattr(untrained, "score_threshold", 0.5)
    with pytest.raises(export.ExportError, match="Only|detections of Keras|The scores"):
        export.export_all(untrained, tmp_path, format, calibration=_calibration(format))
    assert not list(tmp_path.iterdir())


def _calibration(format):
    return [pictures(6, SIZE)] if format.endswith("int8") else None


@pytest.mark.slow
def test_a_wrong_saved_model_is_refused(untrained, tmp_path, monkeypatch):
    """Without pictures; some scores are above the threshold."""
    write = server.freeze

    def write_wrong(signature, *args, **kwargs):
        def call(*values):
            return wrong_in("boxes", signature.call(*values))

        return write(Signature(signature.inputs, signature.outputs, call), *args, **kwargs)

    monkeypatch.setattr(server, "freeze", write_wrong)
    with pytest.raises(export.ExportError, match="Only|detections of Keras|The scores"):
        export.to_saved_model(untrained, tmp_path / "m")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def agnostic(images, tmp_path_factory):
    """A detector of few boxes of any class, and its file with boxes in pixels."""
    detector = small_detector(
        SIZE,
        class_agnostic=True,
        score_threshold=0.2,
        iou_threshold=0.4,
        max_detections=7,
        name="agnostic",
    )
    path = tmp_path_factory.mktemp("agnostic") / "m.tflite"
    export.to_tflite(detector, path, representative_data=[images], outputs="pixels")
    return detector, str(path)


@pytest.mark.slow
def test_class_agnostic_and_thresholds_travel(agnostic, images):
    detector, path = agnostic
    want = detector.predict(images, verbose=0)
    with export.open_exported(path) as exported:
        got = exported.predict(images)
        assert exported.max_detections == 7
        assert set(exported.session.outputs) == {"boxes", "scores", "labels", "count"}
    for key in ("count", "labels"):
        np.testing.assert_array_equal(got[key], want[key])
    assert (got["labels"][got["scores"] == 0] == -1).all()


@pytest.mark.slow
def test_benchmark_times_models_and_files(files, detector):
    assert 0.0 < export.benchmark(files["tflite"].path, images=3) < 1000.0
    with export.open_exported(files["onnx"].path) as exported:
        assert 0.0 < export.benchmark(exported, images=3) < 1000.0


@pytest.mark.slow
def test_wrong_pictures_and_formats_are_refused(files, tmp_path):
    with (
        export.open_exported(files["tflite"].path) as exported,
        pytest.raises(ValueError, match="takes images"),
    ):
        exported.predict(np.zeros((1, 8, 8, 3)))
    with pytest.raises(ValueError, match="Unknown format 'coreml'"):
        export.exported_path(tmp_path, "coreml")
    with pytest.raises(ValueError, match="Unknown format 'coreml'"):
        export.export_all(None, tmp_path, "onnx, coreml")
    with pytest.raises(ValueError, match="calibration"):
        export.export_all(None, tmp_path, ("tflite-int8",))
    with pytest.raises(ValueError, match="Received none"):
        export.export_all(None, tmp_path, ())
    for formats, asked in (
        ("tflite", {"batch_size": None}),
        ("onnx", {"outputs": "pixels"}),
        ("onnx,tflite", {"version": 1}),
    ):
        with pytest.raises(ValueError, match=f"`{next(iter(asked))}` is of .* files alone"):
            export.export_all(None, tmp_path, formats, **asked)


def test_a_file_without_our_metadata_is_no_detector(tmp_path):
    x = keras.Input((8, 8, 3), name="image")
    export.to_tflite(keras.Model(x, keras.layers.ReLU()(x)), tmp_path / "relu.tflite")
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"another's, which is not run")
    for name in ("relu.tflite", "saved"):
        with pytest.raises(ValueError, match="not a detector exported by keras_detblocks"):
            export.open_exported(tmp_path / name)
    (tmp_path / "m.keras").write_bytes(b"PK")
    with pytest.raises(ValueError, match="as it was saved, not an export"):
        export.open_exported(tmp_path / "m.keras")


def test_match_wants_the_same_class_overlap_and_score():
    one = {
        "boxes": np.array([[0.0, 0, 10, 10]]),
        "scores": np.array([0.9]),
        "labels": np.array([1]),
    }
    assert match(one, one, 0.9, 0.01) == (1, [(0.0, 0.0)])
    assert match(one, {**one, "labels": np.array([0])}, 0.9, 0.01) == (1, [])
    # Overlap 81 / 119.
    assert match(one, {**one, "boxes": one["boxes"] + 1.0}, 0.9, 0.01) == (
        1,
        [],
    )
    # A box of no area overlaps nothing.
    flat = {**one, "boxes": np.array([[5.0, 2, 5, 2]])}
    assert match(flat, flat, 0.9, 0.01, pixels=0.05) == (1, [(0.0, 0.0)])
    assert match(one, {**one, "scores": np.array([0.8])}, 0.9, 0.01) == (1, [])
    assert match({**one, "scores": np.array([0.2])}, one, 0.9, 0.01) == (0, [])
