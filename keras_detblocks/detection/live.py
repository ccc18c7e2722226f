"""Configs of live objects, from which even `Lambda` layers, lambdas and unregistered classes can be
rebuilt: their code is at hand, so no file has to be trusted."""

import codecs
import marshal
import types

import keras


def with_live_objects(config, parts):
    """Replaces the code of lambdas in a config by names, and collects the objects of all its names.

    Args:
        config: from `get_config` or `serialize_keras_object`, nested in dicts and lists.
        parts: the live layers and models that it describes, nested in any way.

    Returns:
        `(config, objects)`: the parts can be rebuilt from the config within
        `keras.saving.custom_object_scope(objects)`.
    """
    objects, lambdas = {}, []
    for layer in _layers(parts):
        for value in (layer, *vars(layer).values()):
            if isinstance(value, types.FunctionType) and value.__name__ == "<lambda>":
                lambdas.append((layer.name, value))
            elif isinstance(value, types.FunctionType):
                objects[value.__name__] = value
            elif hasattr(value, "get_config") and _is_foreign(type(value)):
                objects[keras.saving.get_registered_name(type(value))] = type(value)
    return _named(config, lambdas, objects), objects


def _layers(parts):
    if isinstance(parts, (list, tuple, dict)):
        for each in parts.values() if isinstance(parts, dict) else parts:
            yield from _layers(each)
    elif parts is not None:
        yield from parts._flatten_layers()


def _is_foreign(kind):
    return kind is not type and kind.__module__.partition(".")[0] != "keras"


def _named(node, lambdas, objects, owner=None):
    """The config with names for lambdas, which are told apart by code and by the layer that has
    them; adds the named objects to `objects`."""
    if isinstance(node, (list, tuple)):
        return [_named(each, lambdas, objects, owner) for each in node]
    if not isinstance(node, dict):
        return node
    code = _code(node)
    if code is not None:
        found = _live(code, lambdas, owner)
        if found is None:
            return node
        name = f"live_lambda_{len(objects)}"
        objects[name] = found
        function = {"module": "builtins", "class_name": "function"}
        return {**function, "config": name, "registered_name": name}
    owner = node["name"] if isinstance(node.get("name"), str) else owner
    return {key: _named(value, lambdas, objects, owner) for key, value in node.items()}


def _code(node):
    """The code object in the config of a lambda, in one of Keras' three forms of it, or None."""
    held = node["config"] if node.get("class_name") == "__lambda__" else node
    if set(held) == {"code", "defaults", "closure"}:  # of a `Lambda` layer
        dump = held["code"]
    elif set(held) == {"value"} and isinstance(held["value"], (tuple, list)):  # of an activation
        dump = held["value"][0]
    else:
        return None
    return marshal.loads(codecs.decode(dump.encode("ascii"), "base64"))


def _live(code, lambdas, owner):
    """The lambda with this code, of the layer `owner` if there are several."""
    same = [(name, function) for name, function in lambdas if function.__code__ == code]
    same.sort(key=lambda pair: pair[0] != owner)
    return same[0][1] if same else None
