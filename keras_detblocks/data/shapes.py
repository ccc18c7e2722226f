"""Boxes around other shapes that tools draw: points and rotated rectangles."""

import math


def box_around(points):
    """The box xyxy around points (x, y); None for fewer than two, or if one is not two numbers."""
    if len(points) < 2 or any(point is None or None in point for point in points):
        return None
    x, y = zip(*points)
    return min(x), min(y), max(x), max(y)


def box_of_rotated(box, degrees, pivot=None):
    """The box xyxy around a box xyxy that is turned clockwise on the screen about a point, by
    default its center.

    >>> [round(v, 6) for v in box_of_rotated((10, 10, 20, 14), 90)]
    [13.0, 7.0, 17.0, 17.0]
    """
    if not degrees:
        return box
    x0, y0, x1, y1 = box
    px, py = ((x0 + x1) / 2, (y0 + y1) / 2) if pivot is None else pivot
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    corners = [(x - px, y - py) for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]
    turned = [(x * cosine - y * sine, x * sine + y * cosine) for x, y in corners]
    return box_around([(px + x, py + y) for x, y in turned])
