"""Runs over an archive: shards, restarts, workers that die, what is refused; without a network.

Where workers are not what is tested, their work is done in this process, which is quicker.
"""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pytest

from dentalzoo.archives import manifest as manifests
from dentalzoo.archives.manifest import Settings, ShardManifest, refuse_run
from dentalzoo.archives.run import run_archive
from dentalzoo.archives.worker import Finished
from dentalzoo.errors import DentalzooError
from dentalzoo.tasks.predictor import predict_all, write_files
from tests.archives import stand_in
from tests.archives.processes import children, wait_until_ended
from tests.archives.stand_in import StandIn


def settings(shards=1, **changes):
    values = {
        "dentalzoo": "1",
        "bundle": "b",
        "bundle_sha256": "0",
        "runtime": "tensorflow",
        "options": {"scale": 1, "anonymize": False},
        **changes,
    }
    return Settings(**values, shards=shards)


def work_here(job, items, workers):
    """Do what `run_workers` does, in this process."""
    predictor = job.make()
    predictor.join(job.shared)
    for item in items:
        try:
            result = predictor.apply(item, predictor.read(item))
        except DentalzooError as error:
            yield item, Finished(item.number, 0.0, {}, None, error.reason)
            continue
        write_files(result.files, job.out)
        sizes = {name: len(content) for name, content in result.files.items()}
        yield item, Finished(item.number, 0.0, sizes, result)


@pytest.fixture
def workers():
    """Of tests that start them."""


@pytest.fixture(autouse=True)
def _here(request, monkeypatch):
    if "workers" not in request.fixturenames:
        monkeypatch.setattr("dentalzoo.archives.run.run_workers", work_here)


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a shard over the texts in `in`."""
    (tmp_path / "in").mkdir()
    state = tmp_path / "computed"

    def call(texts=None, *, shards=1, shard=0, workers=1, make=None, out="out", **changes):
        for name, text in (texts or {}).items():
            (tmp_path / "in" / f"{name}.num").write_text(text)
        make = make or partial(StandIn, 1, str(state))
        run_settings = settings(shards, **changes)
        return run_archive(
            StandIn(), make, run_settings, tmp_path / "in", tmp_path / out, workers, shard
        )

    call.computed = lambda: state.read_text().split() if state.exists() else []
    return call


TEXTS = {f"x{i:02d}": f"{i} 1" for i in range(9)}


def results(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


@pytest.mark.usefixtures("workers")
def test_two_workers_write_what_one_process_writes(run, tmp_path):
    report = run(TEXTS, workers=2)
    assert (report.written, report.failed) == (9, [])
    predict_all(StandIn(), tmp_path / "in", tmp_path / "plain")
    assert results(tmp_path / "out") == results(tmp_path / "plain")
    assert sorted(run.computed()) == sorted(TEXTS)


def test_the_same_command_again_computes_nothing(run, tmp_path):
    run(TEXTS)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    report = run(make=stand_in.refuse)  # no worker is started
    assert report.written == 9 and len(run.computed()) == 9
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()} == before


def test_shards_divide_the_inputs_and_the_last_one_combines(run, tmp_path, caplog):
    one = run(TEXTS, shards=3, shard=2)
    assert one.written == 3 and not (tmp_path / "out" / "total.csv").exists()
    assert "6 of 9 inputs are still missing (shards 0, 1)" in caplog.text
    assert run(shards=3, shard=0).written == 3
    assert run(shards=3, shard=1).written == 3
    predict_all(StandIn(), tmp_path / "in", tmp_path / "plain")
    assert results(tmp_path / "out") == results(tmp_path / "plain")
    assert sorted(run.computed()) == sorted(TEXTS)


def test_more_shards_than_inputs(run, tmp_path):
    for shard in range(3):
        run({"a": "1"}, shards=3, shard=shard)
    assert (tmp_path / "out" / "total.csv").read_text() == "1,a.num,1"


def test_what_was_cut_off_goes_on(run, tmp_path):
    run(TEXTS)
    path = tmp_path / "out" / "manifest" / "shard-00000-of-00001.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:20])  # as a kill may leave it
    (tmp_path / "out" / "total.csv").unlink()
    assert run().written == 9
    redone = run.computed()[9:]
    assert sorted(redone) == sorted(json.loads(line)["name"] for line in lines[5:])
    assert len(path.read_bytes().splitlines()) == 9
    assert (tmp_path / "out" / "total.csv").read_text().count(",") == 18


def test_lines_have_the_documented_keys(run, tmp_path):
    run({"a": "1 2", "b": "bad", "c": "7"})
    path = tmp_path / "out" / "manifest" / "shard-00000-of-00001.jsonl"
    lines = map(json.loads, path.read_bytes().splitlines())
    a, b, c = sorted(lines, key=lambda line: line["number"])
    assert (a["input"], a["name"], a["status"], a["files"]) == ("a.num", "a", "done", {"a.txt": 2})
    assert a["record"] == {"sum": 3} and a["size"] == 3 and a["seconds"] >= 0
    assert (b["status"], b["files"]) == ("failed", {})
    assert b["reason"] == "must be numbers. Received: bad"
    assert c["problems"] == [["c.num", "no second part"]]
    assert str(tmp_path) not in path.read_text()
    rows = (tmp_path / "out" / "manifest" / "failed.csv").read_text().splitlines()
    assert rows == ["input,reason", "b.num,must be numbers. Received: bad", "c.num,no second part"]


def test_changed_inputs_and_lost_results_are_done_again(run, tmp_path, caplog):
    run({"a": "1", "b": "2", "c": "3"})
    (tmp_path / "in" / "a.num").write_text("10")
    (tmp_path / "out" / "c.txt").unlink()
    run()
    assert sorted(run.computed()[3:]) == ["a", "c"]
    assert "2 inputs have changed or their results are gone" in caplog.text
    assert (tmp_path / "out" / "total.csv").read_text() == "1,a.num,10\n2,b.num,2\n3,c.num,3"


# ---- what goes wrong -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("workers")
def test_an_input_that_kills_its_worker_is_listed_and_the_rest_goes_on(run, tmp_path, caplog):
    report = run({**TEXTS, "x00": "die once", "x03": "die", "x07": "bug"}, workers=2)
    assert report.written == 7
    reasons = {os.path.basename(path): reason for path, reason in report.failed}
    assert reasons == {
        "x03.num": "the process ended by SIGKILL, also when tried alone",
        "x07.num": "ZeroDivisionError: a bug, also when tried alone",
    }
    assert run.computed().count("x00") == run.computed().count("x03") == 2
    assert "x00.num: the process ended by SIGKILL; it is tried once more, alone" in caplog.text
    assert (tmp_path / "out" / "total.csv").read_text().count("\n") == 6
    assert run(make=stand_in.refuse).failed == report.failed


@pytest.mark.slow
@pytest.mark.usefixtures("workers")
def test_a_bundle_that_cannot_be_loaded_is_one_line(run):
    with pytest.raises(DentalzooError, match="^bundle must be whole. Received: half of it$"):
        run(TEXTS, make=stand_in.refuse)
    with pytest.raises(DentalzooError, match="able to load the bundle.*SIGKILL before"):
        run(make=stand_in.die)
    assert run().written == 9


@pytest.mark.slow
@pytest.mark.usefixtures("workers")
def test_results_that_cannot_be_written_stop_the_run(run, tmp_path):
    (tmp_path / "out" / "x04.txt").mkdir(parents=True)
    with pytest.raises(DentalzooError, match="x04.txt could not be written"):
        run(TEXTS)
    assert run.computed().count("x04") == 1
    (tmp_path / "out" / "x04.txt").rmdir()
    assert run().written == 9 and run.computed().count("x00") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("workers")
def test_workers_that_all_die_stop_the_run(run):
    with pytest.raises(DentalzooError, match="10 in a row that did not; the process ended by SIG"):
        run({f"x{i:02d}": "die" for i in range(40)})


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"bundle_sha256": "1"}, "bundle_sha256 must be '0', as in the run"),
        ({"options": {"scale": 2, "anonymize": False}}, "scale must be 1, as in the run"),
        ({"options": {"scale": 1, "anonymize": True}}, "anonymize must be False, as in the run"),
        ({"shards": 2}, "shards must be 1, as in the run"),
        ({"dentalzoo": "2"}, "dentalzoo must be '1', as in the run"),
    ],
)
def test_another_run_in_the_same_folder_is_refused(run, changes, line):
    run({"a": "1"})
    with pytest.raises(DentalzooError, match=line) as error:
        run(**changes)
    assert "\n" not in str(error.value) and "choose another folder" in str(error.value)
    assert run.computed() == ["a"]


def test_other_inputs_are_refused(run, tmp_path):
    run({"a": "1"})
    with pytest.raises(DentalzooError, match="inputs must be the 1 of the run.*Received: 2, not"):
        run({"b": "1"})
    with pytest.raises(DentalzooError, match="out must not hold a run over an archive"):
        refuse_run(tmp_path / "out")
    refuse_run(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"workers": 0}, "workers must be an integer >= 1. Received: 0"),
        ({"shards": 0}, "shards must be an integer >= 1. Received: 0"),
        ({"shard": 1}, "shard must be an integer from 0 to 0"),
        ({"shards": 2, "shard": -1}, "shard must be an integer from 0 to 1"),
    ],
)
def test_numbers_are_checked(run, changes, line):
    with pytest.raises(DentalzooError, match=line):
        run({"a": "1"}, **changes)


def test_one_process_at_a_time_has_a_shard(run, tmp_path):
    run({"a": "1"})
    folder = manifests.manifest_folder(tmp_path / "out", False)
    with ShardManifest(folder, 0, 1, 1), pytest.raises(DentalzooError, match="is locked"):
        run()


def test_lines_of_another_run_are_refused(run, tmp_path):
    run({"a": "1"})
    path = tmp_path / "out" / "manifest" / "shard-00000-of-00001.jsonl"
    for line in ('{"number": 2, "input": "", "name": "", "status": "done"}', "[]", "not JSON"):
        path.write_text(f"{line}\n")
        with pytest.raises(DentalzooError, match="must hold lines of this run"):
            run()


def test_the_manifest_of_anonymous_results_lies_beside_them(run, tmp_path):
    run({"secret": "1"}, options={"scale": 1, "anonymize": True})
    assert not (tmp_path / "out" / "manifest").exists()
    assert (tmp_path / "out_manifest" / "run.json").exists()
    with pytest.raises(DentalzooError, match="anonymize must be True, as in the run"):
        run()


@pytest.mark.usefixtures("workers")
def test_all_processes_share_what_the_first_call_planned(run, tmp_path):
    run({"a": "shared"}, make=partial(Shared))
    run({"a": "shared"}, make=partial(Shared))
    known = json.loads((tmp_path / "out" / "manifest" / "run.json").read_text())
    assert (tmp_path / "out" / "a.txt").read_text() == f"1 {known['shared']['word']}"


class Shared(StandIn):
    def compute(self, item, value):
        return 1


@pytest.mark.slow
@pytest.mark.usefixtures("workers")
def test_the_cores_are_divided(run, tmp_path):
    run({name: "threads" for name in "abcd"}, workers=2)
    threads = max(1, len(os.sched_getaffinity(0)) // 2)
    assert {(tmp_path / "out" / f"{x}.txt").read_text().strip() for x in "abcd"} == {str(threads)}


_SCRIPT = """
import sys
from functools import partial
from pathlib import Path
from dentalzoo.archives.run import run_archive
from dentalzoo.archives.worker import Finished
from tests.archives.stand_in import StandIn
from tests.archives.test_archives import settings
root = Path(sys.argv[1])
make = partial(StandIn, 1, str(root / "computed"))
run_archive(StandIn(), make, settings(), root / "in", root / "out", 2, 0)  # no __main__ is needed
"""


@pytest.mark.slow
@pytest.mark.usefixtures("workers")
def test_a_run_that_is_killed_goes_on_without_doing_finished_work_again(run, tmp_path):
    for i in range(60):
        (tmp_path / "in" / f"x{i:02d}.num").write_text("slow 0.02")
    process = subprocess.Popen([sys.executable, "-c", _SCRIPT, str(tmp_path)])
    path = tmp_path / "out" / "manifest" / "shard-00000-of-00001.jsonl"
    while not path.exists() or path.read_bytes().count(b"\n") < 20:
        time.sleep(0.005)
    orphans = children(process.pid)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_until_ended(orphans)  # with the input that they have
    finished = [json.loads(line)["name"] for line in path.read_bytes().splitlines(True)[:-1]]
    assert 19 <= len(finished) < 60
    computed = len(run.computed())
    assert run(workers=2).written == 60
    again = run.computed()[computed:]
    assert not set(again) & set(finished) and len(again) <= 60 - len(finished)
    assert len(list((tmp_path / "out").glob("x*.txt"))) == 60
    assert not list((tmp_path / "out").glob(".*.tmp"))
