"""The comparison of the necks, with a budget of a few steps."""

import json
import pathlib
import runpy

import pytest

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "compare_necks.py"


@pytest.mark.slow
def test_necks(tmp_path, capsys, eager):
    """One neck is trained and measured; one that a stopped comparison left behind is not run
    again."""
    pytest.importorskip("sklearn")
    main = runpy.run_path(str(EXAMPLE))["main"]
    out = tmp_path / "necks"
    tiny = "--steps 1 --levels 2,3 --filters 16 --image-size 96 --train-images 8 --val-images 2"
    tiny = ["--out", str(out), *tiny.split()]
    (row,) = main([*tiny, "--parts", "fpn"])
    assert row["neck"] == "fpn" and 0 < row["params"] < 1e6 < row["macs"]
    assert set(row["formats"]) == {"keras", "tflite", "tflite-int8"} and all(
        f["ms"] > 0 for f in row["formats"].values()
    )
    assert "[1/1] fpn" in capsys.readouterr().out

    (out / "panet.json").write_text(json.dumps({**row, "neck": "panet"}))
    rows = main([*tiny, "--parts", "fpn,panet"])
    assert rows == [row, {**row, "neck": "panet"}] == json.loads((out / "necks.json").read_text())
    assert (out / "necks.png").stat().st_size > 5000 and "panet" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="other settings"):
        main([*tiny, "--steps", "3", "--parts", "fpn"])
    with pytest.raises(SystemExit):
        main([*tiny, "--parts", "fpn+sppf,yolo-like-s,fpn+spff"])
    assert "fpn+spff: " in (error := capsys.readouterr().err) and "sppf" in error
