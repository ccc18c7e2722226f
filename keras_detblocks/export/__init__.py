"""Exports that were opened, run and compared with Keras before they count: SavedModel, ONNX,
TFLite."""

from .check.outputs import ExportError, ExportReport
from .formats.onnx import to_onnx
from .formats.saved_model import to_saved_model
from .formats.tflite import to_tflite
from .runtime.benchmark import Latency, compare_latency, cpu_features
from .runtime.device import device_program
from .runtime.exported import (
    ExportedDetector,
    benchmark,
    export_all,
    exported_path,
    file_size,
    open_exported,
)
from .runtime.session import Session, SessionError

__all__ = [
    "ExportError",
    "ExportReport",
    "ExportedDetector",
    "Latency",
    "Session",
    "SessionError",
    "benchmark",
    "compare_latency",
    "cpu_features",
    "device_program",
    "export_all",
    "exported_path",
    "file_size",
    "open_exported",
    "to_onnx",
    "to_saved_model",
    "to_tflite",
]
