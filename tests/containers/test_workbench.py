"""The workbench as its README has people run it: every line that it shows, in real containers."""

import json
import os
import re
import shlex
import uuid
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket

from batch.command.stack.workbench import NOTEBOOKS
from tests.batch.command.test_cli import write
from tests.batch.pairs import checkerboard
from tests.containers.engine import OPEN, Container, Engine
from tests.containers.images import tag
from tests.k8s.manifests import HOUSE
from tests.k8s.rules.images import BUILT, version
from tests.servers import PATIENCE_SECONDS, free_port, wait_until

IMAGE = "larder-workbench"
README = (HOUSE / "batch/workbench/README.md").read_text(encoding="utf-8")
LINES = {
    " ".join(shlex.split(line, comments=True))
    for line in re.sub(r"\\\n", "", README).splitlines()
    if line.startswith("docker ")
}
ME = "$(id -u):$(id -g)"
OURS = f"{IMAGE}-{os.getpid()}"
"""What this run calls a container and a volume."""
UNNAMED = 4711
"""A user that the image has no name for."""

BUILD = f"docker build -f batch/workbench/Dockerfile -t {IMAGE}:{version()} -t {IMAGE} ."
BY_COMPOSE = "docker compose --profile workbench up workbench"
PLAIN = f"docker run -it --rm -p 127.0.0.1:8888:8888 -v ~/myfiles:/notebooks/myfiles {IMAGE}"
AS_ME = PLAIN.replace("-v ", f"--user {ME} -v ")
ELSEWHERE = f"docker run -it --rm -p 127.0.0.1:9000:9000 -e LARDER_JUPYTER_PORT=9000 {IMAGE}"
OLD = f"docker run -it --rm -p 127.0.0.1:8888:8888 -e ACCEPT_EULA=y {IMAGE}"
READ_ONLY = (
    "docker run -it --rm -p 127.0.0.1:8888:8888 --read-only --tmpfs /tmp:exec --cap-drop all "
    f"--security-opt no-new-privileges -v workbench:/notebooks {IMAGE}"
)
SERVER = f"docker run -d --name workbench -p 127.0.0.1:8888:8888 {IMAGE}"
SERVERS = (PLAIN, AS_ME, ELSEWHERE, OLD, READ_ONLY, SERVER)
GENERATIONS = "docker exec workbench larder generations --namespace films"
LIFE = (
    "docker logs workbench",
    "docker exec -it workbench bash",
    GENERATIONS,
    "docker stop workbench",
    "docker start workbench",
    "docker rm workbench",
)
OFFLINE = f"docker run --rm --network none {IMAGE} larder workbench --once"
MOUNTED = "-v ~/myfiles:/notebooks/myfiles"
SUBMIT = f"docker run --rm --user {ME} {MOUNTED} {IMAGE} spark-submit myfiles/count.py"
PROGRAMS = {  # what is typed into each, and a line that it says
    f"docker run -it --rm {IMAGE} bash": ("id -u && exit\n", "10001"),
    f"docker run -it --rm -p 127.0.0.1:4040:4040 {MOUNTED} {IMAGE} pyspark": (
        "print(spark.read.text('myfiles/orders.csv').count(), 'lines')\n",
        "4 lines",
    ),
    SUBMIT: ("", "4 lines"),
    f"docker run --rm {IMAGE} larder --help": ("", "Usage: larder"),
    f"docker run --rm {MOUNTED} {IMAGE} larder check myfiles/orders.csv": ("", "3 rows"),
    OFFLINE: ("", "00-serve-films"),
    f"docker run -it --rm --user root {IMAGE} bash": (
        "apt-get update -qq && apt-get install --yes -qq tree >/dev/null && tree --version\n",
        "tree v",
    ),
}
COUNT = """\
import helper
from pyspark.sql import SparkSession

lines = SparkSession.builder.getOrCreate().read.text("myfiles/orders.csv")
print(lines.count(), "lines")
lines.write.parquet("myfiles/lines")
"""
SPARK = """\
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
spark.range(7).write.mode("overwrite").parquet("/notebooks/seven")
print(spark.read.parquet("/notebooks/seven").count(), "rows")
"""
SERVE = """
%load_ext batch.workbench
%larder refresh myfiles/checkerboard.csv --k 3
import requests
from batch.workbench import serve
api = serve()
print("answers", requests.get(f"{api.url}/recommendations/u7").status_code)
"""
LISTEN = "0A"
"""What the kernel calls that state in /proc/net/tcp."""

Measured = Callable[[str], None]


@pytest.fixture(scope="module")
def image(engine: Engine, images: dict[str, float]) -> Iterator[str]:
    """Under both names that the README's line gives; the volume of its lines is removed at last."""
    _, _, _, dockerfile, _, named, _, short, _ = BUILD.split()
    assert (dockerfile, named) == (BUILT[IMAGE][0], tag(IMAGE))
    engine("tag", named, short)
    yield IMAGE
    engine("volume", "rm", "--force", OURS)


@pytest.fixture
def mine(folder: Path) -> Path:
    """The folder ~/myfiles of user 4711, whom the image does not know."""
    found = folder / "myfiles"
    found.mkdir()
    (found / "orders.csv").write_text("user,item\nann,pear\nann,fig\nbob,fig\n")
    (found / "count.py").write_text(COUNT)
    (found / "helper.py").touch()
    write(found / "checkerboard.csv", checkerboard())
    for each in (found, *found.iterdir()):
        os.chown(each, UNNAMED, UNNAMED)
    return found


class Workbench(Container):
    """A server as a line of the README starts it, on a free port of this machine."""

    def __init__(self, engine: Engine, line: str, mine: Path) -> None:
        self.port = free_port()
        options, arguments = read(line, mine, self.port)
        super().__init__(engine, IMAGE, *arguments, options=options, rules=OPEN)

    def start(self) -> None:
        super().start()
        wait_until(lambda: self.healthy() and bool(self.urls))

    @property
    def urls(self) -> list[str]:
        """All that it has printed."""
        return re.findall(r"http\S+", self.logs)

    @property
    def token(self) -> str:
        return self.urls[-1].partition("token=")[2]

    def ask(
        self, path: str, method: str = "GET", token: str = "", **told: Any
    ) -> requests.Response:
        """A request of JupyterLab's API, with its own token or another one."""
        return requests.request(
            method,
            f"http://127.0.0.1:{self.port}/api/{path}",
            headers={"Authorization": f"token {token or self.token}"},
            json=told or None,
            timeout=PATIENCE_SECONDS,
        )

    def run(self, source: str) -> str:
        """What a kernel prints for it; the kernel goes on."""
        kernel = self.ask("kernels", "POST", name="python3").json()["id"]
        address = f"ws://127.0.0.1:{self.port}/api/kernels/{kernel}/channels?token={self.token}"
        header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": "test"}
        content = {"code": source, "silent": False}
        message = {"channel": "shell", "header": header, "content": content}
        shell = websocket.create_connection(address, timeout=PATIENCE_SECONDS)
        try:
            shell.send(json.dumps({**message, "parent_header": {}, "metadata": {}}))
            return "".join(_said(shell, header["msg_id"]))
        finally:
            shell.close()


def _said(shell: websocket.WebSocket, asked: str) -> Iterator[str]:
    while True:
        told = json.loads(shell.recv())
        if told["parent_header"].get("msg_id") != asked:
            continue
        content = told["content"]
        if content.get("execution_state") == "idle":  # the reply may come sooner
            return
        yield content.get("text", "") + "\n".join(content.get("traceback", ()))


def read(line: str, mine: Path, port: int = 0) -> tuple[list[str], list[str]]:
    """The options of a line that starts a container, and what follows the image's name."""
    ours = {
        "~/myfiles:": f"{mine}:",
        "$(id -u):$(id -g)": f"{UNNAMED}:{UNNAMED}",
        "127.0.0.1:8888:": f"127.0.0.1:{port}:",
        "127.0.0.1:9000:": f"127.0.0.1:{port}:",
        "-p 127.0.0.1:4040:4040": "",  # of which there is one on this machine
        "--name workbench": f"--name {OURS}",
        "-v workbench:": f"-v {OURS}:",
    }
    for documented, here in ours.items():
        line = line.replace(documented, here)
    words = line.split()[2:]
    at = words.index(IMAGE)
    return [each for each in words[:at] if each not in ("-it", "--rm", "-d")], words[at + 1 :]


def test_every_line_of_the_readme_is_tried() -> None:
    assert LINES == {BUILD, BY_COMPOSE, *SERVERS, *LIFE, *PROGRAMS}


def test_it_says_what_it_is_and_is_not_too_large(
    engine: Engine, image: str, measured: Measured
) -> None:
    found = engine.inspect(f"{image}:{version()}")
    assert found["Id"] == engine.inspect(f"{image}:latest")["Id"]
    labels = {name.rpartition(".")[2]: text for name, text in found["Config"]["Labels"].items()}
    assert labels["title"] == IMAGE and labels["version"] == version()
    assert labels["licenses"] == "Apache-2.0 AND LicenseRef-MovieLens" and labels["description"]
    assert found["Config"]["Entrypoint"][0] == "tini"
    measured(f"{image}: {engine.megabytes(image):.0f} MB")
    assert engine.megabytes(image) <= 1900


@pytest.mark.parametrize("line", PROGRAMS)
def test_a_program_runs_in_place_of_the_server(
    engine: Engine, image: str, mine: Path, line: str
) -> None:
    typed, says = PROGRAMS[line]
    options, arguments = read(line, mine)
    network = ["--network=host"] if "apt-get" in typed else []
    done = engine.run(
        *("podman", "run", "--interactive", "--rm", *OPEN, *network, *options, image, *arguments),
        given=typed,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert says in done.stdout, done.stderr[-3000:]
    if line == SUBMIT:
        written = [*(mine / "lines").glob("*.parquet")]
        assert {each.stat().st_uid for each in written} == {UNNAMED}
        assert " INFO " not in done.stderr


@pytest.mark.parametrize("line", [PLAIN, ELSEWHERE])
def test_a_server_lets_in_who_has_its_token_and_stops_at_once(
    engine: Engine, image: str, mine: Path, line: str
) -> None:
    with Workbench(engine, line, mine) as started:
        lets_in_who_has_its_token(started, 9000 if line == ELSEWHERE else 8888)
        stop_at_once(engine, started)


def lets_in_who_has_its_token(started: Workbench, inside: int = 8888) -> None:
    """It has printed one URL, with that token."""
    (url,) = started.urls
    assert re.fullmatch(rf"http://127.0.0.1:{inside}/lab\?token=[0-9a-f]{{48}}", url)
    assert started.ask("contents", token="0" * 48).status_code == 403
    assert requests.get(f"http://127.0.0.1:{started.port}/api/contents").status_code == 403
    found = {each["name"] for each in started.ask("contents").json()["content"]}
    assert "00-serve-films.ipynb" in found
    assert started.execute("cat", "/proc/1/comm").stdout == "tini\n"


def stop_at_once(engine: Engine, started: Container) -> None:
    """Within five seconds; after them it would be killed, with 137."""
    engine("stop", "--time=5", started.id)
    assert started.wait() in (0, 143), started.logs


def test_in_a_mount_files_are_those_of_the_caller(engine: Engine, image: str, mine: Path) -> None:
    notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    with Workbench(engine, AS_ME, mine) as started:
        lets_in_who_has_its_token(started)
        told = started.ask("contents/myfiles/mine.ipynb", "PUT", type="notebook", content=notebook)
        assert told.status_code == 201
        said = started.run("import os\nprint(os.getuid(), file=open('myfiles/said.txt', 'w'))")
        assert not said
    assert (mine / "said.txt").read_text() == f"{UNNAMED}\n"
    assert {each.stat().st_uid for each in mine.rglob("*")} == {UNNAMED}


def test_work_lists_and_packages_outlive_a_stop(engine: Engine, image: str, mine: Path) -> None:
    """As the README's server, by a user that the image has no name for."""
    wheel = mine / "pear-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        about = "Metadata-Version: 2.1\nName: pear\nVersion: 1.0\n"
        archive.writestr("pear.py", "colour = 'green'\n")
        archive.writestr("pear-1.0.dist-info/METADATA", about)
        archive.writestr("pear-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("pear-1.0.dist-info/RECORD", "")
    edited = {"metadata": {}, "nbformat": 4, "nbformat_minor": 5, "cells": []}
    line = SERVER.replace("-d ", f"-d --user {ME} {MOUNTED} ")
    with Workbench(engine, line, mine) as started:
        lets_in_who_has_its_token(started)
        started.ask("contents/00-serve-films.ipynb", "PUT", type="notebook", content=edited)
        films = "/opt/larder/batch/datasets/ml-latest-small/ratings.csv"
        refresh = ("larder", "refresh", films, "--preset", "ml-latest", "--engine", "als")
        done = started.execute(*refresh, "--namespace", "films")
        assert done.returncode == 0, done.stderr
        said = started.run(f"%pip install --no-index myfiles/{wheel.name}")
        assert "Successfully installed pear" in said, said
        published = re.search(r"published generation (\S+):", done.stdout + done.stderr)
        before = started.execute(*GENERATIONS.split()[3:]).stdout
        assert published and published[1] in before
        stop_at_once(engine, started)
        first = started.token
        started.again()
        wait_until(lambda: started.healthy() and len(started.urls) == 2)
        assert started.token != first
        assert started.execute(*GENERATIONS.split()[3:]).stdout == before
        notebook = started.ask("contents/00-serve-films.ipynb").json()
        assert notebook["content"]["cells"] == []
        assert started.run("import pear\nprint(pear.colour)") == "green\n"
        shell = started.execute("bash", "-c", "id -u && command -v pyspark larder pip")
        assert shell.stdout.split()[0] == str(UNNAMED) and shell.returncode == 0


def test_nothing_listens_beyond_what_is_published_and_all_ends_at_once(
    engine: Engine, image: str, mine: Path
) -> None:
    """With a kernel, a Spark session and a server of Larder running."""
    line = READ_ONLY.replace("-v ", f"{MOUNTED} -v ")
    with Workbench(engine, line, mine) as started:
        lets_in_who_has_its_token(started)
        said = started.run(SPARK + SERVE)
        assert "7 rows" in said and "answers 200" in said, said
        listening = list(_listening(started))
        assert len(listening) > 6  # the cache, the kernel, Spark, the server
        open_to_others = {port for address, port in listening if not _is_loopback(address)}
        assert open_to_others == {8888, 4040}
        stop_at_once(engine, started)


def _listening(started: Container) -> Iterator[tuple[str, int]]:
    """Address as the kernel writes it, and port, of all that listens in the container."""
    done = started.execute("cat", "/proc/net/tcp", "/proc/net/tcp6")
    for line in done.stdout.splitlines():
        _, local, _, state, *_ = line.split()
        if state == LISTEN:
            address, _, port = local.partition(":")
            yield address, int(port, 16)


def _is_loopback(address: str) -> bool:
    """127.*, ::1, or the one in the shape of the other; bytes of each word are turned around."""
    mapped = address.startswith("0000000000000000FFFF0000")
    short = len(address) == 8 or mapped
    return address.endswith("7F") if short else address == "0" * 24 + "01000000"


def test_without_a_token_it_does_not_start(engine: Engine, image: str) -> None:
    with Container(engine, image, variables={"LARDER_JUPYTER_TOKEN": ""}) as started:
        assert started.wait() == 2
        assert "LARDER_JUPYTER_TOKEN is empty" in started.logs


def test_a_folder_of_somebody_else_is_refused_with_the_way_out(
    engine: Engine, image: str, mine: Path
) -> None:
    mounted = [f"--volume={mine}:/notebooks"]
    with Container(engine, image, options=mounted, rules=OPEN) as started:
        assert started.wait() == 2
        assert f"start that with --user {UNNAMED}:{UNNAMED}" in started.logs


def test_a_volume_in_which_somebody_else_worked_is_refused_with_the_way_out(
    engine: Engine, image: str, mine: Path
) -> None:
    kept = mine / ".larder"
    kept.mkdir()
    mine.chmod(0o1777)
    (kept / "lock").touch()
    mounted = [f"--volume={mine}:/notebooks", f"--user={UNNAMED}"]
    with Container(engine, image, options=mounted, rules=OPEN) as started:
        assert started.wait() == 2
        assert f"user {UNNAMED} may not write to /notebooks/.larder" in started.logs


def test_the_documents_that_notebooks_name_are_in_it(engine: Engine, image: str) -> None:
    named = {
        each
        for path in NOTEBOOKS.glob("*.ipynb")
        for each in re.findall(r"[a-z/]*README\.md", path.read_text())
    }
    with Container(engine, image, "sleep", "1000", rules=OPEN) as started:
        done = started.execute("ls", *(f"/usr/share/doc/larder/{each}" for each in named))
    assert named and done.returncode == 0, done.stderr


def test_it_takes_the_cache_that_it_is_given(engine: Engine, image: str, mine: Path) -> None:
    line = OLD.replace("-e ", "-e LARDER_CACHE_URL=redis://cache:6379/0 -e ")
    with Workbench(engine, line, mine) as started:
        lets_in_who_has_its_token(started)
        said = started.run("import os\nprint(os.environ['LARDER_CACHE_URL'])")
        assert said == "redis://cache:6379/0\n"
        assert started.execute("test", "-e", "/notebooks/.larder").returncode == 1
