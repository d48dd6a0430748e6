"""The shell around the products: it knows HTTP, its servers and Prometheus, and no list."""
