"""Exports that were opened, run and compared with Keras before they count: SavedModel, ONNX, TFLite."""

from .onnx import to_onnx
from .runner import ExportedDetector, benchmark, export_all, exported_path, file_size, open_exported
from .saved_model import to_saved_model
from .session import Session, SessionError
from .tflite import to_tflite
from .verify import ExportError, ExportReport

__all__ = [
    "ExportError",
    "ExportReport",
    "ExportedDetector",
    "Session",
    "SessionError",
    "benchmark",
    "export_all",
    "exported_path",
    "file_size",
    "open_exported",
    "to_onnx",
    "to_saved_model",
    "to_tflite",
]
