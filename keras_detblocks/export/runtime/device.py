"""The program that runs an exported detector on machines without Keras and this package."""

import pathlib
import shutil
import warnings

_PACKAGE = pathlib.Path(__file__).resolve().parents[2]
# Its place in a wheel, and in the repository.
_PLACES = (_PACKAGE / "tflite" / "detect.py", _PACKAGE.parent / "tflite" / "detect.py")


def device_program():
    """The path of `detect.py`, which needs only NumPy, Pillow and ai-edge-litert.

    >>> kdb.export.device_program().name
    'detect.py'

    Raises:
        FileNotFoundError: if the package was installed without it.
    """
    for path in _PLACES:
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"detect.py is not in this installation of keras_detblocks: expected {_PLACES[0]}. "
        "Install the package again."
    )


def leave_program(export):
    """Copies `detect.py` beside an export and returns its path.

    An existing file of that name with other content, such as an edited one, stays, with a warning.
    """
    source, target = device_program(), pathlib.Path(export).parent / "detect.py"
    if not target.exists():
        shutil.copyfile(source, target)
    elif target.read_bytes() != source.read_bytes():
        warnings.warn(
            f"{target} differs from the program of this version and was left as it is: remove it "
            "and export again to get the new one.",
            stacklevel=2,
        )
    return target
