"""The base of all layers made of layers: their parts are built in one step and keep their own
`trainable`.

Keras freezes the parts of a layer only at the moment when `trainable` is set: a part that is made
afterward trains, and so does every part of a copy made from the config; a `.keras` file stores the
flag of the outer layer only.
"""

import re

import keras

from .lean import Lean


def trainable_parts(layer):
    """The parts of a layer whose `trainable` differs from that of their owner, as {path: bool}.

    >>> net = keras.Sequential([keras.layers.Dense(2, name="a"), keras.layers.Dense(2, name="b")])
    >>> net.layers[1].trainable = False
    >>> trainable_parts(net)
    {'b': False}
    """
    flags = {}
    for path, part, owner in _walk(layer):
        # A part that is not built yet gets its owner's flag when it is, if that is frozen.
        if part.trainable != owner.trainable and (owner.trainable or layer.built):
            flags[path] = part.trainable
    return flags


def set_trainable_parts(layer, flags):
    """Gives the parts of a layer the flags that `trainable_parts` found in a similar one."""
    for path, part, _ in _walk(layer):  # from the outside in, since a flag reaches all inner parts
        if path in flags:
            part.trainable = flags[path]


def with_sides(shape, side=64):
    """The shape of a map with `side` for each open side: weights do not depend on them."""
    return (shape[0], *(side if each is None else each for each in shape[1:3]), *shape[3:])


def _walk(layer, prefix=""):
    """Yields (path, part, owner) for all parts, each before its own parts."""
    parts = layer._flatten_layers(include_self=False, recursive=False)
    of_graph = isinstance(layer, keras.Sequential) or hasattr(layer, "_inputs_struct")
    for name, part in _numbered(parts, _own_name if of_graph else _lasting_name):
        path = f"{prefix}{name}"
        yield path, part, layer
        yield from _walk(part, f"{path}/")


def _own_name(part):
    return part.name


def _lasting_name(part):
    """The name of a part, without the number that Keras adds to default names: in a copy that
    number differs."""
    stem = re.sub(r"_\d+$", "", part.name)
    return stem if stem.replace("_", "") == type(part).__name__.lower() else part.name


def _numbered(objects, name_of=_own_name):
    """Yields (name, object); repeated names get a number."""
    seen = {}
    for each in objects:
        name = name_of(each)
        count = seen[name] = seen.get(name, 0) + 1
        yield f"{name}{f':{count}' if count > 1 else ''}", each


def declare_to_tensorflow(layer):
    """Lets `tf.train.Checkpoint` and `tf.saved_model.save` find the parts, variables and seeds that
    a built layer holds in lists, dicts and generators: Keras keeps these in classes that TensorFlow
    does not look into, so a checkpoint would silently lack them."""
    if keras.backend.backend() != "tensorflow":
        return
    parts = layer._flatten_layers(include_self=False, recursive=False)
    variables = [*layer._trainable_variables, *layer._non_trainable_variables]
    seeds = [generator.state for generator in layer._seed_generators]
    found = {id(child) for child in layer._trackable_children().values()}
    children = _numbered([*parts, *variables, *seeds], _lasting_name)
    hidden = [(name, child) for name, child in children if id(child) not in found]
    if hidden:
        import tensorflow as tf

        # In a TensorFlow module: if they were tracked directly, Keras would take them for its own
        # state.
        layer._track_trackable(tf.Module("parts"), "parts", overwrite=True)
        for name, child in hidden:
            setattr(layer._lookup_dependency("parts"), name, child)
    for part in parts:
        if not isinstance(part, Block):  # a Block has done so itself
            declare_to_tensorflow(part)


class Block(Lean, keras.layers.Layer):
    """A layer made of layers. Not public.

    Subclasses make their parts in the constructor or, where these depend on the input, in
    `make_parts`. Building is one symbolic call; `trainable`, of the block and of single parts,
    holds whenever the parts were made, and survives `get_config`, files and copies.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._pending_flags = ()

    @property
    def trainable(self):
        """Whether the block trains; setting it applies to all its parts."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        self._pending_flags = ()
        keras.layers.Layer.trainable.fset(self, value)

    def build(self, input_shape):
        self.make_parts(input_shape)
        self.build_parts(input_shape)
        if not self.trainable:
            for part in self._flatten_layers(include_self=False, recursive=False):
                part.trainable = False
        set_trainable_parts(self, dict(self._pending_flags))
        self._pending_flags = ()
        declare_to_tensorflow(self)

    def make_parts(self, input_shape):
        """Makes the parts that depend on the shape of the input, if there are any."""

    def build_parts(self, input_shape):
        """Gives all parts their weights by one symbolic call, in which every shape is known. Blocks
        that are made by the hundred do it by hand, which is faster."""
        self.call(
            keras.tree.map_shape_structure(
                lambda shape: keras.KerasTensor(with_sides(shape), dtype=self.compute_dtype),
                input_shape,
            )
        )

    def get_config(self):
        flags = {**trainable_parts(self), **dict(self._pending_flags)}
        return {**super().get_config(), **({"trainable_parts": flags} if flags else {})}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        flags = config.pop("trainable_parts", {})
        block = super().from_config(config)
        block._pending_flags = tuple(flags.items())
        return block
