"""The retired cloud service's API: an application of its own, with its paths, texts and errors."""
