"""Neighbours of items over Spark: who has both of two items is counted a slice of items at a time.

Each block of users sends to each slice the rows of those who have any of its items. The task of a
slice adds up what they have beside, block after block, and keeps the best of each item. So a task
holds ``CELLS`` sums and a block's pairs, whatever one user has; the work of a user grows with the
square of what they have.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark import RDD
from scipy.sparse import csr_matrix, vstack
from sparse_dot_topn import sp_matmul

from batch.progress import Advance
from batch.recommendations.cluster.blocks import Learned, View, cpus
from batch.recommendations.engines.engine import no_factors
from batch.recommendations.engines.knn import ItemKNN, NeighbourScorer, Sums, ones

CELLS = 2**24
"""How many sums a task may hold, a slice's items times all items: of 8 bytes, and of 12 more while
those of a block are added."""


@dataclass(frozen=True, slots=True)
class SlicedKNN:
    """The model of ``ItemKNN``, fitted by a cluster.

    The same pairs give the same similarities to rounding, whatever the blocks. Of items that tie
    for the last place among the neighbours of another, those of lowest index get in.
    """

    model: ItemKNN = ItemKNN()
    cells: int = CELLS

    name = "spark-knn"
    iterations = ItemKNN.iterations
    factors = 0
    rates = False

    @property
    def settings(self) -> dict[str, Any]:
        return dict(self.model.settings)

    def fit(self, view: View, advance: Advance, stack: ExitStack) -> Learned:
        similarities = self._similarities(view.users.rows, view.items.size)
        advance(1)
        nobody = view.users.rows.map(lambda rows: no_factors(rows.shape[0]))
        return Learned(nobody, NeighbourScorer.of(similarities))

    def _similarities(self, rows: "RDD[csr_matrix]", items: int) -> csr_matrix:
        """Those of each item with its neighbours, (items, items); slice s has each n-th from s."""
        slices = min(items, max(rows.getNumPartitions(), math.ceil(items**2 / self.cells)))
        model = self.model
        tally = rows.map(lambda block: model.tally(model.by_user(block))).treeReduce(np.add)
        lengths = model.lengths(tally)

        def cut(block: csr_matrix) -> Iterator[tuple[int, csr_matrix]]:
            seen = ones(block)  # which takes next to nothing on its way
            columns = seen.tocsc()
            for number in range(slices):
                having = np.unique(columns[:, number::slices].indices)
                if len(having):
                    yield number, seen[having]

        def nearest(number: int, found: Iterable[tuple[int, csr_matrix]]) -> Iterator[csr_matrix]:
            mine = np.arange(number, items, slices)
            sums = np.zeros((len(mine), items))
            for _, block in found:
                _add(sums, model.by_user(block), mine)
            sums[np.arange(len(mine)), mine] = 0
            yield _strongest(sums, lengths[mine], lengths, model.neighbours)

        sliced = rows.flatMap(cut).partitionBy(slices).mapPartitionsWithIndex(nearest)
        order = np.concatenate([np.arange(each, items, slices) for each in range(slices)])
        return vstack(sliced.collect()).tocsr()[np.argsort(order)]


def _add(sums: Sums, counted: csr_matrix, mine: NDArray[np.int64]) -> None:
    """Add what a block's users have beside each of some items."""
    products = sp_matmul(counted[:, mine].T.tocsr(), counted, n_threads=cpus())
    for row, (first, last) in enumerate(zip(products.indptr[:-1], products.indptr[1:])):
        sums[row, products.indices[first:last]] += products.data[first:last]


def _strongest(sums: Sums, mine: Sums, lengths: Sums, most: int) -> csr_matrix:
    """The highest cosines of each row; of equal ones those of lowest column."""
    columns, cosines = [], []
    for row, length in zip(sums, mine, strict=True):
        others = np.flatnonzero(row)
        values = (row[others] / (length * lengths[others])).astype(np.float32)
        best = np.argsort(-values, kind="stable")[:most]
        columns.append(others[best])
        cosines.append(values[best])
    bounds = np.cumsum([0, *map(len, columns)])
    return csr_matrix((np.concatenate(cosines), np.concatenate(columns), bounds), sums.shape)
