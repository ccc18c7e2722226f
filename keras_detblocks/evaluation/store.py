"""Keeps the best threshold in a `.keras` file, where `detect` and exports find it."""

import json
import shutil
import zipfile

from ..checks import check_number, check_path
from ..files import written_beside

_CONFIG = "config.json"


def store_threshold(path, threshold):
    """Writes `best_score_threshold` into the configuration of a saved `Detector`.

    Everything else in the file, the weights included, stays the same, byte for byte.

    Args:
        path: of the `.keras` file. threshold: from 0 to 1, or `None` to remove it.

    Raises:
        ValueError: if the file holds no `Detector`.
        OSError: if it cannot be written.
    """
    threshold = check_number(threshold, "threshold", least=0, most=1, optional=True)
    path = check_path(path, "path")
    try:
        with zipfile.ZipFile(path) as file:
            config = json.loads(file.read(_CONFIG))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(f"Expected a .keras file of a Detector; received {path}.") from error
    if config.get("class_name") != "Detector":
        raise ValueError(
            f"Expected a .keras file of a Detector; {path} holds a {config.get('class_name')}."
        )
    config["config"]["best_score_threshold"] = threshold
    with (
        written_beside(path) as part,
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(part, "w") as new,
    ):
        for entry in old.infolist():
            if entry.filename == _CONFIG:
                new.writestr(entry, json.dumps(config))
                continue
            with old.open(entry) as source, new.open(entry, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, 1024**2)
