"""Frames of videos, cameras and streams, and videos of frames, through OpenCV (the extra
`video`)."""

import contextlib
import re

import numpy as np

from .files import ImageError

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
_RATE = 25.0  # where a camera does not say its own


def is_video(source):
    """Whether text names a video: a file by its suffix, a camera by its number, or a URL.

    >>> [is_video(text) for text in ("clip.MP4", "0", "rtsp://host/1", "photo.jpg")]
    [True, True, True, False]
    """
    text = str(source)
    return text.isdigit() or bool(_scheme(text)) or text.lower().endswith(VIDEO_SUFFIXES)


def _scheme(text):
    return re.match(r"[a-z][a-z0-9+.-]+://", text, re.I)


class Video:
    """An open video: iterate over it for frames, uint8 RGB arrays `(H, W, 3)`.

    Args:
        source: path of a file, number of a camera, or URL.

    Attributes:
        rate: frames per second. is_live: whether it is a camera or a URL, which may never end.

    Raises:
        ImageError: (a `ValueError`) there is no such camera, file or stream, or it is not a video.
        ImportError: without OpenCV.
    """

    def __init__(self, source):
        cv2 = _opencv()
        text = str(source)
        self.is_live = text.isdigit() or bool(_scheme(text))
        self.source = text
        self._capture = cv2.VideoCapture(int(text) if text.isdigit() else text)
        if not self._capture.isOpened():
            self._capture.release()
            raise ImageError(_missing(text))
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = float(rate) if np.isfinite(rate) and 0 < rate <= 1000 else _RATE

    def __iter__(self):
        while True:
            there, frame = self._capture.read()
            if not there:
                return
            yield np.ascontiguousarray(frame[..., ::-1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._capture.release()


def _missing(text):
    if text.isdigit():
        return f"There is no camera {text}, or another program has it."
    if _scheme(text):
        return f"{text} is not a video stream that can be opened."
    return f"{text}: expected a video; it is missing, or not one that OpenCV reads."


@contextlib.contextmanager
def video_writer(path, rate):
    """A function that appends frames, PIL images or uint8 RGB arrays of one size, to an .mp4 file;
    the file is complete when the block ends, however it ends."""
    cv2, writer = _opencv(), None

    def write(frame):
        nonlocal writer
        frame = np.asarray(frame)
        if writer is None:
            size = frame.shape[1], frame.shape[0]
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, size)
            if not writer.isOpened():
                raise ImageError(f"Cannot write the video {path}.")
        writer.write(np.ascontiguousarray(frame[..., ::-1]))

    try:
        yield write
    finally:
        if writer is not None:
            writer.release()


def _opencv():
    try:
        import cv2
    except ImportError as error:
        raise ImportError(
            "Videos and cameras need OpenCV: pip install 'keras_detblocks[video]'"
        ) from error
    with contextlib.suppress(AttributeError):  # its warnings; ours are one sentence
        cv2.setLogLevel(0)
    return cv2
