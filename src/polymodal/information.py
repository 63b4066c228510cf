"""Information: what two modalities say of the label together, twice, alone, and only in company.

Read from the top: the four parts of a joint table; the convex programme behind them; tables from rows, with
chance taken off and errors; tables from a model's own predictions.

What X1 and X2 say of Y divides into redundancy (either says it), two unique parts (one alone says it) and
synergy (both are needed), all in bits:

    I(Y; X1)     = redundancy + unique_first
    I(Y; X2)     = redundancy + unique_second
    I(Y; X1, X2) = redundancy + unique_first + unique_second + synergy

Three equations, four unknowns: Bertschinger et al. (Entropy, 2014) take for the sum without synergy the least
information that any distribution gives which agrees on p(x1, y) and on p(x2, y). That is a convex programme,
used for modalities by Liang et al. (NeurIPS 2023, their CVX estimator, with k-means for the states).

Letters: n rows, A and B states of two modalities, C classes.
"""

from __future__ import annotations

import warnings
from dataclasses import astuple, dataclass, fields
from typing import Self

import numpy as np
from scipy.special import entr, rel_entr
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

MAX_STATES = 10
"""Groups that the features of a modality are divided into, at most."""
ROWS_IN_A_GROUP = 15
"""In mean, at least."""
MAX_ROWS = 20_000
"""Rows that tables are made of; more would move a part by less than .01 bits."""
MIN_ROWS = 30
"""With fewer rows there is no estimate."""
N_PERMUTATIONS = 5
"""Of the labels, to learn what chance alone would show; a mean over all cells, it hardly varies."""
N_RESAMPLES = 20
"""Of the rows, for standard errors."""
SPECK = 1e-6
"""Share of the rows below which a state and a class count as never met: it would cost digits."""
TOLERANCE = 1e-6
"""Nats between the information found and the least possible; and mass off the marginals."""
MAX_ITERATIONS = 100


@dataclass(frozen=True)
class Parts:
    """Information about the label in bits, divided.

    Attributes:
        redundancy: what either modality says.
        unique_first: what the first alone says.
        unique_second: what the second alone says.
        synergy: what only both together say.
    """

    redundancy: float
    unique_first: float
    unique_second: float
    synergy: float

    @property
    def total(self) -> float:
        """What both say together."""
        return self.redundancy + self.unique_first + self.unique_second + self.synergy

    @classmethod
    def of(cls, first: float, second: float, least: float, both: float) -> Self:
        """From I(Y; X1), I(Y; X2), the least information with these marginals, and I(Y; X1, X2)."""
        return cls(first + second - least, least - second, least - first, both - least)


@dataclass(frozen=True)
class Estimate:
    """Parts that were estimated from rows.

    Attributes:
        parts: the estimate; NaN where there are too few rows. A little below 0 is noise about 0.
        errors: standard errors over resampled rows.
        entropy: bits of the label: what could be said at most.
        n_rows: rows behind it.
    """

    parts: Parts
    errors: Parts
    entropy: float
    n_rows: int


NOTHING = Parts(np.nan, np.nan, np.nan, np.nan)


# ---- parts of a joint table ----------------------------------------------------------------------


def decompose(joint: np.ndarray) -> Parts:
    """The four parts of a known distribution.

    Args:
        joint: (A, B, C) probabilities or counts of x1, x2 and y.
    """
    return Parts.of(*_informations(joint / joint.sum()))


def _informations(joint: np.ndarray) -> np.ndarray:
    """I(Y; X1), I(Y; X2), the least information with these marginals, I(Y; X1, X2), in bits: (4,)."""
    return np.array([*_marginal_informations(joint.sum(axis=1), joint.sum(axis=0)), _of_pairs(joint)])


def _marginal_informations(first: np.ndarray, second: np.ndarray) -> tuple[float, float, float]:
    """The first three, from p(x1, y) and p(x2, y)."""
    q = least_informative(first, second)
    return mutual_information(q.sum(axis=1)), mutual_information(q.sum(axis=0)), _of_pairs(q)


def _of_pairs(joint: np.ndarray) -> float:
    return mutual_information(joint.reshape(-1, joint.shape[2]))


def mutual_information(table: np.ndarray) -> float:
    """Bits that the rows of a joint distribution (A, C) say of its columns."""
    independent = table.sum(axis=1, keepdims=True) * table.sum(axis=0)
    return float(rel_entr(table, independent).sum() / np.log(2))


def entropy(shares: np.ndarray) -> float:
    """Bits of a distribution (C,)."""
    return float(entr(shares).sum() / np.log(2))


# ---- the convex programme ------------------------------------------------------------------------


def least_informative(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The distribution that says least of y among those with given p(x1, y) and p(x2, y).

    min_q sum q log q(y | x1, x2), a convex function, by a primal-dual interior-point method. It begins with
    independence given y, which is inside, and each Newton step keeps both marginals. Cells (x1, x2) meet in
    the marginals only, so a step costs a linear system of (A + B) C unknowns. It ends, after 10 to 40 steps,
    when the dual bound is within ``TOLERANCE``.

    Args:
        first: (A, C) p(x1, y).
        second: (B, C) p(x2, y); both have the same p(y). Cells below ``SPECK`` are left out.

    Returns:
        (A, B, C) probabilities.
    """
    programme = _Programme(*_without_specks(first, second))
    for _ in range(MAX_ITERATIONS):
        if programme.gap() < TOLERANCE and programme.drift() < TOLERANCE:
            break
        programme.step()
    assert abs(programme.gap()) < 1e-3, "the interior-point method lost its way"
    return programme.q


def _without_specks(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both marginals without their smallest cells, with equal class shares that sum to 1."""
    kept = [np.where(table < SPECK, 0.0, table) for table in (first, second)]
    sums = [table.sum(axis=0) for table in kept]
    shares = np.where((sums[0] > 0) & (sums[1] > 0), first.sum(axis=0), 0.0)
    shares = shares / shares.sum()
    a, b = (
        table * np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
        for table, total in zip(kept, sums, strict=True)
    )
    return a, b


class _Programme:
    """Where the interior-point method stands.

    Attributes:
        first: (A, C) marginal that q keeps, like second (B, C).
        q: (A, B, C) the primal variable; 0 for ever in cells that a marginal forbids.
        z: (A, B, C) > 0, multipliers of q >= 0.
        u: (A, C) multipliers of the first marginal, v: (B, C) of the second.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray) -> None:
        self.first, self.second = first, second
        self.free = (self.first[:, None] > 0) & (self.second[None] > 0)
        classes = np.maximum(first.sum(axis=0), np.finfo(np.float64).tiny)
        self.q = self.first[:, None] * self.second[None] / classes
        self.z = np.where(self.free, 1.0, 0.0)
        self.u, self.v = np.zeros_like(self.first), np.zeros_like(self.second)
        # both marginals know p(y), so one equation a class says nothing new
        spare = np.zeros_like(self.second, dtype=bool)
        spare[(self.second > 0).argmax(axis=0), np.arange(len(classes))] = True
        kept = [self.first > 0, (self.second > 0) & ~spare]
        self.kept = np.flatnonzero(np.concatenate([part.ravel() for part in kept]))

    def gradient(self) -> np.ndarray:
        """Log q(y | x1, x2), 0 where q is not free."""
        cells = self.q.sum(axis=2, keepdims=True)
        ratio = np.divide(self.q, cells, out=np.ones_like(self.q), where=self.free)
        return np.log(ratio, out=np.zeros_like(ratio), where=self.free)

    def prices(self) -> np.ndarray:
        """(A, B, C): u + v of each cell."""
        return np.where(self.free, self.u[:, None] + self.v[None], 0.0)

    def gap(self) -> float:
        """The value of q less a lower bound of the least value, in nats.

        The multipliers are a bound once exp(u + v) sums to at most 1 over y in each cell (x1, x2).
        """
        odds = np.exp(self.u[:, None] + self.v[None], where=self.free, out=np.zeros_like(self.q))
        shift = float(np.log(odds.sum(axis=2).max()))
        bound = float((self.first * self.u).sum() + (self.second * self.v).sum()) - shift
        return float((self.q * self.gradient()).sum()) - bound

    def drift(self) -> float:
        """How far rounding has moved q off its marginals."""
        first, second = self.q.sum(axis=1) - self.first, self.q.sum(axis=0) - self.second
        return float(max(np.abs(first).max(), np.abs(second).max()))

    def step(self) -> None:
        """One Newton step towards the central path, short of the boundary."""
        inside = np.where(self.free, self.q, 1.0)
        aim = max(0.1 * float((self.q * self.z).sum()), 0.3 * TOLERANCE) / int(self.free.sum())
        d = np.where(self.free, self.q / (1.0 + self.z), 0.0)
        rest = np.where(self.free, self.q * self.z / (1.0 + self.z), 0.0).sum(axis=2, keepdims=True)
        rest = np.where(rest > 0, rest, 1.0)
        target = np.where(self.free, self.prices() - self.gradient() + aim / inside, 0.0)

        def solved(x: np.ndarray) -> np.ndarray:  # by Sherman and Morrison, cell by cell
            return d * (x + (d * x).sum(axis=2, keepdims=True) / rest)

        du, dv = self._multipliers(d, rest, solved(target))
        dq = solved(np.where(self.free, target + du[:, None] + dv[None], 0.0))
        dz = np.where(self.free, (aim - self.z * dq) / inside - self.z, 0.0)
        length = min(_to_boundary(self.q, dq), _to_boundary(self.z, dz))
        self.q, self.z = self.q + length * dq, self.z + length * dz
        self.u, self.v = self.u + length * du, self.v + length * dv

    def _multipliers(
        self, d: np.ndarray, rest: np.ndarray, towards: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Changes of u and v with which the step changes no marginal."""
        n_first, n_second, n_classes = d.shape
        cells = d[:, :, :, None] * d[:, :, None, :] / rest[..., None]
        cells[..., np.arange(n_classes), np.arange(n_classes)] += d
        system = np.zeros((n_first + n_second, n_classes, n_first + n_second, n_classes))
        rows, columns = np.arange(n_first), n_first + np.arange(n_second)
        system[rows, :, rows] = cells.sum(axis=1)
        system[columns, :, columns] = cells.sum(axis=0)
        system[:n_first, :, n_first:] = cells.transpose(0, 2, 1, 3)
        system[n_first:, :, :n_first] = cells.transpose(1, 3, 0, 2)
        size = (n_first + n_second) * n_classes
        matrix = system.reshape(size, size)[np.ix_(self.kept, self.kept)]
        scale = 1.0 / np.sqrt(np.diagonal(matrix))  # marginals differ by orders of magnitude
        matrix = matrix * scale * scale[:, None]
        matrix[np.diag_indices_from(matrix)] += 1e-13  # cells on the boundary leave it nearly singular
        first = towards.sum(axis=1) + self.q.sum(axis=1) - self.first  # with what rounding has moved so far
        second = towards.sum(axis=0) + self.q.sum(axis=0) - self.second
        moved = np.concatenate([first.ravel(), second.ravel()])
        change = np.zeros(size)
        change[self.kept] = -scale * np.linalg.solve(matrix, scale * moved[self.kept])
        change = change.reshape(n_first + n_second, n_classes)
        return change[:n_first], change[n_first:]


def _to_boundary(x: np.ndarray, dx: np.ndarray) -> float:
    """The step length, at most 1, that keeps x >= 0 with a little room."""
    falling = dx < 0
    return min(1.0, 0.99 * float((-x[falling] / dx[falling]).min(initial=np.inf)))


# ---- from rows -----------------------------------------------------------------------------------


def from_states(first: np.ndarray, second: np.ndarray, y: np.ndarray, *, seed: int = 0) -> Estimate:
    """The four parts from rows of two discrete modalities.

    A table of few rows shows information where there is none, most of all synergy, whose table has most
    cells. So each information I is taken less its mean over tables with permuted labels, I0, and stretched so
    that a label that is known for sure keeps all H bits: H (I - I0) / (H - I0), as in the adjusted mutual
    information of Vinh et al. (JMLR, 2010). NOTE[DIFF]: Liang et al. take the table as it is.

    Args:
        first: (n,) states from 0.
        second: (n,) states from 0.
        y: (n,) classes from 0.
        seed: of permutations and resampled rows.
    """
    n, shape = len(y), tuple(int(x.max(initial=0)) + 1 for x in (first, second, y))
    said = entropy(np.bincount(y, minlength=1) / max(n, 1))
    if n < MIN_ROWS or said == 0.0:
        return Estimate(NOTHING, NOTHING, said, n)
    cells = np.ravel_multi_index((first, second, np.zeros_like(y)), shape)

    def informations(cells: np.ndarray, y: np.ndarray) -> np.ndarray:
        return _informations(np.bincount(cells + y, minlength=np.prod(shape)).reshape(shape) / n)

    random = np.random.default_rng(seed)
    chance = np.mean([informations(cells, random.permutation(y)) for _ in range(N_PERMUTATIONS)], axis=0)
    if chance.max() >= said:
        return Estimate(NOTHING, NOTHING, said, n)

    def parts(rows: np.ndarray | slice) -> Parts:
        return Parts.of(*(said * (informations(cells[rows], y[rows]) - chance) / (said - chance)))

    resampled = [parts(random.integers(n, size=n)) for _ in range(N_RESAMPLES)]
    return Estimate(parts(slice(None)), _spread(resampled), said, n)


def from_features(first: np.ndarray, second: np.ndarray, y: np.ndarray, *, seed: int = 0) -> Estimate:
    """The four parts from rows of two modalities' features, each divided into groups by k-means.

    What the groups do not tell apart is lost: the parts are those of the groups, and sum to less than the
    features could say.

    Args:
        first: (n, d) features.
        second: (n, d') features.
        y: (n,) classes from 0.
        seed: of groups, permutations and resampled rows.
    """
    n_states = states_for(len(y))
    return from_states(groups(first, n_states, seed), groups(second, n_states, seed), y, seed=seed)


def states_for(n: int) -> int:
    """How many groups n rows are divided into.

    Few rows in a cell of the table cost little once chance is taken off; fewer groups than classes cost more:
    what both modalities say then looks unique to each, because either's groups blur other classes.
    """
    return int(np.clip(n // ROWS_IN_A_GROUP, 2, MAX_STATES))


def groups(features: np.ndarray, n_states: int, seed: int = 0) -> np.ndarray:
    """(n,) the k-means group of each row (n, d)."""
    if len(features) < n_states:
        return np.zeros(len(features), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than groups: all the better
        means = KMeans(n_states, n_init=1, random_state=seed).fit(features[:: -(-len(features) // MAX_ROWS)])
    return means.predict(features).astype(np.int64)


def _spread(resampled: list[Parts]) -> Parts:
    return Parts(*np.std([astuple(parts) for parts in resampled], axis=0, ddof=1).tolist())


# ---- from predictions ----------------------------------------------------------------------------


def from_predictions(first: np.ndarray, second: np.ndarray, both: np.ndarray, *, seed: int = 0) -> Estimate:
    """The four parts of what a model believes, from its probabilities alone.

    Each prediction is divided into ``MAX_STATES`` groups by k-means, whose mean probabilities make the
    tables; all three alike, so that what groups do not tell apart is lost to all. A model need not be of one
    mind: a negative synergy says that its prediction from both is less sure than its predictions from each
    force it to be.

    Args:
        first: (n, C) probabilities from the first modality.
        second: (n, C) from the second.
        both: (n, C) from both.
        seed: of groups and resampled rows.
    """
    n, said = len(both), entropy(both.mean(axis=0)) if len(both) else 0.0
    if n < MIN_ROWS:
        return Estimate(NOTHING, NOTHING, said, n)
    shares = both.mean(axis=0, dtype=np.float64)
    believed = [_with_shares(prediction, shares) for prediction in (first, second, both)]
    states = [groups(prediction, MAX_STATES, seed) for prediction in believed]

    def parts(rows: np.ndarray) -> Parts:
        tables = [_sums(p[rows], group[rows]) / n for p, group in zip(believed, states, strict=True)]
        return Parts.of(*_marginal_informations(*tables[:2]), mutual_information(tables[2]))

    random = np.random.default_rng(seed)
    resampled = [parts(random.integers(n, size=n)) for _ in range(N_RESAMPLES)]
    return Estimate(parts(np.arange(n)), _spread(resampled), said, n)


def _with_shares(prediction: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(n, C) probabilities whose mean is the class shares: odds times one factor a class."""
    scaled = prediction.astype(np.float64)
    for _ in range(20):
        mean = scaled.mean(axis=0)
        scaled = scaled * np.divide(shares, mean, out=np.ones_like(shares), where=mean > 0)
        scaled /= scaled.sum(axis=1, keepdims=True)
    return scaled


def _sums(prediction: np.ndarray, group: np.ndarray) -> np.ndarray:
    """(A, C): the probabilities of each group's rows together."""
    table = np.zeros((int(group.max()) + 1, prediction.shape[1]))
    np.add.at(table, group, prediction)
    return table


PARTS = tuple(field.name for field in fields(Parts))
