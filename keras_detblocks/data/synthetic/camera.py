"""Simulates what a camera does to a painted scene: light, blur, noise, contrast, compression."""

import io

import numpy as np
from PIL import Image, ImageFilter

from .textures import noise_bank


def camera(rng, canvas):
    """Applies uneven light, blur, noise, contrast and compression; returns uint8 `(H, W, 3)`."""
    _, height, width = canvas.shape
    if rng.random() < 0.5:
        canvas *= _uneven(rng, height, width)
    if rng.random() < 0.08:
        canvas[:] = canvas.mean(0)
    elif rng.random() < 0.4:
        canvas *= rng.uniform(0.8, 1.2, (3, 1, 1)).astype("float32")
    gain = np.float32(rng.uniform(0.6, 1.25))
    canvas *= gain
    canvas += np.float32(rng.uniform(0, 255) * max(0.0, 1 - gain))
    pixels = _to_pixels(canvas)
    if rng.random() < 0.4:
        blur = ImageFilter.GaussianBlur(rng.exponential(0.6))
        pixels = np.asarray(Image.fromarray(pixels).filter(blur))
    if rng.random() < 0.6:
        pixels = _noisy(rng, pixels)
    if rng.random() < 0.3:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=int(rng.integers(25, 90)))
        pixels = np.asarray(Image.open(file))
    return np.ascontiguousarray(pixels)


def _uneven(rng, height, width):
    coarse = (1 + rng.normal(0, rng.uniform(0.05, 0.3), (3, 3))).clip(0.3, 1.7).astype("float32")
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def _noisy(rng, pixels):
    height, width = pixels.shape[:2]
    bank = noise_bank()
    y, x = (
        rng.integers(bank.shape[1] - min(height, 600)),
        rng.integers(bank.shape[2] - min(width, 600)),
    )
    rows, columns = (
        np.arange(y, y + height) % bank.shape[1],
        np.arange(x, x + width) % bank.shape[2],
    )
    noise = bank[:, rows[0] : rows[0] + height, columns[0] : columns[0] + width]
    if noise.shape[1:] != (height, width):  # the picture is larger than the bank
        noise = bank[:, rows][:, :, columns]
    strength = np.float32(rng.exponential(6.0))
    noise = noise[:1] if rng.random() < 0.4 else noise
    return _to_pixels(pixels.transpose(2, 0, 1) + strength * noise)


def _to_pixels(planes):
    return np.clip(planes, 0, 255).astype("uint8").transpose(1, 2, 0)
