"""The trials of `compare_learning.py`: what they compare, their detectors and what these begin
with."""

import dataclasses
import functools
import itertools
import os
import time
from unittest import mock

NECKS = ("fpn", "panet", "csppanet", "bifpn", "efm", "mlfpn", "asff")
CONTEXTS = ("spp", "sppcsp", "sppf", "aspp", "rfb", "rfbs")
BATCH = 16


@dataclasses.dataclass(frozen=True)
class Trial:
    """One training, and its place in the comparison.

    Attributes:
        group, name: the table and the row.
        data: a data set of `sets`. images: how many of its training pictures, 0 for all.
        still: whether its pictures are shown as they are, except for mosaics.
        model: options of `build_detector`. size: of the net's input.
        start: `"start"`, `"backbone"` (of the start alone), `"scratch"`, or `"regnet"` (a backbone
            pretrained on `kdb.data.synthetic`).
        backbone: its share of the learning rate.
        frozen: the share of the steps in which it is frozen.
        standing: beginnings of the names of its layers that stay frozen to the end, or
            `"backbone.batch_norm"` and the like.
        kept: the share of the steps after which batch normalizations keep their statistics, and
            precision: of the convolutions from then on; only on TensorFlow.
        assign: arguments of the assigner. mosaic: their share, until `closed` of the steps.
    """

    group: str
    name: str
    data: str = "bccd"
    images: int = 0
    still: bool = False
    model: tuple = ()
    size: int = 320
    start: str = "start"
    steps: int = 480
    batch: int = BATCH
    rate: float = 0.02
    optimizer: str = "muon"
    backbone: float = 1.0
    frozen: float = 0.0
    standing: tuple = ()
    kept: float = 1.0
    precision: str = "auto"
    assign: tuple = ()
    mosaic: float = 0.0
    closed: float = 1.0
    average: float = 0.99

    def compiled(self):
        """The settings that trials of one compiled step share."""
        own = (self.data, self.model, self.size, self.batch, self.optimizer, self.assign)
        own += (self.standing, self.still, self.kept, self.precision)
        return (*own, self.mosaic > 0, self.average)


def trials():
    """Every trial with its seeds, the most important first."""
    rows = [*necks((0,)), *tuning(), *regnets(), *longer(), *recipes(), *fewer_doubts()]
    rows += [*demo(), *fewer_steps(), *standing(), *kept()]
    return [*rows, *necks((1,)), *necks((2,))]


def necks(seeds):
    """All necks, with as many steps as the default detector makes in 15 minutes on two cores."""
    plain = [Trial("necks", neck, model=(("neck", neck),), steps=1440) for neck in NECKS]
    fair = dataclasses.replace(plain[0], name="fpn, backbone started", start="backbone")
    with_context = [
        Trial(
            "necks", f"{neck}+{context}", model=(("neck", neck), ("context", context)), steps=1440
        )
        for neck, context in [*(("fpn", name) for name in CONTEXTS), ("panet", "sppf")]
    ]
    return itertools.product([*plain, fair, *with_context], seeds)


SMALL = {  # data set: (pictures, steps, size)
    "bccd": (0, 480, 320),
    "bccd20": (20, 150, 320),
    "nuclei": (20, 100, 128),
    "faces": (20, 120, 192),
}


def on_small_sets(group, **options):
    """For each of `SMALL` its name, and a function that makes a trial of it in the group."""
    for data, (images, steps, size) in SMALL.items():
        own = {"data": data.rstrip("20"), "images": images, "steps": steps, "size": size}
        yield data, functools.partial(Trial, f"{group} {data}", **own, **options)


def tuning():
    """Rates, schedules and optimizers from the start."""
    for data, new in on_small_sets("tuning"):
        rows = [new(f"muon {rate}", rate=rate) for rate in (0.005, 0.01, 0.02, 0.04)]
        rows += [new(f"muon 0.02, backbone x{x}", backbone=x) for x in (0.3, 0.1, 0.0)]
        rows += [new("muon 0.02, backbone frozen for 15 %", frozen=0.15)]
        rows += [new("scratch, muon 0.02", start="scratch")]
        rows += [new("backbone of the start, muon 0.02", start="backbone")]
        adamw = functools.partial(new, optimizer="adamw")
        rows += [adamw(f"adamw {rate}", rate=rate) for rate in (0.001, 0.002, 0.004, 0.008)]
        rows += [adamw("adamw 0.004, backbone x0.3", rate=0.004, backbone=0.3)]
        yield from itertools.product(rows, (0, 1) if data == "bccd" else (0, 1, 2))


# Row: beginnings of names, with ~ their statistics still learn; or normalizations of parts.
ALL_NORMS = ("backbone.batch_norm", "neck.batch_norm", "head.batch_norm")
STANDING = {
    "batch normalizations": ALL_NORMS,
    "the backbone's": ("backbone.batch_norm",),
    "stem": ("stem",),
    "stem and stage 1": ("stem", "s1_"),
    "weights of stem and stage 1": ("~stem", "~s1_"),
    "weights of stem, stages 1 and 2": ("~stem", "~s1_", "~s2_"),
    "stem, stages 1 and 2": ("stem", "s1_", "s2_"),
}


def standing():
    """Frozen to the end: the finest layers, which then cost no backward pass, or all batch
    normalizations, which then cost nothing at all."""
    for _, new in on_small_sets("standing"):
        rows = [new("all learn")] + [new(name, standing=key) for name, key in STANDING.items()]
        rows += [new("batch normalizations, 0.01", standing=ALL_NORMS, rate=0.01)]
        yield from itertools.product(rows, (0, 1, 2))


def kept():
    """Batch normalizations keep their statistics from a share of the steps on, which makes these
    steps cheaper."""
    digits = functools.partial(
        Trial, "kept demo", data="demo", still=True, model=(("levels", (3, 4)),), size=192,
        start="scratch",
    )  # fmt: skip
    for _, new in [*on_small_sets("kept"), ("demo", digits)]:
        rows = [never := new("never")]
        for share, precision, more in itertools.product(
            (0.4, 0.2), ("float32", "bfloat16_conv"), (1.0, 1.5)
        ):
            name = f"from {share} on, {precision}, {more:g} times the steps"
            steps = int(more * never.steps)
            rows.append(new(name, kept=share, precision=precision, steps=steps))
        yield from itertools.product(rows, (0, 1, 2))


def fewer_doubts():
    """Assigner, mosaics, batches, heads; the default is the first of `tuning bccd`."""
    new = functools.partial(Trial, "learning")
    rows = [new("default")]
    for name, value in [("top", 6), ("top", 13), ("top", 20), ("alpha", 0.5), ("beta", 4.0)]:
        rows.append(new(f"{name} {value}", assign=((name, value),)))
    rows += [new(f"radius {value}", assign=(("radius", value),)) for value in (0.5, 1.5)]
    rows += [new("mosaic 0.5", mosaic=0.5), new("mosaic 0.5 to 75 %", mosaic=0.5, closed=0.75)]
    rows += [new(f"batch 4, {r}", batch=4, steps=1920, rate=r) for r in (0.005, 0.01, 0.02)]
    rows += [new(f"batch 8, {r}", batch=8, steps=960, rate=r) for r in (0.01, 0.014, 0.02)]
    rows += [new(f"batch 32, {r}", batch=32, steps=240, rate=r) for r in (0.02, 0.03)]
    scratch = functools.partial(new, start="scratch", steps=1440)
    rows += [
        scratch("scratch"),
        scratch("scratch, a head per level", model=(("head", "per level"),)),
        scratch("scratch, a head and a prior per level", model=(("head", "priors by level"),)),
    ]
    rows += [scratch("scratch, 4/3 as wide", model=(("widened", True),), steps=1000)]
    yield from itertools.product(rows, (0, 1, 2))


def demo():
    """Those doubts on the data and the detector of `detblocks demo`, from scratch."""
    levels = ("levels", (3, 4))
    new = functools.partial(
        Trial, "demo", data="demo", still=True, model=(levels,), size=192, start="scratch",
        steps=1200,
    )  # fmt: skip
    rows = [new("default")]
    rows += [
        new(name, model=(levels, ("head", head)))
        for name, head in (
            ("a head per level", "per level"),
            ("a head and a prior per level", "priors by level"),
        )
    ]
    rows += [new("mosaic 0.5", mosaic=0.5), new("mosaic 0.5 to 75 %", mosaic=0.5, closed=0.75)]
    rows += [new("batch 32, 0.028", batch=32, steps=600, rate=0.028)]
    rows += [new(f"top {top}", assign=(("top", top),)) for top in (6, 13)]
    rows += [new("alpha 0.5", assign=(("alpha", 0.5),)), new("beta 4", assign=(("beta", 4.0),))]
    rows += [new(f"radius {radius}", assign=(("radius", radius),)) for radius in (0.5, 1.5)]
    # As much computation as the default's 1,200 steps.
    rows += [new("4/3 as wide", model=(levels, ("widened", True)), steps=850)]
    rows += [
        new("panet+sppf", model=(levels, ("neck", "panet"), ("context", "sppf")), steps=1100),
        new("batch 4, 0.01", batch=4, steps=4800, rate=0.01),
        new("batch 8, 0.014", batch=8, steps=2400, rate=0.014),
    ]
    yield from itertools.product(rows, (0, 1, 2))


def fewer_steps():
    """What the start is worth after fewer and more steps of few pictures."""
    for data in ("bccd20", "nuclei", "faces"):
        images, steps, size = SMALL[data]
        for share, start in itertools.product((1, 0.5, 0.25, 2), ("start", "scratch")):
            own = {"images": images, "size": size, "start": start, "steps": int(steps * share)}
            name = f"{start}, {own['steps']} steps"
            yield Trial(f"steps {data}", name, data=data.rstrip("20"), **own), 0


def longer():
    """Longer runs, with as many steps as 30 minutes on two cores allow."""
    new = functools.partial(Trial, "30 minutes")
    rows = [new(f"320, {rate}", steps=2880, rate=rate) for rate in (0.005, 0.01, 0.02)]
    rows += [new("320, averages 0.998", steps=2880, average=0.998)]
    rows += [new("320, mosaic 0.5 to 75 %", steps=2880, mosaic=0.5, closed=0.75)]
    rows += [new(f"{size}", size=size, steps=steps) for size, steps in ((416, 1700), (480, 1280))]
    yield from itertools.product(rows, (0,))


def recipes():
    """All recipes, with as many steps as the default detector makes in 10 minutes."""
    import keras_detblocks as kdb

    for name in kdb.recipes.list():
        if not name.endswith("-m"):
            parts = dataclasses.asdict(kdb.recipes.options(name))
            parts = {k: v for k, v in parts.items() if k not in ("image_size", "weights", "resize")}
            yield Trial("recipes", name, model=tuple(parts.items()), steps=960), 0


def regnets():
    """Rates for a pretrained backbone under a new neck and head (`--weights`)."""
    model = (("backbone", "RegNetY002"),)
    for _, new in on_small_sets("weights", model=model, start="regnet"):
        rows = [new(f"muon {rate}", rate=rate) for rate in (0.005, 0.01, 0.02, 0.04)]
        rows += [new(f"muon 0.02, backbone x{x}", backbone=x) for x in (0.3, 0.1)]
        rows += [new("scratch, muon 0.02", start="scratch")]
        yield from itertools.product(rows, (0, 1))


def build(trial, class_names):
    import keras_detblocks as kdb
    from keras_detblocks.detection import build as by_name

    options = dict(trial.model)
    widths = by_name.COMPACT_WIDTHS
    if options.pop("widened", False):
        widths = {level: 4 * width // 3 for level, width in widths.items()}
    if "head" in options:
        options["head"] = head_per_level(len(class_names), **HEADS[options["head"]])
    with mock.patch.object(by_name, "COMPACT_WIDTHS", widths):
        detector = kdb.build_detector(class_names, (trial.size, trial.size), **options)
    detector.freeze(*(name for name in trial.standing if name.endswith(".batch_norm")))
    for layer in detector.backbone.layers:
        if layer.name.startswith(trial.standing):
            layer.trainable = False
        if f"~{layer.name}".startswith(trial.standing):
            for variable in layer.trainable_variables:
                variable.trainable = False
    return detector


# A class' initial probability: equal for all levels, or by a level's number of cells per object.
HEADS = {"per level": {}, "priors by level": {"priors": {"P3": 0.002, "P4": 0.008, "P5": 0.03}}}


def head_per_level(num_classes, priors=None):
    """A head whose levels share nothing; `priors` are those of the classes at each level."""
    import keras

    import keras_detblocks as kdb

    class HeadPerLevel(keras.layers.Layer):
        def __init__(self, num_classes, priors=None, **kwargs):
            super().__init__(**kwargs)
            self.num_classes, self.priors, self.heads = num_classes, dict(priors or {}), {}

        def build(self, shapes):
            for level, shape in shapes.items():
                prior = self.priors.get(level, 0.01)
                self.heads[level] = kdb.AnchorFreeHead(self.num_classes, prior=prior, name=level)
                self.heads[level].build({level: shape})

        def call(self, maps, training=None):
            found = {}
            for level, features in maps.items():
                found |= self.heads[level]({level: features}, training=training)
            return found

        def get_config(self):
            own = {"num_classes": self.num_classes, "priors": self.priors}
            return {**super().get_config(), **own}

    return HeadPerLevel(num_classes, priors, name="head")


def begin(model, fresh, trial, seed, options):
    """Gives the model new random weights, then those it starts from; returns the parts that
    started."""
    import keras

    import keras_detblocks as kdb

    keras.utils.set_random_seed(seed)
    if "head" in dict(trial.model):
        again = build(trial, model.class_names)
    else:
        again = type(fresh).from_config(fresh.get_config())
    for variable, value in zip(model.variables, again.variables):
        variable.assign(value)
    if trial.start == "scratch":
        return []
    if trial.start == "regnet":
        return pretrained(model, options)
    started = kdb.start_weights(model)
    if trial.start == "backbone":
        backbone = {id(v) for v in model.backbone.variables}
        for variable, value in zip(model.variables, again.variables):
            if id(variable) not in backbone:
                variable.assign(value)
        started = started[:1]
    return list(started)


def pretrained(model, options, steps=2500, pictures=16_000, size=192, batch=64):
    """Gives the backbone weights learned on synthetic pictures; the first process learns them."""
    from safetensors.numpy import load_file

    path = options.out / "regnet.safetensors"
    if not path.is_file():
        pretrain(
            path, options, *((2, 8, 64, 4) if options.smoke else (steps, pictures, size, batch))
        )
    tensors = load_file(str(path))
    for variable in model.backbone.weights:
        variable.assign(tensors[variable.path])
    return ["backbone"]


def pretrain(path, options, steps, pictures, size, batch):
    import jax
    import numpy as np
    from jax_training import Change, Training, trained
    from pretrain_start import Pictures, object_and_class_losses
    from safetensors.numpy import save_file

    import keras_detblocks as kdb
    from keras_detblocks.data import synthetic
    from keras_detblocks.detection.start import OBJECT
    from keras_detblocks.training.schedule import cosine_with_warmup

    began, drawing = time.monotonic(), Pictures(size, os.cpu_count(), min(64, pictures), 0)
    names = (*synthetic.CLASS_NAMES, OBJECT)
    model = kdb.build_detector(names, (size, size), backbone="RegNetY002")
    training = Training(model, batch, Change(), object_and_class_losses)
    chunks = drawing.ready(-(-pictures // min(64, pictures)))
    drawing.close()
    ring = [jax.device_put(np.concatenate(parts)) for parts in zip(*chunks)]

    def rate(step):
        return np.float32(0.012 * cosine_with_warmup(step, step / steps, 150))

    loss = trained(training, ring, len(ring[0]), steps, rate, 0)
    training.assign()
    tensors = {v.path: np.asarray(v.value) for v in model.backbone.weights}
    save_file(tensors, str(path) + ".part")
    os.replace(str(path) + ".part", path)
    print(f"pretrained: loss {loss:.3f}, {time.monotonic() - began:.0f} s", flush=True)
