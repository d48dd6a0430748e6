"""A real cluster, and k8s/README.md run on it as it stands."""
