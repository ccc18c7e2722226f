"""Decides which picture boxes were drawn on: the upright one, or the pixels as stored.

A camera held upright stores its pixels sideways and says so in EXIF (orientation 1 to 8). Some
labeling tools show the upright picture, others the stored pixels, and few write down which. For
orientations 5 to 8, which swap width and height, boxes that leave one of the two frames are the
evidence; the whole set decides.
"""

import numpy as np

from .account import ASSUMED

CONVENTIONS = ("evidence", "upright", "stored")
_UPRIGHT = "boxes taken as drawn on the upright picture"
_STORED = "boxes taken as drawn on the pixels as they are stored, and turned with them"


def drawn_on_stored(frames, exif, skipped):
    """Returns a mask (N,) of the pictures whose boxes are in the frame of the stored pixels; the
    account mentions it if any picture is turned.

    Args:
        frames: a `Frames`.
        exif: `"evidence"`, or the convention of the whole set, `"upright"` or `"stored"`.
        skipped: the account.
    """
    turned, swapped = frames.orientation > 1, frames.orientation >= 5
    if not turned.any():
        return turned
    leaves_upright, leaves_stored = frames.leaves(frames.upright), frames.leaves(frames.stored)
    for_upright = int((swapped & leaves_stored & ~leaves_upright).sum())
    for_stored = int((swapped & leaves_upright & ~leaves_stored).sum())
    if exif != "evidence":
        stored = turned if exif == "stored" else np.zeros_like(turned)
        why = "as asked for"
    elif for_upright != for_stored:
        stored = turned if for_stored > for_upright else np.zeros_like(turned)
        why = f"boxes of {for_upright} pictures leave the stored frame, of {for_stored} the upright"
    else:
        stored = swapped & frames.states_stored()
        why = "no box is evidence; by the stated sizes, if there are any"
    for mask, what in ((stored & swapped, _STORED), (~stored & swapped, _UPRIGHT)):
        _note(skipped, f"EXIF orientation 5 to 8: {what}", mask, frames.paths, why)
    for mask, what in ((stored & ~swapped, _STORED), (~stored & turned & ~swapped, _UPRIGHT)):
        why_not = why if exif != "evidence" else "boxes are no evidence for these"
        _note(skipped, f"EXIF orientation 2 to 4: {what}", mask, frames.paths, why_not)
    return stored


def _note(skipped, reason, mask, paths, why):
    examples = (f"{paths[i]}: {why}" for i in np.nonzero(mask)[0])
    skipped.add_many(reason, int(mask.sum()), examples, ASSUMED)


class Frames:
    """The pictures of a set, and how far their boxes reach.

    Args:
        pictures: the `Located` ones.
        owners, boxes: the objects' pictures and boxes, in pixels.
    """

    def __init__(self, pictures, owners, boxes):
        self.paths, self.orientation = pictures.paths, pictures.orientation
        self.stored, self.upright = pictures.stored, pictures.upright
        self.stated = pictures.stated
        self.reach = np.zeros_like(pictures.stored)
        finite = np.isfinite(boxes).all(1)
        for axis in (0, 1):
            np.maximum.at(self.reach[:, axis], owners[finite], boxes[finite, 2 + axis])

    def leaves(self, size):
        """Returns a mask of the pictures with a box that exceeds their `size` by more than
        rounding."""
        scale = np.where(np.isfinite(self.stated), self.stated, size)
        scale = scale.max(1) / size.max(1)  # annotated at another size
        return (self.reach > (size + np.maximum(2, 0.01 * size)) * scale[:, None]).any(1)

    def states_stored(self):
        """Mask of the pictures whose stated sides are those of the stored pixels, not upright."""
        ratio = np.log(self.stated[:, 0] / self.stated[:, 1])
        stored = np.log(self.stored[:, 0] / self.stored[:, 1])
        return np.isfinite(ratio) & (np.abs(ratio - stored) < np.abs(ratio + stored))


def turn(boxes, orientation, stored):
    """Turns boxes (n, 4) on stored pixels into boxes on the upright picture, all of one EXIF
    orientation.

    `stored` (n, 2) is the width and height of the stored pixels.
    """
    width, height = stored.T
    x0, y0, x1, y1 = boxes.T
    turned = {
        1: (x0, y0, x1, y1),
        2: (width - x1, y0, width - x0, y1),
        3: (width - x1, height - y1, width - x0, height - y0),
        4: (x0, height - y1, x1, height - y0),
        5: (y0, x0, y1, x1),
        6: (height - y1, x0, height - y0, x1),
        7: (height - y1, width - x1, height - y0, width - x0),
        8: (y0, width - x1, y1, width - x0),
    }[orientation]
    return np.stack(turned, axis=1)
