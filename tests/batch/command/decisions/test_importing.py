"""A model of the cloud service, from its file to the live generation."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import vowpalwabbit

from app.contracts.decisions import MODEL, Decisions
from app.contracts.learning.policies import ORIGINAL
from app.contracts.recommendations import Namespace
from batch.command.cli import cli
from batch.decisions.dsjson import line
from batch.decisions.loop import trainer
from batch.decisions.loop.log import Log
from batch.errors import BadModel
from batch.generations.registry import Generations
from tests.batch.decisions.rows import context, joined
from tests.servers import Server


def chances(model: bytes, folder: Path) -> list[float]:
    (folder / "asked.vw").write_bytes(model)
    vw = vowpalwabbit.Workspace(f"-i {folder / 'asked.vw'} --json --quiet -t")
    told: list[float] = vw.predict(context().decode())
    vw.finish()
    return told


def larder(server: Server, namespace: Namespace, file: Path) -> None:
    where = ["--cache-url", server.url, "--namespace", namespace.name]
    cli.main(["decisions", "import", str(file), *where], standalone_mode=False)


def test_a_signed_model_goes_live(
    client: Any, server: Server, namespace: Namespace, tmp_path: Path, capsys: Any
) -> None:
    vw = vowpalwabbit.Workspace(f"{ORIGINAL.arguments} --dsjson --quiet --id 7c1b")
    for number in range(200):
        vw.learn(line(joined(number)))
    vw.save(str(tmp_path / "model.vw"))
    vw.finish()
    given, space = (tmp_path / "model.vw").read_bytes(), Decisions(namespace.name)
    with zipfile.ZipFile(tmp_path / "model.zip", "w") as archive:
        archive.writestr("model.vw", given)
        archive.writestr("sha512_signature.bin", b"signed")
    larder(server, namespace, tmp_path / "model.zip")
    assert "its signature was not looked at" in capsys.readouterr().out
    trainer.once(client, Log(client, space), space, None, 3)
    live = Generations(client, space).live_manifest()
    assert live is not None and "--learning_rate 0.001" in live.arguments
    published = client.get(space.part(live.generation, MODEL))
    assert chances(published, tmp_path) == pytest.approx(chances(given, tmp_path), abs=1e-6)
    assert max(chances(given, tmp_path)) > 0.8


def test_a_file_that_is_no_model_orders_nothing(
    client: Any, server: Server, namespace: Namespace, tmp_path: Path
) -> None:
    (tmp_path / "other").write_bytes(b"no model")
    with pytest.raises(BadModel):
        larder(server, namespace, tmp_path / "other")
    assert not client.exists(Decisions(namespace.name).orders)
