"""Two hosts and PostgreSQL, for real: `make test-cluster`, as root on Linux with PostgreSQL and iproute2 installed.

A host is a network namespace with a host name of its own, joined to the database by a virtual cable. Nobody else
listens there: the database asks for a password, and everything is gone afterwards.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from digits_search import objective, sampler, space
from tuning_cases import SAMPLER, SPACE, train

from dlbook.tuning import run

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        os.environ.get("DLBOOK_CLUSTER") != "1", reason="needs PostgreSQL and root: make test-cluster"
    ),
]

HERE = Path(__file__).resolve().parent
PASSWORD, PORT, GRACE = "only for this test", "54329", 20
STORE = f"postgresql://book@db:{PORT}/tuning"
BIN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def shell(*command, **options):
    return subprocess.run(
        [str(word) for word in command], check=True, capture_output=True, text=True, **options
    ).stdout


def as_postgres(*command):
    return shell("runuser", "-u", "postgres", "--", *command, cwd="/")


@pytest.fixture(scope="module")
def hosts():
    """Two network namespaces, alpha and beta; from each, `db` is the machine that the test runs on."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.fail("make test-cluster needs Linux, root and iproute2: apt-get install iproute2")
    names = {"alpha": "10.231.1", "beta": "10.231.2"}
    try:
        for name, net in names.items():
            space = f"dlbook-{name}"
            shell("ip", "netns", "add", space)
            shell("ip", "link", "add", space, "type", "veth", "peer", "name", "eth0", "netns", space)
            shell("ip", "addr", "add", f"{net}.1/24", "dev", space)
            shell("ip", "link", "set", space, "up")
            shell("ip", "-n", space, "addr", "add", f"{net}.2/24", "dev", "eth0")
            shell("ip", "-n", space, "link", "set", "eth0", "up")
            shell("ip", "-n", space, "link", "set", "lo", "up")
            folder = Path("/etc/netns", space)
            folder.mkdir(parents=True)
            (folder / "hosts").write_text(f"127.0.0.1 localhost {name}\n{net}.1 db\n")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", f"dlbook-{name}"], check=False)
            shutil.rmtree(f"/etc/netns/dlbook-{name}", ignore_errors=True)


@pytest.fixture(scope="module")
def database(hosts):
    """The folder of a PostgreSQL that both hosts reach with a password."""
    if not BIN:
        pytest.fail("make test-cluster needs PostgreSQL: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="dlbook-"))
    shutil.chown(folder, "postgres")
    as_postgres(BIN[-1] / "initdb", "-D", folder / "data", "-A", "peer", "-U", "postgres")
    with open(folder / "data" / "pg_hba.conf", "a") as rules:
        rules.write("host all book 10.231.0.0/16 scram-sha-256\n")
    listen = ",".join(f"{net}.1" for net in hosts.values())
    options = f"-c listen_addresses={listen} -c port={PORT} -c unix_socket_directories=/tmp"
    try:
        control(folder, "start", "-o", options)
        psql = [BIN[-1] / "psql", "-h", "/tmp", "-p", PORT, "-U", "postgres", "-qc"]
        as_postgres(*psql, f"CREATE USER book PASSWORD '{PASSWORD}'")
        for name in ("tuning", "fresh"):
            as_postgres(*psql, f"CREATE DATABASE {name} OWNER book")
        yield folder
    finally:
        control(folder, "stop", "-m", "immediate")
        shutil.rmtree(folder)


def control(folder, *words):
    with open(folder / "output", "ab") as output:
        subprocess.run(
            [
                "runuser",
                "-u",
                "postgres",
                "--",
                str(BIN[-1] / "pg_ctl"),
                "-D",
                str(folder / "data"),
                "-w",
                *words,
            ],
            check=True,
            stdout=output,
            stderr=output,
            cwd="/",
        )


@pytest.fixture
def on(database, tmp_path):
    """`on("alpha", ...)` starts Python on a host; it is killed at the end of the test if it still runs."""
    pgpass, started = tmp_path / "pgpass", []
    pgpass.write_text(f"db:{PORT}:*:book:{PASSWORD}\n")
    pgpass.chmod(0o600)

    def start(host, *words, **variables):
        named = ["ip", "netns", "exec", f"dlbook-{host}", "unshare", "--uts", "sh", "-c"]
        process = subprocess.Popen(
            [*named, f'hostname {host}; exec "$@"', "sh", sys.executable, *words],
            cwd=HERE,
            env=os.environ | {"PGPASSFILE": str(pgpass), "DLBOOK_GRACE": str(GRACE)} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        with process:  # closes the pipe
            pass


def said(process):
    """What a process printed; it must have ended well."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def wait(on, study, condition):
    """What the status says once it fulfils a condition."""
    for _ in range(300):
        process = on("alpha", "-m", "dlbook.tuning", "status", "--storage", STORE, "--study", study)
        output = process.communicate()[0]
        if process.returncode == 0 and condition(output):
            return output
        time.sleep(0.2)
    pytest.fail(f"waited in vain: {output}")


def table(on, study, n):
    """The finished table, as somebody who asks for the same search gets it."""
    program = (
        "import sys; from slow_search import *; from dlbook.tuning import run; "
        f"print(run(objective, space, sampler, n={n}, engine='optuna', store='{STORE}#{study}').table)"
    )
    return said(on("alpha", "-c", program)).strip()


def attempts(on, study, trial):
    """Who has trained a trial, and how it ended there."""
    program = (
        "import json, sys; from dlbook.tuning.optuna_engine import Board, quiet\n"
        f"with quiet(): board = Board('{STORE}#{study}'); board.join()\n"
        "found = [one for one in board.storage.get_all_trials(board.study)]\n"
        f"found = [one for one in found if one.user_attrs['trial'] == {trial}]\n"
        "print(json.dumps([[one.user_attrs['worker'].split()[0], one.state.name] for one in found]))"
    )
    return json.loads(said(on("alpha", "-c", program)))


def alone(n):
    return repr(run(objective, space, sampler, n=n).table)


def traffic(host):
    """Bytes that have crossed the cable of a host, to the database and back."""
    (link,) = json.loads(shell("ip", "-j", "-s", "link", "show", f"dlbook-{host}"))
    return link["stats64"]["rx"]["bytes"], link["stats64"]["tx"]["bytes"]


def done(status):
    found = re.match(r"(\d+) of", status)
    return int(found[1]) if found else 0


def test_two_hosts_of_which_one_is_killed_have_the_table_of_one_process(on):
    alpha = on("alpha", "slow_search.py", f"{STORE}#digits")
    wait(on, "digits", lambda words: done(words) >= 1)
    worker = (
        "-m",
        "dlbook.tuning",
        "worker",
        "--study",
        "digits",
        "--storage",
        STORE,
        "slow_search:objective",
    )
    before = traffic("beta")
    beta = on("beta", *worker)
    wait(on, "digits", lambda words: done(words) >= 10)
    for _ in range(100):
        beta.send_signal(signal.SIGSTOP)
        status = wait(on, "digits", bool)
        if "on beta" in status:
            break
        beta.send_signal(signal.SIGCONT)  # it was between two trials
        time.sleep(0.3)
    crossed = [now - then for now, then in zip(traffic("beta"), before, strict=True)]
    beta.kill()  # with -9
    beta.wait()
    (trial,) = re.findall(r"trial (\d+) on beta", status)
    assert done(status) < 32
    print(f"\nbeta is killed:\n{status}\nbytes from and to beta: {crossed}")
    print(f"alpha printed:\n{said(alpha)}")
    assert attempts(on, "digits", trial) == [["beta", "FAIL"], ["alpha", "COMPLETE"]]
    print(f"beta again:\n{said(on('beta', *worker))}")
    print(f"at the end:\n{wait(on, 'digits', lambda words: done(words) == 32)}")
    assert table(on, "digits", 32) == alone(32)


def test_the_database_is_killed_and_started_again(on, database):
    alpha = on("alpha", "slow_search.py", f"{STORE}#again")
    wait(on, "again", lambda words: done(words) >= 2)
    beta = on("beta", "slow_search.py", f"{STORE}#again")
    wait(on, "again", lambda words: done(words) >= 6 and "on beta" in words)
    control(database, "restart", "-m", "immediate")
    assert said(alpha) == said(beta)
    assert table(on, "again", 32) == alone(32)


def test_five_who_start_at_once_on_an_empty_database(on, database):
    program = "from tuning_cases import *; "
    program += f"print(run(train, SPACE, SAMPLER, n=24, engine='optuna', store='{STORE[:-6]}fresh').table)"
    workers = [on(host, "-c", program) for host in ("alpha", "beta", "alpha", "beta", "beta")]
    assert {said(one).strip() for one in workers} == {repr(run(train, SPACE, SAMPLER, n=24).table)}


def test_a_wrong_password_is_an_error_at_once(on, tmp_path):
    process = on(
        "beta",
        "-m",
        "dlbook.tuning",
        "status",
        "--storage",
        STORE,
        PGPASSFILE="/dev/null",
        PGPASSWORD="guess",
    )
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 2
    assert "store must be a database that can be reached" in output
    assert "guess" not in output
