"""Public data: MovieLens ml-latest-small lies here, with its terms; larger sets are fetched."""
