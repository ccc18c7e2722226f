"""The comparison of the necks, with a budget of a few steps."""

import pathlib
import runpy

import pytest

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "compare_necks.py"


@pytest.mark.slow
def test_two_necks(tmp_path, capsys):
    pytest.importorskip("sklearn")
    main = runpy.run_path(str(EXAMPLE))["main"]
    tiny = ["--out", str(tmp_path / "necks"), "--steps", "2", "--levels", "4,5", "--filters", "16", "--image-size", "96"]
    tiny += ["--train-images", "12", "--val-images", "4"]
    first = main([*tiny, "--necks", "fpn"])
    rows = main([*tiny, "--necks", "fpn,panet"])  # the first is not run again
    assert rows[0] == first[0] and [row["neck"] for row in rows] == ["fpn", "panet"]
    assert rows[0]["params"] < rows[1]["params"] and rows[0]["macs"] < rows[1]["macs"]
    for row in rows:
        assert set(row["formats"]) == {"keras", "tflite", "tflite-int8"} and all(f["ms"] > 0 for f in row["formats"].values())
    assert (tmp_path / "necks" / "necks.png").stat().st_size > 5000 and (tmp_path / "necks" / "necks.json").is_file()
    assert "[2/2] panet" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="other settings"):
        main([*tiny, "--steps", "3", "--necks", "fpn"])
