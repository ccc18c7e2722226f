"""Exports that were opened, run and compared with Keras before they count: SavedModel, ONNX, TFLite."""

from .onnx import to_onnx
from .saved_model import to_saved_model
from .session import Session
from .tflite import to_tflite
from .verify import ExportError, ExportReport

__all__ = ["ExportError", "ExportReport", "Session", "to_onnx", "to_saved_model", "to_tflite"]
