"""Break one thing in what is rendered: the rule that is meant catches it, and no other."""

import base64
import json
import re
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import pytest

from tests.k8s.manifests import COMPONENT, NAME, Object, Overlay, load, title
from tests.k8s.rules import (
    RULES,
    Rule,
    api,
)
from tests.k8s.rules import cache as the_cache
from tests.k8s.rules import (
    configuration,
    jobs,
    network,
    pods,
    scaling,
    schema,
    secrets,
    selection,
    spark,
    volumes,
)
from tests.k8s.test_rules import needs_kustomize

API = "Deployment larder-api"
BUDGET = "PodDisruptionBudget larder-api"
SCALER = "HorizontalPodAutoscaler larder-api"
REFRESH = "CronJob larder-refresh"
LOADTEST = "CronJob larder-loadtest"
POLICY = "NetworkPolicy larder-api"
CACHE = "StatefulSet larder-cache"
POD = "spec/template/spec"
JOB = "spec/jobTemplate/spec"
FIRST = f"{POD}/containers/0"
IN_JOB = f"{JOB}/template/spec"
OPEN: list[Object] = [{}]
PARTLY = {COMPONENT: "api"}
TYPO = {NAME: "larder", COMPONENT: "apis"}
GONE = object()
EVERYWHERE = "everywhere"


class Defect:
    """One field of one object, set to what it must not be, or to GONE; or a text EVERYWHERE."""

    def __init__(
        self, rule: Rule, found: str, path: str, value: Any, overlay: str = "demo"
    ) -> None:
        self.rule = rule
        self.found = found
        self.path = path
        self.value = value
        self.overlay = overlay

    def __str__(self) -> str:
        return f"{self.rule.__name__}: {self.found} {self.path}"

    def seed(self) -> Overlay:
        """The overlay with this defect."""
        objects = deepcopy(load(self.overlay).objects)
        if self.path == EVERYWHERE:
            return Overlay(self.overlay, json.loads(self.value(json.dumps(objects))))
        names = re.compile(rf"{self.found}(-[2-9a-z]{{10}})?")
        holder: Any = next(each for each in objects if names.fullmatch(title(each)))
        *way, last = [int(part) if part.isdigit() else part for part in self.path.split("/")]
        for part in way:
            holder = holder[part]
        if self.value is GONE:
            del holder[last]
        else:
            holder[last] = self.value(holder[last]) if callable(self.value) else self.value
        return Overlay(self.overlay, objects)


def text(old: str, new: str) -> Callable[[str], str]:
    """Replace a part of a text; the part must be there."""

    def replaced(found: str) -> str:
        assert old in found, f"{old!r} is not in {found!r}"
        return found.replace(old, new)

    return replaced


def secret(old: str, new: str) -> Callable[[str], str]:
    """The same in the value of a Secret."""

    def replaced(found: str) -> str:
        plain = base64.b64decode(found).decode()
        return base64.b64encode(text(old, new)(plain).encode()).decode()

    return replaced


DEFECTS = [
    # What Kubernetes would refuse, if it were asked.
    Defect(schema.objects_are_as_kubernetes_knows_them, "Service larder-api", "apiVersion", "v2"),
    Defect(schema.objects_are_as_kubernetes_knows_them, API, f"{POD}/enableServiceLink", False),
    Defect(schema.objects_are_as_kubernetes_knows_them, API, "spec/minReadySeconds", "ten"),
    # Whose is it?
    Defect(schema.objects_carry_our_name, "Service larder-api", "metadata/namespace", "default"),
    Defect(schema.the_namespace_lets_no_other_pod_in, "Namespace larder", "metadata/labels", {}),
    # Monitoring
    Defect(
        schema.monitors_read_what_is_served,
        "ServiceMonitor larder-api",
        "spec/endpoints/0/port",
        "metrics",
        "demo+monitoring",
    ),
    Defect(
        schema.monitors_read_what_is_served,
        "ConfigMap larder-api",
        "data/LARDER_METRICS",
        "false",
        "demo+monitoring",
    ),
    Defect(
        schema.alerts_say_what_is_wrong,
        "PrometheusRule larder",
        "spec/groups/0/rules/1/expr",
        "larder_generation_age > 1",
        "demo+monitoring",
    ),
    Defect(
        schema.alerts_say_what_is_wrong,
        "PrometheusRule larder",
        "spec/groups/0/rules/0/annotations",
        GONE,
        "demo+monitoring",
    ),
    # Selectors, ports, probes
    Defect(
        selection.selectors_are_the_labels_of_their_pods, API, "spec/selector/matchLabels", TYPO
    ),
    Defect(
        selection.services_and_budgets_hit_the_pods_they_mean,
        "Service larder-api",
        "spec/selector",
        TYPO,
    ),
    Defect(
        selection.services_and_budgets_hit_the_pods_they_mean,
        BUDGET,
        "spec/selector/matchLabels",
        TYPO,
    ),
    Defect(
        selection.service_ports_are_ports_of_their_pods,
        "Service larder-api",
        "spec/ports/0/targetPort",
        "htpp",
    ),
    Defect(selection.stateful_sets_have_their_service, CACHE, "spec/serviceName", "larder-redis"),
    Defect(selection.probes_ask_what_exists, API, f"{FIRST}/startupProbe/httpGet/path", "/healthz"),
    Defect(api.the_api_is_restarted_by_live_and_fed_by_ready, API, f"{FIRST}/startupProbe", GONE),
    Defect(selection.probes_ask_what_exists, API, f"{FIRST}/readinessProbe/httpGet/port", 8080),
    Defect(selection.probes_ask_what_exists, API, f"{FIRST}/startupProbe/httpGet", GONE),
    Defect(
        api.the_api_is_restarted_by_live_and_fed_by_ready,
        API,
        f"{FIRST}/livenessProbe/httpGet/path",
        "/health/ready",
    ),
    Defect(
        selection.ingress_routes_what_is_public_and_nothing_else,
        "Ingress larder-api",
        "spec/rules/0/http/paths/0/path",
        "/",
        "production",
    ),
    Defect(
        selection.ingress_routes_what_is_public_and_nothing_else,
        "Ingress larder-api",
        "spec/rules/0/http/paths/1/pathType",
        "Exact",
        "production",
    ),
    Defect(
        selection.ingress_backends_exist,
        "Ingress larder-api",
        "spec/rules/0/http/paths/0/backend/service/port",
        {"number": 8000},
        "production",
    ),
    Defect(selection.selectors_use_both_labels, "Service larder-api", "spec/selector", PARTLY),
    Defect(
        selection.selectors_use_both_labels,
        API,
        f"{POD}/topologySpreadConstraints/1/labelSelector/matchLabels",
        PARTLY,
    ),
    Defect(
        selection.ingresses_are_encrypted,
        "Ingress larder-api",
        "spec/tls/0/hosts/0",
        "example.com",
        "production",
    ),
    # Settings and secrets
    Defect(
        secrets.each_wing_has_its_own_door_to_the_cache,
        API,
        f"{FIRST}/env/0/valueFrom/secretKeyRef/key",
        "batch-url",
    ),
    Defect(
        secrets.each_wing_has_its_own_door_to_the_cache,
        REFRESH,
        f"{IN_JOB}/containers/0/env/0",
        GONE,
    ),
    Defect(
        configuration.every_variable_is_a_setting, "ConfigMap larder-refresh", "data/LARDER_KK", "1"
    ),
    Defect(
        configuration.every_variable_is_a_setting, "ConfigMap larder-api", "data/LARDER_K", "10"
    ),
    Defect(
        configuration.the_api_states_every_setting, "ConfigMap larder-api", "data/LARDER_BIND", GONE
    ),
    Defect(
        configuration.the_api_states_every_setting,
        "ConfigMap larder-api",
        "data/LARDER_NEAR_CACHE_USERS",
        "many",
    ),
    Defect(
        configuration.both_wings_serve_one_tenant,
        "ConfigMap larder-refresh",
        "data/LARDER_NAMESPACE",
        "shop",
    ),
    Defect(configuration.every_reference_exists, "Secret larder-cache", "data/batch-url", GONE),
    Defect(
        configuration.every_reference_exists,
        LOADTEST,
        f"{IN_JOB}/volumes/0/configMap/name",
        "population",
        "production",
    ),
    Defect(
        configuration.every_reference_exists,
        "Ingress larder-api",
        "spec/tls/0/secretName",
        "tls",
        "production",
    ),
    Defect(configuration.every_config_is_used, API, f"{POD}/serviceAccountName", "larder-cache"),
    Defect(
        configuration.settings_roll_the_pods,
        "ConfigMap larder-cache",
        EVERYWHERE,
        lambda text: re.sub(r"larder-cache-[2-9a-z]{10}\b", "larder-cache", text),
    ),
    Defect(
        secrets.no_password_is_written_down,
        LOADTEST,
        f"{IN_JOB}/containers/0/args/1",
        "--url=http://me:hush@larder-api",
        "production",
    ),
    Defect(
        secrets.no_password_is_written_down,
        "Secret larder-cache",
        "data/users.acl",
        secret("user operator on", "user operator on >hush"),
    ),
    Defect(
        secrets.no_password_is_written_down,
        "Secret larder-cache",
        "data/users.acl",
        secret("user operator on", "user operator on nopass"),
    ),
    Defect(
        secrets.the_cache_knows_the_passwords_of_its_urls,
        "Secret larder-cache",
        "data/api-url",
        secret("larder-demo-api", "larder-demo-batch"),
    ),
    Defect(
        configuration.urls_name_services,
        LOADTEST,
        f"{IN_JOB}/containers/0/args/1",
        "--url=http://larder-api:8000",
    ),
    Defect(
        configuration.urls_name_services,
        "Secret larder-cache",
        "data/batch-url",
        secret("larder-cache:6379", "larder-redis:6379"),
    ),
    Defect(
        the_cache.the_cache_refuses_rather_than_forgets,
        "ConfigMap larder-cache",
        "data/valkey.conf",
        text("noeviction", "allkeys-lru"),
    ),
    Defect(
        the_cache.the_cache_refuses_rather_than_forgets,
        CACHE,
        f"{FIRST}/resources",
        {"requests": {"cpu": "1", "memory": "512Mi"}, "limits": {"memory": "512Mi"}},
    ),
    # What pods may do and use
    Defect(pods.pods_are_restricted, API, f"{FIRST}/securityContext/readOnlyRootFilesystem", GONE),
    Defect(pods.pods_are_restricted, CACHE, f"{POD}/securityContext/runAsUser", 0),
    Defect(
        pods.pods_are_restricted, API, f"{FIRST}/securityContext/capabilities/drop", ["NET_RAW"]
    ),
    Defect(pods.pods_are_restricted, API, f"{POD}/enableServiceLinks", GONE),
    Defect(pods.pods_are_restricted, API, f"{POD}/hostNetwork", True),
    Defect(pods.pods_are_restricted, API, f"{FIRST}/ports/0/hostPort", 8000),
    Defect(
        pods.pods_are_restricted,
        API,
        f"{POD}/volumes/0",
        {"name": "tmp", "hostPath": {"path": "/"}},
    ),
    Defect(pods.pods_run_as_the_user_of_their_image, API, f"{POD}/securityContext/runAsUser", 1000),
    Defect(pods.only_who_needs_it_holds_a_token, API, f"{POD}/automountServiceAccountToken", GONE),
    Defect(pods.images_are_ours_or_known, API, f"{FIRST}/image", "larder-app:0.1.0"),
    Defect(pods.images_are_ours_or_known, API, f"{FIRST}/image", "larder-api:latest"),
    Defect(pods.images_are_ours_or_known, CACHE, f"{FIRST}/image", "valkey/valkey:8"),
    Defect(pods.requests_fit_into_limits, API, f"{FIRST}/resources/requests/memory", "1Gi"),
    Defect(pods.requests_fit_into_limits, API, f"{FIRST}/resources/requests/cpu", "200cpu"),
    Defect(pods.requests_fit_into_limits, CACHE, f"{FIRST}/resources/limits/cpu", "100u"),
    Defect(
        pods.requests_fit_into_limits,
        REFRESH,
        f"{IN_JOB}/containers/0/resources/limits/memory",
        GONE,
    ),
    Defect(api.workers_have_their_cores, "ConfigMap larder-api", "data/LARDER_WORKERS", "16"),
    Defect(volumes.mounts_have_their_volumes, API, f"{POD}/volumes/0/name", "temp"),
    Defect(
        volumes.our_programs_have_a_folder_to_write_to,
        API,
        f"{FIRST}/volumeMounts/0/mountPath",
        "/var/tmp",
    ),
    Defect(
        the_cache.the_cache_writes_to_its_claim, CACHE, f"{FIRST}/volumeMounts/0/mountPath", "/dat"
    ),
    Defect(
        configuration.files_named_are_mounted,
        "Job larder-cache-form",
        f"{FIRST}/command/1",
        "/etc/larder/shape.py",
        "demo-redis-cluster",
    ),
    Defect(
        configuration.files_named_are_mounted,
        "ConfigMap larder-cache",
        "data/cluster.conf",
        text("replication.conf", "replicas.conf"),
        "demo-redis-cluster",
    ),
    Defect(
        the_cache.the_cache_lets_its_probes_ask,
        "Secret larder-cache",
        "data/users.acl",
        secret("user health on", "user health off"),
    ),
    Defect(
        the_cache.the_cache_lets_its_probes_ask,
        CACHE,
        f"{FIRST}/livenessProbe/exec/command/3",
        "me",
    ),
    Defect(
        the_cache.whoever_names_the_nodes_names_each,
        CACHE,
        "spec/replicas",
        5,
        "demo-redis-cluster",
    ),
    Defect(
        secrets.no_more_of_a_secret_is_mounted_than_is_read,
        CACHE,
        f"{POD}/volumes/1/secret/items",
        GONE,
    ),
    Defect(
        the_cache.the_cache_asks_for_a_password,
        "Secret larder-cache",
        "data/users.acl",
        secret("user default off", f"user default on #{'0' * 64}"),
    ),
    Defect(
        the_cache.the_cache_may_read_its_own_log,
        "Secret larder-cache",
        "data/users.acl",
        secret("user default off ~* &* +@all", "user default off"),
    ),
    Defect(
        api.the_api_listens_where_it_is_asked,
        "ConfigMap larder-api",
        "data/LARDER_BIND",
        "127.0.0.1:8000",
    ),
    Defect(volumes.mounts_have_their_volumes, API, f"{POD}/volumes/0/emptyDir", GONE),
    Defect(volumes.folders_have_a_limit, API, f"{POD}/volumes/0/emptyDir/sizeLimit", "2Gi"),
    Defect(volumes.folders_have_a_limit, REFRESH, f"{IN_JOB}/volumes/0/emptyDir", {}),
    Defect(
        volumes.claims_say_how_much,
        CACHE,
        "spec/volumeClaimTemplates/0/spec/resources/requests/storage",
        "4",
    ),
    Defect(volumes.pods_can_write_to_their_claims, CACHE, f"{POD}/securityContext/fsGroup", GONE),
    Defect(api.the_api_listens_where_it_is_asked, API, f"{FIRST}/ports/0/containerPort", 80),
    Defect(api.the_api_has_time_to_end, API, f"{POD}/terminationGracePeriodSeconds", 11),
    Defect(
        api.the_api_has_time_to_end,
        "ConfigMap larder-api",
        "data/LARDER_CACHE_TIMEOUT_MS",
        "30000",
    ),
    Defect(api.the_api_has_time_to_end, API, f"{FIRST}/lifecycle", GONE),
    Defect(
        api.pods_of_the_api_are_spread,
        API,
        f"{POD}/topologySpreadConstraints/0/labelSelector/matchLabels",
        TYPO,
    ),
    # How many
    Defect(scaling.scalers_have_a_target_and_a_range, SCALER, "spec/minReplicas", 9),
    Defect(
        scaling.scalers_have_a_target_and_a_range, SCALER, "spec/scaleTargetRef/apiVersion", "v1"
    ),
    Defect(
        scaling.scalers_say_when,
        SCALER,
        "spec/metrics/0/resource/target/averageUtilization",
        600,
    ),
    Defect(scaling.scalers_leave_the_number_to_themselves, API, "spec/replicas", 2),
    Defect(
        scaling.budgets_leave_a_pod_to_evict,
        BUDGET,
        "spec",
        {"minAvailable": 2, "selector": {"matchLabels": {NAME: "larder", COMPONENT: "api"}}},
    ),
    Defect(scaling.budgets_leave_a_pod_to_evict, BUDGET, "spec/maxUnavailable", "100%"),
    Defect(
        scaling.updates_take_no_pod_away, API, "spec/strategy/rollingUpdate/maxUnavailable", "25%"
    ),
    # What runs and ends
    Defect(jobs.schedules_are_times, REFRESH, "spec/schedule", "0 3 * *"),
    Defect(jobs.schedules_are_times, REFRESH, "spec/schedule", "0 25 * * *"),
    Defect(jobs.schedules_are_times, REFRESH, "spec/timeZone", "Europe/Bonn"),
    Defect(jobs.schedules_never_overlap, REFRESH, "spec/concurrencyPolicy", "Allow"),
    Defect(jobs.schedules_never_overlap, REFRESH, "spec/startingDeadlineSeconds", GONE),
    Defect(jobs.jobs_come_to_an_end, REFRESH, f"{JOB}/activeDeadlineSeconds", GONE),
    Defect(
        jobs.refreshes_are_retried_as_their_exit_codes_say,
        REFRESH,
        f"{JOB}/podFailurePolicy/rules/1/onExitCodes/values",
        [1],
    ),
    Defect(
        jobs.refreshes_are_retried_as_their_exit_codes_say,
        "Job larder-first-refresh",
        "spec/podFailurePolicy/rules/1/onExitCodes/values",
        [2, 75],
    ),
    Defect(
        jobs.refreshes_are_retried_as_their_exit_codes_say,
        REFRESH,
        f"{JOB}/podFailurePolicy/rules/0",
        GONE,
    ),
    Defect(jobs.arguments_are_understood, REFRESH, f"{IN_JOB}/containers/0/args/0", "refrehs"),
    Defect(
        jobs.arguments_are_understood,
        "ConfigMap larder-refresh",
        "data/LARDER_MAX_DROP",
        "ten percent",
    ),
    Defect(
        jobs.arguments_are_understood, LOADTEST, f"{IN_JOB}/containers/0/args/2", "--duraton=30"
    ),
    Defect(
        jobs.refreshes_are_retried_as_their_exit_codes_say,
        REFRESH,
        f"{JOB}/podFailurePolicy/rules/1/onExitCodes/containerName",
        "larder",
    ),
    Defect(jobs.load_tests_run_when_they_are_asked_for, LOADTEST, "spec/suspend", False),
    Defect(jobs.arguments_are_understood, LOADTEST, f"{IN_JOB}/containers/0/args/1", GONE),
    Defect(
        jobs.files_lie_in_volumes, LOADTEST, f"{IN_JOB}/containers/0/args/4", "--report=/report"
    ),
    Defect(
        jobs.files_lie_in_volumes,
        "ConfigMap larder-refresh",
        "data/LARDER_INTERACTIONS",
        "/opt/larder/demo/rating.csv",
    ),
    Defect(
        jobs.files_lie_in_volumes, REFRESH, f"{IN_JOB}/containers/0/image", "larder-batch:0.1.0"
    ),
    # The refresh on Spark
    Defect(
        spark.roles_are_bound_to_accounts_that_exist,
        "RoleBinding larder-refresh",
        "roleRef/name",
        "larder-driver",
        "spark",
    ),
    Defect(
        spark.executors_are_as_spark_is_told,
        "ConfigMap larder-spark",
        "data/spark-defaults.conf",
        text("spark.task.cpus                           4", "spark.task.cpus 1"),
        "spark",
    ),
    Defect(
        spark.executors_are_as_spark_is_told,
        "ConfigMap larder-spark",
        "data/executor.yaml",
        text("memory: 8Gi", "memory: 4Gi"),
        "spark",
    ),
    Defect(
        spark.executors_are_as_spark_is_told,
        "ConfigMap larder-spark",
        "data/executor.yaml",
        text("      resources:", "      ports: [{containerPort: 7079}]\n      resources:"),
        "spark",
    ),
    Defect(
        spark.the_driver_opens_the_ports_that_it_is_told,
        REFRESH,
        f"{IN_JOB}/containers/0/ports/0/containerPort",
        7077,
        "spark",
    ),
    Defect(
        pods.pods_are_restricted,
        "ConfigMap larder-spark",
        "data/executor.yaml",
        text("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false"),
        "spark",
    ),
    Defect(
        schema.objects_are_as_kubernetes_knows_them,
        "ConfigMap larder-spark",
        "data/executor.yaml",
        text("enableServiceLinks: false", "enableServiceLinks: false\n  restart: never"),
        "spark",
    ),
    Defect(
        pods.only_who_needs_it_holds_a_token,
        "ConfigMap larder-spark",
        "data/executor.yaml",
        text("automountServiceAccountToken: false", "automountServiceAccountToken: true"),
        "spark",
    ),
    Defect(
        configuration.files_named_are_mounted,
        "ConfigMap larder-spark",
        "data/spark-defaults.conf",
        text("executor.yaml", "pod.yaml"),
        "spark",
    ),
    Defect(pods.roles_name_what_they_allow, "Role larder-refresh", "rules/0/verbs", ["*"], "spark"),
    Defect(
        jobs.arguments_are_understood,
        REFRESH,
        f"{IN_JOB}/containers/0/args/1",
        "--config=spark.driver.host=$(POD_IP)",
        "spark",
    ),
    Defect(
        network.only_the_promised_ways_are_open,
        "NetworkPolicy larder-executor",
        "spec/ingress/0/ports",
        GONE,
        "spark",
    ),
    # Who may talk to whom
    Defect(network.only_the_promised_ways_are_open, POLICY, "spec/ingress", OPEN),
    Defect(network.only_the_promised_ways_are_open, POLICY, "spec/ingress/0/ports", GONE),
    Defect(
        network.only_the_promised_ways_are_open,
        POLICY,
        "spec/egress/1/to/0/namespaceSelector",
        {},
    ),
    Defect(
        network.only_the_promised_ways_are_open,
        "NetworkPolicy larder-cache",
        "spec/ingress/0/from/0",
        lambda peer: {"namespaceSelector": {}, **peer},
    ),
    Defect(
        network.only_the_promised_ways_are_open, POLICY, "spec/egress/0/ports", GONE, "production"
    ),
    Defect(network.only_the_promised_ways_are_open, POLICY, "spec/policyTypes", ["Ingress"]),
    Defect(
        network.only_the_promised_ways_are_open,
        "NetworkPolicy larder-refresh",
        "spec/egress/0/ports/0/port",
        6380,
    ),
    Defect(
        network.only_the_promised_ways_are_open,
        POLICY,
        "spec/egress/0/to/0/ipBlock/cidr",
        "0.0.0.0/0",
        "production",
    ),
    Defect(
        network.nothing_is_open_by_default,
        "NetworkPolicy larder-default-deny",
        "spec/policyTypes",
        ["Ingress"],
    ),
    Defect(
        network.policies_name_pods_that_exist,
        POLICY,
        "spec/ingress/0/from",
        lambda peers: [*peers, {"podSelector": {"matchLabels": TYPO}}],
    ),
]


@cache
def sentences(rule: Rule, overlay: str) -> frozenset[str]:
    return frozenset(rule(load(overlay)))


@needs_kustomize
@pytest.mark.parametrize("defect", DEFECTS, ids=str)
def test_only_the_rule_that_is_meant_catches_it(defect: Defect) -> None:
    broken = defect.seed()
    assert broken != load(defect.overlay)
    more = {rule: set(rule(broken)) - sentences(rule, defect.overlay) for rule in RULES}
    assert {rule.__name__ for rule in RULES if more[rule]} == {defect.rule.__name__}, more


def test_every_rule_has_a_defect_that_it_catches() -> None:
    seeded = {defect.rule.__name__ for defect in DEFECTS}
    assert {rule.__name__ for rule in RULES} == seeded
