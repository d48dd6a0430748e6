"""A cache of ours with passwords and data of one's own: jobs, rollback, backup, a new password."""

from collections.abc import Callable

from tests.cluster.kubectl import Cluster
from tests.cluster.looks import (
    REFRESH,
    ended_by_policy,
    exit_codes,
    expect,
    last_job,
    personal_list,
)


def own_passwords_hold(cluster: Cluster) -> str:
    cluster.block("Apply", 4)
    cluster.shell("kubectl apply -k k8s/overlays/own")
    cluster("rollout", "status", "statefulset/larder-cache")
    return "the cache runs"


def own_data_is_served(cluster: Cluster) -> str:
    cluster.block("Your own data", 1)
    cluster("rollout", "status", "deployment/larder-api")
    return personal_list(cluster, "4711")


def any_command_runs_as_a_job(cluster: Cluster) -> str:
    said = cluster.block("Your own data", 2)
    expect("'4711' in generation" in said and "personal" in said, said)
    return "`generations`, `show 4711`"


def keys_are_made(cluster: Cluster) -> str:
    said = cluster.block("Keys", 1)
    key = (cluster.folder / "shop.key").read_text().strip()
    expect(key.startswith("larder_") and key not in said, said)
    expect("shop" in said and "loadtest" in said, f"not both are listed: {said}")
    expect(cluster.value("secret/larder-loadtest", ".data.key"), "the load test has none")
    return "one in a file, one in the Secret of the load test"


def the_lists_of_before_come_back(cluster: Cluster) -> str:
    first = _generation(cluster)
    cluster.inline(REFRESH)
    cluster.wait(lambda: _generation(cluster) != first, "another generation is served")
    cluster.block("Upgrade, roll back", 3)
    cluster.wait(lambda: _generation(cluster) == first, "the generation of before is served")
    cluster.inline(
        'kubectl -n larder patch cronjob larder-refresh -p \'{"spec": {"suspend": false}}\''
    )
    return "the first of two generations is served again"


def _generation(cluster: Cluster) -> str:
    return str(cluster.asked("/generation")["generation"])


def bad_settings_end_a_job_at_once(cluster: Cluster) -> str:
    said = cluster.shell("larder_job refresh --user-column=nobody || echo exit code $?")
    expect("exit code 1" in said and "nobody" in said, said)
    return ended_by_policy(cluster, last_job(cluster))


def a_cache_that_is_away_is_waited_for(cluster: Cluster) -> str:
    cluster("scale", "statefulset/larder-cache", "--replicas=0")
    cluster("wait", "--for=delete", "pod/larder-cache-0", "--timeout=2m")
    cluster.inline(REFRESH)
    job = last_job(cluster)
    cluster.wait(lambda: 75 in exit_codes(cluster, job), "its pod ends with 75", 400)
    cluster("scale", "statefulset/larder-cache", "--replicas=1")
    cluster("wait", "--for=condition=complete", f"job/{job}", "--timeout=8m", seconds=600)
    codes = exit_codes(cluster, job)
    return f"exit codes {', '.join(map(str, codes))}"


def a_backup_is_restored(cluster: Cluster) -> str:
    before = _generation(cluster)
    cluster.block("Back up and restore the cache", 1, _password(cluster))
    size = (cluster.folder / "dump.rdb").stat().st_size
    cluster.block("Back up and restore the cache", 2)
    expect(_generation(cluster) == before, "another generation is served")
    said = cluster.shell("larder_job show 4711")
    expect("personal" in said, said)
    return f"{size / 1e6:.1f} MB; the same generation is served"


def _password(cluster: Cluster) -> str:
    """That of the operator, as the README says where it is."""
    url = cluster.inline(
        "kubectl -n larder get secret larder-cache -o jsonpath='{.data.operator-url}' | base64 -d"
    )
    return url.split("operator:")[1].split("@")[0]


def a_password_is_changed(cluster: Cluster) -> str:
    before = cluster.value("secret/larder-cache", ".data.api-url")
    cluster.block("Change a password", 1, _password(cluster))
    expect(cluster.value("secret/larder-cache", ".data.api-url") != before, "as before")
    cluster.wait(lambda: not cluster.asked("/health/ready")["degraded"], "the API reads the cache")
    return personal_list(cluster, "4711")


STEPS: list[Callable[[Cluster], str]] = [
    own_passwords_hold,
    own_data_is_served,
    any_command_runs_as_a_job,
    keys_are_made,
    the_lists_of_before_come_back,
    bad_settings_end_a_job_at_once,
    a_cache_that_is_away_is_waited_for,
    a_backup_is_restored,
    a_password_is_changed,
]
