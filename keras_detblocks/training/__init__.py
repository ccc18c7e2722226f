"""Training at scale (TensorFlow, JAX): runs on one machine or several that survive accidents."""

from .coco_ap import CocoAP, coco_ap
from .devices import default_strategy, start_workers
from .distribute import synchronize_batch_norm
from .ema import averaged
from .evaluate import ValidationAP, evaluate_ap, predict_dataset
from .fit import train
from .recipe import compile_detector
from .record import fingerprint
from .schedule import cosine_with_warmup
from .together import together
from .workers import Workers, find_workers

__all__ = [
    "CocoAP",
    "ValidationAP",
    "Workers",
    "averaged",
    "coco_ap",
    "compile_detector",
    "cosine_with_warmup",
    "default_strategy",
    "evaluate_ap",
    "find_workers",
    "fingerprint",
    "predict_dataset",
    "start_workers",
    "synchronize_batch_norm",
    "together",
    "train",
]
