"""The scripts for schedulers: their syntax, and the command in them with what a task gets."""

import os
import re
import subprocess
from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[2] / "examples" / "cluster"
_FAKE = '#!/bin/sh\necho "$@" > "$CALLED"\nexit $STATUS\n'


def run(tmp_path, command, status, **environment):
    """Run a shell command with a `dentalzoo` that notes its arguments and returns a status."""
    from dentalzoo.cli import parse

    fake = tmp_path / "dentalzoo"
    fake.write_text(_FAKE)
    fake.chmod(0o755)
    called = tmp_path / "called"
    variables = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLED": str(called)}
    done = subprocess.run(command, env={**variables, "STATUS": str(status), **environment})
    return parse(called.read_text().split()), done.returncode


def test_the_slurm_array(tmp_path):
    script = FOLDER / "slurm_array.sh"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert os.access(script, os.X_OK)
    last = int(re.search(r"^#SBATCH --array=0-(\d+)$", script.read_text(), re.MULTILINE)[1])
    task = {"SLURM_ARRAY_TASK_COUNT": str(last + 1), "SLURM_ARRAY_TASK_ID": str(last)}
    command = ["bash", script, "panoramic_unet", "in", "out"]
    for status, expected in ((0, 0), (1, 0), (2, 1), (130, 1)):
        options, code = run(tmp_path, command, status, **task)
        assert (options.bundle, options.inputs, options.out) == ("panoramic_unet", ["in"], "out")
        assert (options.shards, options.shard, options.workers) == (last + 1, last, 4)
        assert code == expected
    cores = re.search(r"^#SBATCH --cpus-per-task=(\d+)$", script.read_text(), re.MULTILINE)
    assert int(cores[1]) >= options.workers


def test_the_kubernetes_job(tmp_path):
    job = yaml.safe_load((FOLDER / "kubernetes_job.yaml").read_text())
    spec = job["spec"]
    assert (job["kind"], spec["completionMode"]) == ("Job", "Indexed")
    (container,) = spec["template"]["spec"]["containers"]
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    (mount,), (volume,) = container["volumeMounts"], spec["template"]["spec"]["volumes"]
    assert mount["name"] == volume["name"]
    command = [*container["command"], *container["args"]]
    for status, expected in ((0, 0), (1, 0), (2, 1)):
        options, code = run(tmp_path, command, status, JOB_COMPLETION_INDEX="63")
        assert options.shards == spec["completions"] and options.shard == 63
        assert all(path.startswith(mount["mountPath"]) for path in (*options.inputs, options.out))
        assert (code == 0) == (expected == 0)
