"""The examples in the docstrings of the package run, after `from keras_detblocks import *`, and
print what they say."""

import doctest
import importlib
import pkgutil

import keras
import numpy as np
import pytest

import keras_detblocks as kdb

# Started as scripts, not imported.
SCRIPTS = {"keras_detblocks.__main__", "keras_detblocks.export.runtime.worker"}
MODULES = sorted(
    {module.name for module in pkgutil.walk_packages(kdb.__path__, "keras_detblocks.")} - SCRIPTS
)


def examples_of(name):
    module = importlib.import_module(name)
    public = {public: getattr(kdb, public) for public in kdb.__all__}
    names = {**public, "keras": keras, "np": np, "kdb": kdb, **vars(module)}
    return [
        test
        for test in doctest.DocTestFinder(exclude_empty=True).find(module, name, globs=names)
        if test.examples
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    keras.utils.set_random_seed(0)
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    report = []
    for test in examples_of(name):
        runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)


def test_there_are_examples():
    """The finder sees them: methods, functions and classes, in every folder with public layers."""
    count = sum(
        len(test.examples)
        for name in MODULES
        if "necks" in name or "context" in name
        for test in examples_of(name)
    )
    assert count >= 20
