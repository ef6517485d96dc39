"""The cluster of a training: three sources, one type, and one line for what cannot be."""

import json

import pytest

from dentalzoo.errors import DentalzooError
from dentalzoo.training.cluster import Cluster, expand_hosts, find_cluster

TWO = ("one:2000", "two:2000")


def tf_config(workers=TWO, index=1, **jobs):
    kind = "worker" if "kind" not in jobs else jobs.pop("kind")
    cluster = {"cluster": {"worker": list(workers), **jobs}, "task": {"type": kind, "index": index}}
    return {"TF_CONFIG": json.dumps(cluster)}


def slurm(nodes, tasks, rank, **more):
    return {
        "SLURM_PROCID": str(rank),
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": tasks,
        **more,
    }


def test_the_arguments_and_tf_config_name_the_same_cluster():
    expected = Cluster(TWO, 1)
    assert find_cluster("one:2000, two:2000", 1, {}) == expected
    assert find_cluster(list(TWO), 1, {}) == expected
    assert find_cluster(environ=tf_config()) == expected
    assert find_cluster(TWO, 1, tf_config()) == expected
    assert not expected.is_chief and Cluster(TWO, 0).is_chief


def test_a_chief_of_tf_config_is_the_first_worker():
    environ = tf_config(index=0, chief=["zero:1"])
    assert find_cluster(environ=environ) == Cluster(("zero:1", *TWO), 1)
    environ = tf_config(index=0, kind="chief", chief=["zero:1"])
    assert find_cluster(environ=environ) == Cluster(("zero:1", *TWO), 0)


def test_ranks_of_slurm_keep_the_order_of_its_hosts():
    environ = slurm("node[2,10]", "2,1", 2, SLURM_JOB_ID="70123", SLURMD_NODENAME="node10")
    workers = ("node2:20123", "node2:20124", "node10:20123")
    assert find_cluster(environ=environ) == Cluster(workers, 2)
    assert len(find_cluster(environ=slurm("n[01-03],gpu-[1-2]-a", "2(x5)", 9)).workers) == 10


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("host", "host"),
        ("a,b", "a b"),
        ("n[1-3,7],gpu", "n1 n2 n3 n7 gpu"),
        ("n[08-11],m-5", "n08 n09 n10 n11 m-5"),
        ("r[1-2]n[1,3]-x", "r1n1-x r1n3-x r2n1-x r2n3-x"),
    ],
)
def test_lists_of_hosts(text, hosts):
    assert " ".join(expand_hosts(text)) == hosts


def test_an_ipv6_address_is_split_into_host_and_port():
    assert Cluster(("[::1]:2000", "two:3"), 0).host_and_port(0) == ("::1", 2000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, None, {}), "must have a cluster.*Received: none of them"),
        ((TWO, None, {}), "must be given together.*index=None"),
        ((None, 1, {}), "must be given together.*workers=None"),
        ((TWO, 2, {}), "index must be from 0 to 1 with 2 workers. Received: 2"),
        ((TWO, -1, {}), "index must be from 0 to 1"),
        (("a:1,a:1", 0, {}), "its own host:port. Received twice: a:1"),
        (("a:1", 0, {}), "at least 2 workers.*Received: 1"),
        (("a:1,b", 0, {}), "host:port with a port.*Received: 'b'"),
        (("a:1,b:70000", 0, {}), "host:port with a port.*Received: 'b:70000'"),
        ((TWO, 0, tf_config()), "TF_CONFIG must name the cluster.*index 1 in TF_CONFIG.*index 0"),
        ((None, None, {"TF_CONFIG": "{"}), "TF_CONFIG must be .*JSONDecodeError"),
        ((None, None, {"TF_CONFIG": '{"cluster": {}}'}), "TF_CONFIG must be .*KeyError"),
        ((None, None, tf_config(index=2)), "must be one of its cluster. Received: 'worker' 2"),
        ((None, None, tf_config(ps=["x:1"])), "no other jobs than chief and worker. Received: ps"),
        ((None, None, slurm("n[1-2]", "1(x2)", 5)), "index must be from 0 to 1"),
        ((None, None, slurm("n[1-2]", "many", 0)), "must be those of a step of srun"),
        ((None, None, slurm("n[1-x]", "1(x2)", 0)), "must be those of a step of srun"),
        (
            (None, None, slurm("n[1-2]", "2(x2)", 1, SLURMD_NODENAME="n2", SLURM_LOCALID="0")),
            "srun --distribution=block. *.*task 1 as number 0 on n2",
        ),
        ((None, None, slurm("n1", "1", 0)), "must have a cluster"),
    ],
)
def test_a_cluster_that_cannot_be_is_refused_in_one_line(arguments, message):
    with pytest.raises(DentalzooError, match=message) as error:
        find_cluster(*arguments)
    assert "\n" not in str(error.value)
