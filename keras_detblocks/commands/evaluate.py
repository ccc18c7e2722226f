"""The verb `detblocks evaluate`."""

import pathlib

from . import datasets
from . import options as shared

HELP = "COCO AP of a trained or exported model on a data set"


def add_options(parser):
    parser.add_argument(
        "model", type=pathlib.Path, help=".keras, .onnx or .tflite file, or SavedModel folder"
    )
    shared.add_data(parser)
    parser.add_argument(
        "--split", default=None, help="(default: the one called test, else val, else the only one)"
    )
    shared.add_max_detections(parser)


def run(options):
    from ..training import evaluate_ap

    model = shared.open_model(options.model)
    dataset = datasets.for_evaluation(options).with_classes(model.class_names)
    print(dataset.describe())
    print(evaluate_ap(model, dataset, max_detections=options.max_detections))
