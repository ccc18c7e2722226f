import dataclasses

import keras
import numpy as np
import pytest
from export_models import grouped_model, neck_model, pictures

from keras_detblocks.export import ExportError, Session, to_tflite
from keras_detblocks.export.check.samples import calibration_samples
from keras_detblocks.export.formats.flatbuffer import mend_dead_tensors, parse, serialize
from keras_detblocks.export.formats.tflite import convert
from keras_detblocks.export.graph import signature_of


def test_grouped_and_dilated_convolutions_are_one_operator_each_in_one_partition(tmp_path):
    report = to_tflite(grouped_model(), tmp_path / "m.tflite", image_size=(32, 40))
    assert report.operators["CONV_2D"] == 5
    assert not any("SPACE" in name or "SPLIT" in name for name in report.operators)
    assert report.partitions == 1
    assert max(report.max_error.values()) < 1e-4
    assert [p.name for p in tmp_path.iterdir()] == ["m.tflite"] and report.size == (
        tmp_path / "m.tflite"
    ).stat().st_size


def test_dict_inputs_and_outputs_keep_their_names(tmp_path):
    model = neck_model()
    to_tflite(model, tmp_path / "neck.tflite")
    rng = np.random.default_rng(0)
    features = {
        k: rng.normal(size=(1, *t.shape[1:])).astype("float32") for k, t in model.input.items()
    }
    with Session(tmp_path / "neck.tflite") as session:
        got = session(**features)
    assert set(session.inputs) == {"P3", "P4", "P5"}
    for key, want in model(features).items():
        # An output that is called as an input gets another name: in ONNX one name is one tensor.
        np.testing.assert_allclose(got[key if key == "P6" else f"{key}_out"], want, atol=1e-4)


@pytest.mark.parametrize(
    "squeeze_bias, dtype", [(0.0, "float32"), (-50.0, "uint8")], ids=["alive", "dead squeeze unit"]
)
@pytest.mark.slow
def test_int8(tmp_path, squeeze_bias, dtype):
    path, model = tmp_path / "m.tflite", grouped_model(squeeze_bias=squeeze_bias)
    report = to_tflite(model, path, "int8", [pictures()], (32, 40), input_dtype=dtype)
    assert report.partitions == 1
    assert bool(report.mended) or squeeze_bias == 0.0
    with Session(path) as session:
        assert session.inputs["image"] == ((1, 32, 40, 3), dtype)


@pytest.mark.slow
def test_mending_a_dead_tensor_changes_no_number(tmp_path):
    """The mended file must open, and the same net with a live unit of no influence gives the same
    output."""
    model = grouped_model(size=(32, 40), squeeze_bias=-50.0)
    signature = signature_of(model)
    samples = calibration_samples(signature, [pictures()])
    content, mended = convert(signature, "int8", samples)
    assert len(mended) == 1 and "squeeze" in mended[0]
    assert mend_dead_tensors(content)[1] == []
    (tmp_path / "m.tflite").write_bytes(content)
    with Session(tmp_path / "m.tflite") as session:
        got = session(image=samples[0]["image"])["output"]
    want = np.asarray(model(samples[0]["image"]))
    assert np.abs(got - want).mean() < 0.05 * want.std()


def test_reading_and_writing_a_flatbuffer_changes_nothing():
    content, _ = convert(signature_of(neck_model()))
    model = parse(content)
    again = parse(serialize(model))
    assert [t.name for t in again.subgraphs[0].tensors] == [
        t.name for t in model.subgraphs[0].tensors
    ]
    assert all(np.array_equal(a.data, b.data) for a, b in zip(model.buffers, again.buffers))


@pytest.mark.slow
def test_half_precision_and_a_mixed_precision_model(tmp_path):
    """The model is exported in float32, and weights of half precision halve the file."""
    model, same = grouped_model("mixed_bfloat16", (32, 40)), grouped_model("float32", (32, 40))
    same.set_weights(model.get_weights())
    images, sizes = pictures(1), []
    for quantization, most in ((None, 1e-4), ("fp16", 0.1)):
        report = to_tflite(model, tmp_path / "m.tflite", quantization)
        sizes.append(report.size)
        assert max(report.max_error.values()) < most
        with Session(tmp_path / "m.tflite") as session:
            np.testing.assert_allclose(session(image=images)["output"], same(images), atol=most)
    assert sizes[1] < 0.75 * sizes[0]


@keras.saving.register_keras_serializable(package="test")
class InverseErf(keras.layers.Layer):
    def call(self, x):
        return keras.ops.erfinv(x)


def test_an_operator_without_a_builtin_is_named_with_its_layer(tmp_path):
    x = keras.Input((8,), name="x")
    with pytest.raises(ExportError, match=r"my_layer.*\(Erfinv\)"):
        to_tflite(keras.Model(x, InverseErf(name="my_layer")(x)), tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


def test_a_file_that_differs_is_not_kept(tmp_path):
    old = tmp_path / "m.tflite"
    old.write_bytes(b"the old file")
    with pytest.raises(ExportError, match="differs from Keras"):
        to_tflite(grouped_model(size=(32, 40)), old, "fp16", tolerance=1e-9)
    assert old.read_bytes() == b"the old file" and [p.name for p in tmp_path.iterdir()] == [
        "m.tflite"
    ]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"quantization": "int4"}, "`quantization` must be None, 'fp16' or 'int8'"),
        ({"quantization": "int8"}, "representative_data"),
        ({"input_dtype": "int8"}, "'float32' or 'uint8'"),
        ({"quantization": "int8", "representative_data": []}, "is empty"),
        (
            {"quantization": "int8", "representative_data": [np.zeros((2, 8, 8, 3))]},
            r"must be batches \(None, 32, 40, 3\)",
        ),
        ({"image_size": None}, "image_size"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        to_tflite(grouped_model(), tmp_path / "m.tflite", **{"image_size": (32, 40), **arguments})


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Cannot write to"):
        to_tflite(grouped_model(size=(32, 40)), tmp_path / "file" / "m.tflite")


def test_a_subclassed_model_without_inputs_is_refused(tmp_path):
    class Plain(keras.Model):
        pass

    with pytest.raises(ValueError, match="as_model"):
        to_tflite(Plain(), tmp_path / "m.tflite")


def test_reports_are_frozen(tmp_path):
    report = to_tflite(neck_model(), tmp_path / "neck.tflite")
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.size = 0
