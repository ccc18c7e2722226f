"""Turns representative data, in the forms that users have it, into single inputs by name."""

import numpy as np

from ...checks import check_choice, refused

# How many of them a written file is compared with.
COMPARED = 4


QUANTIZATIONS = (None, "fp16", "int8")


def check_quantization(quantization, representative_data):
    """The quantization, if it is one that files have and what it needs is there."""
    if check_choice(quantization, "quantization", QUANTIZATIONS) != "int8":
        return quantization
    if representative_data is None:
        raise ValueError(
            "int8 needs `representative_data`: batches of inputs such as the model will meet, to "
            "find its ranges."
        )
    return quantization


def calibration_samples(signature, representative_data, most=None):
    """Representative batches as a list of at most `most` dicts of single inputs `(1, ...)`."""
    samples = []
    if isinstance(representative_data, str) or not hasattr(representative_data, "__iter__"):
        expected = "batches of inputs, such as of `data.pipeline`"
        raise refused(representative_data, "representative_data", expected)
    for batch in representative_data:
        if not isinstance(batch, dict):
            parts = batch[: len(signature.inputs)] if isinstance(batch, (list, tuple)) else [batch]
            batch = dict(zip(signature.inputs, parts))
        if set(batch) != set(signature.inputs):
            raise ValueError(
                f"Representative data must have the inputs {list(signature.inputs)}. Received: "
                f"{list(batch)}"
            )
        rows = {name: np.asarray(value) for name, value in batch.items()}
        for name, (shape, _) in signature.inputs.items():
            if len(rows[name].shape) != len(shape) or any(
                s not in (None, n) for s, n in zip(shape[1:], rows[name].shape[1:])
            ):
                raise ValueError(
                    f"Representative data for {name!r} must be batches {(None, *shape[1:])}. "
                    f"Received: {rows[name].shape}"
                )
        for i in range(len(next(iter(rows.values())))):
            if len(samples) == most:
                return samples
            samples.append(
                {n: rows[n][i : i + 1].astype(dtype) for n, (_, dtype) in signature.inputs.items()}
            )
    if not samples:
        raise ValueError(
            "`representative_data` is empty; int8 needs a few dozen inputs to find the ranges of "
            "activations. Received: no input"
        )
    return samples


def comparison_samples(signature, representative_data):
    """A few of the representative inputs, or `None`."""
    return (
        None
        if representative_data is None
        else calibration_samples(signature, representative_data, COMPARED)
    )
