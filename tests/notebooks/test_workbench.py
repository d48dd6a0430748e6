"""``larder workbench`` with a real JupyterLab: who gets in, and that nothing stays when it ends."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
import psutil
import pytest
from jupyter_client.blocking.client import BlockingKernelClient

from tests.batch.command.test_cli import refused, write
from tests.batch.pairs import checkerboard
from tests.servers import PATIENCE_SECONDS, environment, free_port, wait_until

TOKEN = "?hush/it&a=secret"


@dataclass(frozen=True)
class Bench:
    """A workbench that runs."""

    process: "subprocess.Popen[str]"
    folder: Path
    told: str
    token: str
    clients: list[BlockingKernelClient] = field(default_factory=list)

    @property
    def url(self) -> str:
        (found,) = [word for word in self.told.split() if word.startswith("http")]
        return found.partition("/lab")[0]

    def ask(self, path: str, posted: object = None, token: str | None = None) -> Any:
        header = {"Authorization": f"token {self.token if token is None else token}"}
        body = None if posted is None else json.dumps(posted).encode()
        request = urllib.request.Request(f"{self.url}/api/{path}", body, header)
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"null")

    def kernel(self) -> "Kernel":
        found = self.ask("kernels", {"name": "python3", "path": ""})["id"]
        client = BlockingKernelClient()
        client.load_connection_file(str(self.folder.parent / "runtime" / f"kernel-{found}.json"))
        client.start_channels(hb=False)  # on a busy machine hearts beat slowly
        self.clients.append(client)
        client.wait_for_ready()
        return Kernel(found, client, self.folder)

    @property
    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    @property
    def servers(self) -> list[psutil.Process]:
        return [each for each in self.children if "app.http.serve" in command(each)]


def command(process: psutil.Process) -> list[str]:
    """Its words; none of one that has just ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@dataclass(frozen=True)
class Kernel:
    """A kernel that JupyterLab has started."""

    id: str
    client: BlockingKernelClient
    folder: Path

    def run(self, code: str) -> str:
        """Execute a cell; returns what it printed."""
        said: list[str] = []
        reply = self.client.execute_interactive(
            code, output_hook=lambda message: said.append(message["content"].get("text", ""))
        )
        assert reply["content"]["status"] == "ok", (reply["content"], said)
        return "".join(said)

    def begin(self, code: str) -> None:
        """Execute a cell that does not end; returns when it runs."""
        self.client.execute(f"open('{self.id}', 'w').close()\n{code}")
        wait_until((self.folder / self.id).exists)


def variables(folder: Path, **others: str) -> dict[str, str]:
    """Those of a user whose home is empty."""
    given = {"HOME": str(folder), "JUPYTER_RUNTIME_DIR": str(folder / "runtime")}
    port = {"LARDER_JUPYTER_PORT": str(free_port()), "LARDER_NOTEBOOKS": str(folder / "work")}
    return environment({**given, **port, **others})


@contextmanager
def started(folder: Path, **others: str) -> Iterator[Bench]:
    """A workbench in the foreground of a terminal of its own, once it has told its URL."""
    with (folder / "errors").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "batch", "workbench"],
            env=variables(folder, **others),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    with process:
        try:
            told = "".join(iter(process.stdout.readline, "\n")) + process.stdout.readline()
            token = told.partition("?token=")[2].strip() or others["LARDER_JUPYTER_TOKEN"]
            bench = Bench(process, folder / "work", told, token)
            try:
                yield bench
            finally:
                for client in bench.clients:
                    client.stop_channels()
        finally:
            process.terminate()


def errors(folder: Path) -> str:
    return (folder / "errors").read_text()


def end(bench: Bench, number: signal.Signals) -> None:
    """Send a signal to its whole foreground, as a terminal does; nothing that it started stays."""
    children = bench.children
    os.killpg(bench.process.pid, number)
    assert bench.process.wait(PATIENCE_SECONDS) == 0
    assert not [each for each in children if each.is_running()]


SERVE = """
%load_ext batch.workbench
%larder refresh orders.csv --k 3
from batch.workbench import serve
api = serve()
"""
ORPHAN = """
import subprocess, sys
begin = "from subprocess import *; "
begin += "print(Popen(['sleep', '1000'], stdout=DEVNULL, process_group=0).pid)"
print(subprocess.run([sys.executable, "-c", begin], stdout=subprocess.PIPE, text=True).stdout)
"""
HANGS = "import ctypes; ctypes.PyDLL(None).sleep(1000)"  # whoever calls by it keeps the others out


def test_a_signal_ends_all_of_it(tmp_path: Path) -> None:
    """Cells that run or hang, servers of live and hanging kernels, orphans, and the cache."""
    with started(tmp_path) as bench:
        write(bench.folder / "orders.csv", checkerboard())
        running, hanging = bench.kernel(), bench.kernel()
        running.run(SERVE)
        hanging.run("%load_ext batch.workbench\nfrom batch.workbench import serve; api = serve()")
        orphan = int(running.run(ORPHAN))
        running.begin("import time; time.sleep(1000)")
        hanging.begin(HANGS)
        assert len(bench.servers) >= 2
        assert orphan in {each.pid for each in bench.children}
        assert any("valkey" in each.name() for each in bench.children)
        end(bench, signal.SIGINT)


def test_servers_end_with_their_kernel(tmp_path: Path) -> None:
    with started(tmp_path) as bench:
        write(bench.folder / "orders.csv", checkerboard())
        kernel = bench.kernel()
        kernel.run(SERVE)
        assert bench.servers
        bench.ask(f"kernels/{kernel.id}/restart", {})
        wait_until(lambda: not bench.servers)
        kernel.client.wait_for_ready()
        kernel.run("%load_ext batch.workbench\nfrom batch.workbench import serve; api = serve()")
        assert bench.servers
        os.kill(int(kernel.run("import os; print(os.getpid())")), signal.SIGKILL)
        wait_until(lambda: not bench.servers)


def test_a_cache_that_dies_ends_the_rest(tmp_path: Path) -> None:
    with started(tmp_path) as bench:
        children = bench.children
        (cache,) = [each for each in children if "valkey" in each.name()]
        cache.kill()
        assert bench.process.wait(PATIENCE_SECONDS) == 75
    log = bench.folder / ".larder" / "valkey.log"
    assert errors(tmp_path).endswith(f"error: the cache ended by itself: see {log}\n")
    assert not [each for each in children if each.is_running()]


def test_to_shut_down_in_the_browser_is_no_error(tmp_path: Path) -> None:
    with started(tmp_path) as bench:
        bench.ask("shutdown", {})
        assert bench.process.wait(PATIENCE_SECONDS) == 0
    assert "error" not in errors(tmp_path)


def test_what_a_killed_workbench_leaves_behind_is_named_to_the_next(tmp_path: Path) -> None:
    with started(tmp_path) as bench:
        bench.kernel().begin("import time; time.sleep(1000)")
        left = bench.children
        servers = sorted(each.pid for each in psutil.Process(bench.process.pid).children())
        bench.process.kill()
        bench.process.wait()
    command = [sys.executable, "-m", "batch", "workbench"]
    done = subprocess.run(command, env=variables(tmp_path), capture_output=True, text=True)
    refused(done, "servers that a killed process left behind", f"'kill {servers[0]} {servers[1]}'")
    for each in servers:
        os.kill(each, signal.SIGTERM)
    wait_until(lambda: not any(each.is_running() for each in left))


def test_a_token_that_is_set_is_asked_for_and_never_shown(tmp_path: Path) -> None:
    with started(tmp_path, LARDER_JUPYTER_TOKEN=TOKEN) as bench:
        assert "(it asks for LARDER_JUPYTER_TOKEN)" in bench.told
        kernel = bench.kernel()
        inherited = kernel.run("import os; print(dict(os.environ))")
        commands = [command(each) for each in [psutil.Process(bench.process.pid), *bench.children]]
        with pytest.raises(urllib.error.HTTPError, match="403"):
            bench.ask("kernels", token="another")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            bench.ask(f"contents/nothing?token={quote(TOKEN)}")
        end(bench, signal.SIGTERM)
    for shown in (bench.told, inherited, str(commands), errors(tmp_path)):
        assert shown and TOKEN not in shown and TOKEN[1:5] not in shown


def test_a_new_token_is_told_once_and_kernels_do_not_inherit_it(tmp_path: Path) -> None:
    cookies = CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
    port = str(free_port())  # a cookie is of one port
    with started(tmp_path, LARDER_JUPYTER_PORT=port) as first:
        assert len(first.token) == 48 and first.told.count("http") == 1
        assert first.token not in first.kernel().run("import os; print(dict(os.environ))")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            first.ask("kernels", token="")
        with browser.open(f"{first.url}/lab?token={first.token}"):
            assert cookies
        end(first, signal.SIGHUP)
    with started(tmp_path, LARDER_JUPYTER_PORT=port) as second:
        assert second.token != first.token
        with pytest.raises(urllib.error.HTTPError, match="403"):
            browser.open(f"{second.url}/api/kernels")
        assert "00-serve-films.ipynb" in [
            each["name"] for each in second.ask("contents")["content"]
        ]


def test_an_empty_token_lets_this_machine_in(tmp_path: Path) -> None:
    with started(tmp_path, LARDER_JUPYTER_TOKEN="", LARDER_JUPYTER_HOST="::1") as bench:
        assert bench.url.startswith("http://[::1]:") and "token" not in bench.told.lower()
        assert bench.ask("kernels") == []


def once(folder: Path, *cells: str) -> "subprocess.Popen[str]":
    """Begin to execute a first notebook that is the user's."""
    (folder / "work").mkdir()
    mine = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in cells])
    mine.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(mine, folder / "work" / "00-serve-films.ipynb")
    return subprocess.Popen(
        [sys.executable, "-m", "batch", "workbench", "--once"],
        env=variables(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_once_tells_what_was_printed_and_the_figures(tmp_path: Path) -> None:
    process = once(tmp_path, "print('trained')", "{'ndcg': 0.5}")
    before = (tmp_path / "work" / "00-serve-films.ipynb").read_bytes()
    said, complained = process.communicate()
    assert (process.returncode, complained) == (0, "")
    executed = tmp_path / "work" / "00-serve-films.executed.ipynb"
    assert (
        said.split()
        == f"trained {{'ndcg': 0.5}} The whole notebook, with its charts: {executed}".split()
    )
    assert (tmp_path / "work" / "00-serve-films.ipynb").read_bytes() == before
    assert nbformat.read(executed, as_version=4).cells[0].outputs


@pytest.mark.parametrize("cell", ["print('trained')", "x = 1"])
def test_once_needs_no_figures(tmp_path: Path, cell: str) -> None:
    process = once(tmp_path, cell)
    said, complained = process.communicate()
    assert (process.returncode, complained) == (0, "")
    assert "The whole notebook, with its charts: " in said


def test_once_says_why_a_notebook_failed(tmp_path: Path) -> None:
    process = once(tmp_path, "%load_ext batch.workbench", "%larder refresh nothing.csv", "print(7)")
    said, complained = process.communicate()
    assert process.returncode == 1
    assert "nothing.csv" in said and "7" not in said
    assert complained.splitlines() == [
        "StepFailed: the command larder refresh ended with exit code 2; its message is above",
        "error: the notebook 00-serve-films.ipynb ended with exit code 1; its message is above",
    ]


def test_once_ends_at_a_signal_with_its_kernel(tmp_path: Path) -> None:
    process = once(tmp_path, "print('begun', flush=True); import time; time.sleep(1000)")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, complained = process.communicate()
    assert (process.returncode, complained) == (130, "error: stopped by SIGINT\n")
    assert len(children) >= 3 and not [each for each in children if each.is_running()]
