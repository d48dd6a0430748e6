"""``python -m batch.command.stack.films``: tell where the films of the demo lie."""

from batch.datasets.movielens import SMALL

if __name__ == "__main__":
    print(SMALL)
