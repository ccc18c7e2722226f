"""Every kind of image file becomes upright uint8 RGB; what is no image is one clear error."""

import contextlib
import importlib.util
import pathlib
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from keras_detblocks import data
from keras_detblocks.images import SUFFIXES, image_header, read_letterboxed
from keras_detblocks.images.files import FORMATS

_SPEC = importlib.util.spec_from_file_location(
    "device_detect", pathlib.Path(__file__).parents[2] / "tflite" / "detect.py"
)
DEVICE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(DEVICE)
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
def test_colors(tmp_path, mode, name, tolerance):
    pixels = data.read_image(_saved(tmp_path, _half(mode), name))
    assert pixels.shape == (16, 24, 3) and pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels[8, 4].astype(int), RED, atol=tolerance)
    np.testing.assert_allclose(pixels[8, 20], 0, atol=tolerance)


def test_gray_and_sixteen_bits(tmp_path):
    gray = data.read_image(_saved(tmp_path, _half("L", (100,) * 3), "gray.png"))
    assert (gray[8, 4] == 100).all()
    deep = np.zeros((16, 24), "uint16")
    deep[:, :12] = 257 * 100
    assert (data.read_image(_saved(tmp_path, Image.fromarray(deep), "deep.png"))[8, 4] == 100).all()
    assert (data.read_image(deep)[8, 4] == 100).all()
    assert (
        data.read_image(_saved(tmp_path, _half("1", (255,) * 3), "bits.png"))[8, 4] == 255
    ).all()


DEEP = [  # values, and what black and white are
    (np.linspace(0, 1000, 384).astype("uint16"), (0, 1023)),
    (np.linspace(0, 4000, 384).astype("uint16"), (0, 4095)),
    (np.linspace(0, 65000, 384).astype("uint16"), (0, 65535)),
    (np.linspace(0, 200, 384).astype("uint16"), (0, 255)),
    (np.linspace(0, 1, 384).astype("float32"), (0, 1)),
    (np.linspace(0, 255, 384).astype("float32"), (0, 255)),
    (np.linspace(-1000, 3000, 384).astype("int32"), (-1000, 3000)),
    (np.linspace(0, 2**20, 384).astype("int32"), (0, 2**20)),
]


@pytest.mark.parametrize(("values", "levels"), DEEP, ids=lambda v: str(v)[:24])
def test_deep_pictures_by_one_rule_here_and_on_the_device(tmp_path, values, levels):
    """Bits, floats, negative numbers: spread over 0 to 255, the same in tflite/detect.py."""
    expected = np.clip(np.rint((values - levels[0]) * (255 / (levels[1] - levels[0]))), 0, 255)
    expected = expected.reshape(16, 24)
    path = _saved(tmp_path, Image.fromarray(values.reshape(16, 24)), "deep.tif")
    for found in (
        data.read_image(path),
        data.read_image(values.reshape(16, 24)),
        np.asarray(DEVICE.read_picture(path)),
        read_letterboxed(path, (16, 24))[0],
    ):
        np.testing.assert_allclose(found[..., 1], expected, atol=1)


def test_a_dark_frame_of_a_camera_is_scaled_as_a_bright_one(tmp_path):
    """12 bits, of which the dark frame uses 7: by itself it would be as bright as the other."""
    bright = np.linspace(0, 4000, 384).astype("uint16").reshape(16, 24)
    paths = [
        _saved(tmp_path, Image.fromarray(pixels), name)
        for name, pixels in (("bright.png", bright), ("dark.png", bright // 32))
    ]
    records = [{"image": p, "boxes": [[1, 1, 9, 9]], "labels": ["x"]} for p in paths]
    dataset = data.from_records(records)
    assert dataset.levels == (0, 4095) and "become 0 to 255" in dataset.describe()
    assert DEVICE.levels_of_files(paths) == dataset.levels
    means = [data.read_image(p, dataset.levels).mean() for p in paths]
    assert means[0] / means[1] == pytest.approx(32, rel=0.2)


def _png16(path, pixels, kind, more=b""):
    """A PNG of uint16 (h, w, channels), of its color type 2 (RGB), 4 (gray, alpha) or 6 (RGBA)."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *pixels.shape[1::-1], 16, kind, 0, 0, 0))
    body = more and chunk(b"tEXt", more)
    body += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + body)
    return path


def _tiff16(path, pixels, order):
    """An uncompressed TIFF of uint16 (h, w, 3) in an order of bytes, "<" or ">"."""
    height, width = pixels.shape[:2]
    tags = [
        *((256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, 1), (262, 3, 2), (273, 4, 14)),
        *((277, 3, 3), (278, 4, height), (279, 4, pixels.nbytes)),
    ]
    start = 14 + pixels.nbytes
    entries = b""
    for tag, kind, value in tags:
        count, value = (3, 8) if tag == 258 else (1, value)
        small = (
            struct.pack(order + "HH", value, 0) if kind == 3 else struct.pack(order + "I", value)
        )
        small = struct.pack(order + "I", 8) if count == 3 else small
        entries += struct.pack(order + "HHI", tag, kind, count) + small
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, start)
    bits = struct.pack(order + "HHH", 16, 16, 16)
    body = head + bits + pixels.astype(order + "u2").tobytes()
    path.write_bytes(body + struct.pack(order + "H", len(tags)) + entries + bytes(4))
    return path


@pytest.mark.parametrize("kind", ["png", "text", "alpha", "little", "big", "lzw"])
@pytest.mark.parametrize("most", [1000, 65535])
def test_colors_of_16_bits_by_the_rule_of_gray(tmp_path, kind, most):
    values = np.random.default_rng(0).integers(0, most, (16, 24, 3)).astype("uint16")
    values[0, 0, 0] = most
    expected = np.rint(values * (255 / (1023 if most == 1000 else 65535)))
    path = tmp_path / ("a.png" if kind in ("png", "text", "alpha") else "a.tif")
    if kind == "alpha":
        opaque = np.random.default_rng(1).integers(0, 65535, (16, 24, 1)).astype("uint16")
        _png16(path, np.concatenate([values, opaque], 2), 6)
        expected = expected * (opaque / 65535) + 255 * (1 - opaque / 65535)
    elif path.suffix == ".png":
        _png16(path, values, 2, b"a\0b" * (kind == "text"))
    else:
        _tiff16(path, values, ">" if kind == "big" else "<")
        if kind == "lzw":
            cv2 = pytest.importorskip("cv2")
            cv2.imwrite(str(path), values[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
    header = image_header(path)
    assert header.deep and not header.halved
    found = [data.read_image(path), np.asarray(DEVICE.read_picture(path))]
    for pixels in (*found, read_letterboxed(path, (16, 24))[0]):
        np.testing.assert_allclose(pixels, expected, atol=1)
    record = {"image": path, "boxes": [], "labels": []}
    assert data.from_records([record], ["x"]).levels == DEVICE.levels_of_files([path])


def test_sixteen_bits_that_are_halved_are_told(tmp_path):
    path = _png16(tmp_path / "a.png", np.full((16, 24, 2), 65535, "uint16"), 4)
    assert image_header(path).halved and (data.read_image(path) == 255).all()
    record = {"image": path, "boxes": [], "labels": []}
    assert "upper 8 bits" in data.from_records([record], ["x"]).describe()


def test_heads_agree_with_pillow(tmp_path):
    """Whatever the order of bytes, thumbnails before the frame, progressive files and the like."""
    image = _half().resize((50, 40))
    for name, options in {
        "a.jpg": {},
        "progressive.jpg": {"progressive": True},
        "icc.jpg": {"icc_profile": b"x" * 30000},
        "comment.jpg": {"comment": b"x" * 9000},
        "palette.gif": {},
        "a.webp": {},
        "a.bmp": {},
        "a.tif": {},
        "a.png": {},
    }.items():
        path = _saved(tmp_path, image, name, **options)
        assert image_header(path)[:4] == (50, 40, 1, False)
    for endian in "<>":
        exif = Image.Exif()
        exif.endian = endian
        exif[0x010F], exif[0x0112] = "maker", 8
        path = _saved(tmp_path, image, "turned.jpg", exif=exif)
        assert image_header(path)[:3] == (50, 40, 8) and data.read_image(path).shape == (50, 40, 3)


def test_large_jpegs_are_decoded_reduced_and_look_the_same(tmp_path):
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 255, (12, 16, 3), "uint8")).resize((800, 600))
    exif = Image.Exif()
    for orientation in (1, 6):
        exif[0x0112] = orientation
        path = _saved(tmp_path, smooth, "a.jpg", quality=95, exif=exif)
        whole, fitted = data.letterbox(data.read_image(path), (96, 96))
        reduced, same = read_letterboxed(path, (96, 96))
        assert same == fitted
        assert np.abs(whole.astype(int) - reduced).mean() < 1
    with pytest.raises(data.ImageError, match="megapixels"):
        data.read_image(path, max_pixels=1000)
    assert read_letterboxed(path, (96, 96), max_pixels=20_000)[1] == fitted


def test_known_formats_have_their_suffixes():
    Image.init()
    known = {s for s, f in Image.registered_extensions().items() if f in FORMATS}
    assert known - set(SUFFIXES) <= {".fli", ".flc"}


def test_heic_users_are_told_what_to_install(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    with pytest.raises(data.ImageError, match="pillow-heif|truncated"):
        data.read_image(tmp_path / "a.heic")


@pytest.mark.parametrize("seed", range(60))
def test_damaged_pictures_never_raise_anything_else(tmp_path, seed):
    """A seeded share of the 1,500 mutated files that were tried: every error is an ImageError."""
    rng = np.random.default_rng(seed)
    suffix = (".jpg", ".png", ".tif", ".webp", ".gif", ".bmp", ".ppm", ".tga", ".ico")[seed % 9]
    path = _saved(tmp_path, _half(), f"a{suffix}")
    content = bytearray(path.read_bytes())
    for _ in range(rng.integers(1, 8)):
        at = rng.integers(min(len(content), 200))
        if rng.random() < 0.7:
            content[at] = rng.choice([0, 255, int(rng.integers(256))])
        else:
            del content[at : at + rng.integers(1, 30)]
    path.write_bytes(content)
    for read in (image_header, data.read_image, lambda p: read_letterboxed(p, (32, 32))):
        with contextlib.suppress(data.ImageError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)


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
