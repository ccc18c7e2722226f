"""Every kind of image file becomes upright uint8 RGB; what is no image is one clear error."""

import numpy as np
import pytest
from PIL import Image

from keras_detblocks import data
from keras_detblocks.images import image_header

RED = (250, 10, 20)


def _half(mode="RGB", left=RED, right=(0, 0, 0)):
    image = Image.new("RGB", (24, 16), right)
    image.paste(left, (0, 0, 12, 16))
    return image.convert(mode)


def _saved(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize(
    ("mode", "name", "tolerance"),
    [
        ("RGB", "a.png", 0),
        ("RGB", "a.jpg", 12),
        ("P", "a.png", 32),
        ("P", "a.gif", 32),
        ("RGBA", "a.png", 0),
        ("CMYK", "a.jpg", 12),
    ],
)
def test_colours(tmp_path, mode, name, tolerance):
    pixels = data.read_image(_saved(tmp_path, _half(mode), name))
    assert pixels.shape == (16, 24, 3) and pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels[8, 4].astype(int), RED, atol=tolerance)
    np.testing.assert_allclose(pixels[8, 20], 0, atol=tolerance)


def test_grey_and_sixteen_bits(tmp_path):
    grey = data.read_image(_saved(tmp_path, _half("L", (100,) * 3), "grey.png"))
    assert (grey[8, 4] == 100).all()
    deep = np.zeros((16, 24), "uint16")
    deep[:, :12] = 257 * 100
    assert (data.read_image(_saved(tmp_path, Image.fromarray(deep), "deep.png"))[8, 4] == 100).all()
    assert (data.read_image(deep)[8, 4] == 100).all()
    assert (
        data.read_image(_saved(tmp_path, _half("1", (255,) * 3), "bits.png"))[8, 4] == 255
    ).all()


def test_transparent_lies_on_white(tmp_path):
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert (data.read_image(_saved(tmp_path, image, "clear.png")) == 255).all()


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, name, orientation):
    """Each file is stored so that its upright form is the same picture, red on the left."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = _half()
    if orientation in undo:
        image = image.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = _saved(tmp_path, image, name, exif=exif)
    pixels = data.read_image(path)
    assert pixels.shape == (16, 24, 3)
    assert pixels[8, 4, 0] > 200 and pixels[8, 20, 0] < 50
    width, height, found = image_header(path)[:3]
    assert found == orientation and ((width, height) == (16, 24)) == (orientation >= 5)


@pytest.mark.parametrize("shape", [(16, 24), (16, 24, 1), (16, 24, 3), (16, 24, 4)])
def test_arrays(shape):
    for kind in ("uint8", "float32", "int64"):
        pixels = data.read_image(np.full(shape, 77, kind))
        assert pixels.shape == (16, 24, 3) and pixels.dtype == np.uint8 and (pixels == 77).all()


@pytest.mark.parametrize("shape", [(16,), (2, 16, 24, 3), (16, 24, 2), (0, 24, 3)])
def test_arrays_of_another_shape(shape):
    with pytest.raises(data.ImageError, match="expected an array"):
        data.read_image(np.zeros(shape))


@pytest.mark.parametrize("reader", [data.read_image, image_header])
def test_bad_files(tmp_path, reader):
    rng = np.random.default_rng(0)
    whole = Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    for name in ("cut.jpg", "cut.png"):
        path = _saved(tmp_path, whole, name)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(data.ImageError, match="truncated"):
            reader(path)
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("text.jpg", "empty.png", "missing.png"):
        with pytest.raises(data.ImageError, match=f"expected .*|{name}"):
            reader(tmp_path / name)
