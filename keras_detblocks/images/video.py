"""Reads frames from videos, cameras and streams, and writes videos, through OpenCV (the extra
`video`)."""

import contextlib
import os
import re

import numpy as np

from ..startup import hidden_stderr
from .files import ImageError

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm")
_RATE = 25.0  # for cameras that do not state their own
_MOST_FRAMES = 2**31  # a source that claims more does not know its rate


def is_video(source):
    """Whether text names a video: a file by its suffix, a camera by its number, or a URL.

    >>> [is_video(text) for text in ("clip.MP4", "0", "rtsp://host/1", "photo.jpg")]
    [True, True, True, False]
    """
    text = str(source)
    return is_camera(text) or is_url(text) or text.lower().endswith(VIDEO_SUFFIXES)


def is_camera(text):
    return re.fullmatch("[0-9]+", text) is not None


def is_url(text):
    return re.match(r"[a-z][a-z0-9+.-]+://", text, re.I) is not None


class Video:
    """An open video: iterate over it for frames, uint8 RGB arrays `(H, W, 3)`.

    Args:
        source: path of a file, number of a camera, or URL.

    Attributes:
        rate: frames per second. is_live: whether it is a camera or a URL, which may never end.
        length: number of frames according to the file; `None` if it is not stated.

    Raises:
        ImageError: (a `ValueError`) there is no such camera, file or stream, or it is not a video;
            when iterated over, if not one frame comes.
        ImportError: without OpenCV.
    """

    def __init__(self, source):
        cv2 = _opencv()
        self.source = str(source)
        self.is_live = is_camera(self.source) or is_url(self.source)
        with hidden_stderr():  # hides the words of FFmpeg and the drivers; ours are one sentence
            self._capture = _capture(cv2, self.source)
            opened = self._capture is not None and self._capture.isOpened()
        if not opened:
            raise ImageError(_missing(self.source))
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = float(rate) if np.isfinite(rate) and 0 < rate <= 1000 else _RATE
        length = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.length = int(length) if not self.is_live and 0 < length < _MOST_FRAMES else None

    def __iter__(self):
        count = 0
        while True:
            with hidden_stderr():
                there, frame = self._capture.read()
            if not there:
                break
            count += 1
            yield np.ascontiguousarray(frame[..., ::-1])
        if not count:
            raise ImageError(_silent(self.source))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._capture.release()


def _capture(cv2, text):
    """OpenCV's capture; `None` if it does not take such a number."""
    try:
        return cv2.VideoCapture(int(text) if is_camera(text) else text)
    except (cv2.error, OverflowError, TypeError, SystemError):
        return None


def _missing(text):
    if is_camera(text):
        return (
            f"Expected the number of a camera; there is no camera {text}, or another program has "
            "it. Give another number (the first is 0), or free it."
        )
    if is_url(text):
        return (
            f"Expected a video stream; {text} does not answer, or is not one that OpenCV reads. "
            "Check the address."
        )
    if not os.path.isfile(text):
        return f"Expected a video; there is no file {text}. Check the path."
    return (
        f"Expected a video; {text} is not one that OpenCV reads, or it was cut off. Copy it again, "
        "or convert it to .mp4."
    )


def _silent(text):
    if is_camera(text):
        return (
            f"Expected frames; camera {text} is there and gives none. Free it from other programs, "
            "or give another number."
        )
    return (
        f"Expected frames; {text} has none that OpenCV reads. Give another video, or convert it to "
        ".mp4."
    )


@contextlib.contextmanager
def video_writer(path, rate):
    """Yields a function that appends frames, PIL images or uint8 RGB arrays of one size, to an .mp4
    file; the file is complete when the block ends, however it ends."""
    cv2, writer, size = _opencv(), None, None

    def write(frame):
        nonlocal writer, size
        frame = np.asarray(frame)
        if writer is None:
            size = frame.shape[1], frame.shape[0]
            with hidden_stderr():
                writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, size)
            if not writer.isOpened():
                raise ImageError(f"Cannot write the video {path}: choose another folder.")
        if frame.shape[1::-1] != size:  # OpenCV would silently leave it out
            raise ImageError(
                f"Expected frames of {size[0]}x{size[1]} pixels for {path}; one has "
                f"{frame.shape[1]}x{frame.shape[0]}. The frames before it are written."
            )
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
