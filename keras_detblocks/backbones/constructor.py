"""One decorator gives every constructor of a backbone its signature and its documentation."""

import functools
import inspect
from dataclasses import fields

from .applications import Arguments, application

_ARGUMENTS = """\
    include_top: whether global average pooling and the classifier follow.
    weights: `None` (random; unlike keras.applications nothing is downloaded unasked), `"imagenet"`
        ({imagenet}),
        a Hugging Face id such as `"timm/regnety_008.pycls_in1k"`, a path to `.safetensors`, a dict
        of arrays under the key names of the reference implementations, or a `.keras` file of the
        same net: alone, with or without its top, or inside a detector. All of them come with their
        normalization of images. With another number of classes than in the checkpoint the
        classifier stays random, with another number of input channels the stem is adapted, each
        with a warning; any other mismatch is an error. A `.weights.h5` file of the same net is
        loaded by Keras.
    input_tensor: a Keras tensor to build on.
    input_shape: `(height, width, channels)`; with the top {size} by default,
        without it sides may be `None`.
    pooling: without the top: `None` (a feature map), `"avg"` or `"max"`.
    classes: number of classes of the classifier.
    classifier_activation: activation of the classifier; `None` for logits.
    name: name of the model.
    include_preprocessing: whether the model takes RGB pixels from 0 to 255 and normalizes them
        itself, by ImageNet's means and deviations or the checkpoint's; or a layer that does it.
    levels: without the top: levels to return as a dict `{{"P3": ...}}`, {levels}
        (level l has stride 2 ** l); stages beyond the deepest are not built.
    output_stride: 8 or 16: beyond it stages dilate instead of striding; 32: every stage strides.
    drop_path_rate: {drop_path}.
"""
_DROP_PATH = """\
stochastic depth of the last block, below 1; the first has none, and it grows
        linearly between"""
_ENDING = """
Returns:
    A functional `keras.Model`.

Raises:
    ValueError: if an argument is wrong, which the message names.
"""
_EXAMPLE = """
Example:

    backbone = keras_detblocks.{name}(include_top=False, levels=(3, 4, 5))
    neck = keras_detblocks.FPN(64, levels=(3, 4, 5))
    detector = keras_detblocks.Detector(backbone, neck, class_names=["cat", "dog"])
"""


def constructor(trunk, name=None, summary=None, drop_path=_DROP_PATH):
    """Makes the constructor of a backbone: a decorator, or a function for tables of variants.

    Args:
        trunk: a function that returns a `Trunk`. Its own positional arguments (such as `variant`)
            come first in the constructor's signature, then the contract's, then its own
            keyword-only ones. Its docstring becomes the constructor's, with the contract's
            arguments after its own and an example at the end.
        name, summary: of the constructor; by default those of `trunk`.
        drop_path: the description of `drop_path_rate`.
    """
    own = inspect.signature(trunk).parameters.values()
    contract = [_parameter(field) for field in fields(Arguments)]
    later = inspect.Parameter.KEYWORD_ONLY
    signature = inspect.Signature(
        [p for part in (own, contract) for p in part if p.kind != later]
        + [p for part in (contract, own) for p in part if p.kind == later]
    )

    @functools.wraps(trunk)
    def build(*args, **kwargs):
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f"{build.__name__}() {error}") from None
        mine = {p.name: given.pop(p.name) for p in own if p.name in given}
        return application(trunk(**mine), Arguments(**given))

    # Not a wrapper around `trunk`: documentation and tools look at the constructor itself.
    del build.__wrapped__
    build.__signature__ = signature
    build.__name__ = build.__qualname__ = name or trunk.__name__
    text = summary or inspect.getdoc(trunk)
    build.__doc__ = _documentation(build.__name__, trunk, text, drop_path)
    return build


def _parameter(field):
    kind = (
        inspect.Parameter.KEYWORD_ONLY if field.kw_only else inspect.Parameter.POSITIONAL_OR_KEYWORD
    )
    return inspect.Parameter(field.name, kind, default=field.default)


def _documentation(name, trunk, text, drop_path):
    text, prompt, example = text.partition("\n>>> ")
    head, _, own = text.partition("\nArgs:\n")
    ending = f"\n>>> {example}\n" if prompt else _EXAMPLE.format(name=name)
    shared = _ARGUMENTS.format(**_facts(trunk), drop_path=drop_path)
    own = f"{own.rstrip()}\n" if own else ""
    return f"{head.rstrip()}\n\nArgs:\n{own}{shared}{_ENDING}{ending}"


def _facts(trunk):
    """The documentation's facts about one net, or about nets in general."""
    own = inspect.signature(trunk).parameters
    if "spec" in own:
        return {"imagenet": "published nets only", "size": "(224, 224, 3)", "levels": "any of its"}
    net = trunk()
    imagenet = net.imagenet or "nothing is published for this net"
    return {
        "imagenet": "the one published for the variant" if "variant" in own else imagenet,
        "size": (net.default_size, net.default_size, 3),
        "levels": f"any of {', '.join(map(str, net.levels))}",
    }
