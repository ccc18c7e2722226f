"""Who trains together, from each of the places that say so."""

import json

import pytest

from keras_detblocks.training.workers import Workers, find_workers, node_names

TWO = ("a:1", "b:2")


def _tf(cluster, kind, index):
    task = {"type": kind, "index": index}
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({}, None),
        (_tf({"worker": list(TWO)}, "worker", 1), Workers(TWO, 1)),
        (_tf({"chief": ["a:1"], "worker": ["b:2"]}, "worker", 0), Workers(TWO, 1)),
        (_tf({"chief": ["a:1"], "worker": ["b:2"]}, "chief", 0), Workers(TWO, 0)),
        (_tf({"worker": ["a:1"]}, "worker", 0), None),  # a cluster of one
        (
            {
                "SLURM_NTASKS": "4",
                "SLURM_PROCID": "2",
                "SLURM_JOB_ID": "20007",
                "SLURM_JOB_NODELIST": "n[1-2]",
                "SLURM_TASKS_PER_NODE": "2(x2)",
            },
            Workers(("n1:12007", "n1:12008", "n2:12007", "n2:12008"), 2),
        ),
        ({"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, None),
        ({"SLURM_NTASKS": "2"}, None),  # in a batch script, before srun
    ],
)
def test_the_environment_says_who_works_with_whom(environment, expected):
    assert find_workers(environment=environment) == expected


def test_the_command_line_comes_first():
    environment = _tf({"worker": ["c:1", "d:1"]}, "worker", 0)
    assert find_workers("a:1, b:2", 1, environment) == Workers(TWO, 1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("a:1,b:2", None, {}), "need both"),
        ((None, 1, {}), "need both"),
        (("a,b:2", 0, {}), "HOST:PORT. Received: a, b:2"),
        (("a:1,b:70000", 0, {}), "HOST:PORT. Received: a:1, b:70000"),
        (("a:1,a:1", 0, {}), "different addresses"),
        (
            ("a:1,b:2", 2, {}),
            "`index` must be an int of at least 0 and at most 1. Received: index=2",
        ),
        ((None, None, {"TF_CONFIG": "{"}), "TF_CONFIG: expected"),
        ((None, None, _tf({"worker": list(TWO)}, "ps", 0)), "TF_CONFIG: expected"),
    ],
)
def test_what_does_not_fit_together_is_told(arguments, message):
    with pytest.raises(ValueError, match=message):
        find_workers(*arguments)


@pytest.mark.parametrize(
    "text, names",
    [
        ("a", ["a"]),
        ("a,b-2", ["a", "b-2"]),
        ("gpu-[08-10,3].site,x", ["gpu-08.site", "gpu-09.site", "gpu-10.site", "gpu-3.site", "x"]),
    ],
)
def test_short_host_names(text, names):
    assert node_names(text) == names
