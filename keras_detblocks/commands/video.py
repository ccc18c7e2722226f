"""Detections in videos, for `detblocks predict`."""

import contextlib
import sys
import time


def predict_video(detector, source, target, score, most=None, emit=None):
    """Writes a video with boxes and says how fast it went.

    Args:
        detector: a `Detector` or an opened export.
        source: file, number of a camera, or URL.
        target: path of the .mp4 file, or `None`.
        score: least score.
        most: the most frames.
        emit: called with `(frame number, detections)`.

    Returns:
        The number of frames. An interrupt ends a camera or a stream, and the video written so far
        stays.
    """
    from ..checks import check_int
    from ..images.draw import draw_boxes
    from ..images.video import Video, video_writer

    check_int(most, "frames", optional=True)
    count, busy, start = 0, 0.0, time.perf_counter()
    with contextlib.ExitStack() as stack:
        video = stack.enter_context(Video(source))
        write = target and stack.enter_context(video_writer(target, video.rate))
        try:
            for frame in video:
                if count == most:
                    break
                begin = time.perf_counter()
                found = detector.detect(frame, score)
                busy += time.perf_counter() - begin
                if emit is not None:
                    emit(count, found)
                if write:
                    boxes, labels, scores = (found[key] for key in ("boxes", "labels", "scores"))
                    write(draw_boxes(frame, boxes, labels, scores, detector.class_names))
                count += 1
        except KeyboardInterrupt:
            if not video.is_live:
                raise
    if count != most:
        _tell_of_an_early_end(video, count)
    whole = time.perf_counter() - start
    print(
        f"{source}: {count} frames, {count / whole:.1f} per second (detection only "
        f"{count / busy:.1f}){f' -> {target}' if target else ''}",
        file=sys.stderr if emit is not None else sys.stdout,
    )
    return count


def _tell_of_an_early_end(video, count):
    """Warns if a video ends early; the length that it states may be a guess from its rate."""
    if video.length and count < 0.9 * video.length:
        print(
            f"{video.source}: ends after {count} of {video.length} frames, so the file was "
            "cut off: copy it again.",
            file=sys.stderr,
        )
