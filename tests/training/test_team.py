"""The workers of a training speak to each other: here as threads over loopback."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import pytest

from dentalzoo.errors import DentalzooError
from dentalzoo.training import team as team_module
from dentalzoo.training.cluster import Cluster
from dentalzoo.training.team import Team, join
from tests.ports import addresses


def in_parallel(function, values):
    """Call it with each value in its own thread; return results or errors, in order."""

    def caught(value):
        try:
            return function(value)
        except DentalzooError as error:
            return error

    with ThreadPoolExecutor(len(values)) as pool:
        return list(pool.map(caught, values))


@pytest.fixture
def teams():
    workers = addresses(3)
    made = in_parallel(lambda index: join(Cluster(workers, index), 60), range(3))
    yield made
    for team in made:
        team.close()


def test_one_process_is_a_team_that_waits_for_no_one():
    team = Team()
    with team.training():
        team.agree("settings", {"seed": 0})
        team.release()
        team.finish()
    assert team.is_chief and team.size == 1


def test_workers_agree_and_wait_for_the_chief(teams):
    order = []

    def work(team):
        with team.training():
            team.agree("settings", {"seed": 0, "size": (1, 2)})
            team.agree("data", 7)
            assert team.share("token", f"of {team.index}") == "of 0"
            team.release()
            if team.is_chief:
                time.sleep(0.2)
                order.append("written")
            team.finish()
            order.append("end")

    assert in_parallel(work, teams) == [None] * 3
    assert order == ["written", "end", "end", "end"]
    assert in_parallel(work, teams) == [None] * 3  # a second training of the same processes


def test_other_settings_of_one_worker_end_all_with_one_line(teams):
    def work(team):
        with team.training():
            team.agree("settings", {"seed": 0, "epochs": 2 + (team.index == 1)})

    for error in in_parallel(work, teams):
        assert "every worker must have the same settings" in str(error)
        assert "epochs is 2 and 3 (worker 0 and worker 1)" in str(error)


@pytest.mark.parametrize("index", [0, 2])
def test_the_error_of_one_worker_is_that_of_all(teams, index):
    def work(team):
        with team.training():
            team.share("start")
            if team.index == index:
                raise DentalzooError("no image of the split can be used. Received: 0")
            team.share("data")

    errors = in_parallel(work, teams)
    assert str(errors.pop(index)).startswith("no image")
    for error in errors:
        assert f"worker {index} (127.0.0.1:" in str(error) and "resume" not in str(error)
        assert str(error).endswith("Received: no image of the split can be used. Received: 0")
    with pytest.raises(DentalzooError), teams[1].training():
        pass  # the team is over


def test_a_worker_that_leaves_while_the_chief_writes_is_not_missed(teams):
    released = threading.Event()

    def work(team):
        with team.training():
            team.release()
            if team.is_chief:
                released.set()
            if team.index == 1:
                released.wait()
                team.close()
                return
            if team.is_chief:
                time.sleep(0.3)
            team.finish()

    assert in_parallel(work, teams) == [None] * 3


def test_a_chief_that_is_gone_after_its_results_stops_no_one(teams, monkeypatch):
    chief, other, _ = teams
    aborted = []
    other.abort = aborted.append
    monkeypatch.setattr(team_module, "GRACE_SECONDS", 0)
    monkeypatch.setattr(team_module.os, "_exit", aborted.append)
    with other.training():
        chief.finish()
        chief.close()
        for work in ("Team._read", "Team._end"):  # both were read before `finish` is called
            for thread in threading.enumerate():
                if thread.name == work:
                    thread.join(60)
        assert other.stopped
        other.finish()
    assert not aborted


def test_a_killed_process_is_noticed_at_once():
    workers = addresses(2)
    code = (
        "import sys, time\n"
        "from dentalzoo.training.cluster import Cluster\n"
        "from dentalzoo.training.team import join\n"
        "team = join(Cluster(tuple(sys.argv[1].split(',')), 1), 300)\n"
        "with team.training():\n"
        "    team.share('start')\n"
        "    time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, ",".join(workers)])
    team = join(Cluster(workers, 0), 300)
    with (
        pytest.raises(DentalzooError, match=r"worker 1 .* stopped.*--resume.*connection"),
        team.training(),
    ):
        team.share("start")
        child.send_signal(signal.SIGKILL)
        team.share("never")  # not by its silence: the message says so
    child.wait()


def test_a_silent_worker_counts_as_stopped(monkeypatch):
    monkeypatch.setattr(team_module, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(team_module, "BEAT_SECONDS", 60)
    here, there = socket.socketpair()
    team = Team(Cluster(("a:1", "b:2"), 0), {1: here})
    aborted = []
    team.abort = aborted.append
    message = r"worker 1 \(b:2\) stopped.*for 0.3 s"
    with pytest.raises(DentalzooError, match=message), team.training():
        team.share("never")
    there.close()
    assert aborted in ([], [team.stopped])


def test_a_training_that_hangs_is_ended_with_the_line():
    code = (
        "import socket, time\n"
        "from dentalzoo.training import team as module\n"
        "from dentalzoo.training.cluster import Cluster\n"
        "module.GRACE_SECONDS = 0.2\n"
        "here, there = socket.socketpair()\n"
        "team = module.Team(Cluster(('a:1', 'b:2'), 0), {1: here})\n"
        "with team.training():\n"
        "    there.close()\n"
        "    time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("worker 1 (b:2) stopped")


def test_a_port_in_use_is_refused():
    workers = addresses(2)
    for index in (0, 1):
        port = int(workers[index].rpartition(":")[2])
        message = f"port of worker {index} .* must be free"
        with socket.create_server(("", port)), pytest.raises(DentalzooError, match=message):
            join(Cluster(workers, index), 1)


def test_a_worker_that_comes_while_the_chief_opens_its_port_is_not_lost(monkeypatch):
    """The chief does not go on from a port on which it listens before the worker has connected."""
    workers, listen, connect = addresses(2), socket.create_server, socket.create_connection
    connected = threading.Event()

    def listening(address, **options):
        server = listen(address, **options)
        if workers[0].endswith(f":{address[1]}"):
            assert connected.wait(60)
        return server

    def connecting(*arguments):
        link = connect(*arguments)
        connected.set()
        return link

    monkeypatch.setattr(socket, "create_server", listening)
    monkeypatch.setattr(socket, "create_connection", connecting)
    made = in_parallel(lambda index: join(Cluster(workers, index), 60), range(2))
    assert [team.size for team in made] == [2, 2]
    for team in made:
        team.close()


def test_workers_that_never_come_are_named(monkeypatch):
    """The time of the chief is over once worker 2 has come, however slow the machine is."""
    workers, line = addresses(3), team_module._line
    clock = SimpleNamespace(now=0.0, sleep=time.sleep, monotonic=lambda: clock.now)

    def work(index):
        return join(Cluster(workers, index), 60)

    def read_and_be_late(link):
        text = line(link)
        clock.now = 100.0
        return text

    with monkeypatch.context() as patch:
        patch.setattr(team_module, "time", clock)
        patch.setattr(team_module, "_line", read_and_be_late)
        for error in in_parallel(work, [0, 2]):
            assert f"Received: worker 1 ({workers[1]}) did not come in time" in str(error)
    with pytest.raises(DentalzooError) as error:
        join(Cluster(workers, 2), 0.6)
    error = error.value
    assert f"worker 0 ({workers[0]}) did not come in time" in str(error)


def test_two_workers_of_one_index_or_of_other_lists_are_refused():
    workers = addresses(3)
    other = (workers[0], *addresses(2))
    results = in_parallel(
        lambda given: join(Cluster(given, 1 if given == other else 0), 60), [workers, other]
    )
    for error in results:
        assert f"worker 1 was given the workers {','.join(other)}" in str(error)


def test_a_stranger_at_the_door_is_ignored(monkeypatch):
    """It comes before the worker does, and is sent away by the chief."""
    workers, listen = addresses(2), team_module._listen
    port = int(workers[0].rpartition(":")[2])
    open_, gone = threading.Event(), threading.Event()

    def listening(at):
        server = listen(at)
        if at == port:
            open_.set()
        return server

    monkeypatch.setattr(team_module, "_listen", listening)

    def work(index):
        if index == 2:
            assert open_.wait(60)
            with socket.create_connection(("127.0.0.1", port), 60) as link:
                link.sendall(b"GET / HTTP/1.1\r\n\r\n")
                with suppress(ConnectionError):
                    assert link.recv(1) == b""
            gone.set()
            return None
        assert index == 0 or gone.wait(60)
        return join(Cluster(workers, index), 60)

    chief, other, _ = in_parallel(work, range(3))
    assert (chief.size, other.index) == (2, 1)
    assert json.dumps(chief.stopped) == "null"
    chief.close()
    other.close()
