"""Gray textures made by formulas, and colors, for the backgrounds and objects of the synthetic
pictures.

Power spectra and dead leaves have the statistics of photographs, and networks trained on them
transfer (https://arxiv.org/abs/2106.05963).
"""

import colorsys
import functools

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 320  # side of a texture in pixels
COUNT = 140


@functools.cache
def bank():
    """`COUNT` textures, uint8 `(COUNT, SIDE, SIDE)`, the same in every process; made once, in
    about two seconds."""
    return np.stack([texture(number) for number in range(COUNT)])


def texture(number):
    """One of the bank's textures, uint8 `(SIDE, SIDE)`."""
    made = FAMILIES[number % len(FAMILIES)](np.random.default_rng([20260, number]))
    low, high = np.percentile(made[::2, ::2], (1, 99))
    return np.clip((made - low) * (255 / max(high - low, 1e-6)), 0, 255).astype("uint8")


@functools.cache
def noise_bank():
    """Normal noise, float32 `(3, 640, 640)`, of which windows serve as camera noise."""
    return np.random.default_rng(20261).standard_normal((3, 640, 640), "float32")


def crop(rng, height, width, number=None, zoom=1.0):
    """A window of a texture, mirrored and turned at random, float32 `(height, width)` from 0 to 1.

    `zoom` is the size of its grain; `number` selects a texture of the bank.
    """
    image = bank()[rng.integers(COUNT) if number is None else number]
    image = image.T if rng.random() < 0.5 else image
    h, w = min(SIDE, max(4, round(height / zoom))), min(SIDE, max(4, round(width / zoom)))
    y, x = rng.integers(SIDE - h + 1), rng.integers(SIDE - w + 1)
    window = image[y : y + h, x : x + w][:: rng.choice((-1, 1)), :: rng.choice((-1, 1))]
    if (h, w) != (height, width):
        window = Image.fromarray(np.ascontiguousarray(window)).resize(
            (width, height), Image.Resampling.BILINEAR
        )
    return np.asarray(window, "float32") * np.float32(1 / 255)


def color(rng, value=None):
    """A color, float32 `(3,)` from 0 to 255, mostly of low saturation, as in photographs."""
    saturation = rng.beta(1.1, 2.2)
    rgb = colorsys.hsv_to_rgb(
        rng.random(), saturation, rng.uniform(0.08, 1.0) if value is None else value
    )
    return np.array(rgb, "float32") * 255


def _grid(side=SIDE):
    return np.meshgrid(*[np.linspace(-1, 1, side, dtype="float32")] * 2)


def spectrum(rng, slope=None):
    """Noise whose spectrum falls with a power of the frequency, sometimes more in one direction
    than in the other."""
    slope = rng.uniform(0.7, 2.2) if slope is None else slope
    fy, fx = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None]
    stretch = np.exp(rng.normal(0, 0.5))
    size = np.hypot(fy * stretch, fx / stretch)
    size[0, 0] = 1.0
    waves = np.fft.rfft2(rng.standard_normal((SIDE, SIDE))) / size**slope
    waves[0, 0] = 0.0
    return np.fft.irfft2(waves, (SIDE, SIDE))


def dead_leaves(rng):
    """Discs and polygons of all sizes that hide each other."""
    image = Image.new("L", (SIDE, SIDE), 128)
    draw = ImageDraw.Draw(image)
    largest = rng.uniform(12, 70)
    for _ in range(1500):
        r = max(1.5, largest * rng.uniform(0.05, 1) ** 2.5)
        x, y = rng.uniform(0, SIDE, 2)
        gray = int(rng.integers(256))
        if rng.random() < 0.5:
            draw.ellipse((x - r, y - r, x + r, y + r), gray)
        else:
            angles = np.sort(rng.uniform(0, 6.3, rng.integers(3, 6)))
            draw.polygon([(x + r * np.cos(a), y + r * np.sin(a)) for a in angles], gray)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), "float64")


def marble(rng):
    """Stripes bent by noise: wood, marble, cloth."""
    x, y = _grid()
    noise = spectrum(rng, rng.uniform(1.4, 2.2))
    angle, frequency = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(6), np.log(70)))
    bent = (
        frequency * (x * np.cos(angle) + y * np.sin(angle))
        + rng.uniform(0, 6) * noise / noise.std()
    )
    stripes = np.sin(bent)
    return stripes + rng.uniform(0, 0.5) * noise / noise.std()


def stripes(rng):
    """Straight hard stripes or checks."""
    x, y = _grid()
    a, b = np.exp(rng.uniform(np.log(8), np.log(60), 2))
    angle = rng.uniform(0, np.pi)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    pattern = np.sign(np.sin(a * u)) * (np.sign(np.sin(b * v)) if rng.random() < 0.5 else 1)
    return pattern + spectrum(rng, 1.2) * rng.uniform(0, 1) / 30


def cells(rng):
    """Distances to random points: scales, stones, foam
    (https://dl.acm.org/doi/10.1145/237170.237267)."""
    x, y = _grid(SIDE // 2)
    near, second = np.full_like(x, 9.0), np.full_like(x, 9.0)
    for px, py in rng.uniform(-1, 1, (rng.integers(30, 220), 2)).astype("float32"):
        square = (x - px) ** 2 + (y - py) ** 2
        second = np.minimum(second, np.maximum(near, square))
        near = np.minimum(near, square)
    near, second = np.sqrt(near), np.sqrt(second)
    if rng.random() < 0.6:
        near = np.minimum(second - near, np.float32(rng.uniform(0.02, 0.1)))
    return np.asarray(Image.fromarray(near).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def speckle(rng):
    """Grains: noise above a threshold, blurred."""
    noise = spectrum(rng, rng.uniform(0.3, 1.3))
    grains = (noise > np.quantile(noise, rng.uniform(0.4, 0.9))).astype("uint8") * 255
    return np.asarray(
        Image.fromarray(grains).filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2))), "float64"
    )


def scratches(rng):
    """Many lines: hair, grass, brushed metal, print."""
    image = Image.new("L", (SIDE, SIDE), 128)
    draw = ImageDraw.Draw(image)
    main, spread = rng.uniform(0, np.pi), rng.choice((0.1, 0.5, 3.0))
    for _ in range(700):
        x, y = rng.uniform(-20, SIDE + 20, 2)
        angle, length = main + rng.normal(0, spread), rng.uniform(10, 90)
        end = (x + length * np.cos(angle), y + length * np.sin(angle))
        draw.line([(x, y), end], int(rng.integers(256)), int(rng.integers(1, 4)))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.2))), "float64")


def clouds(rng):
    return spectrum(rng, rng.uniform(1.8, 2.6))


FAMILIES = (
    spectrum,
    dead_leaves,
    marble,
    clouds,
    cells,
    speckle,
    scratches,
    stripes,
    dead_leaves,
    clouds,
)
