"""The devices of a run: one, several on one machine, or several machines; on TensorFlow and on
JAX."""

import contextlib
import functools
import json
import os

import keras
import numpy as np

from .distribute import numpy_of

_STARTED = []  # what `start_workers` made, once per process


class Alone:
    """A run in one process.

    Attributes:
        index, count: the number of this process, and how many train together.
        replicas: devices, in all processes, that share a batch.
    """

    index, count, replicas = 0, 1, 1

    @property
    def chief(self):
        """Whether this process measures AP and writes."""
        return self.index == 0

    def numbers(self):
        """The numbers that a checkpoint records."""
        return {"processes": self.count, "replicas": self.replicas}

    def scope(self):
        """A context to build and load models in."""
        return contextlib.nullcontext()

    def batches(self, make, batch_size):
        """The data for `fit`; `make(shard)` returns the batches of a part `(index, count)`."""
        return make((self.index, self.count))

    def fitting(self, model):
        """A context to run `fit` in."""
        return contextlib.nullcontext()

    def by_itself(self):
        """A context in which one process saves without the others."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def alone(self, model):
        """A context that yields a model with the same weights, with which this process can predict
        by itself."""
        yield model

    def total(self, values):
        """The sum of an array of numbers over the processes, all of which must call this."""
        return np.asarray(values)

    def from_chief(self, function):
        """Calls a function in the chief and gives all processes its result, which JSON must hold,
        or its `ValueError` or `OSError`."""
        if self.count == 1:
            return function()
        answer = {}
        if self.chief:
            try:
                answer = {"value": function()}
            except (ValueError, OSError) as error:
                answer = {"error": str(error)}
        answer = json.loads(self.broadcast(json.dumps(answer).encode()))
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer["value"]

    def broadcast(self, content):
        """Returns the chief's bytes in all processes."""
        if self.count == 1:
            return content
        size = int(self.total(np.array([len(content) if self.chief else 0], "int32"))[0])
        words = np.zeros(-(-size // 4), "int32")
        if self.chief:
            words = np.frombuffer(content.ljust(4 * len(words), b"\0"), "int32")
        return self.total(words).astype("int32").tobytes()[:size]


class TensorFlowDevices(Alone):
    """A `tf.distribute` strategy: `MirroredStrategy`, or `MultiWorkerMirroredStrategy` over several
    processes."""

    def __init__(self, strategy):
        self.strategy = strategy
        self.replicas = strategy.num_replicas_in_sync
        resolver = strategy.cluster_resolver
        if _across_processes(strategy):
            self.index = resolver.task_id
            self.count = len(resolver.cluster_spec().as_dict()["worker"])
        self._sums, self._copies = {}, _Copies()

    def scope(self):
        return self.strategy.scope()

    def batches(self, make, batch_size):
        if self.count == 1:  # Keras distributes them
            return make((0, 1))
        # Each process makes its own part of a batch; with Keras' sharding each would make all of
        # it.
        local = self.replicas // self.count
        part = batch_size // self.count
        whole = make((self.index, self.count))
        if local > 1:
            whole = whole.rebatch(part // local, drop_remainder=True)
        return self.strategy.distribute_datasets_from_function(lambda _: whole)

    @contextlib.contextmanager
    def fitting(self, model):
        """Keeps Keras from building the model on its first batch, as it does under a strategy:
        several processes cannot look at it together, and the pipeline would start over, in another
        order than on one device. A detector is built already, and so is its optimizer when it
        fits."""
        if self.replicas == 1:
            yield
            return
        model._maybe_symbolic_build = lambda *args, **kwargs: None
        try:
            yield
        finally:
            del model._maybe_symbolic_build

    @contextlib.contextmanager
    def alone(self, model):
        yield model if self.count == 1 else self._copies(model)

    def total(self, values):
        if self.count == 1:
            return np.asarray(values)
        import tensorflow as tf

        values = np.asarray(values)
        key = (values.dtype.str, values.shape)
        if key not in self._sums:
            # TensorFlow counts traces by a function's code, of which a `partial` has none: no
            # warning.
            summed = functools.partial(_summed, self.strategy, self.replicas // self.count)
            self._sums[key] = tf.function(summed, autograph=False)
        found = self._sums[key](tf.constant(values))
        return self.strategy.experimental_local_results(found)[0].numpy()


def _summed(strategy, local, value):
    """The sum over processes with `local` replicas each."""
    import tensorflow as tf

    def one(value):
        context = tf.distribute.get_replica_context()
        first = context.replica_id_in_sync_group % local == 0
        mine = tf.where(first, value, tf.zeros_like(value))
        return context.all_reduce(tf.distribute.ReduceOp.SUM, mine)

    return strategy.run(one, args=(value,))


class JaxDevices(Alone):
    """`keras.distribution.DataParallel` over the devices of one process or of several."""

    def __init__(self):
        import jax

        self.index, self.count = jax.process_index(), jax.process_count()
        self.replicas = jax.device_count()
        self._distribution, self._copies = None, _Copies()
        if self.replicas > 1:
            self._distribution = keras.distribution.DataParallel(auto_shard_dataset=False)

    def scope(self):
        return _distributed(self._distribution) if self._distribution else contextlib.nullcontext()

    def fitting(self, model):
        return self.scope()

    def by_itself(self):
        """Keeps variables that Keras makes while saving from being distributed over all
        processes."""
        return _distributed(None)

    @contextlib.contextmanager
    def alone(self, model):
        if self._distribution is None:
            yield model
            return
        with _distributed(None):
            yield self._copies(model)

    def total(self, values):
        from jax.experimental import multihost_utils

        if self.count == 1:
            return np.asarray(values)
        # As bytes, since 64-bit numbers would be cut to 32 bits on the way.
        values = np.ascontiguousarray(values)
        all_bytes = multihost_utils.process_allgather(values.view("uint8").reshape(-1))
        return np.asarray(all_bytes).view(values.dtype).reshape(-1, *values.shape).sum(axis=0)


@contextlib.contextmanager
def _distributed(distribution):
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(distribution)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


class _Copies:
    """A separate detector with the weights of another, on the default device; one for all calls, so
    that it is compiled once."""

    def __init__(self):
        self._twin = None

    def __call__(self, model):
        if self._twin is None:
            self._twin = type(model).from_config(model.get_config())
        for variable, source in zip(self._twin.variables, model.variables, strict=True):
            variable.assign(numpy_of(source))
        return self._twin


def _across_processes(strategy):
    resolver = getattr(strategy, "cluster_resolver", None)
    cluster = resolver.cluster_spec().as_dict() if resolver else {}
    return len(cluster.get("worker", ())) > 1


def start_workers(workers):
    """Joins the other processes of a run. Call it before anything else that uses Keras.

    It waits until all of them are there.

    Args:
        workers: `Workers`.
    """
    if keras.backend.backend() == "jax":
        keras.distribution.initialize(
            ",".join(workers.addresses), len(workers.addresses), workers.index
        )
        return
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Several machines train on the TensorFlow and JAX backends. Received backend: "
            f"{keras.backend.backend()!r}"
        )
    if not _STARTED:
        os.environ["TF_CONFIG"] = json.dumps(
            {
                "cluster": {"worker": list(workers.addresses)},
                "task": {"type": "worker", "index": workers.index},
            }
        )
        _STARTED.append(_multi_worker_strategy())


def _multi_worker_strategy():
    import tensorflow as tf

    class Strategy(tf.distribute.MultiWorkerMirroredStrategy):
        """A strategy that returns scalars as they are: Keras asks for their mean along a first
        axis, which they do not have."""

        def reduce(self, reduce_op, value, axis=None):
            if axis == 0 and getattr(value, "shape", None) is not None and value.shape.rank == 0:
                axis = None
            return super().reduce(reduce_op, value, axis=axis)

    return Strategy()


def strategy_across_processes():
    """The strategy of `start_workers` over several processes, or `None`."""
    return next((each for each in _STARTED if _across_processes(each)), None)


def default_strategy():
    """The strategy of `start_workers`; without it `MirroredStrategy` over the visible GPUs if
    there are several, else TensorFlow's default strategy."""
    import tensorflow as tf

    if _STARTED:
        return _STARTED[0]
    if tf.distribute.has_strategy() or len(tf.config.list_physical_devices("GPU")) < 2:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy()


def default_devices():
    """The `Alone`, `TensorFlowDevices` or `JaxDevices` that a run is trained on.

    On TensorFlow it takes the strategy whose scope it is called in, if there is one.
    """
    if keras.backend.backend() == "jax":
        return JaxDevices()
    if keras.backend.backend() == "tensorflow":
        return TensorFlowDevices(default_strategy())
    return Alone()
