"""One vocabulary at every door: what a constructor or a function is asked for is checked when it is
called, and refused in one sentence with the argument's name. (`test_contract.py` does so for every
int of every layer, `test_checks.py` for the checks themselves.)"""

import functools
import json

import keras
import numpy as np
import pytest
from PIL import Image

import keras_detblocks as kdb
from keras_detblocks import data, design, evaluation, export, training
from keras_detblocks.data import synthetic
from keras_detblocks.detection import recipes
from keras_detblocks.images import detection_grid, draw_boxes, read_letterboxed

NO_COUNT = (True, 1.5, "3", 0)
NO_SEED = (True, 1.5, "a", -1)
NO_SHARE = (True, "a", -0.1, 1.5)
NO_FLAG = ("yes", 1, None)
NO_LEVELS = (-1, True, (3, True), (3, 3), (), (3.0,), "345")
NO_PAIR = (True, 64.5, (64, True), (64, 64, 64), 0, "64")
GRAY = np.full((48, 64, 3), 114, "uint8")
IMAGE_MODEL = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.ReLU()])
MAP = np.ones((1, 4, 4, 2), "float32")


@functools.cache
def detector():
    return kdb.build_detector(["a"], (64, 64), filters=8)


@functools.cache
def dataset():
    """Three records without files."""
    nothing = np.zeros((0, 4), "float32"), np.zeros(0, "int32"), np.zeros(0, bool), np.zeros(0)
    records = [data.Record(f"{i}.png", 64, 48, *nothing, i) for i in range(3)]
    return data.Dataset(records, ("a",), (1,))


@functools.cache
def field():
    return kdb.ReceptiveField(np.eye(8))


def found():
    return [{"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "labels": np.zeros(0, int)}] * 3


# (function of a keyword argument, what it must not be by the argument's name)
WRONG = {
    # Layers, backbones and analysis
    kdb.BatchNormalization: {
        "axis": (True, 1.5, "3"),
        "momentum": NO_SHARE,
        "epsilon": (True, -1),
        "center": NO_FLAG,
        "synchronized": NO_FLAG,
    },
    functools.partial(kdb.Conv2D, 8, 3): {"use_bias": NO_FLAG},
    kdb.ConvMuon: {"weight_decay": (True, -1, "a")},
    functools.partial(kdb.normalization_layer, "group"): {"groups": NO_COUNT, "epsilon": (True, 0)},
    functools.partial(kdb.normalization_layer, "batch"): {"momentum": ("a", 1.5)},
    kdb.ImageNormalization: {"mean": (True, (True, 2.0)), "std": (0, "a")},
    functools.partial(kdb.upsample_to, MAP, MAP): {"method": ("cubic",), "factor": (*NO_COUNT, 3)},
    functools.partial(kdb.resize_to, MAP, MAP): {"method": ("cubic",)},
    functools.partial(kdb.ASPP, 8): {"output_stride": (True, 16.0, "16", 32)},
    functools.partial(kdb.RFB, 8): {"scale": (True, "a", -1)},
    functools.partial(kdb.RegNetSpec, 13, w_a=36.44, w_m=2.49, group_width=8): {
        "w_0": (24.0, True, "24", 20)
    },
    functools.partial(kdb.AnyNetSpec, (1, 1), (8, 8), group_widths=(8, 8)): {
        "bottleneck_ratios": (1.0, True, (1, True), ("a", 1))
    },
    **{
        functools.partial(constructor, include_top=False): {
            "include_preprocessing": NO_FLAG,
            "levels": NO_LEVELS,
            "input_shape": (3, "ab", (True, 64, 3), (64.5, 64, 3), (64, 64)),
            "drop_path_rate": (True, "a"),
        }
        for constructor in (kdb.RegNetX002, kdb.CS3DarknetS, kdb.CSPPeleeNet)
    },
    functools.partial(kdb.build_backbone, "compact", levels=(3, 4)): {"image_size": NO_PAIR},
    functools.partial(kdb.build_backbone, "compact", 64): {"levels": NO_LEVELS},
    functools.partial(kdb.feature_pyramid, IMAGE_MODEL): {"levels": NO_LEVELS},
    functools.partial(kdb.feature_pyramid, IMAGE_MODEL, (0,)): {"preprocess": (3, "resnet")},
    functools.partial(kdb.as_model, input_shape=(8, 8, 4)): {"layer": (3, None)},
    functools.partial(kdb.as_model, kdb.SPPF(), (8, 8, 4)): {"batch_size": NO_COUNT},
    functools.partial(kdb.as_model, kdb.SPPF()): {"input_shape": (3, "ab", (True, 8, 4), (1.5, 8))},
    functools.partial(kdb.effective_receptive_field, kdb.SPPF(), (8, 8, 4)): {
        "samples": NO_COUNT,
        "seed": NO_SEED,
    },
    functools.partial(kdb.effective_receptive_field, kdb.SPPF()): {"input_shape": (3, (8, 8))},
    functools.partial(kdb.theoretical_receptive_field, kdb.SPPF()): {"channels": NO_COUNT},
    lambda **k: field().side(**k): {"share": NO_SHARE},
    functools.partial(kdb.plot_receptive_fields, {"": np.eye(8)}): {"columns": NO_COUNT},
    functools.partial(kdb.decode_predictions, np.zeros((1, 1000))): {"top": NO_COUNT},
    functools.partial(kdb.complexity, "regnetx002"): {"image_size": NO_COUNT, "classes": NO_COUNT},
    kdb.list_models: {"pretrained": NO_FLAG},
    # Detectors
    functools.partial(kdb.build_detector, ["a"]): {
        "levels": NO_LEVELS,
        "image_size": NO_PAIR,
        "neck_options": (3, "fast"),
    },
    lambda image_size: kdb.decode(detector()(np.zeros((1, 64, 64, 3))), image_size): {
        "image_size": NO_PAIR
    },
    lambda **k: detector().detect(GRAY, **k): {
        "batch_size": NO_COUNT,
        "score_threshold": NO_SHARE,
        "tile": NO_PAIR,
    },
    lambda **k: detector().detect(GRAY, tile=32, **k): {"overlap": NO_SHARE},
    lambda **k: detector().explain(GRAY, **k): {"score_threshold": NO_SHARE},
    lambda **k: detector().explain(GRAY).draw(**k): {"least": NO_SHARE, "side": NO_COUNT},
    # Data
    data.Augment: {
        **dict.fromkeys(("horizontal_flip", "vertical_flip", "mosaic", "mixup"), NO_SHARE),
        "rotate90": ("no", 1, None),
        "scale": (0.8, (0.8,), (True, 2), (0, 1), (1.3, 0.8)),
        "translate": (True, "a", -1),
        "color": (0.1, (0.1, 0.2), (0, 0, 0, True)),
    },
    functools.partial(data.letterbox, GRAY): {"size": NO_PAIR},
    lambda size: data.Letterbox.fit((48, 64), size): {"size": NO_PAIR},
    lambda **k: dataset().take(**k): {"count": (True, 1.5, -1)},
    lambda **k: dataset().with_classes(**k): {"class_names": (3, "ab")},
    functools.partial(data.from_records, []): {"class_names": (3, "ab")},
    lambda **k: data.repeat_factors(dataset(), **k): {"threshold": (*NO_SHARE, 0)},
    lambda seed: data.hold_out(dataset(), 0.5, seed): {"seed": NO_SEED},
    lambda fraction: data.hold_out(dataset(), fraction): {"fraction": (*NO_SHARE, 0, 1)},
    functools.partial(data.load, "nowhere"): {"exif": ("sideways", None, 1)},
    lambda **k: data.pipeline(dataset(), 32, 2, **k): {
        "training": NO_FLAG,
        "seed": NO_SEED,
        "skip": (True, 1.5, -1),
        "memory_budget": (True, "a", -1),
        "shard": (True, (0, True), (1, 1), (0, 1, 2)),
    },
    lambda **k: data.write_tiles(dataset(), "nowhere", **k): {
        "size": NO_PAIR,
        "overlap": NO_SHARE,
        "min_visible": NO_SHARE,
    },
    lambda **k: data.write(dataset(), "nowhere", "coco", **k): {"link": NO_FLAG},
    functools.partial(data.write_digits, "nowhere"): {
        "train_images": NO_COUNT,
        "val_images": NO_COUNT,
        "image_size": (True, 96.5, "96", 95),
        "seed": NO_SEED,
    },
    synthetic.draw_scene: {"seed": (*NO_SEED, (0, True), None)},
    functools.partial(synthetic.draw_scene, 0): {"size": (*NO_PAIR, 40)},
    functools.partial(synthetic.write_scenes, "nowhere"): {
        "train_images": NO_COUNT,
        "val_images": NO_COUNT,
        "image_size": (*NO_PAIR, 40),
        "seed": (*NO_SEED, (0, 1)),
    },
    functools.partial(draw_boxes, GRAY, np.ones((1, 4))): {"width": NO_COUNT, "casing": (True, -1)},
    functools.partial(detection_grid, [Image.new("RGB", (8, 8))], "nowhere.png"): {
        "columns": NO_COUNT,
        "cell": NO_COUNT,
    },
    # Design spaces
    functools.partial(design.Range, high=16): {"low": (True, "a", 0, None)},
    functools.partial(design.Range, 8): {"high": (True, "a", 4)},
    functools.partial(design.Range, 8, 16): {
        "quantum": (True, 0, "a"),
        "scale": ("cubic",),
        "settings": NO_COUNT,
    },
    design.Choice: {"options": (3, (), (True, 2), (1, 1), "ab")},
    functools.partial(design.AnyNetSpace, "s"): {
        "stages": NO_COUNT,
        "stem_width": NO_COUNT,
        "se_ratio": NO_SHARE,
        "depths": (3, (1, 2)),
    },
    functools.partial(design.RegNetSpace, "s"): {"stages": NO_COUNT, "depth": (3, (1, 2))},
    functools.partial(design.sample, design.RegNetXSpace, 1): {
        "rng": NO_SEED,
        "max_draws": NO_COUNT,
        "image_size": NO_COUNT,
        "classes": NO_COUNT,
    },
    functools.partial(design.sample, design.RegNetXSpace): {"n": (True, 1.5, -1)},
    lambda constraints: design.sample(design.RegNetXSpace, 1, constraints): {
        "constraints": (5, "macs", ("macs",))
    },
    functools.partial(design.sample, n=1): {"space": (3, "RegNetX", [])},
    functools.partial(design.acceptance_rate, design.RegNetXSpace, {}): {"draws": NO_COUNT},
    lambda macs: design.sample(design.RegNetXSpace, 1, {"macs": (macs, None)}): {
        "macs": (True, "")
    },
    functools.partial(design.bootstrap, [1, 2], [0.1, 0.2]): {
        "share": (True, "a", 0),
        "repetitions": NO_COUNT,
        "rng": NO_SEED,
    },
    functools.partial(design.permutation_test, [0.1, 0.2], [0.1, 0.2]): {
        "repetitions": NO_COUNT,
        "rng": NO_SEED,
    },
    functools.partial(design.complexity_weights, [1, 2]): {
        "bins": NO_COUNT,
        "bounds": (3, (1,), (True, 2)),
    },
    functools.partial(design.random_search_efficiency, [0.1, 0.2]): {"tries": (1, (True,), (1.5,))},
    design.complexity_bounds: {"macs": (True, "a", 0)},
    functools.partial(design.fit_quantized_linear, kdb.AnyNetSpec((1,), (8,), (1,), (8,))): {
        "rounds": NO_COUNT
    },
    design.Classification: {
        **dict.fromkeys(("epochs", "image_size", "batch_size"), NO_COUNT),
        "learning_rate": (True, 0, "a"),
        "weight_decay": (True, -1),
        "seed": NO_SEED,
    },
    functools.partial(design.sweep, design.RegNetXSpace, 1, None): {
        "seed": NO_SEED,
        "image_size": NO_COUNT,
        "classes": NO_COUNT,
        "heartbeat_interval": NO_COUNT,
        "progress": NO_FLAG,
    },
    # Training, evaluation and exports
    functools.partial(training.ValidationAP, None): {
        "batch_size": NO_COUNT,
        "image_size": NO_PAIR,
        "max_detections": NO_COUNT,
    },
    lambda **k: training.evaluate_ap(detector(), dataset(), **k): {
        "batch_size": NO_COUNT,
        "image_size": NO_PAIR,
        "max_detections": NO_COUNT,
    },
    lambda **k: training.coco_ap(dataset(), found(), **k): {
        "backend": ("coco", True),
        "max_detections": NO_COUNT,
    },
    lambda **k: training.compile_detector(detector(), **k): {
        "learning_rate": (True, 0, "a"),
        "ema": NO_SHARE,
        "optimizer": ("sgd", None),
    },
    functools.partial(training.Workers, ("a:1", "b:2")): {"index": (True, 1.5, 2, -1)},
    lambda **k: training.train(None, dataset(), None, "nowhere", epochs=1, **k): {
        "resume": NO_FLAG
    },
    lambda **k: evaluation.measure(dataset(), found(), **k): {
        "max_detections": NO_COUNT,
        "resamples": NO_COUNT,
    },
    functools.partial(evaluation.evaluate, None, None): {"resamples": NO_COUNT},
    functools.partial(evaluation.compare, {}, None): {"resamples": NO_COUNT},
    lambda **k: evaluation.measure(dataset(), found()).at(**k): {"threshold": NO_SHARE},
    lambda **k: evaluation.measure(dataset(), found()).plot_classes(**k): {"most": NO_COUNT},
    functools.partial(evaluation.store_threshold, "nowhere"): {"threshold": NO_SHARE},
    functools.partial(evaluation.write_report, None, "nowhere"): {"most_pictures": (True, -1)},
    functools.partial(export.to_onnx, None, "nowhere"): {
        "opset": (True, 9, 17.5, "18"),
        "quantization": ("int4", True),
        "postprocess": NO_FLAG,
    },
    functools.partial(export.to_tflite, None, "nowhere"): {
        "quantization": ("int4",),
        "input_dtype": ("int8",),
        "outputs": ("boxes",),
        "tolerance": (True, "a", 0),
        "postprocess": NO_FLAG,
    },
    functools.partial(export.to_saved_model, None, "nowhere"): {
        "version": (True, 1.5, -1),
        "postprocess": NO_FLAG,
    },
    functools.partial(export.Session, "nowhere"): {"num_threads": NO_COUNT, "fresh": NO_FLAG},
    functools.partial(export.benchmark, None): {"images": NO_COUNT},
    functools.partial(export.compare_latency, []): {
        "images": NO_COUNT,
        "threads": (1, (True,)),
        "profile": NO_FLAG,
    },
}
CASES = [
    pytest.param(call, name, values, id=f"{i}-{name}")
    for i, (call, arguments) in enumerate(WRONG.items())
    for name, values in arguments.items()
]


@pytest.mark.parametrize("call, name, values", CASES)
def test_wrong_values_are_refused_in_a_sentence(call, name, values):
    for value in values:
        with pytest.raises(ValueError) as told:
            call(**{name: value})
        assert f"`{name}` must be" in str(told.value) and "Received: " in str(told.value), value


def test_unknown_arguments_are_refused():
    """Keras' models would swallow them."""
    for wrong in ({"backbon": "RegNetY002"}, {"dtype": "float16"}):
        with pytest.raises(TypeError, match=next(iter(wrong))):
            kdb.build_detector(["a"], (64, 64), filters=8, **wrong)


@pytest.mark.parametrize("weights", [True, 3, None])
def test_weights_are_files_ids_or_arrays(weights):
    with pytest.raises(ValueError, match="a dict of arrays.*Received: "):
        kdb.weights.read(weights)
    if weights is not None:
        with pytest.raises(ValueError, match="`weights` argument.*Received: "):
            kdb.RegNetX002(weights=weights)


def test_files_are_read_up_to_a_number_of_pixels(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(GRAY).save(path)
    for read in (data.read_image, functools.partial(read_letterboxed, size=32)):
        for wrong in (True, "a", 0):
            with pytest.raises(ValueError, match="`max_pixels` must be .*Received: "):
                read(path, max_pixels=wrong)
    assert read_letterboxed(path, 32)[0].shape == (32, 32, 3)


@pytest.mark.parametrize("three", [np.int64(3), np.uint8(3), np.array(3)], ids=repr)
def test_numpys_numbers_become_pythons(three):
    """Also in what is written as JSON."""
    layers = [
        kdb.Conv2D(three, three, strides=three, dilation_rate=three),
        kdb.ConvNormAct(three, three, strides=three),
        kdb.MaxPool2D(three, strides=three),
        kdb.BatchNormalization(axis=three),
        kdb.normalization_layer("group", groups=three),
        kdb.ASPP(three, rates=(three,), output_stride=None),
        kdb.FPN(three, levels=(three, 4)),
        kdb.AnchorFreeHead(three),
    ]
    for layer in layers:
        assert 3 in keras.tree.flatten(json.loads(json.dumps(layer.get_config())))
    assert kdb.as_model(kdb.SPPF(), (8, 8, three), batch_size=three).input_shape == (3, 8, 8, 3)
    assert type(design.Range(three, 6).low) is type(design.Choice((three,)).options[0]) is int
    assert design.Range(8, 16, np.int64(8)).quantum == 8
    assert type(data.Augment(horizontal_flip=np.float32(0.5)).horizontal_flip) is float
    json.dumps(design.Classification(epochs=three).settings)
    assert len(dataset().take(three)) == 3


def test_numpys_numbers_become_pythons_in_files(tmp_path):
    out = data.write_digits(tmp_path / "digits", np.int64(1), np.array(1), np.uint8(96), np.int8(0))
    assert json.loads((out / "digits.json").read_text())["train_images"] == 1
    assert kdb.ASPP(8, output_stride=np.int64(16)).get_config()["output_stride"] == 16


def test_names_in_any_case(tmp_path):
    assert recipes.options("YOLO-like-S") == recipes.options("yolo-like-s")
    assert kdb.BiFPN.from_variant("D0").num_repeats == 3
    for name in (320, "320", "M2Det_320", np.int64(320)):
        assert kdb.MLFPN.from_variant(name, num_tums=1, filters=8).levels == (3, 4, 5, 6, 7, 8)
    assert design.Classification("MNIST").dataset == "mnist"
    training.compile_detector(detector(), optimizer="AdamW")
    assert export.exported_path(tmp_path, "TFLite-FP16").name == "detector_fp16.tflite"
    assert data.write(dataset().take(0), tmp_path / "set", "COCO") == []
    for call in (
        lambda: recipes.options("yolo"),
        lambda: kdb.BiFPN.from_variant("d9"),
        lambda: kdb.MLFPN.from_variant(True),
        lambda: export.exported_path(tmp_path, "coreml"),
        lambda: data.write(dataset(), tmp_path / "other", "tfds"),
        lambda: data.load(tmp_path, layout=3),
        lambda: design.Classification("mnits"),
    ):
        with pytest.raises(ValueError, match="Unknown .*Known: "):
            call()
