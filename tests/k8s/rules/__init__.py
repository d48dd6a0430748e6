"""What the rendered objects must keep to: each rule yields a sentence for each thing that is wrong.

Kubernetes takes an object that its schema allows, and most mistakes are of another kind: a selector
that selects nothing, a setting that nobody reads, a probe of a path that nothing answers.
"""

from collections.abc import Callable, Iterator
from inspect import getmembers, isgeneratorfunction

from tests.k8s.manifests import Overlay
from tests.k8s.rules import (
    api,
    cache,
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

Rule = Callable[[Overlay], Iterator[str]]

RULES: tuple[Rule, ...] = tuple(
    rule
    for module in (
        api,
        cache,
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
    for name, rule in getmembers(module, isgeneratorfunction)
    if rule.__module__ == module.__name__ and not name.startswith("_")
)
"""Every public function of these modules that takes an overlay and yields sentences."""
