"""A file is whole or not there, and nothing is left beside it."""

import pytest

from keras_detblocks.files import write_text, written_beside


def test_a_file_takes_the_place_of_another(tmp_path):
    path = tmp_path / "new" / "note.txt"
    for text in ("old", "né"):
        write_text(path, text)
        assert path.read_text("utf-8") == text
    assert [each.name for each in path.parent.iterdir()] == ["note.txt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_one_and_nothing_beside(tmp_path, error):
    write_text(tmp_path / "note.txt", "old")
    with pytest.raises(type(error)):
        with written_beside(tmp_path / "note.txt") as part:
            part.write_text("half of")
            raise error
    assert (tmp_path / "note.txt").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_folder_takes_the_place_of_another(tmp_path):
    for name in ("first", "second"):
        with written_beside(tmp_path / "model") as part:
            (part / "variables").mkdir(parents=True)
            (part / "variables" / name).write_text(name)
    assert [each.name for each in (tmp_path / "model").rglob("*")] == ["variables", "second"]
    assert [each.name for each in tmp_path.iterdir()] == ["model"]


def test_a_disk_that_fails_at_the_last_moment(tmp_path, monkeypatch):
    """What the disk says when it is asked to hold the file counts, not what the buffer took."""
    write_text(tmp_path / "note.txt", "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "note.txt", "new")
    assert (tmp_path / "note.txt").read_text() == "old" and len(list(tmp_path.iterdir())) == 1
