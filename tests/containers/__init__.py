"""The images as they are run: ``make test-containers``, as root, on Debian's podman."""
