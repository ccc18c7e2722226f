"""Latency in turns, the parts of a file, and what a CPU delegate leaves out."""

import keras
import numpy as np
import pytest
from export_models import pictures, small_detector
from toy import toy_detector

import keras_detblocks as kdb
from keras_detblocks import export
from keras_detblocks.export.formats.cut import cut, describe, parts_of
from keras_detblocks.export.runtime.benchmark import left_out, operator_times, part_times
from keras_detblocks.export.runtime.session import Session

SIZE = (64, 96)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("benchmark") / "m.tflite"
    export.to_tflite(small_detector(SIZE), path, "int8", [pictures(6, SIZE)])
    return path


def test_files_take_turns_on_each_number_of_threads(file):
    rows = export.compare_latency([file, file], images=3, threads=(1, 2))
    assert [(row.path, row.threads) for row in rows] == [(str(file), n) for n in (1, 2)] * 2
    for row in rows:
        assert 0 < row.low <= row.median <= row.high and row.cpu > 0 and row.partitions > 0
        assert set(row.shares) == {"network", "decoding", "suppression"}
    assert any(name in export.cpu_features() for name in ("avx2", "asimd", "unknown"))


def test_the_parts_of_a_file_in_turn_are_the_file(file, tmp_path):
    content, image = file.read_bytes(), pictures(1, SIZE)
    parts, values = parts_of(content), {}
    assert sorted(sum(parts.values(), [])) == list(range(len(describe(content))))
    for name, picked in parts.items():
        (tmp_path / f"{name}.tflite").write_bytes(cut(content, picked))
        with Session(tmp_path / f"{name}.tflite") as session:
            values |= session(**{key: values.get(key, image) for key in session.inputs})
    with Session(file) as session:
        want = session(image=image)
    scores = [v for v in values.values() if v.shape == want["scores"].shape]
    assert any(np.array_equal(want["scores"], each) for each in scores)
    assert all(value > 0 for value in part_times(content, image, turns=2).values())


def test_the_slowest_operators_come_first(file):
    content = file.read_bytes()
    parts = parts_of(content)
    some = cut(content, sorted(parts["network"][-6:] + parts["suppression"][:3]))
    rows = operator_times(some, turns=1)
    times = [row[2] for row in rows]
    assert times == sorted(times, reverse=True)
    assert any(name.startswith("TOPK_V2") and "not by the delegate" in name for name, *_ in rows)
    convolutions = [row for row in rows if row[0].startswith("CONV_2D")]
    assert len(convolutions) > 1 and all("not by" not in name for name, *_ in convolutions)
    assert any("8x12x16, kernel 3x3x16" in name for name, *_ in convolutions)
    assert any("8x12x3, kernel 1x1x16" in name for name, *_ in convolutions)


def test_int8_that_does_not_pay_warns_with_layers(tmp_path):
    image = keras.Input((32, 32, 3), name="image")
    x = image
    for i in range(6):
        x = kdb.Conv2D(8, 3)(x)
        x = keras.layers.Activation("hard_silu", name=f"hard_{i}")(x)
    x = kdb.Conv2D(8, 3)(x)
    with pytest.warns(UserWarning, match=r"int8 network in \d+ parts.*hard_0"):
        report = export.to_tflite(
            keras.Model(image, x), tmp_path / "m.tflite", "int8", [pictures(4, (32, 32))]
        )
    assert report.partitions > 4
    assert "CONV_2D" not in left_out((tmp_path / "m.tflite").read_bytes())


def test_what_cannot_be_timed_is_refused(file, tmp_path):
    for wrong in ({"images": 0}, {"threads": (0,)}, {"threads": ()}, {"threads": 2}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
            export.compare_latency([file], **wrong)
    x = keras.Input((8, 8, 4), name="P3")
    export.to_tflite(keras.Model(x, keras.layers.ReLU()(x)), tmp_path / "relu.tflite")
    for time_it in (export.benchmark, lambda each: export.compare_latency([each])):
        with pytest.raises(ValueError, match="one input, a picture called image; received: .*P3"):
            time_it(tmp_path / "relu.tflite")


def test_the_command_prints_a_table(file, capsys):
    from keras_detblocks.cli import main

    assert main(["benchmark", str(file), "--images", "2", "--threads", "1"]) == 0
    out = capsys.readouterr().out
    assert "partitions" in out and str(file) in out and "network / decoding" in out


def test_the_command_adds_the_ap(tmp_path, capsys):
    from keras_detblocks.cli import main

    kdb.data.write_digits(tmp_path / "d", train_images=2, val_images=2, image_size=96)
    names = kdb.data.load(tmp_path / "d", "val").class_names
    model = toy_detector((64, 64, 3), (4,), class_names=names)
    model.save(tmp_path / "m.keras")
    options = ["--images", "1", "--threads", "1", "--data", str(tmp_path / "d")]
    assert main(["benchmark", str(tmp_path / "m.keras"), *options]) == 0
    assert " AP " in capsys.readouterr().out
