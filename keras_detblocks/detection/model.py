"""A functional model of raw detections that Keras trains: its loss, what its optimizer decays and
averages, and how both are stored in a file."""

import inspect
import types

import keras
from keras import ops

from ..checks import check_choice, check_kind, check_number
from ..layers.folding import foldable_pairs, folded
from ..optimizers import clip_after_reduction
from .decode import flatten
from .faults import Faults, expects_bytes, with_first_batch
from .losses import BOX_LOSSES, CLASSIFICATION_LOSSES, PerImageLoss, detection_losses, over_replicas
from .targets import check_data, check_given, padded


def check_detector(detector, name="detector", opened=False):
    """The value, if it is a `Detector`, or where that is allowed an opened export of one."""
    if opened and not isinstance(detector, keras.Model) and hasattr(detector, "max_detections"):
        return detector
    kind = "a Detector, or an export that `export.open_exported` opened" if opened else "a Detector"
    return check_kind(detector, name, DetectionModel, kind)


class DetectionModel(keras.Model):
    """The part of `Detector` that trains. Not public.

    Args:
        image: the model's symbolic input, `(B, H, W, 3)`.
        outputs: raw outputs by level, as `AnchorFreeHead` gives them.
        num_classes: of the logits.
        backbone: tells whether it takes pixels from 0 to 255.
    """

    def __init__(self, image, outputs, *, num_classes, backbone, **kwargs):
        super().__init__(image, outputs, **kwargs)
        self.num_classes = num_classes
        self._loss_settings = {}
        self._per_image = PerImageLoss()
        # In a namespace, which Keras does not track: a file of the model has no place for these.
        self._checks = types.SimpleNamespace(
            faults=Faults(num_classes, pixels=expects_bytes(backbone))
        )
        self._loss_means = {
            kind: keras.metrics.Mean(name=f"{kind}_loss") for kind in ("classification", "box")
        }

    def compile(
        self,
        optimizer="adamw",
        box_loss="giou",
        classification_loss="quality_focal",
        box_loss_weight=2.0,
        **kwargs,
    ):
        """Configures training as `keras.Model.compile` does, without `loss`, which is the
        detector's own.

        Normalization and biases are excluded from the optimizer's weight decay, also in a model
        loaded from a file.

        Args:
            optimizer: as in Keras.
            box_loss: `"giou"` or `"ciou"`.
            classification_loss: `"quality_focal"`, `"varifocal"` or `"focal"`.
            box_loss_weight: factor of the box loss.
            **kwargs: `run_eagerly`, `steps_per_execution`, `jit_compile`, `auto_scale_loss`.
        """
        if "loss" in kwargs:
            raise ValueError(
                "The detector has its own loss: choose it by `box_loss` and "
                "`classification_loss`, not by `loss`."
            )
        metrics = kwargs.get("metrics") or kwargs.get("weighted_metrics")
        if metrics:
            raise ValueError(
                "A detector has no metrics of its raw outputs: give `fit` the callback "
                f"`training.ValidationAP`, which measures COCO AP. Received: metrics={metrics!r}"
            )
        losses = {
            "box_loss": check_choice(box_loss, "box_loss", tuple(BOX_LOSSES)),
            "classification_loss": check_choice(
                classification_loss, "classification_loss", CLASSIFICATION_LOSSES
            ),
            "box_loss_weight": check_number(box_loss_weight, "box_loss_weight", least=0),
        }
        self._compile(optimizer, losses, "once", kwargs)

    def call(self, inputs, training=None, mask=None):
        with folded(foldable_pairs(self) if training else ()):
            return super().call(inputs, training=training, mask=mask)

    def _compile(self, optimizer, losses, averaged_statistics, kwargs):
        self._loss_settings = losses
        super().compile(optimizer=optimizer, **kwargs)
        clip_after_reduction(self.optimizer)
        optimizer = _inner(self.optimizer)
        if hasattr(optimizer, "average_also") and averaged_statistics:
            optimizer.average_also(
                [
                    v
                    for v in self.non_trainable_variables
                    if v.path.endswith(("/moving_mean", "/moving_variance"))
                ],
                among_states=averaged_statistics == "twice",
            )
        if getattr(optimizer, "weight_decay", None) and not optimizer.built:
            optimizer.exclude_from_weight_decay(
                var_list=[v for v in self.weights if len(v.shape) <= 1]
            )

    def get_compile_config(self):
        if not self.compiled:
            return None
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "optimized": self._optimized(),
            "averaged_statistics": getattr(_inner(self.optimizer), "saves_statistics", False),
            **self._loss_settings,
        }

    def compile_from_config(self, config):
        config = dict(config)
        optimizer = keras.saving.deserialize_keras_object(config.pop("optimizer"))
        optimized = config.pop("optimized", None)
        averaged_statistics = config.pop("averaged_statistics", False)
        if averaged_statistics is True:  # as older files store it
            averaged_statistics = "twice"
        self._compile(optimizer, config, averaged_statistics, {})
        if optimized is None:
            self.optimizer.build(self.trainable_variables)
        else:
            self.optimizer.build([self.variables[i] for i in optimized])

    def _optimized(self):
        """The variables for which the optimizer has states, if these are not the ones that train:
        the detector was frozen or released after it was compiled."""
        optimizer = _inner(self.optimizer)
        known = getattr(optimizer, "_trainable_variables", []) if optimizer.built else []
        if not known or list(map(id, known)) == list(map(id, self.trainable_variables)):
            return None
        places = {id(variable): i for i, variable in enumerate(self.variables)}
        return [places[id(variable)] for variable in known]

    @property
    def metrics(self):
        known = super().metrics
        own = [*self._loss_means.values(), self.faults]
        return [*known, *(metric for metric in own if metric not in known)]

    @property
    def faults(self):
        """A metric that counts mistakes in the batches seen; `fit` reads it after the first."""
        return self._checks.faults

    def fit(self, *args, **kwargs):
        """Trains as `keras.Model.fit`, on batches `(images, {"boxes": ..., "labels": ...})` (see
        the class), also with `tf.RaggedTensor`s as targets.

        Raises:
            ValueError: on targets of another form, and after the first batch if its boxes are not
                corners in pixels, its labels are not classes, or its images lie between 0 and 1
                although the backbone normalizes pixels from 0 to 255.
        """
        given = self._looked_at(super().fit, args, kwargs)
        self._make_optimizer_states()
        return super().fit(*given.args, **given.kwargs)

    def _make_optimizer_states(self):
        """Makes the optimizer's states first: TensorFlow traces a step twice, for seconds each, if
        its first run makes variables."""
        if keras.backend.backend() == "tensorflow" and self.compiled and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def evaluate(self, *args, **kwargs):
        """Computes the losses of data, as `keras.Model.evaluate`; raises as `fit` does."""
        given = self._looked_at(super().evaluate, args, kwargs)
        return super().evaluate(*given.args, **given.kwargs)

    def _looked_at(self, method, args, kwargs):
        """The arguments of one of Keras' loops, once its data is checked, with a callback that
        looks at the first batch."""
        given = inspect.signature(method).bind(*args, **kwargs)
        check_given(given.arguments.get("x"), given.arguments.get("y"), self.input_shape)
        callbacks = given.arguments.get("callbacks")
        given.arguments["callbacks"] = with_first_batch(callbacks, self)
        return given

    def train_step(self, *args):
        check_data(args[-1])
        return super().train_step(*args)

    def test_step(self, *args):
        check_data(args[-1])
        return super().test_step(*args)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The batch's loss, a scalar, from raw outputs `y_pred` and padded ground truth `y` (see
        the class)."""
        settings = self._loss_settings
        if isinstance(sample_weight, dict):  # Keras repeats one per image for each part of `y`
            sample_weight = sample_weight["labels"]
        y = self.faults.update_state(x, padded(y))
        classification, box, weight = detection_losses(
            *flatten(y_pred, tuple(x.shape[1:3])),
            y,
            settings["box_loss"],
            settings["classification_loss"],
        )
        # Every image counts by its objects. Keras averages per-image values over the global batch,
        # so they are multiplied by its size and divided by the objects of all replicas.
        images = over_replicas(ops.cast(ops.shape(weight)[0], "float32"))
        scale = images / ops.maximum(over_replicas(ops.sum(weight)), 1.0)
        classification, box = classification * scale, box * scale * settings["box_loss_weight"]
        self._loss_means["classification"].update_state(classification)
        self._loss_means["box"].update_state(box)
        loss = self._per_image(classification, classification + box, sample_weight=sample_weight)
        for extra in self.losses:
            loss = loss + self._aggregate_additional_loss(ops.cast(extra, loss.dtype))
        return loss


def _inner(optimizer):
    """The optimizer that has the states, without the wrapper of mixed precision."""
    return getattr(optimizer, "inner_optimizer", optimizer)
