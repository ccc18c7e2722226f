"""The forms in which exported detectors return detections, and their conversion to that of
`Detector.predict`."""

import numpy as np

# Boxes in pixels, as `Detector.predict` returns them.
PIXELS = ("boxes", "scores", "labels", "count")
# The ecosystem's form, in the order of its tensors: boxes as y_min, x_min, y_max, x_max in shares
# of the input's sides, and floats throughout.
RATIOS = ("locations", "classes", "scores", "number")
FORMS = {"mediapipe": RATIOS, "pixels": PIXELS}  # "raw" has the output names of the head


def as_pixels(found, image_size):
    """Converts a file's outputs, in either form, to the form `PIXELS`: NumPy arrays by name.

    >>> locations = np.array([[[0.5, 0.0, 1.0, 0.25]]], "float32")
    >>> one = np.ones((1, 1), "float32")
    >>> found = {"locations": locations, "classes": one, "scores": one, "number": one[0]}
    >>> as_pixels(found, (64, 96))["boxes"].tolist()
    [[[0.0, 32.0, 24.0, 64.0]]]
    """
    if "locations" not in found:
        return found
    height, width = image_size
    sides = np.array([width, height, width, height], "float32")
    count = np.rint(found["number"]).astype("int32")
    there = np.arange(found["scores"].shape[-1]) < count[:, None]
    return {
        "boxes": found["locations"][..., [1, 0, 3, 2]] * sides,
        "scores": found["scores"],
        "labels": np.where(there, np.rint(found["classes"]), -1).astype("int32"),
        "count": count,
    }
