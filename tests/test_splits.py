"""Few labels, train and test, validation: nested, stratified, apart by group, never greedy."""

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymodal.data.splits import LabelSplit, few_labels, group_codes, train_test, validation_rows
from polymodal.errors import CheckpointError, ConfigError, DataError, LabelError

RNG = np.random.default_rng(0)
N = 1_000
CLASSES = RNG.choice([0, 1, 2, 7], size=N, p=[0.6, 0.3, 0.08, 0.02])
VALUES = RNG.normal(size=N)
MULTILABEL = (RNG.random((N, 5)) < [0.5, 0.2, 0.1, 0.01, 0.0]).astype(float)
USERS = RNG.integers(0, 20, size=N)
TARGETS = {"multiclass": CLASSES, "regression": VALUES, "multilabel": MULTILABEL}
SHARES = [0.001, 0.01, 0.05, 0.1, 0.5, 1.0]

# --- few labels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("groups", [None, USERS], ids=["rows", "groups"])
@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_smaller_shares_lie_inside_larger_ones(kind, groups, seed):
    splits = [few_labels(TARGETS[kind], share, seed, groups=groups) for share in SHARES]
    for small, large in pairwise(splits):
        assert small.mask[large.mask].sum() == len(small) <= len(large)
    assert len(splits[-1]) == N


@pytest.mark.parametrize("groups", [None, USERS], ids=["rows", "groups"])
@pytest.mark.parametrize("kind", TARGETS)
def test_the_seed_decides(kind, groups):
    first, again, other = (few_labels(TARGETS[kind], 0.05, seed, groups=groups) for seed in (3, 3, 4))
    assert first == again
    assert first != other
    assert not np.array_equal(first.indices, other.indices)


@pytest.mark.parametrize("share", SHARES)
def test_every_class_is_represented_and_in_proportion(share):
    labels = CLASSES[few_labels(CLASSES, share, 0).indices]
    assert len(labels) == max(4, round(share * N))
    for c in np.unique(CLASSES):
        count, n_class = (labels == c).sum(), (c == CLASSES).sum()
        assert count >= 1
        assert abs(count - share * n_class) <= 4


@pytest.mark.parametrize("share", SHARES)
def test_every_label_that_occurs_has_a_positive_row(share):
    taken = MULTILABEL[few_labels(MULTILABEL, share, 0).indices]
    assert (taken.any(axis=0) == MULTILABEL.any(axis=0)).all()


def test_regression_is_stratified_by_quantile_bins():
    taken = VALUES[few_labels(VALUES, 0.1, 0).indices]
    bins = np.searchsorted(np.quantile(VALUES, np.linspace(0, 1, 11)[1:-1]), taken)
    assert np.abs(np.bincount(bins, minlength=10) - 10).max() <= 1


def test_integer_regression_targets_need_not_all_be_labelled():
    assert len(few_labels(np.arange(N), 0.01, 0, kind="regression")) == 10


def test_whole_groups_keep_their_labels():
    mask = few_labels(CLASSES, 0.3, 0, groups=USERS).mask
    shares = [mask[user == USERS].mean() for user in range(20)]
    assert set(shares) == {0.0, 1.0}
    assert set(CLASSES[mask]) == set(CLASSES)


@pytest.mark.parametrize("missing", [np.nan, None])
def test_rows_without_label_are_never_chosen(missing):
    y = CLASSES.astype(object)
    y[::2] = missing
    assert (few_labels(y, 1.0, 0).indices % 2 == 1).all()
    assert (train_test(y, 0.3, 0)[1] % 2 == 1).all()


def test_a_float_column_of_whole_numbers_holds_classes():
    assert few_labels(CLASSES.astype(float), 0.05, 0) == few_labels(CLASSES, 0.05, 0)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=80),
    st.floats(0.01, 1),
    st.floats(0.01, 1),
    st.integers(0, 99),
)
def test_nested_and_covering_for_any_labels(labels, a, b, seed):
    y = np.array(labels)
    small, large = (few_labels(y, share, seed) for share in sorted((a, b)))
    assert set(small.indices) <= set(large.indices)
    assert set(y[small.indices]) == set(labels)


def test_save_and_load(tmp_path):
    split = few_labels(CLASSES, 0.05, 3)
    split.save(tmp_path / "split.json")
    loaded = LabelSplit.load(tmp_path / "split.json")
    assert loaded == split
    assert (loaded.share, loaded.seed, loaded.n_rows) == (0.05, 3, N)


def test_the_hash_knows_indices_seed_share_and_rows():
    hashes = {
        LabelSplit(np.array(indices), n, share, seed).sha256
        for indices in ([1, 2], [1, 3], [1])
        for n in (10, 11)
        for share in (0.1, 0.2)
        for seed in (0, 1)
    }
    assert len(hashes) == 24


@pytest.mark.parametrize(("key", "value"), [("indices", [1, 2]), ("seed", 9), ("share", 0.9), ("n_rows", 7)])
def test_a_changed_file_is_refused(tmp_path, key, value):
    path = tmp_path / "split.json"
    few_labels(CLASSES, 0.05, 3).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(CheckpointError, match=r"must fit its own SHA-256; .*changed after it was saved"):
        LabelSplit.load(path)


def test_a_file_that_is_no_split_is_refused(tmp_path):
    (tmp_path / "split.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"a label split is a JSON file written by LabelSplit.save"):
        LabelSplit.load(tmp_path / "split.json")


# --- train and test --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TARGETS)
def test_two_sides_without_overlap(kind):
    train, test = train_test(TARGETS[kind], 0.3, 0)
    assert sorted([*train, *test]) == list(range(N))
    assert len(test) == 300
    assert np.array_equal(train_test(TARGETS[kind], 0.3, 0)[1], test)
    assert not np.array_equal(train_test(TARGETS[kind], 0.3, 1)[1], test)


def test_the_test_side_is_stratified():
    _, test = train_test(CLASSES, 0.3, 0)
    for c in np.unique(CLASSES):
        assert abs((CLASSES[test] == c).sum() - 0.3 * (c == CLASSES).sum()) <= 2


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=8, max_size=60), st.floats(0.05, 0.95), st.integers(0, 99))
def test_no_group_is_on_both_sides(groups, share, seed):
    groups = np.array([*groups, 0, 1])
    y = np.arange(len(groups)) % 3
    train, test = train_test(y, share, seed, groups=groups)
    assert not set(groups[train]) & set(groups[test])
    assert len(train) + len(test) == len(y)


# --- validation ------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(5, 12), min_size=2, max_size=4),
    st.floats(0.01, 0.99),
    st.integers(0, 99),
    st.integers(0, 4),
)
def test_validation_leaves_two_of_each_class_and_takes_labelled_rows_only(sizes, fraction, seed, n_users):
    y = np.repeat(np.arange(len(sizes)), sizes)
    y = np.concatenate([y, np.full(10, 77)])
    labelled = y != 77
    groups = np.arange(len(y)) % (n_users + 2) if n_users else None
    rows, rule = validation_rows(y, labelled, fraction, seed, kind="multiclass", groups=groups)
    assert labelled[rows].all()
    rest = np.setdiff1d(np.flatnonzero(labelled), rows)
    assert (np.bincount(y[rest], minlength=len(sizes)) >= 2).all()
    if len(rows):
        assert rule == f"early stopping on {len(rows)} validation rows"
    if groups is not None:
        assert not set(groups[rest]) & set(groups[rows])
    else:
        assert len(rows) == min(max(1, int(fraction * sum(sizes) + 0.5)), sum(sizes) - 2 * len(sizes))


def test_validation_is_stratified_and_seeded():
    everything = np.ones(N, dtype=bool)
    rows, _ = validation_rows(CLASSES, everything, 0.2, 0, kind="multiclass")
    for c in np.unique(CLASSES):
        assert abs((CLASSES[rows] == c).sum() - 0.2 * (c == CLASSES).sum()) <= 2
    assert np.array_equal(rows, validation_rows(CLASSES, everything, 0.2, 0, kind="multiclass")[0])
    assert not np.array_equal(rows, validation_rows(CLASSES, everything, 0.2, 1, kind="multiclass")[0])


def test_validation_leaves_two_positives_of_each_label():
    y = np.zeros((40, 3))
    y[:3, 0] = y[10:30, 1] = 1  # the third label never occurs
    rows, _ = validation_rows(y, np.ones(40, dtype=bool), 0.95, 0, kind="multilabel")
    assert len(rows) == 36
    assert (np.delete(y, rows, axis=0).sum(axis=0) >= [2, 2, 0]).all()


TOO_FEW = {
    "multiclass": (np.array([0] * 9 + [3] * 4), "fixed epochs: fewer than 5 labelled rows in class 3"),
    "regression": (np.arange(19.0), "fixed epochs: fewer than 20 labelled rows, 19"),
    "multilabel": (np.ones((19, 2)), "fixed epochs: fewer than 20 labelled rows, 19"),
}


@pytest.mark.parametrize("kind", TOO_FEW)
def test_too_few_labels_mean_fixed_epochs(kind):
    y, rule = TOO_FEW[kind]
    rows, said = validation_rows(y, np.ones(len(y), dtype=bool), 0.2, 0, kind=kind)
    assert len(rows) == 0
    assert said == rule


def test_unlabelled_rows_do_not_count():
    y = np.repeat([0, 1], 6)
    labelled = np.arange(12) != 0
    assert len(validation_rows(y, labelled, 0.2, 0, kind="multiclass")[0]) == 2
    labelled[1:3] = False
    assert validation_rows(y, labelled, 0.2, 0, kind="multiclass")[1].endswith("class 0")
    assert len(validation_rows(y, np.zeros(12, dtype=bool), 0.2, 0, kind="multiclass")[0]) == 0


def test_one_group_leaves_nothing_to_validate_on():
    y = np.repeat([0, 1], 10)
    rows, rule = validation_rows(y, y >= 0, 0.2, 0, kind="multiclass", groups=np.zeros(20))
    assert len(rows) == 0
    assert rule == "fixed epochs: no labelled rows can be set aside and leave two of each class"


def test_the_text_of_classes_may_be_anything():
    y = np.array(["cat"] * 9 + ["dog"] * 2, dtype=object)
    assert validation_rows(y, y != "", 0.2, 0, kind="multiclass")[1].endswith("class dog")


# --- errors ----------------------------------------------------------------------------------------------

ERRORS = {
    "share of zero": (
        lambda: few_labels(CLASSES, 0, 0),
        ConfigError,
        "share lies above 0 and at most 1; 0 came",
    ),
    "test share of one": (
        lambda: train_test(CLASSES, 1, 0),
        ConfigError,
        "test_share lies above 0 and below 1",
    ),
    "fraction of one": (
        lambda: validation_rows(CLASSES, CLASSES >= 0, 1, 0, kind="multiclass"),
        ConfigError,
        "fraction lies above 0 and below 1; 1 came",
    ),
    "no label": (lambda: few_labels(np.full(4, np.nan), 0.5, 0), LabelError, "no row has a label"),
    "no rows": (lambda: few_labels([], 0.5, 0), LabelError, r"shape \(0,\) came"),
    "one group": (lambda: train_test([0, 1], 0.5, 0, groups=[1, 1]), DataError, "rows on both sides"),
    "groups too short": (
        lambda: train_test([0, 1], 0.5, 0, groups=[1]),
        DataError,
        r"groups needs one value a row, \(2,\)",
    ),
    "a row without a group": (
        lambda: train_test([0, 1], 0.5, 0, groups=["ann", np.nan]),
        DataError,
        "each row has a group; that of row 1 is nan; name it",
    ),
}


@pytest.mark.parametrize(
    "groups", [["b", "a", "b", "c"], (2, 1, 2, 3), pd.Series([0.5, 0.1, 0.5, 7.0], index=[3, 2, 1, 0])]
)
def test_groups_are_numbered_by_their_names(groups):
    codes = group_codes(groups, 4)
    assert codes.dtype == np.int64
    assert codes.tolist() == [1, 0, 1, 2]


@pytest.mark.parametrize("case", ERRORS)
def test_errors_say_the_rule_what_came_and_the_way_out(case):
    call, kind, text = ERRORS[case]
    with pytest.raises(kind, match=text):
        call()
