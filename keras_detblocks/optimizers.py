"""Optimizers: Muon (https://kellerjordan.github.io/posts/muon/, scaled as in
https://arxiv.org/abs/2502.16982) for convolutions."""

import math
import re
import types

import keras
from keras import ops

from .checks import check_kind, check_layer, check_number

__all__ = ["AdamW", "ConvMuon", "clip_after_reduction", "conv_groups"]

YOUNG = 5.0  # time constants during which averaged weights may still lag behind those of training


class RampedAverage:
    """A mixin for Keras' optimizers: averaged weights whose momentum rises, and averaged
    statistics.

    With a fixed momentum, the average in a short run is dominated by its start. Here the momentum
    of step n is `d * (1 - exp(-n / tau))` (as in https://github.com/ultralytics/yolov5), where d is
    `ema_momentum` and tau, `1 / (1 - d)` steps, the time that d looks back.

    The moving means and variances of normalizations named by `average_also` are averaged in the
    same way, so that they match the averaged weights; if several replicas do not synchronize them,
    those of the first are used. JAX's optimizers do not see them, so there they stay those of
    training; files saved with them load there without them.
    """

    _statistics_average = ()
    _left_out = 0  # statistics that other backends would average too
    _averaged = types.SimpleNamespace(statistics=(), saved=False)

    @property
    def ramp_steps(self):
        """tau: the time constant of the momentum's rise, in steps."""
        return 1.0 / max(1.0 - self.ema_momentum, 1e-6)

    @property
    def is_young(self):
        """Whether the averages have seen fewer steps than five time constants."""
        return int(self.iterations.numpy()) < YOUNG * self.ramp_steps

    @property
    def _statistics(self):
        return self._averaged.statistics

    @property
    def saves_statistics(self):
        """How a file holds averaged statistics: `False` for not at all, `"once"`, or `"twice"`."""
        return self._averaged.saved

    def average_also(self, statistics, among_states=False):
        """Sets non-trainable variables to average too; call it before the optimizer is built.

        Args:
            statistics: variables of the model.
            among_states: whether the optimizer saves them too, beside their averages, as in older
                files.
        """
        if not self.use_ema or self.built:
            return
        statistics = tuple(statistics)
        if not self._sees_statistics():
            self._left_out = len(statistics)
            return
        # In a namespace, which Keras does not track: the model saves its own variables.
        self._averaged = types.SimpleNamespace(
            statistics=statistics, saved="twice" if among_states else "once"
        )
        if among_states:
            self._tracked_statistics = statistics

    @staticmethod
    def _sees_statistics():
        return keras.backend.backend() != "jax"

    def load_own_variables(self, store):
        own = len(self.variables)
        if self._left_out and len(store.keys()) == own + self._left_out:  # built last
            store = {str(i): store[str(i)] for i in range(own)}
        super().load_own_variables(store)

    def averages(self):
        """Pairs of a variable of the model and its average; an empty list before the first step."""
        if not self.use_ema or not self.built or not int(self.iterations.numpy()):
            return []
        weights = zip(self._trainable_variables, self._model_variables_moving_average)
        return [*weights, *zip(self._statistics, self._statistics_average)]

    def build(self, variables):
        new = not self.built
        super().build(variables)
        if new and self._statistics:
            self._statistics_average = self.add_optimizer_variables(self._statistics, "average")

    def _update_model_variables_moving_average(self, trainable_variables):
        if not self.use_ema:
            return
        steps = ops.cast(self.iterations, "float32")
        momentum = self.ema_momentum * (1.0 - ops.exp(-steps / self.ramp_steps))
        pairs = zip(trainable_variables, self._model_variables_moving_average)
        for variable, average in (*pairs, *zip(self._statistics, self._statistics_average)):
            share = ops.cast(momentum, average.dtype)
            # In this form a constant variable, such as frozen statistics, equals its average
            # exactly.
            average.assign(average + (1.0 - share) * (variable - average))

    def finalize_variable_values(self, var_list):
        super().finalize_variable_values(var_list)
        if self.use_ema:
            for variable, average in zip(self._statistics, self._statistics_average):
                variable.assign(average)


@keras.saving.register_keras_serializable(package="keras_detblocks")
class AdamW(RampedAverage, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW` whose averaged weights (`use_ema=True`) suit short runs too: their
    momentum rises from 0, and the statistics of normalizations are averaged in the same way.

    >>> AdamW(0.001, use_ema=True, ema_momentum=0.75).ramp_steps
    4.0
    """


@keras.saving.register_keras_serializable(package="keras_detblocks")
class ConvMuon(RampedAverage, keras.optimizers.Muon):
    """`keras.optimizers.Muon` that also orthogonalizes the updates of convolution kernels, which
    Keras leaves to AdamW.

    A kernel counts as the matrix from its `height * width * input channels` to its output channels;
    of a grouped convolution each group is a matrix of its own. Biases, normalization and the layers
    named in `exclude_layers` (the predictors of a head) take AdamW steps with the same learning
    rate. Updates have the size of AdamW's, so learning rates carry over.

    From scratch this learns in a third to a half of AdamW's steps. Its own cost grows with the cube
    of the layers' widths and not with the batch: a tenth of a step for nets of 100 channels, but
    more than the step itself for nets of 800 at small batches. Averaged weights are `AdamW`'s of
    this package: their momentum rises.

    Args:
        learning_rate: as for AdamW.
        groups: path of a grouped convolution's kernel -> its groups; `conv_groups(model)` returns
            it.
        **kwargs: of `keras.optimizers.Muon`; `adam_weight_decay` is `weight_decay` by default.

    >>> ConvMuon(0.01, weight_decay=0.02, groups={"stage_conv/kernel": 4}).adam_weight_decay
    0.02
    """

    def __init__(self, learning_rate=0.01, weight_decay=0.02, groups=None, **kwargs):
        weight_decay = check_number(weight_decay, "weight_decay", least=0, optional=True)
        super().__init__(
            learning_rate,
            weight_decay=weight_decay,
            **{"adam_weight_decay": weight_decay, **kwargs},
        )
        self.groups = dict(groups or {})

    def _should_use_adamw(self, variable):
        if len(variable.shape) == 2:
            return super()._should_use_adamw(variable)
        return len(variable.shape) != 4 or any(
            re.search(name, variable.path) for name in self.exclude_layers
        )

    def _muon_update_step(self, gradient, variable, lr, m):
        self.assign_add(m, (gradient - m) * (1.0 - self.momentum))
        direction = gradient * (1.0 - self.momentum) + m * self.momentum if self.nesterov else m
        # Keras hands over the backend's variable, which has no path.
        path = self._trainable_variables[self._get_variable_index(variable)].path
        groups = self.groups.get(path, 1)
        rows, columns = math.prod(variable.shape[:-1]), variable.shape[-1] // groups
        matrices = ops.transpose(ops.reshape(direction, (rows, groups, columns)), (1, 0, 2))
        update = ops.transpose(self.orthogonalized(matrices), (1, 0, 2))
        size = 1.0 if self.rms_rate is None else self.rms_rate * max(rows, columns) ** 0.5
        self.assign_sub(variable, lr * size * ops.reshape(update, variable.shape))

    def orthogonalized(self, x):
        """The matrices `x` `(G, m, n)` with their singular values moved to about 1 by `ns_steps`
        steps of Newton and Schulz."""
        wide = x.shape[1] <= x.shape[2]
        x = x if wide else ops.transpose(x, (0, 2, 1))
        x = x / (ops.norm(x, axis=(1, 2), keepdims=True) + 1e-7)
        for _ in range(self.ns_steps):
            gram = ops.matmul(x, ops.transpose(x, (0, 2, 1)))
            x = self.muon_a * x + ops.matmul(
                self.muon_b * gram + self.muon_c * ops.matmul(gram, gram), x
            )
        return x if wide else ops.transpose(x, (0, 2, 1))

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}


def conv_groups(model):
    """Returns path of the kernel -> groups, for the grouped convolutions of a model."""
    layers = (
        layer
        for layer in check_layer(model)._flatten_layers()
        if isinstance(layer, keras.layers.Conv2D) and layer.groups > 1
    )
    return {layer.kernel.path: layer.groups for layer in layers}


def clip_after_reduction(optimizer):
    """Makes an optimizer clip the gradients of the whole batch, as on one device.

    Under a `tf.distribute` strategy Keras clips the gradients of each replica before it adds them
    up, and mixed precision looks for overflow only in those of the first replica; with this
    function both cover all replicas. On other backends and outside a strategy nothing changes.

    Args:
        optimizer: of a compiled model. The instance's methods are replaced, so call it after
            loading too, as `Detector.compile` does.
    """
    if optimizer is not None:
        check_kind(optimizer, "optimizer", keras.optimizers.Optimizer, "a Keras optimizer")
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if (
        inner is None
        or keras.backend.backend() != "tensorflow"
        or hasattr(inner, "_clips_after_reduction")
    ):
        return
    clip, reduce = inner._clip_gradients, inner._all_reduce_sum_gradients

    def reduced_and_clipped(grads_and_vars):
        gradients, variables = zip(*reduce(grads_and_vars))
        return list(zip(clip(list(gradients)), variables))

    inner._clip_gradients = lambda gradients: gradients
    inner._all_reduce_sum_gradients = reduced_and_clipped
    inner._clips_after_reduction = True
    if optimizer is not inner:
        finite = optimizer.check_finite
        optimizer.check_finite = lambda gradients: _everywhere(finite(gradients))


def _everywhere(value):
    """Whether a condition holds in all replicas of the current strategy."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    wrong = tf.cast(tf.logical_not(value), "float32")
    return context.all_reduce(tf.distribute.ReduceOp.SUM, wrong) < 0.5
