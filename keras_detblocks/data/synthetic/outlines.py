"""Outlines of the synthetic pictures' objects: each family is a function of a random generator that
returns strokes.

Contours are the feature that transfers from formulas to photographs
(https://arxiv.org/abs/2206.09132), so every family varies freely and one third of them are
harmonics around a circle, as in VisualAtom (https://arxiv.org/abs/2303.01112).
"""

import functools
import math

import numpy as np

# A stroke is (kind, points (n, 2) in about -1..1, part, width); the kinds are "fill", "hole" and
# "line", and each part has its own paint.


def fill(points, part=0):
    return "fill", np.asarray(points, "float64"), part, 0.0


def hole(points, part=0):
    return "hole", np.asarray(points, "float64"), part, 0.0


def line(points, width, part=0):
    return "line", np.asarray(points, "float64"), part, width


def disc(radius=1.0, x=0.0, y=0.0, height=None, points=28):
    """The points of an ellipse; `height` is its vertical radius."""
    angles = np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)
    return np.stack([x + radius * np.cos(angles), y + (height or radius) * np.sin(angles)], 1)


def box(x0, y0, x1, y1):
    return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])


def around(radii):
    """Points at the radii, evenly around the circle."""
    angles = np.linspace(0.0, 2.0 * np.pi, len(radii), endpoint=False)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


def harmonics(rng, frequencies, amplitudes, points=72):
    """A circle whose radius swings with the frequencies, at random phases."""
    angles = np.linspace(0.0, 2.0 * np.pi, points, endpoint=False)
    radii = np.ones(points)
    for frequency, amplitude in zip(frequencies, amplitudes):
        radii += amplitude * np.sin(frequency * angles + rng.uniform(0, 2 * np.pi))
    return around(np.maximum(radii, 0.15))


def polygon(rng, corners, jitter=0.06):
    points = around(np.ones(corners))
    return [fill(points + rng.normal(0, jitter, points.shape))]


def star(rng, points, depth=None):
    inner = depth or rng.uniform(0.35, 0.6)
    return [fill(around(np.tile([1.0, inner], points)))]


def atom(rng, frequencies, share):
    strength = rng.uniform(0.25, 0.42)
    pts = harmonics(rng, frequencies, (strength, strength * share))
    strokes = [fill(pts)]
    if rng.random() < 0.3:
        strokes.append(fill(pts * rng.uniform(0.3, 0.6), 1))
    return strokes


def blob(rng):
    return [fill(harmonics(rng, (2, 3, 4, 5), rng.uniform(0, 0.16, 4)))]


def rough(rng):
    return [fill(around(np.clip(1 + rng.normal(0, rng.uniform(0.06, 0.16), 48), 0.4, None)))]


def cell(rng):
    pale = harmonics(rng, (2, 3), rng.uniform(0, 0.1, 2)) * rng.uniform(0.35, 0.6)
    return [fill(harmonics(rng, (2, 3), rng.uniform(0, 0.08, 2))), fill(pale, 1)]


def nucleus(rng):
    strokes = [fill(harmonics(rng, (2, 3, 4), rng.uniform(0, 0.1, 3)))]
    for _ in range(rng.integers(1, 5)):
        x, y = rng.uniform(-0.35, 0.35, 2)
        lobe = harmonics(rng, (2, 3), rng.uniform(0, 0.15, 2)) * rng.uniform(0.25, 0.45)
        strokes.append(fill(lobe + (x, y), 1))
    return strokes


def ring(rng):
    outer = disc(1.0)
    return [fill(outer), hole(outer * rng.uniform(0.35, 0.75))]


def target(rng):
    radii = np.linspace(1.0, 0.25, rng.integers(3, 5))
    return [fill(disc(r), i % 2) for i, r in enumerate(radii)]


def crescent(rng):
    shift = rng.uniform(0.3, 0.6)
    return [fill(disc(1.0)), hole(disc(rng.uniform(0.75, 0.95), shift))]


def sector(rng):
    angles = np.linspace(0, rng.uniform(1.6, 5.2), 24)
    return [fill([(0, 0), *zip(np.cos(angles), np.sin(angles))])]


def half_disc(rng):
    angles = np.linspace(0, np.pi, 24)
    return [fill(list(zip(np.cos(angles), np.sin(angles))))]


def bar(rng):
    return [fill(box(-1, -1, 1, 1) * (1, rng.uniform(0.12, 0.4)))]


def frame(rng):
    outer = box(-1, -1, 1, 1) * (1, rng.uniform(0.5, 1))
    return [fill(outer), hole(outer * rng.uniform(0.5, 0.8))]


def lattice(rng):
    strokes = [fill(box(-1, -1, 1, 1))]
    count = int(rng.integers(2, 4))
    step, gap = 2 / count, rng.uniform(0.08, 0.16)
    for i in range(count):
        for j in range(count):
            x, y = i * step - 1 + gap, j * step - 1 + gap
            strokes.append(fill(box(x, y, x + step - 2 * gap, y + step - 2 * gap), 1))
    return strokes


def cross(rng):
    w = rng.uniform(0.15, 0.35)
    return [fill(box(-1, -w, 1, w)), fill(box(-w, -1, w, 1))]


def arrow(rng):
    w, neck = rng.uniform(0.12, 0.3), rng.uniform(-0.1, 0.4)
    return [fill([(-1, -w), (neck, -w), (neck, -0.6), (1, 0), (neck, 0.6), (neck, w), (-1, w)])]


def heart(rng):
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [fill(np.stack([np.sin(t) ** 3, -y / 16], 1))]


def drop(rng):
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return [fill(np.stack([rng.uniform(0.4, 0.7) * np.sin(t) * np.sin(t / 2) ** 2, -np.cos(t)], 1))]


def hook(rng):
    w = rng.uniform(0.3, 0.6)
    return [fill([(-1, -1), (-1 + w, -1), (-1 + w, 1 - w), (1, 1 - w), (1, 1), (-1, 1)])]


def bracket(rng):
    w = rng.uniform(0.25, 0.45)
    return [
        fill(box(-1, -1, 1, -1 + w)),
        fill(box(-1, 1 - w, 1, 1)),
        fill(box(-1, -1, -1 + w, 1)),
    ]


def tee(rng):
    w = rng.uniform(0.18, 0.35)
    return [fill(box(-1, -1, 1, -1 + 2 * w)), fill(box(-w, -1, w, 1))]


def chevron(rng):
    w = rng.uniform(0.35, 0.7)
    return [fill([(-1, -1), (0, -1 + w * 0.9), (1, -1), (1, -1 + w), (0, 1), (-1, -1 + w)])]


def gear(rng):
    teeth = int(rng.integers(7, 13))
    radii = np.tile([1.0, 1.0, 0.78, 0.78], teeth)
    return [fill(around(radii)), hole(disc(rng.uniform(0.2, 0.45)))]


def spiral(rng):
    t = np.linspace(0.4, rng.uniform(3, 5) * np.pi, 70)
    r = t / t[-1]
    return [line(np.stack([r * np.cos(t), r * np.sin(t)], 1), rng.uniform(0.1, 0.2))]


def wave(rng):
    x = np.linspace(-1, 1, 50)
    return [
        line(
            np.stack([x, rng.uniform(0.2, 0.5) * np.sin(rng.uniform(4, 11) * x)], 1),
            rng.uniform(0.1, 0.25),
        )
    ]


def zigzag(rng):
    count = int(rng.integers(4, 8))
    points = np.stack([np.linspace(-1, 1, count), np.tile([-0.4, 0.4], count)[:count]], 1)
    return [line(points, rng.uniform(0.1, 0.22))]


def worm(rng):
    angle = np.cumsum(rng.normal(0, 0.35, 30)) + rng.uniform(0, 6.3)
    points = np.cumsum(np.stack([np.cos(angle), np.sin(angle)], 1), 0) * 0.08
    return [line(points - points.mean(0), rng.uniform(0.15, 0.35))]


def capsule(rng):
    return [line([(-0.7, 0), (0.0, rng.uniform(-0.15, 0.15)), (0.7, 0)], rng.uniform(0.4, 0.8))]


def bean(rng):
    t = np.linspace(-1, 1, 14)
    return [
        line(np.stack([0.7 * t, rng.uniform(0.2, 0.6) * t**2], 1), rng.uniform(0.5, 0.8)),
    ]


def dumbbell(rng):
    r = rng.uniform(0.3, 0.5)
    ends = [fill(disc(r, x)) for x in (-0.7, 0.7)]
    return [line([(-0.7, 0), (0.7, 0)], rng.uniform(0.12, 0.4)), *ends]


def flower(rng):
    petals = int(rng.integers(4, 9))
    angles = np.linspace(0, 2 * np.pi, petals, endpoint=False)
    size = min(0.42, 2.2 / petals)
    leaves = [fill(disc(size, 0.6 * math.cos(a), 0.6 * math.sin(a))) for a in angles]
    return [*leaves, fill(disc(rng.uniform(0.2, 0.35)), 1)]


def cluster(rng):
    count = int(rng.integers(5, 14))
    where = rng.normal(0, 0.4, (count, 2))
    return [fill(disc(rng.uniform(0.2, 0.32), *xy), i % 2) for i, xy in enumerate(where)]


def snowflake(rng):
    points = [(-1.0, -0.58), (1.0, -0.58), (0.0, 1.15)]
    for _ in range(3):
        longer = []
        for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1]):
            dx, dy = (x1 - x0) / 3, (y1 - y0) / 3
            tip = (x0 + 1.5 * dx + 0.866 * dy, y0 + 1.5 * dy - 0.866 * dx)
            longer += [(x0, y0), (x0 + dx, y0 + dy), tip, (x0 + 2 * dx, y0 + 2 * dy)]
        points = longer
    return [fill(points)]


def bush(rng):
    """A tree of forked branches, https://en.wikipedia.org/wiki/Fractal_canopy."""
    strokes, ends = [], [((0.0, 1.0), -np.pi / 2, rng.uniform(0.55, 0.75), 0.16)]
    spread, shrink = rng.uniform(0.35, 0.75), rng.uniform(0.62, 0.75)
    for _ in range(int(rng.integers(4, 6))):
        grown = []
        for (x, y), angle, length, width in ends:
            tip = (x + length * math.cos(angle), y + length * math.sin(angle))
            strokes.append(line([(x, y), tip], width))
            for side in (-spread, spread):
                bent = angle + side * rng.uniform(0.6, 1.3)
                grown.append((tip, bent, length * shrink, width * 0.7))
        ends = grown
    return strokes


def gasket(rng):
    """Sierpinski's triangle, divided three times and filled."""
    triangles = [np.array([(-1.0, 0.8), (1.0, 0.8), (rng.uniform(-0.3, 0.3), -0.9)])]
    for _ in range(3):
        triangles = [(t + t[k]) / 2 for t in triangles for k in range(3)]
    return [fill(t * 1.02) for t in triangles]


# Things with parts: their boxes must be learned from the way parts belong together.


def bottle(rng):
    w, neck = rng.uniform(0.28, 0.5), rng.uniform(0.1, 0.18)
    shoulder = rng.uniform(-0.4, -0.1)
    body = [(-w, 1), (w, 1), (w, shoulder + 0.2), (neck, shoulder), (neck, -1)]
    strokes = [fill([*body, *[(-x, y) for x, y in body[:1:-1]]])]
    label = box(-w, 0.2, w, rng.uniform(0.5, 0.8))
    return [*strokes, fill(label, 1), fill(box(-neck, -1, neck, -0.85), 1)]


def cup(rng):
    low = rng.uniform(0.45, 0.75)
    body = [(-0.75, -0.8), (0.75, -0.8), (low, 0.8), (-low, 0.8)]
    handle = [(0.7, -0.5), (1.15, -0.4), (1.1, 0.2), (0.65, 0.35)]
    return [line(handle, 0.16), fill(body), fill(disc(0.75, 0, -0.8, 0.12), 1)]


def car(rng):
    roof = rng.uniform(0.35, 0.65)
    cabin = [(-0.6, -0.05), (-roof, -0.5), (roof * 0.7, -0.5), (0.6, -0.05)]
    body = [(-1, -0.1), (0.85, -0.1), (1, 0.1), (1, 0.35), (-1, 0.35)]
    wheels = [fill(disc(rng.uniform(0.18, 0.24), x, 0.36), 1) for x in (-0.55, 0.55)]
    window = [fill(np.asarray(cabin) * (0.75, 0.7) - (0, 0.08), 1)]
    return [fill(cabin), fill(body), *wheels, *window]


def fish(rng):
    tail = [(-0.5, 0), (-1.1, -0.5), (-0.95, 0), (-1.1, 0.5)]
    body = disc(0.75, 0, 0, rng.uniform(0.3, 0.5))
    return [fill(tail), fill(body), fill([(0, -0.3), (-0.3, -0.7), (0.3, -0.35)]), eye(0.45, -0.1)]


def eye(x, y, radius=0.08):
    return fill(disc(radius, x, y), 1)


def beetle(rng):
    legs = [
        line([(0, y), (s * 0.6, y + lean), (s * 0.95, y + 2.2 * lean)], 0.07)
        for y, lean in ((-0.25, -0.15), (0.05, 0.02), (0.35, 0.18))
        for s in (-1, 1)
    ]
    body = [fill(disc(rng.uniform(0.35, 0.5), 0, 0.15, 0.65)), fill(disc(0.28, 0, -0.6), 1)]
    return [*legs, *body, line([(0, -0.4), (0, 0.75)], 0.05, 1)]


def butterfly(rng):
    big, small = rng.uniform(0.4, 0.55), rng.uniform(0.28, 0.4)
    wings = [fill(disc(big, s * 0.5, -0.3, 0.5)) for s in (-1, 1)]
    wings += [fill(disc(small, s * 0.4, 0.4, 0.4)) for s in (-1, 1)]
    spots = [fill(disc(0.15, s * 0.5, -0.3), 1) for s in (-1, 1)]
    return [*wings, *spots, fill(disc(0.09, 0, 0, 0.7), 1)]


def house(rng):
    eaves = rng.uniform(-0.3, 0.0)
    windows = [fill(box(x, 0.2, x + 0.3, 0.5), 1) for x in (-0.6, 0.3)]
    roof = [(-1, eaves), (0, -1), (1, eaves)]
    return [fill(box(-0.8, eaves, 0.8, 1)), fill(roof, 1), *windows]


def person(rng):
    w = rng.uniform(0.12, 0.2)
    swing, step = rng.uniform(-0.5, 0.5, 2), rng.uniform(0.1, 0.4)
    limbs = [
        line([(0, -0.45), (0.35 * s, -0.1), (0.5 * s, swing[i])], w, 0)
        for i, s in ((0, -1), (1, 1))
    ]
    legs = [line([(0, 0.15), (step * s, 0.6), (step * s * 1.2, 1)], w * 1.2, 1) for s in (-1, 1)]
    return [*legs, *limbs, line([(0, -0.5), (0, 0.2)], 0.42), fill(disc(0.22, 0, -0.8), 1)]


def key(rng):
    teeth = [line([(x, 0), (x, rng.uniform(0.2, 0.4))], 0.12) for x in (0.55, 0.75, 0.95)]
    return [line([(-0.4, 0), (1, 0)], 0.14), fill(disc(0.42, -0.6)), hole(disc(0.2, -0.65)), *teeth]


def leaf(rng):
    x = np.linspace(-1, 1, 20)
    bulge = rng.uniform(0.3, 0.6) * (1 - x**2) * (1 + rng.uniform(-0.5, 0.5) * x)
    rim = [*zip(x, bulge), *zip(x[::-1], -bulge[::-1])]
    return [fill(rim), line([(-1.2, 0), (0.9, 0)], 0.06, 1)]


def mushroom(rng):
    cap = half_disc(rng)[0][1] * (1, -rng.uniform(0.7, 1.0))
    spots = [fill(disc(0.1, x, -0.35), 1) for x in (-0.5, 0.0, 0.45)]
    return [fill(box(-0.2, -0.1, 0.2, 0.9), 1), fill(cap), *spots]


def lamp(rng):
    shade = [(-0.7, 0.0), (0.7, 0.0), (0.35, -1), (-0.35, -1)]
    return [fill(shade, 1), line([(0, 0), (0, 0.9)], 0.12), fill(box(-0.5, 0.85, 0.5, 1))]


def plane(rng):
    sweep = rng.uniform(0.1, 0.5)
    wing = [(0.25, 0), (-0.1 - sweep, 1), (-0.35 - sweep, 1), (-0.25, 0)]
    wings = [fill(np.asarray(wing) * (1, s)) for s in (-1, 1)]
    tail = [(-0.65, -0.4), (-0.95, -0.4), (-0.9, 0.4), (-0.75, 0.4)]
    return [*wings, fill(tail, 1), line([(-0.95, 0), (0.85, 0)], 0.22)]


def tool(rng):
    head = [(-1, -0.45), (-0.45, -0.45), (-0.45, 0.45), (-1, 0.45)]
    return [line([(-0.6, 0), (1, 0)], rng.uniform(0.12, 0.24), 1), fill(head)]


def cactus(rng):
    w = rng.uniform(0.22, 0.34)
    arms = [
        line([(0, y), (s * 0.55, y), (s * 0.55, y - 0.5)], w * 0.8)
        for s, y in ((-1, 0.2), (1, -0.05))
    ]
    return [line([(0, 1), (0, -0.9)], w * 1.3), *arms]


TURNING = {
    **{name: functools.partial(polygon, corners=n) for name, n in (
        ("triangle", 3), ("square", 4), ("pentagon", 5), ("hexagon", 6), ("octagon", 8))},
    **{f"star{n}": functools.partial(star, points=n) for n in (4, 5, 6, 9)},
    "burst": functools.partial(star, points=16, depth=0.75),
    "disc": lambda rng: [fill(disc())],
    **{f.__name__: f for f in (
        blob, rough, cell, nucleus, ring, target, crescent, sector, half_disc, bar, frame,
        lattice, cross, arrow, heart, drop, hook, bracket, tee, chevron, gear, spiral, wave,
        zigzag, worm, capsule, bean, dumbbell, flower, cluster, snowflake, gasket, fish, beetle,
        butterfly, key, leaf, plane, tool)},
    **{f"atom{a}_{b}": functools.partial(atom, frequencies=(a, b), share=share) for a, b, share in (
        (2, 3, 0.5), (2, 5, 0.5), (2, 9, 0.4), (2, 15, 0.3), (3, 4, 0.8), (3, 7, 0.5),
        (3, 11, 0.4), (3, 17, 0.3), (4, 5, 0.8), (4, 9, 0.5), (4, 13, 0.4), (5, 6, 0.8),
        (5, 11, 0.5), (5, 16, 0.4),
        (6, 8, 0.8), (6, 13, 0.5), (7, 9, 0.8), (7, 16, 0.5), (8, 10, 0.8), (9, 13, 0.8))},
}  # fmt: skip
UPRIGHT = {f.__name__: f for f in (bush, bottle, cup, car, house, person, mushroom, lamp, cactus)}
OUTLINES = {**TURNING, **UPRIGHT}
