"""What runs and ends: when, how often it is tried, and whether its arguments are understood."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from datetime import datetime
from importlib.util import find_spec
from pathlib import PurePosixPath
from unittest.mock import patch
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click
from cronsim import CronSim, CronSimError

from batch.command.cli import cli
from batch.datasets.movielens import SMALL
from batch.errors import Terminal, Transient
from loadtest.__main__ import parser
from tests.k8s.defects import (
    FIRST,
    FIRST_IN_JOB,
    GONE,
    JOB,
    LOADTEST,
    REFRESH,
    TRAINER,
    TRAINING,
    WITH_CLICKS,
    WITH_DECISIONS,
    WITH_WORKBENCH,
    WORKBENCH,
    catches,
)
from tests.k8s.manifests import Object, Overlay, dig, title
from tests.k8s.rules.images import image_name

PATHS = tuple(
    f"LARDER_{name}" for name in ("EXAMPLES", "INTERACTIONS", "ITEMS", "NOTEBOOKS", "REJECTS")
)
FILES_OF = ("refresh", "clicks-train", "decisions-train", "loadtest", "workbench")
DEMO = PurePosixPath("/opt/larder/demo")
POLICY = f"{JOB}/podFailurePolicy/rules"


@catches(REFRESH, "spec/schedule", "0 25 * * *")
@catches(REFRESH, "spec/timeZone", "Europe/Bonn")
def schedules_are_times(overlay: Overlay) -> Iterator[str]:
    """Five fields of cron, and a time zone that the world knows."""
    for each in overlay.of("CronJob"):
        schedule, zone = each["spec"]["schedule"], str(each["spec"].get("timeZone"))
        try:
            CronSim(schedule, datetime.now(ZoneInfo(zone)))
        except (CronSimError, ZoneInfoNotFoundError) as error:
            yield f"{title(each)}: {error!r}"
        if len(schedule.split()) != 5:
            yield f"{title(each)}: schedule {schedule!r} has not five fields"


@catches(REFRESH, f"{POLICY}/1/onExitCodes/values", [1])
@catches(REFRESH, f"{POLICY}/1/onExitCodes/values", [2, 75])
@catches(REFRESH, f"{POLICY}/1/onExitCodes/containerName", "larder")
@catches(REFRESH, f"{POLICY}/0", GONE)
@catches(TRAINING, f"{POLICY}/1/onExitCodes/containerName", "refresh", WITH_CLICKS)
def refreshes_are_retried_as_their_exit_codes_say(overlay: Overlay) -> Iterator[str]:
    """An evicted pod is nobody's fault; then 2 is final, and 75 is tried again."""
    for workload in overlay.workloads("refresh", "clicks-train"):
        job = workload.job
        final = dig(job["podFailurePolicy"]["rules"][-1], "onExitCodes.values") or []
        evicted = [{"type": "DisruptionTarget", "status": "True"}]
        codes = {"containerName": workload.component, "operator": "In", "values": final}
        wanted = [
            {"action": "Ignore", "onPodConditions": evicted},
            {"action": "FailJob", "onExitCodes": codes},
        ]
        if job["podFailurePolicy"]["rules"] != wanted or not job["backoffLimit"]:
            yield f"{workload.name}: is tried again by other rules than {wanted}"
        if Terminal.exit_code not in final or Transient.exit_code in final:
            yield f"{workload.name}: is not tried again after the exit codes {final}"


@catches(REFRESH, f"{FIRST_IN_JOB}/args/0", "refrehs")
@catches("ConfigMap larder-refresh", "data/LARDER_MAX_DROP", "ten percent")
@catches(TRAINING, f"{FIRST_IN_JOB}/args/1", "trian", WITH_CLICKS)
@catches("ConfigMap larder-clicks-train", "data/LARDER_KEEP", "some", WITH_CLICKS)
@catches(TRAINER, f"{FIRST}/args/2", "--folow", WITH_DECISIONS)
@catches(WORKBENCH, f"{FIRST}/args", ["workbench"], WITH_WORKBENCH)
@catches(LOADTEST, f"{FIRST_IN_JOB}/args/2", "--duraton=30")
@catches(LOADTEST, f"{FIRST_IN_JOB}/args/1", GONE)
def arguments_are_understood(overlay: Overlay) -> Iterator[str]:
    """By the programs' own parsers, with the environment that the container has."""
    for workload, container in overlay.containers():
        given = overlay.variables(container)
        words = [_expand(word, given) for word in container.get("args", [])]
        if problem := _misunderstood(container, words, given):
            yield f"{workload.name}: {container['name']}: {problem}"


def _expand(word: str, given: dict[str, str]) -> str:
    return re.sub(r"\$\((\w+)\)", lambda found: given.get(found[1], found[0]), str(word))


def _misunderstood(container: Object, words: list[str], given: dict[str, str]) -> str:
    image = image_name(container)
    if "command" in container:
        return "" if _runs_a_file(container["command"]) else f"runs {container['command']}"
    if image == "larder-loadtest":
        return _refused_by_loadtest(words)
    if image in ("larder-api", "larder-clicks"):
        return f"gunicorn takes no {words}" if words else ""
    if image == "larder-workbench":  # its image says nothing of what runs but tini
        return _refused_by_larder(words[1:], given) if words[:1] == ["larder"] else f"runs {words}"
    if image == "larder-decisions":
        return _refused_by_larder(["decisions", *words], given)
    return _refused_by_larder(words, given)


def _runs_a_file(command: list[str]) -> bool:
    """The cache's own server, a module of ours or a mounted file; else the image says what runs."""
    program, *words = command
    if program == "valkey-server":
        return True
    ours = words[:1] == ["-m"] and len(words) == 2 and find_spec(words[1]) is not None
    return program in ("python", "python3") and (ours or words[0].startswith("/etc/"))


def _refused_by_larder(words: list[str], given: dict[str, str]) -> str:
    with patch.dict(os.environ, given, clear=True):
        try:
            context = cli.make_context("larder", list(words))
            while isinstance(context.command, click.Group):
                name, command, rest = context.command.resolve_command(
                    context, [*context._protected_args, *context.args]
                )
                assert command is not None
                context = command.make_context(name, rest, parent=context)
        except click.ClickException as error:
            return error.format_message()
        except click.exceptions.Exit:
            return "only asks for help"
    return ""


def _refused_by_loadtest(words: list[str]) -> str:
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(told):
        try:
            asked = parser().parse_args(words)
        except SystemExit:
            return told.getvalue().strip().rpartition("\n")[2]
    return "" if asked.url else "without --url it would start a cache and an API of its own"


@catches(LOADTEST, f"{FIRST_IN_JOB}/args/4", "--report=/report")
@catches("ConfigMap larder-refresh", "data/LARDER_INTERACTIONS", f"{DEMO}/rating.csv")
@catches(REFRESH, f"{FIRST_IN_JOB}/volumeMounts/2/mountPath", "/event", "production")
@catches("ConfigMap larder-clicks-train", "data/LARDER_EXAMPLES", "/examples", WITH_CLICKS)
@catches(TRAINER, f"{FIRST}/args/1", "/log", WITH_DECISIONS)
@catches(WORKBENCH, f"{FIRST}/volumeMounts/0/mountPath", "/work", WITH_WORKBENCH)
def files_lie_in_volumes(overlay: Overlay) -> Iterator[str]:
    """What a job reads and writes lies in a volume, or is of the films in the demo's image."""
    for workload, container in overlay.containers(*FILES_OF):
        given = overlay.variables(container)
        named = [path for name in PATHS for path in given.get(name, "").splitlines()]
        named += [word.rpartition("=")[2] for word in container.get("args", [])]
        mounts = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        for path in (PurePosixPath(each) for each in named if each.startswith("/")):
            mounted = any(path.is_relative_to(mount) for mount in mounts)
            film = path.parent == DEMO and (SMALL / path.name).is_file()
            if not mounted and not (film and image_name(container) == "larder-demo"):
                yield f"{workload.name}: {path} lies in no volume"
