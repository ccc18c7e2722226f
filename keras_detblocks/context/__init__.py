"""Context (receptive-field) blocks: layers, tensor in, tensor out."""

__all__ = []
