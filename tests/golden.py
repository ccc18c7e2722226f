"""Golden fixtures: regenerate weights and inputs by rule v1 and check outputs.

Arrays are float32 in the layout of the source project: feature maps NCHW, conv
kernels (out, in / groups, kh, kw), transposed conv kernels (in, out / groups,
kh, kw), linear weights (out, in).
"""

import json
import zlib
from collections import namedtuple

import numpy as np

Sample = namedtuple("Sample", "shape idx val mean std")


def synth(name, shape, kind, seed):
    """Draw one tensor from its name; the same name and seed give the same values."""
    rng = np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)
    shape = tuple(shape)
    if kind in ("conv", "linear", "convT"):
        fan_in = np.prod((shape[0],) + shape[2:] if kind == "convT" else shape[1:])
        out = rng.standard_normal(shape) * np.sqrt(1.0 / fan_in)
    elif kind in ("norm_weight", "var", "fusion"):
        out = rng.uniform(0.5, 1.5, shape)
    elif kind in ("norm_bias", "mean", "bias"):
        out = 0.1 * rng.standard_normal(shape)
    elif kind == "input":
        out = rng.standard_normal(shape)
    else:
        raise ValueError(f"unknown kind {kind!r} of {name!r}")
    return np.asarray(out, "float32")


class Golden:
    """One fixture file (.npz): `meta` (dict), `seed`, `outputs` (names) and the methods below."""

    def __init__(self, path):
        with np.load(path) as data:
            self._arrays = {key: data[key] for key in data.files if key != "meta"}
            self.meta = json.loads(str(data["meta"]))
        self.seed = self.meta["seed"]
        self.outputs = list(self.meta["outputs"])

    def params(self):
        """Every weight and statistic of the reference by its state_dict name."""
        return {n: synth(n, s, k, self.seed) for n, s, k in self.meta["params"]}

    def inputs(self):
        """Every input (NCHW) by name."""
        shapes = self.meta["inputs"]
        return {n: synth("input:" + n, s, "input", self.seed) for n, s in shapes.items()}

    def expected(self, output):
        """The whole array where stored in full, else a `Sample` of it."""
        if output in self._arrays:
            return self._arrays[output]
        shape, idx, val, mean, std = (self._arrays[f"{output}@{f}"] for f in Sample._fields)
        return Sample(tuple(map(int, shape)), idx, val, float(mean), float(std))

    def check(self, output, array, rtol=1e-4):
        """Return max |array - expected| / std(expected); raise above `rtol`.

        A sampled output is compared at its sample, and in its mean and std.
        """
        array, want = np.asarray(array, "float64"), self.expected(output)
        if array.shape != want.shape:
            raise AssertionError(f"{output}: shape {array.shape}, expected {want.shape}")
        if isinstance(want, Sample):
            moments = [array.mean() - want.mean, array.std() - want.std]
            diff, std = np.append(array.ravel()[want.idx] - want.val, moments), want.std
        else:
            diff, std = array - want, want.std(dtype="float64")
        error = float(np.abs(diff).max() / std)
        if not error <= rtol:
            raise AssertionError(f"{output}: error {error:.3g} of one std, rtol {rtol:g}")
        return error


load = Golden
