"""`Detector`: backbone, context, neck and head as one functional Keras model."""

import types

import keras

from ..checks import check_choice, check_flag, check_int, check_number, look_up
from ..images.letterbox import RESIZES
from ..layers.block import declare_to_tensorflow, set_trainable_parts, trainable_parts
from ..layers.normalization import batch_norms
from ..weights import check_same_net
from .classes import checked_classes, with_classes
from .decode import candidate_count, candidates, decode, non_max_suppression
from .explain import explain
from .head import AnchorFreeHead
from .inference import detect
from .model import DetectionModel
from .parts import deserialize, joined, refuse_hdf5, serialize


@keras.saving.register_keras_serializable(package="keras_detblocks")
class Detector(DetectionModel):
    """An object detector assembled from parts; a functional model, so `summary`, `save` and
    freezing are Keras' own.

    `model(images)` returns the raw outputs of the head, `predict` detections of fixed size,
    `detect` boxes in the pixels of each picture. `fit` takes batches `(images, {"boxes": (B, M, 4),
    "labels": (B, M)})`: boxes as x_min, y_min, x_max, y_max in pixels of the input, labels from 0,
    padded with -1; assignment happens inside the loss.

    Args:
        backbone: a functional model from an image to a dict of levels (`levels=` of our
            constructors, `feature_pyramid` for others).
        neck: a layer from dict of levels to dict of levels, a list of such layers run in turn, or
            `None`.
        num_classes: number of classes; `None` with `class_names`.
        class_names: one name per class; by default `"0"`, `"1"`, ...
        context: a layer for the backbone's deepest level, or a dict such as `{"P3": RFBs(512)}`.
        head: a layer such as `AnchorFreeHead`, which is the default.
        score_threshold, iou_threshold, max_detections, class_agnostic: of the non-maximum
            suppression in `predict`, `detect` and exports. They are attributes too, which can be
            changed at any time. The score threshold is low because AP needs uncertain detections
            too.
        resize: how pictures are brought to the input's size in training (`training.train`),
            evaluation, `detect` and exports: `"letterbox"` keeps their proportions and fills the
            rest with gray, `"stretch"` fills the input, as MediaPipe does. It is an attribute too.
        best_score_threshold: the least score worth showing, as an evaluation found it
            (`kdb.evaluation`): `detect` returns detections from this score on, in exported files
            too. `None` if not known: then `detect` takes 0.3.
        name, trainable: as in `keras.Model`.

    Raises:
        ValueError: if the parts do not fit together.

    Example:

    >>> backbone = RegNetY("200mf", include_top=False, levels=(3, 4, 5), input_shape=(64, 96, 3))
    >>> detector = Detector(backbone, FPN(32, levels=(3, 4, 5)), class_names=["cat", "dog"])
    >>> tuple(detector(keras.ops.zeros((1, 64, 96, 3)))["P3_logits"].shape)
    (1, 8, 12, 2)
    """

    def __init__(
        self,
        backbone,
        neck=None,
        num_classes=None,
        *,
        class_names=None,
        context=None,
        head=None,
        score_threshold=0.01,
        iou_threshold=0.6,
        max_detections=100,
        class_agnostic=False,
        resize="letterbox",
        best_score_threshold=None,
        name="detector",
        trainable=True,
    ):
        num_classes, class_names = checked_classes(class_names, num_classes)
        head = AnchorFreeHead(num_classes, name="head") if head is None else head
        image, outputs = joined(backbone, context, neck, head, num_classes)
        super().__init__(image, outputs, num_classes=num_classes, backbone=backbone, name=name)
        # Keras would not pass this on to the parts, whose statistics would go on moving.
        if not check_flag(trainable, "trainable"):
            self.trainable = False
        declare_to_tensorflow(self)
        self.class_names = class_names
        # In a namespace, which Keras does not track: the parts are in the graph already and would
        # be saved twice.
        self._parts = types.SimpleNamespace(
            backbone=backbone, neck=neck, context=context, head=head
        )
        self.score_threshold = score_threshold
        self.iou_threshold = iou_threshold
        self.max_detections = max_detections
        self.class_agnostic = class_agnostic
        self.best_score_threshold = best_score_threshold
        self._about = types.SimpleNamespace(run_record=None)
        self.resize = resize

    @property
    def image_size(self):
        """The `(height, width)` that the model was built for, or `None` if either is dynamic."""
        size = tuple(self.input_shape[1:3])
        return None if None in size else size

    @property
    def backbone(self):
        """The backbone; `detector.backbone.trainable = False` freezes it."""
        return self._parts.backbone

    @property
    def head(self):
        """The head."""
        return self._parts.head

    @property
    def neck(self):
        """The neck: a layer, a list of layers, or `None`."""
        return self._parts.neck

    @property
    def context(self):
        """The context block: a layer, a dict of layers by level, or `None`."""
        return self._parts.context

    def freeze(self, *parts):
        """Freezes these parts and nothing else; compile the detector again afterward.

        Single layers can be frozen by their own `trainable`. It survives `save`, copies and
        `with_classes`. Frozen batch normalizations keep their statistics; one after a convolution
        that trains is computed within it, which saves a quarter of a step on CPU.

        Args:
            *parts: any of `"backbone"`, `"context"`, `"neck"`, `"head"`, `"batch_norm"` (every
                batch normalization) and `"backbone.batch_norm"` and the like (those of one part);
                without any, everything trains.

        Raises:
            ValueError: on another name.

        >>> backbone = RegNetY("200mf", include_top=False, levels=(4, 5), input_shape=(64, 64, 3))
        >>> detector = Detector(backbone, FPN(16, levels=(4, 5)), num_classes=2)
        >>> detector.freeze("backbone")
        >>> len(detector.trainable_weights) < len(detector.weights) - len(backbone.weights) + 1
        True
        """
        frozen = [layer for part in parts for layer in self._layers_of(part)]
        # One by one: on TensorFlow, Keras passes a flag on only if it changes.
        for layer in self._flatten_layers():
            layer.trainable = True
        for layer in frozen:
            for part in layer._flatten_layers():
                part.trainable = False

    def _layers_of(self, part):
        layers = {key: keras.tree.flatten(value) for key, value in vars(self._parts).items()}
        known = {key: [each for each in value if each is not None] for key, value in layers.items()}
        norms = {f"{key}.batch_norm": sum(map(batch_norms, known[key]), []) for key in known}
        norms["batch_norm"] = batch_norms(self)
        return look_up(known | norms, part, "part of a detector")

    @property
    def run_record(self):
        """The record by `training.train` of the run that made the weights, a dict for JSON; `None`
        for other detectors. It travels in `.keras` files and exports."""
        return self._about.run_record

    @run_record.setter
    def run_record(self, value):
        self._about.run_record = value

    @property
    def resize(self):
        """How pictures are brought to the input's size: `"letterbox"` or `"stretch"`."""
        return self._resize

    @resize.setter
    def resize(self, value):
        self._resize = check_choice(value, "resize", RESIZES)

    # The four settings of the suppression are part of the compiled `predict`.

    @property
    def score_threshold(self):
        """The least score of a detection, from 0 to below 1."""
        return self._score_threshold

    @score_threshold.setter
    def score_threshold(self, value):
        self._score_threshold = check_number(value, "score_threshold", least=0, below=1)
        self.predict_function = None

    @property
    def iou_threshold(self):
        """The overlap above which the lower of two scores is suppressed, above 0 and at most 1."""
        return self._iou_threshold

    @iou_threshold.setter
    def iou_threshold(self, value):
        self._iou_threshold = check_number(value, "iou_threshold", above=0, most=1)
        self.predict_function = None

    @property
    def max_detections(self):
        """The most detections per image."""
        return self._max_detections

    @max_detections.setter
    def max_detections(self, value):
        self._max_detections = check_int(value, "max_detections")
        self.predict_function = None

    @property
    def class_agnostic(self):
        """Whether suppression runs across classes."""
        return self._class_agnostic

    @class_agnostic.setter
    def class_agnostic(self, value):
        self._class_agnostic = check_flag(value, "class_agnostic")
        self.predict_function = None

    @property
    def best_score_threshold(self):
        """The least score of detections that `detect` returns by default, from 0 to 1, or
        `None`."""
        return self._best_score_threshold

    @best_score_threshold.setter
    def best_score_threshold(self, value):
        self._best_score_threshold = check_number(
            value, "best_score_threshold", least=0, most=1, optional=True
        )

    def get_config(self):
        refuse_hdf5()  # `keras.models.save_model` does not ask `save`
        parts = {key: serialize(part) for key, part in vars(self._parts).items()}
        flags = trainable_parts(self)
        return {
            **parts,
            **({"trainable_parts": flags} if flags else {}),
            "trainable": self.trainable,
            "num_classes": self.num_classes,
            "class_names": list(self.class_names),
            "score_threshold": self.score_threshold,
            "iou_threshold": self.iou_threshold,
            "max_detections": self.max_detections,
            "class_agnostic": self.class_agnostic,
            "resize": self.resize,
            "best_score_threshold": self.best_score_threshold,
            "name": self.name,
            **({"run_record": self.run_record} if self.run_record else {}),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for key in ("backbone", "neck", "context", "head"):
            config[key] = deserialize(config[key], custom_objects)
        trains, flags = config.pop("trainable", True), config.pop("trainable_parts", {})
        record = config.pop("run_record", None)
        detector = cls(**config)
        if not trains:
            detector.trainable = False
        set_trainable_parts(detector, flags)
        detector.run_record = record
        return detector

    def save(self, filepath, *args, **kwargs):
        """Saves as `keras.Model.save`, in a `.keras` file at `filepath`: the legacy HDF5 format
        cannot hold the parts of a detector."""
        refuse_hdf5(str(filepath))
        return super().save(filepath, *args, **kwargs)

    def export(
        self, filepath, format="tf_saved_model", verbose=None, input_signature=None, **kwargs
    ):
        """Exports as `keras.Model.export` (`filepath`, `format`, `verbose`, `input_signature`): raw
        maps of the head. `keras_detblocks.export` writes files that return detections."""
        if input_signature is None:  # without it Keras writes ONNX only for models that have run
            shape = (None, *self.input_shape[1:])
            input_signature = [keras.InputSpec(shape=shape, dtype=self.input.dtype, name="image")]
        super().export(filepath, format, verbose, input_signature, **kwargs)

    def load_weights(self, filepath, *args, **kwargs):
        """Loads weights from `filepath`, as `keras.Model.load_weights`.

        Raises:
            ValueError: if a `.weights.h5` file belongs to another detector, unless an argument such
                as `skip_mismatch=True` asks for the weights that fit.
        """
        if str(filepath).endswith(".weights.h5") and not (args or kwargs):
            check_same_net(self, filepath)
        return super().load_weights(filepath, *args, **kwargs)

    def _run_through_graph(self, inputs, operation_fn=None, **kwargs):
        # `keras.models.clone_model` would silently make a plain model of the layers, without
        # losses, classes and detections.
        if getattr(operation_fn, "__module__", "") == keras.models.clone_model.__module__:
            raise ValueError(
                "A detector is cloned by `type(detector).from_config(detector.get_config())`, and "
                "with its weights by `copy.deepcopy(detector)`: `keras.models.clone_model` would "
                "keep the layers alone."
            )
        given = {} if operation_fn is None else {"operation_fn": operation_fn}
        return super()._run_through_graph(inputs, **given, **kwargs)

    def with_classes(self, class_names):
        """Returns a detector with the same parts, weights and settings for other classes, to train
        on other data.

        Classes whose names this detector knows keep their outputs; others start as in a new head.

        Args:
            class_names: one name per class.

        Returns:
            A new `Detector`, not compiled.

        Raises:
            ValueError: if the classes cannot be told apart in the head (it needs a `classifier`
                layer, as in `AnchorFreeHead`).

        >>> backbone = RegNetY("200mf", include_top=False, levels=(4, 5), input_shape=(64, 64, 3))
        >>> detector = Detector(backbone, FPN(16, levels=(4, 5)), class_names=["cat", "dog"])
        >>> detector.with_classes(["dog", "owl", "hen"]).num_classes
        3
        """
        return with_classes(self, class_names)

    def predict_step(self, data, *args):
        # On JAX the first argument is the state, and the result carries it.
        if keras.backend.backend() == "jax":
            raw, state = super().predict_step(data, *args)
            x = args[0]
        else:
            raw, state = super().predict_step(data), None
            x = data
        x = keras.utils.unpack_x_y_sample_weight(x)[0]
        found = self.postprocess(raw, tuple(x.shape[1:3]))
        return found if state is None else (found, state)

    def postprocess(self, outputs, image_size):
        """Turns raw `outputs` for an input of `image_size` (height, width) into detections: `boxes`
        `(B, max_detections, 4)` in pixels, `scores`, `labels` (-1 in unused places) and `count`."""
        boxes, scores = decode(outputs, image_size)
        found = candidates(
            boxes,
            scores,
            candidate_count(self.max_detections),
            image_size,
            self.class_agnostic,
            self.score_threshold,
        )
        return non_max_suppression(found, self.iou_threshold, self.max_detections)

    def detect(self, images, score_threshold=None, batch_size=16, tile=None, overlap=0.2):
        """Finds objects in pictures of any size.

        Args:
            images: one picture or a list: paths, NumPy arrays `(H, W)`, `(H, W, 3 or 4)` or PIL
                images.
            score_threshold: least score of returned detections (at least the detector's own
                threshold); by default its `best_score_threshold`, or 0.3 if that is not known.
            batch_size: pictures per step.
            tile: for small objects in large pictures: the size of tiles, in pixels of the picture
                (a number or (height, width)), which are searched one by one and their detections
                merged. By default the whole picture is scaled into the network's input.
            overlap: share of a tile that the next one covers too; it should be at least as wide as
                the objects.

        Returns:
            One dict per picture (a single dict for a single picture): `boxes` `(n, 4)` as x_min,
            y_min, x_max, y_max in the picture's own pixels, `scores` `(n,)` in falling order,
            `labels` `(n,)` and `class_names`, a list of n.
        """
        return detect(self, images, score_threshold, batch_size, tile, overlap)

    def explain(self, image, score_threshold=None):
        """Explains the detections of one picture: every candidate of the suppression, the level and
        cell that it came from, and its fate.

        Args:
            image: a path, NumPy array or PIL image of any size.
            score_threshold: least score of a candidate; by default the detector's own.

        Returns:
            An `Explanation`: print it, look at its `rows`, or `draw()` it.

        >>> backbone = RegNetY("200mf", include_top=False, levels=(4, 5), input_shape=(64, 64, 3))
        >>> detector = Detector(backbone, FPN(16, levels=(4, 5)), class_names=["cat", "dog"])
        >>> detector.explain(np.zeros((48, 64, 3), "uint8"), score_threshold=0.9)
        Explanation of 0 candidates: 0 kept
        """
        return explain(self, image, score_threshold)
