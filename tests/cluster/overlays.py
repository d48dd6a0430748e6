"""What a team fills in, done on a copy of k8s/: names, sizes for two cores, where the films are."""

import gzip
import shutil
import subprocess
from pathlib import Path

from batch.datasets.movielens import SMALL
from tests.k8s.manifests import K8S

CACHE = "redis://{}:larder-demo-{}@larder-cache.outside:6379/0"
FILMS = "/films/ratings.csv.gz"
MOUNT = "            - name: spark\n              mountPath: /etc/larder-spark\n"
WITHOUT_KEYS = """\
configMapGenerator:
  - name: larder-api
    behavior: merge
    literals:
      - LARDER_AUTH=proxy
"""
"""What the tests ask comes through the API server, which passes no header on."""
FILLED = {
    "base/api/patch-deployment.yaml": {'requests:\n      cpu: "1"': "requests:\n      cpu: 100m"},
    "overlays/production/kustomization.yaml": {
        "registry.example.com/": "",
        "  - ingress.yaml\n": f"  - ingress.yaml\n{WITHOUT_KEYS}",
        "components:\n  - ../../components/events\n": "",
    },
    "overlays/spark/kustomization.yaml": {
        "registry.example.com/": "",
        '"LARDER_INTERACTIONS=s3a://shop/orders/\\n/events/files"': f"LARDER_INTERACTIONS={FILMS}\n"
        "      - LARDER_PRESET=ml-latest",
        "  - path: patch-persistentvolumeclaim.yaml\n": "",
        "LARDER_ENGINE=spark": "LARDER_ENGINE=spark\n      - LARDER_ITERATIONS=3",
        "s3a://shop/rejects/": "/tmp/rejects",
    },
    "overlays/spark/patch-cronjob.yaml": {
        "memory: 6Gi": "memory: 3Gi",
        'cpu: "1"': "cpu: 500m",
        "                - name: spark\n": "                - name: films\n"
        "                  mountPath: /films\n                - name: spark\n",
        "            - name: spark\n              configMap": "            - name: films\n"
        "              configMap:\n                name: larder-films\n"
        "            - name: spark\n              configMap",
    },
    "overlays/spark/executor.yaml": {
        'cpu: "4"': 'cpu: "1"',
        "memory: 8Gi": "memory: 2Gi",
        "      volumeMounts:\n": "      volumeMounts:\n        - name: films\n"
        "          mountPath: /films\n",
        "        - name: events\n          mountPath: /events\n          readOnly: true\n": "",
        "    - name: events\n      persistentVolumeClaim:\n        claimName: larder-events\n": "",
        "  volumes:\n": "  volumes:\n    - name: films\n      configMap:\n"
        "        name: larder-films\n",
    },
    "overlays/spark/spark-defaults.conf": {
        "# The ports": """\
# The last of two values holds.
spark.executor.cores           1
spark.task.cpus                1
spark.executor.memory          1g
spark.executor.memoryOverhead  1g
spark.driver.memory            1g

# The ports""",
    },
}
OWN = f"""\
namespace: larder
resources:
  - ../../base
{WITHOUT_KEYS}      - LARDER_USER_SAMPLE=true
  - name: larder-refresh
    behavior: merge
    literals:
      - LARDER_PRESET=ml-latest
"""
OUTSIDE = """\
namespace: outside
resources:
  - ../../base/cache
secretGenerator:
  - name: larder-cache
    files:
      - users.acl
    options:
      disableNameSuffixHash: true
"""


def fill(folder: Path) -> None:
    """Copy k8s/ into the folder and fill it in, with the files that the README's commands read."""
    shutil.copytree(K8S, folder / "k8s")
    for path, changes in FILLED.items():
        _change(folder / "k8s" / path, changes)
    overlays = folder / "k8s/overlays"
    for name, text in (("own", OWN), ("outside", OUTSIDE)):
        (overlays / name).mkdir()
        (overlays / name / "kustomization.yaml").write_text(text)
    shutil.copy(overlays / "demo/users.acl", overlays / "outside")
    _films(folder)
    _certificate(folder)


def _change(path: Path, changes: dict[str, str]) -> None:
    text = path.read_text()
    for old, new in changes.items():
        if old not in text:
            raise ValueError(f"{path}: there is no {old!r} any more to fill in")
        text = text.replace(old, new)
    path.write_text(text)


def _films(folder: Path) -> None:
    """User 1 has the name of the README's example."""
    header, *rows = (SMALL / "ratings.csv").read_text().splitlines()
    named = [f"4711{row[1:]}" if row.startswith("1,") else row for row in rows]
    text = "\n".join([header, *named]) + "\n"
    (folder / "interactions.csv").write_text(text)
    (folder / "ratings.csv.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "users.txt").write_text("".join(f"{number}\n" for number in range(2, 600)))


def _certificate(folder: Path) -> None:
    subject = ("-subj", "/CN=recommendations.example.com", "-nodes", "-days", "2")
    files = ("-keyout", "tls.key", "-out", "tls.crt")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", *subject, *files]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    shutil.copy(folder / "tls.crt", folder / "ca.crt")
