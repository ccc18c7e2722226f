"""Mutated annotation files of every layout: each is read or refused in one sentence, in no time."""

import random

import numpy as np
import pytest
from test_layouts import LAYOUTS
from test_more_layouts import LAYOUTS as MORE

from keras_detblocks import data

TOKENS = [
    *(b"null", b"1e999", b"-1", b'""', b"[]", b"{}", b"NaN", b"\xff\xfe", b"\0", b"<", b"&", b"%"),
    *(b"10" * 300, b"[" * 3000, b"true", b",", b"\n", b'"', b"../", b"999999999999999999999"),
]


def _mutated(content, rng):
    content = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        at, kind = rng.randrange(len(content) + 1), rng.random()
        if kind < 0.2:
            content[at : at + 1] = bytes([rng.randrange(256)])
        elif kind < 0.4:
            del content[at : at + rng.randint(1, 20)]
        elif kind < 0.75:
            content[at : at + rng.randint(0, 6)] = rng.choice(TOKENS)
        elif kind < 0.85:
            del content[at:]
        else:
            other = rng.randrange(len(content) + 1)
            content[at:at] = content[other : other + rng.randint(1, 200)]
    return bytes(content)


@pytest.mark.parametrize("name", [*LAYOUTS, *MORE])
def test_no_mutation_is_a_bare_exception(tmp_path, name):
    """A few a layout of the 6,600 that were tried."""
    rng = random.Random(name)
    (LAYOUTS | MORE)[name][0](tmp_path)
    files = sorted(p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".png")
    for _ in range(8):
        path = rng.choice(files)
        whole = path.read_bytes()
        path.write_bytes(_mutated(whole, rng))
        try:
            for split in data.splits(tmp_path):
                dataset = data.load(tmp_path, split)
                assert dataset.describe() and dataset.summary()
                for record in dataset.records:
                    assert np.isfinite(record.boxes).all() and (record.boxes >= 0).all()
                    assert (record.labels < len(dataset.class_names)).all()
        except data.DatasetError as error:
            assert len(str(error)) < 3000
        path.write_bytes(whole)
