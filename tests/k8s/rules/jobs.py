"""What runs and ends: when, how often it is tried, and whether its arguments are understood."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import PurePosixPath
from unittest.mock import patch
from zoneinfo import available_timezones

import click
from cronsim import CronSim, CronSimError

from batch.command.cli import cli
from batch.datasets.movielens import SMALL
from batch.errors import Terminal, Transient
from loadtest.__main__ import parser
from tests.k8s.manifests import Object, Overlay, Workload, dig, title
from tests.k8s.rules.configuration import variables
from tests.k8s.rules.pods import image_name

PATHS = ("LARDER_INTERACTIONS", "LARDER_ITEMS", "LARDER_REJECTS")
DEMO = PurePosixPath("/opt/larder/demo")
ZONES = available_timezones()
STATED = ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")


def schedules_are_times(overlay: Overlay) -> Iterator[str]:
    """Five fields of cron, and a time zone that the world knows."""
    for each in overlay.of("CronJob"):
        schedule, zone = each["spec"]["schedule"], each["spec"].get("timeZone")
        try:
            CronSim(schedule, datetime.now(UTC))
            right = len(schedule.split()) == 5
        except CronSimError:
            right = False
        if not right:
            yield f"{title(each)}: schedule {schedule!r} is not one of cron"
        if zone not in ZONES:
            yield f"{title(each)}: timeZone {zone!r} is not of the IANA's list"


def schedules_never_overlap(overlay: Overlay) -> Iterator[str]:
    """One refresh at a time; a late one has a deadline, and its traces a limit."""
    for each in overlay.of("CronJob"):
        policy = each["spec"].get("concurrencyPolicy")
        if policy != "Forbid":
            yield f"{title(each)}: concurrencyPolicy is {policy}, must be Forbid"
        for name in STATED:
            if name not in each["spec"]:
                yield f"{title(each)}: does not state {name}"


def jobs_come_to_an_end(overlay: Overlay) -> Iterator[str]:
    """No job runs for ever, and a pod that failed stays to be read."""
    for workload in _jobs(overlay):
        if not workload.job.get("activeDeadlineSeconds"):
            yield f"{workload.name}: does not state activeDeadlineSeconds"
        if "backoffLimit" not in workload.job:
            yield f"{workload.name}: does not state backoffLimit"
        if workload.spec.get("restartPolicy") != "Never":
            yield f"{workload.name}: restartPolicy must be Never"


def refreshes_are_retried_as_their_exit_codes_say(overlay: Overlay) -> Iterator[str]:
    """2 is terminal, 75 is not, and an evicted pod is nobody's fault."""
    for workload in _jobs(overlay, "refresh"):
        rules = dig(workload.job, "podFailurePolicy.rules") or []
        containers = {each["name"] for each in workload.containers()}
        for rule in rules:
            named = dig(rule, "onExitCodes.containerName")
            if named is not None and named not in containers:
                yield f"{workload.name}: podFailurePolicy names the container {named!r}"
        wanted = {Terminal.exit_code: "FailJob", Transient.exit_code: "Count"}
        for code, action in wanted.items():
            if (found := _action(rules, code)) != action:
                yield f"{workload.name}: exit code {code} leads to {found}, must be {action}"
        if not any(_ignores_disruption(rule) for rule in rules):
            yield f"{workload.name}: a pod that is evicted must not count as failed"
        if not workload.job.get("backoffLimit"):
            yield f"{workload.name}: backoffLimit must allow for a retry"


def load_tests_run_when_they_are_asked_for(overlay: Overlay) -> Iterator[str]:
    """One by the clock would hit the callers of production."""
    for workload in overlay.workloads("loadtest"):
        if workload.owner["kind"] != "CronJob" or workload.owner["spec"].get("suspend") is not True:
            yield f"{workload.name}: must be a CronJob that is suspended"


def _action(rules: list[Object], code: int) -> str:
    """What Kubernetes does about an exit code: the first rule that fits; else it counts."""
    for rule in rules:
        asked = rule.get("onExitCodes")
        if asked and (code in asked["values"]) is (asked["operator"] == "In"):
            return str(rule["action"])
    return "Count"


def _ignores_disruption(rule: Object) -> bool:
    conditions = {each["type"] for each in rule.get("onPodConditions", [])}
    return rule["action"] == "Ignore" and "DisruptionTarget" in conditions


def arguments_are_understood(overlay: Overlay) -> Iterator[str]:
    """By the programs' own parsers, with the environment that the container has."""
    for workload, container in overlay.containers():
        given = variables(overlay, container)
        words = [_expand(word, given) for word in container.get("args", [])]
        if problem := _misunderstood(container, words, given):
            yield f"{workload.name}: {container['name']}: {problem}"


def _expand(word: str, given: dict[str, str]) -> str:
    return re.sub(r"\$\((\w+)\)", lambda found: given.get(found[1], found[0]), str(word))


def _misunderstood(container: Object, words: list[str], given: dict[str, str]) -> str:
    image = image_name(container)
    if "command" in container:
        return "" if _runs_a_file(container["command"]) else f"runs {container['command']}"
    if image in ("larder-batch", "larder-batch-spark", "larder-demo"):
        return _refused_by_larder(words, given)
    if image == "larder-loadtest":
        return _refused_by_loadtest(words)
    return f"gunicorn takes no {words}" if image == "larder-api" and words else ""


def _runs_a_file(command: list[str]) -> bool:
    """The cache's own server, a module of ours or a mounted file; else the image says what runs."""
    program, *words = command or [""]
    if program == "valkey-server":
        return True
    ours = words[:1] == ["-m"] and len(words) == 2 and find_spec(words[1]) is not None
    return program in ("python", "python3") and (ours or words[0].startswith("/etc/"))


def _refused_by_larder(words: list[str], given: dict[str, str]) -> str:
    with patch.dict(os.environ, given, clear=True):
        try:
            context = cli.make_context("larder", list(words))
            name, command, rest = cli.resolve_command(
                context, [*context._protected_args, *context.args]
            )
            assert command is not None
            command.make_context(name, rest, parent=context)
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


def files_lie_in_volumes(overlay: Overlay) -> Iterator[str]:
    """What a job reads and writes lies in a volume, or is of the films in the demo's image."""
    for workload, container in overlay.containers("refresh", "loadtest"):
        given = variables(overlay, container)
        named = [(name, given.get(name, "")) for name in PATHS]
        named += [tuple(word.split("=", 1)) for word in container.get("args", []) if "=/" in word]
        mounts = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        for name, text in named:
            path = PurePosixPath(text)
            mounted = any(path.is_relative_to(mount) for mount in mounts)
            demo = image_name(container) == "larder-demo" and _is_demo(path)
            if path.is_absolute() and not mounted and not demo:
                yield f"{workload.name}: {name} is {path}, which lies in no volume"


def _is_demo(path: PurePosixPath) -> bool:
    return path.parent == DEMO and (SMALL / path.name).is_file()


def _jobs(overlay: Overlay, *components: str) -> list[Workload]:
    found = overlay.workloads(*components)
    return [each for each in found if each.owner["kind"] in ("Job", "CronJob")]
