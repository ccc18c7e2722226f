"""Training at scale (TensorFlow): budgeted runs, averaged weights, COCO AP."""

from .coco_ap import CocoAP, coco_ap
from .distribute import synchronize_batch_norm
from .ema import averaged
from .evaluate import ValidationAP, evaluate_ap, predict_dataset
from .fit import compile_detector, default_strategy, train
from .schedule import cosine_with_warmup

__all__ = [
    "CocoAP",
    "ValidationAP",
    "averaged",
    "coco_ap",
    "compile_detector",
    "cosine_with_warmup",
    "default_strategy",
    "evaluate_ap",
    "predict_dataset",
    "synchronize_batch_norm",
    "train",
]
