"""Finds the processes that train together: from the command line, `TF_CONFIG` or SLURM's
variables."""

import json
import os
import re
from dataclasses import dataclass

from ..checks import check_int

# The port for SLURM's jobs, to which a number derived from the job is added.
SLURM_PORT = 12000


@dataclass(frozen=True)
class Workers:
    """The processes of a run, one per machine (or per group of GPUs), and which of them this one
    is.

    Attributes:
        addresses: `HOST:PORT` of each, the chief's first; the same list in all of them.
        index: that of this process. The first is the chief: it measures AP and writes files.

    Raises:
        ValueError: for addresses without a port of 1 to 65535, or an index outside the list.
    """

    addresses: tuple
    index: int

    def __post_init__(self):
        bad = [each for each in self.addresses if not _is_address(each)]
        if bad or len(set(self.addresses)) < len(self.addresses):
            raise ValueError(
                f"Workers are different addresses HOST:PORT. Received: {', '.join(self.addresses)}"
            )
        last = len(self.addresses) - 1
        object.__setattr__(self, "index", check_int(self.index, "index", least=0, most=last))


def _is_address(text):
    found = re.fullmatch(r".+:(\d{1,5})", text)
    return found is not None and 0 < int(found[1]) < 2**16


def find_workers(addresses=None, index=None, environment=None):
    """The workers of this run; `None` for a single process.

    Args:
        addresses: of all workers, separated by commas, as given on the command line.
        index: that of this worker.
        environment: a dict; the process' own by default.

    Raises:
        ValueError: if these do not say which processes train together.

    >>> find_workers("a:1200,b:1200", 1)
    Workers(addresses=('a:1200', 'b:1200'), index=1)
    """
    environment = os.environ if environment is None else environment
    if (addresses is None) != (index is None):
        raise ValueError(
            "Several machines need both, the addresses of all and the number of this one. "
            f"Received: {addresses or index!r}"
        )
    if addresses is not None:
        return _several(tuple(each.strip() for each in addresses.split(",")), index)
    if environment.get("TF_CONFIG"):
        return _several(*_tf_config(environment["TF_CONFIG"]))
    if int(environment.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in environment:
        return _several(_slurm(environment), int(environment["SLURM_PROCID"]))
    return None


def _several(addresses, index):
    workers = Workers(addresses, index)
    return workers if len(addresses) > 1 else None


def _tf_config(text):
    """Reads addresses and index in the form that TensorFlow and Kubernetes' operators share."""
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        chiefs, others = list(cluster.get("chief", ())), list(cluster.get("worker", ()))
        start = {"chief": 0, "worker": len(chiefs)}[task["type"]]
        return (*chiefs, *others), start + int(task["index"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            "TF_CONFIG: expected cluster.worker (and cluster.chief) with addresses, and a task of "
            f"one of these types with an index; received {text}"
        ) from error


def _slurm(environment):
    """Makes one address per task, which SLURM assigns node by node."""
    nodes = node_names(environment.get("SLURM_STEP_NODELIST") or environment["SLURM_JOB_NODELIST"])
    tasks = environment.get("SLURM_STEP_TASKS_PER_NODE") or environment["SLURM_TASKS_PER_NODE"]
    counts = []
    for part in tasks.split(","):
        count, _, times = part.partition("(x")
        counts += [int(count)] * int(times.rstrip(")") or 1)
    port = SLURM_PORT + int(environment.get("SLURM_JOB_ID", 0)) % 20000
    return tuple(
        f"{node}:{port + local}" for node, count in zip(nodes, counts) for local in range(count)
    )


def node_names(text):
    """Expands SLURM's short form of host names.

    >>> node_names("gpu[01-03,7],head")
    ['gpu01', 'gpu02', 'gpu03', 'gpu7', 'head']
    """
    names = []
    for part in re.findall(r"[^,\[]+(?:\[[^\]]*\][^,\[]*)?", text):
        match = re.fullmatch(r"([^\[]*)\[([^\]]*)\](.*)", part)
        if not match:
            names.append(part)
            continue
        before, ranges, behind = match.groups()
        for each in ranges.split(","):
            first, _, last = each.partition("-")
            for number in range(int(first), int(last or first) + 1):
                names.append(f"{before}{number:0{len(first)}d}{behind}")
    return names
