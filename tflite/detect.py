#!/usr/bin/env python3
"""Finds objects in pictures with a .tflite file exported by keras_detblocks, and draws them.

    python detect.py picture.jpg --model detector.tflite --out found
    python detect.py 0 --model detector.tflite --out found          # the first camera

Needs only NumPy, Pillow and ai-edge-litert (pip install numpy pillow ai-edge-litert). Class names,
input size and the way in which pictures are fitted into it are read from the model file.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import pathlib
import sys
import time
import zipfile

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

# No EPS, which starts another program.
FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "BMP", "GIF", "PPM")
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
VIDEOS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
COLORS = (
    "#e6194b",
    "#3cb44b",
    "#4363d8",
    "#f58231",
    "#911eb4",
    "#008080",
    "#9a6324",
    "#800000",
    "#808000",
    "#000075",
)


ABOUT = "keras_detblocks.json"
DEFAULT_SCORE = 0.3  # as in keras_detblocks.detection.inference


class Mistake(Exception):
    """Something that the user can fix; its text is the whole message."""


def main(arguments=None):
    options = parse(arguments)
    try:
        check(options)
        videos = [each for each in options.images if is_video(each)]
        paths = [pathlib.Path(each) for each in options.images if not is_video(each)]
        images = [file for path in paths for file in pictures_in(path)]
        detector = Detector(options.model, options.threads)
        out = folder(options.out)
    except Mistake as mistake:
        return complain(mistake)
    least = detector.shown_from if options.score is None else options.score
    code, taken = 0, {pathlib.Path(each).resolve() for each in (*images, *videos)}
    levels = levels_of_files([path for path in images if path.is_file()])
    for source in videos:
        try:
            report_video(source, detector, least, out, taken, options.frames)
        except Mistake as mistake:
            code = complain(mistake)
    for path in images:
        try:
            report(path, detector, least, out, taken, levels)
        except Mistake as mistake:  # go on with the other pictures
            code = complain(mistake)
    return code


def check(options):
    """Refuses meaningless numbers."""
    for name in ("frames", "threads"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise Mistake(f"--{name} is at least 1; received {value}")
    if options.score is not None and not 0 <= options.score <= 1:
        raise Mistake(f"--score is from 0 to 1; received {options.score}")


def pictures_in(path):
    """The pictures in a folder, or the file itself."""
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not found:
        raise Mistake(
            f"expected pictures in the folder {path} ({', '.join(SUFFIXES)}); it has none"
        )
    return found


def complain(mistake):
    print(f"detect.py: {mistake}", file=sys.stderr)
    return 2


def parse(arguments):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="pictures, folders of pictures, videos, camera numbers or stream URLs",
    )
    parser.add_argument(
        "--model", type=pathlib.Path, required=True, help=".tflite file written by keras_detblocks"
    )
    parser.add_argument(
        "--out", type=pathlib.Path, required=True, help="folder for the pictures with boxes"
    )
    parser.add_argument(
        "--score",
        type=float,
        default=None,
        help="least score to draw (default: the best one that an evaluation stored in the "
        f"model, else {DEFAULT_SCORE})",
    )
    parser.add_argument("--frames", type=int, default=None, help="most frames of a video")
    parser.add_argument("--threads", type=int, default=None, help="number of threads")
    return parser.parse_args(arguments)


class Detector:
    """The model file and what it says about itself."""

    def __init__(self, path, threads=None):
        about = read_about(path)
        self.size = tuple(about["image_size"])  # height, width
        self.names = about["class_names"]
        self.fill = about["letterbox"]["fill"]
        self.stretch = about.get("resize") == "stretch"
        self.raw = about if about.get("outputs", {}).get("form") == "raw" else None
        best = about.get("best_score_threshold")
        self.shown_from = DEFAULT_SCORE if best is None else best
        self.interpreter, self.run = open_model(path, threads)
        self.dtype = next(iter(self.run.get_input_details().values()))["dtype"]

    def detect(self, picture, least_score):
        """Returns boxes in the picture's own pixels, scores and class names for an RGB picture, and
        the milliseconds that it took."""
        canvas, factors = letterbox(picture, self.size, self.fill, self.stretch)
        start = time.perf_counter()
        found = self.run(image=canvas[None].astype(self.dtype))
        milliseconds = 1000 * (time.perf_counter() - start)
        found = in_pixels(found, self.size) if self.raw is None else suppressed(found, self.raw)
        keep = (found["scores"][0] >= least_score) & (found["labels"][0] >= 0)
        limits = np.array([picture.width, picture.height] * 2, "float32")
        boxes = np.clip(found["boxes"][0][keep] / factors, 0, limits)
        names = [self.names[label] for label in found["labels"][0][keep]]
        return list(
            zip(names, found["labels"][0][keep], found["scores"][0][keep], boxes)
        ), milliseconds


def in_pixels(found, size):
    """Converts outputs, `boxes, scores, labels, count` or MediaPipe's `locations, classes, scores,
    number`, to boxes as x_min, y_min, x_max, y_max in pixels of the input."""
    if "locations" not in found:
        return found
    sides = np.array([size[1], size[0]] * 2, "float32")
    labels = np.rint(found["classes"]).astype(int)
    labels[:, int(found["number"][0]) :] = -1
    boxes = found["locations"][..., [1, 0, 3, 2]] * sides
    return {"boxes": boxes, "scores": found["scores"], "labels": labels}


def suppressed(outputs, about):
    """Detections from the raw outputs of a file that was exported with `postprocess=False`."""
    boxes, scores = decoded(outputs, about)
    rows, labels = np.nonzero(scores > about["score_threshold"])
    best = np.argsort(-scores[rows, labels], kind="stable")
    best = best[: max(512, 5 * about["max_detections"])]
    rows, labels = rows[best], labels[best]
    boxes, scores, kept = boxes[rows], scores[rows, labels], []
    for i in range(len(boxes)):
        rivals = [k for k in kept if about["class_agnostic"] or labels[k] == labels[i]]
        if (overlaps(boxes[i], boxes[rivals]) <= about["iou_threshold"]).all():
            kept.append(i)
        if len(kept) == about["max_detections"]:
            break
    return {"boxes": boxes[kept][None], "scores": scores[kept][None], "labels": labels[kept][None]}


def decoded(outputs, about):
    """Returns boxes (N, 4) in pixels of the input and scores (N, classes) for all points, finest
    level first: a point is the center of a cell, and its distances are in strides."""
    boxes, scores = [], []
    size = about["image_size"]
    for level in about["levels"]:
        logits, distances = outputs[level["logits"]][0], outputs[level["distances"]][0]
        centers, strides = [], []
        for cells, side in zip(logits.shape, size):
            stride = 2 ** level["level"]
            if cells != -(-side // stride):
                stride = side / cells
            centers.append((np.arange(cells) + 0.5) * stride)
            strides.append(stride)
        y, x = np.meshgrid(*centers, indexing="ij")
        points = np.stack([x, y], axis=-1)
        distances = np.maximum(distances, 0) * np.array([*strides[::-1]] * 2)
        corners = np.concatenate([points - distances[..., :2], points + distances[..., 2:]], -1)
        boxes.append(np.clip(corners, 0, np.array([size[1], size[0]] * 2)).reshape(-1, 4))
        scores.append((1 / (1 + np.exp(-logits))).reshape(-1, logits.shape[-1]))
    return np.concatenate(boxes).astype("float32"), np.concatenate(scores)


def overlaps(box, boxes):
    """Intersection over union of a box with others."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    both = np.prod(np.maximum(sides, 0), axis=-1)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) + np.prod(box[2:] - box[:2])
    return both / np.maximum(areas - both, 1e-9)


def read_about(path):
    """The metadata at the end of the file, which contain the checksum of everything before them."""
    if not path.is_file():
        raise Mistake(f"there is no model file {path}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Mistake(f"cannot read {path}: {error.strerror}") from None
    if content[4:8] != b"TFL3" or ABOUT.encode() not in content:
        raise Mistake(
            f"{path} is not a detector exported by keras_detblocks (write one with `detblocks "
            f"export`)"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            files = {each.filename: archive.read(each) for each in members}
        about = json.loads(files[ABOUT])
    except Exception as error:  # flipped bits make the reader raise anything
        raise Mistake(f"{path} is damaged ({error}); copy it again") from None
    model = hashlib.sha256(content[: min(each.header_offset for each in members)]).hexdigest()
    if about.get("sha256", model if about.get("version") == 1 else None) != model:
        raise Mistake(f"{path} is damaged: its sha256 is not what its metadata say; copy it again")
    return about


def open_model(path, threads):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise Mistake("ai-edge-litert is missing: pip install ai-edge-litert") from None
    try:
        with quiet():
            interpreter = Interpreter(str(path), num_threads=threads)
            interpreter.allocate_tensors()
        return interpreter, interpreter.get_signature_runner()
    except (ValueError, RuntimeError) as error:
        raise Mistake(f"{path} cannot be opened: {' '.join(str(error).split())[:200]}") from None


# The same as the package's `startup.hidden_stderr`: the package is not on a device.
@contextlib.contextmanager
def quiet():
    """Hides the interpreter's C++ messages on standard error, so that a mistake stays one line."""
    keep = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(keep, 2)
        os.close(keep)


def deep_values(image):
    """The upright pixels of an opened file with more than 8 bits; None if it has 8."""
    if image.mode.startswith("I") or image.mode == "F":
        return np.asarray(ImageOps.exif_transpose(image))
    swapped = [_swapped(tile) for tile in image.tile] if image.format in ("PNG", "TIFF") else []
    if not swapped or None in swapped:
        return None
    # Pillow decodes the upper 8 bits of color; in the other byte order it gives the lower ones.
    image.fp.seek(0)
    content = image.fp.read()
    upper, lower = (type(image)(io.BytesIO(content)) for _ in range(2))
    lower.tile = swapped
    upper, lower = (np.asarray(ImageOps.exif_transpose(each)) for each in (upper, lower))
    return upper.astype("uint16") << 8 | lower


def _swapped(tile):
    name, extents, offset, args = tile
    raw, *others = (args,) if isinstance(args, str) else args
    mode, mark, order = str(raw).partition(";16")
    other = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}.get(order)
    if mode not in ("RGB", "RGBA", "RGBX") or not mark or other is None:
        return None
    raw = f"{mode};16{other}"
    args = raw if isinstance(args, str) else (raw, *others)
    return getattr(type(tile), "_make", tuple)((name, extents, offset, args))


# The same as the package's `images.levels`.
def levels_of(pixels):
    """Returns `(black, white)`, the values of a deep picture that become 0 and 255."""
    if pixels.dtype.kind == "f":
        pixels = pixels[np.isfinite(pixels)]
    low, high = (float(pixels.min()), float(pixels.max())) if pixels.size else (0.0, 0.0)
    if low < 0:
        return low, high
    if pixels.dtype.kind == "f" and high <= 1:
        return 0.0, 1.0
    return 0.0, next((2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if high < 2**bits), high)


def levels_of_files(paths):
    """The levels for all deep pictures of a call, so that a dark frame of a camera is scaled like a
    bright one; None without deep pictures."""
    found = []
    for path in paths:
        try:
            with Image.open(path, formats=FORMATS) as image:
                pixels = deep_values(image)
                if pixels is not None:
                    found.append(levels_of(pixels[..., :3] if pixels.ndim == 3 else pixels))
        except Exception:  # reported when the picture itself is read
            continue
        if len(found) == 64:
            break
    return (min(low for low, _ in found), max(high for _, high in found)) if found else None


def read_picture(path, levels=None):
    """An upright RGB picture, whatever the file's mode."""
    if not path.is_file():
        raise Mistake(f"there is no picture {path}")
    try:
        with Image.open(path, formats=FORMATS) as image:
            pixels = deep_values(image)
            if pixels is None:
                image.load()
                image = ImageOps.exif_transpose(image)
    except Exception as error:  # decoders raise anything on damaged files
        raise Mistake(
            f"{path} is not a picture that can be read ({' '.join(str(error).split())[:100]})"
        ) from None
    if pixels is not None:
        image = _of_deep(pixels, levels)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _of_deep(pixels, levels):
    color = pixels[..., :3] if pixels.ndim == 3 else pixels
    black, white = levels or levels_of(color)
    color = (color.astype("float64") - black) * (255 / max(white - black, 1e-12))
    color = np.clip(np.rint(np.nan_to_num(color, nan=0, posinf=255, neginf=0)), 0, 255)
    if pixels.shape[2:] == (4,):
        opaque = pixels[..., 3:] / 65535
        color = np.rint(color * opaque + 255 * (1 - opaque))
    return Image.fromarray(color.astype("uint8"))


def letterbox(picture, size, fill, stretch=False):
    """The picture scaled into the upper left corner of a canvas of `size`, or stretched to it, and
    the factors of x, y, x, y that took it there."""
    scales = size[0] / picture.height, size[1] / picture.width
    down, across = scales if stretch else (min(scales),) * 2
    width = max(1, min(size[1], round(picture.width * across)))
    height = max(1, min(size[0], round(picture.height * down)))
    factors = np.array([width / picture.width, height / picture.height] * 2, "float32")
    if (width, height) != picture.size:
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    canvas = np.full((*size, 3), fill, "uint8")
    canvas[:height, :width] = np.asarray(picture)
    return canvas, factors


def folder(path):
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise Mistake(f"cannot write to the folder {path}: {error.strerror}") from None
    return path


def free_name(out, stem, suffix, taken):
    """A path that is not an input and was not written for another picture of the same name."""
    target, number = out / f"{stem}{suffix}", 2
    while target.resolve() in taken:
        target, number = out / f"{stem}-{number}{suffix}", number + 1
    taken.add(target.resolve())
    return target


def report(path, detector, least_score, out, taken, levels=None):
    picture = read_picture(path, levels)
    found, milliseconds = detector.detect(picture, least_score)
    target = free_name(out, path.stem, ".png", taken)
    try:
        draw(picture, found).save(target)
    except OSError as error:
        raise Mistake(f"cannot write {target}: {error.strerror}") from None
    print(f"{path}: {len(found)} objects in {milliseconds:.1f} ms -> {target}")
    for name, _, score, box in found:
        print(f"  {name} {score:.3f} [{', '.join(f'{side:.1f}' for side in box)}]")


def is_video(text):
    """Whether a text names a camera by its number, a stream by its URL, or a video by its
    suffix."""
    video = text.lower().endswith(VIDEOS) and not os.path.isdir(text)
    return is_camera(text) or "://" in text or video


def is_camera(text):
    return text.isascii() and text.isdigit()


def no_video(source, opened):
    """The reason why there are no frames."""
    if is_camera(source):
        where = f"camera {source} gives no frames" if opened else f"there is no camera {source}"
        return f"{where}, or another program has it: give another number, or free it"
    if "://" in source:
        return f"{source} does not answer, or is not a video stream: check the address"
    if not os.path.isfile(source):
        return f"there is no video {source}: check the path"
    return f"{source} is not a video that OpenCV reads, or was cut off: copy or convert it"


def report_video(source, detector, least_score, out, taken, most=None):
    """Writes a video with boxes; an interrupt ends that of a camera."""
    try:
        import cv2
    except ImportError:
        raise Mistake("videos need OpenCV: pip install opencv-python-headless") from None
    video, start = opened_video(cv2, source), time.perf_counter()
    length = video.get(cv2.CAP_PROP_FRAME_COUNT)
    rate = video.get(cv2.CAP_PROP_FPS)
    stream = "://" in source
    stem = "stream" if stream else pathlib.Path(source).stem
    target = free_name(out, f"{stem}-boxes", ".mp4", taken)
    writer, count = Writer(cv2, target, rate if 0 < rate <= 1000 else 25.0), 0
    try:
        while count != most:
            with quiet():
                there, frame = video.read()
            if not there:
                break
            picture = Image.fromarray(np.ascontiguousarray(frame[..., ::-1]))
            writer.write(draw(picture, detector.detect(picture, least_score)[0]))
            count += 1
    except KeyboardInterrupt:
        pass
    finally:
        video.release()
        writer.release()
    if not count:
        raise Mistake(no_video(source, True))
    if count != most and not stream and count < 0.9 * length < 2**31:
        print(f"{source} ends after {count} of {length:.0f} frames: cut off?", file=sys.stderr)
    print(f"{source}: {count} frames, {count / (time.perf_counter() - start):.1f} per second")
    print(f"  -> {target}")


def opened_video(cv2, source):
    video = None
    with quiet(), contextlib.suppress(cv2.error, OverflowError, TypeError, SystemError):
        video = cv2.VideoCapture(int(source) if is_camera(source) else source)
    if video is None or not video.isOpened():
        raise Mistake(no_video(source, False))
    return video


class Writer:
    """Writes pictures of one size as a video, from the first one on."""

    def __init__(self, cv2, target, rate):
        self.cv2, self.target, self.rate = cv2, target, rate
        self.file = self.size = None

    def write(self, picture):
        if self.file is None:
            code, self.size = self.cv2.VideoWriter_fourcc(*"mp4v"), picture.size
            self.file = self.cv2.VideoWriter(str(self.target), code, self.rate, self.size)
            if not self.file.isOpened():
                raise Mistake(f"cannot write the video {self.target}")
        if picture.size != self.size:  # which OpenCV would silently leave out
            picture = picture.resize(self.size)
        self.file.write(np.ascontiguousarray(np.asarray(picture)[..., ::-1]))

    def release(self):
        if self.file is not None:
            self.file.release()


def draw(picture, found):
    picture = picture.copy()
    pen = ImageDraw.Draw(picture)
    line = max(1, round(min(picture.size) / 200))
    font = ImageFont.load_default(size=max(10, min(picture.size) // 30))
    for name, label, score, box in found:
        color = COLORS[label % len(COLORS)]
        pen.rectangle([float(side) for side in box], outline=color, width=line)
        text = f"{name} {score:.2f}"
        left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
        corner = (float(box[0]), max(0.0, float(box[1]) - bottom - 2))
        pen.rectangle((*corner, corner[0] + right + 2, corner[1] + bottom + 2), fill=color)
        pen.text(corner, text, fill="white", font=font)
    return picture


if __name__ == "__main__":
    sys.exit(main())
