"""Labels with holes: what counts as unlabelled, and what is refused."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import DataConversionWarning

from polymodal.data.labels import read_classes, read_label_sets, read_values, refuse_coarse
from polymodal.errors import LabelError

NAN = float("nan")

# y, missing_label, classes, labelled
CLASSES = {
    "integers": ([3, -1, 5, 3], -1, [3, 5], [1, 0, 1, 1]),
    "all labelled": ([0, 1, 1], -1, [0, 1], [1, 1, 1]),
    "another integer": ([0, -9, 1], -9, [0, 1], [1, 0, 1]),
    "-1 is a class": ([1, -1, 1], None, [-1, 1], [1, 1, 1]),
    "-1 of several classes": ([-1, 0, 1, 2], -1, [0, 1, 2], [0, 1, 1, 1]),
    "texts with None": (["b", None, "a"], -1, ["a", "b"], [1, 0, 1]),
    "texts with NaN": (np.array(["b", NAN, "a"], dtype=object), -1, ["a", "b"], [1, 0, 1]),
    "an empty text is a class": (["", "a", None], -1, ["", "a"], [1, 1, 0]),
    "a text that means unlabelled": (["?", "a", "b"], "?", ["a", "b"], [0, 1, 1]),
    "fixed-width texts": (np.array(["b", "a"]), -1, ["a", "b"], [1, 1]),
    "whole floats": ([1.0, NAN, 2.0], -1, [1.0, 2.0], [1, 0, 1]),
    "whole floats with -1": ([1.0, -1.0, 2.0], -1, [1.0, 2.0], [1, 0, 1]),
    "integers with None": ([7, None, 8], -1, [7, 8], [1, 0, 1]),
    "booleans": ([True, False], -1, [False, True], [1, 1]),
    "booleans with None": ([True, None, False], -1, [False, True], [1, 0, 1]),
    "True is not 1": ([True, False], 1, [False, True], [1, 1]),
    "nullable integers": (pd.array([1, None, 2], dtype="Int64"), -1, [1, 2], [1, 0, 1]),
    "a Series with an index of its own": (pd.Series([4, 5], index=[9, 3]), -1, [4, 5], [1, 1]),
    "pandas texts": (pd.Series(["b", None, "a"], dtype="string"), -1, ["a", "b"], [1, 0, 1]),
    "a Categorical": (
        pd.Categorical(["b", None, "a"], categories=["b", "a", "c"]),
        -1,
        ["a", "b"],
        [1, 0, 1],
    ),
    "a tuple": ((1, 2), -1, [1, 2], [1, 1]),
    "numbers that 64 bits hold without a sign": ([3, 2**64 - 1], -1, [3, 2**64 - 1], [1, 1]),
}

BAD_CLASSES = {
    "no y": (None, 3, -1, "requires y to be passed, but the target y is None"),
    "another length": ([0, 1], 3, -1, "X has 3 and y has 2"),
    "nothing labelled": ([-1, -1], 2, -1, "at least one row must be labelled; all 2 rows"),
    "nothing labelled in texts": ([None, None], 2, -1, "at least one row must be labelled"),
    "all NaN": ([NAN, NAN], 2, None, "at least one row must be labelled"),
    "one class": (["a", "a", None], 3, -1, r"at least two classes; the 2 labelled rows have 1 class \('a'\)"),
    "one class beside -1": ([0, -1, 0], 3, -1, "have 1 class"),
    "-1 and 1": (
        [-1, 1],
        2,
        -1,
        r"y holds \[-1, 1\].*missing_label=None if -1 is a class, or write None or NaN",
    ),
    "-1, 0 and 1": ([-1, 0, 1], 3, -1, r"y holds \[-1, 0, 1\]"),
    "-1 and 1 as floats": ([-1.0, 1.0], 2, -1, "-1 means unlabelled among integer labels"),
    "continuous": ([0.5, 1.0], 2, -1, "Unknown label type: continuous.*y holds 0.5"),
    "infinite": ([np.inf, 1.0], 2, None, "labels are finite; y holds inf"),
    "texts and numbers": ([1, "a"], 2, -1, "Unknown label type: .*y holds 1 and 'a'"),
    "dicts": ([{}, {}], 2, -1, "Unknown label type"),
    "complex": (np.array([1j, 2]), 2, -1, "Complex data not supported; y is complex128"),
    "dates": (np.array(["2020-01-01", "2020-01-02"], dtype="M8[D]"), 2, -1, "convert dates"),
    "numbers beyond 64 bits": ([3, 10**30], 2, -1, f"y holds {10**30}; write them as texts"),
    "-1 beside numbers of 64 bits": ([np.int64(-1), 2**64 - 1], 2, -1, "fit into 64 bits"),
    "several columns": (np.zeros((2, 2)), 2, -1, r"y should be a 1d array, one label a row; shape \(2, 2\)"),
}


@pytest.mark.parametrize(("y", "missing", "classes", "labelled"), CLASSES.values(), ids=CLASSES)
def test_classes(y, missing, classes, labelled):
    labels = read_classes(y, len(y), missing)
    assert labels.classes.tolist() == classes
    assert [type(c) for c in labels.classes.tolist()] == [type(c) for c in classes]
    assert labels.labelled.tolist() == [bool(known) for known in labelled]
    assert labels.values.dtype == np.int64
    cells = np.asarray(y, dtype=object)
    for i in np.flatnonzero(labels.labelled):
        assert labels.classes[labels.values[i]] == cells[i]


@pytest.mark.parametrize(("y", "n", "missing", "sentence"), BAD_CLASSES.values(), ids=BAD_CLASSES)
def test_bad_classes(y, n, missing, sentence):
    with pytest.raises(LabelError, match=sentence):
        read_classes(y, n, missing)


def test_classes_of_a_fitted_model():
    labels = read_classes(["b", None, "b"], 3, classes=np.array(["a", "b"], dtype=object))
    assert labels.values.tolist() == [1, 0, 1]
    with pytest.raises(LabelError, match=r"classes that the model learnt \('a', 'b'\); 'c' came"):
        read_classes(["c"], 1, classes=np.array(["a", "b"], dtype=object))


def test_a_column_vector_is_flattened_with_scikit_learns_warning():
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        labels = read_classes(np.array([[0], [1]]), 2)
    assert labels.values.tolist() == [0, 1]


@given(st.lists(st.sampled_from([None, "a", "b", "c"]), min_size=1, max_size=20))
def test_codes_decode_to_the_labels(y):
    if len({label for label in y if label}) < 2:
        with pytest.raises(LabelError, match=r"class|labelled"):
            read_classes(y, len(y))
        return
    labels = read_classes(y, len(y))
    decoded = [
        labels.classes[v] if known else None for v, known in zip(labels.values, labels.labelled, strict=True)
    ]
    assert decoded == y


def test_label_sets():
    y = np.array([[0, 1, NAN], [NAN, NAN, NAN], [1, 1, 0]])
    labels = read_label_sets(y, 3)
    assert labels.kind == "multilabel"
    np.testing.assert_array_equal(labels.values, y)
    assert labels.labelled.tolist() == [True, False, True]
    assert labels.classes.tolist() == [0, 1, 2]


@pytest.mark.parametrize("cells", [[[0, None], [True, 1]], [[False, pd.NA], [1.0, 1]]])
def test_label_sets_as_objects(cells):
    labels = read_label_sets(pd.DataFrame(cells, columns=["drama", "war"], dtype=object), 2)
    np.testing.assert_array_equal(labels.values, [[0, NAN], [1, 1]])
    assert labels.classes.tolist() == ["drama", "war"]


BAD_SETS = {
    "-1 does not mask": (np.array([[0, -1]]), 1, "0, 1, or NaN for unknown; row 0, label 1 is -1; write NaN"),
    "text": (pd.DataFrame({"a": ["yes"]}), 1, "row 0, label 'a' is 'yes'"),
    "one column too few": (np.zeros((2, 0)), 2, r"shape \(2, 0\)"),
    "one dimension": (np.zeros(2), 2, r"multi-label y is \(n, C\); shape \(2,\)"),
    "another length": (np.zeros((2, 2)), 3, "X has 3 and y has 2"),
    "nothing labelled": (np.full((2, 2), NAN), 2, "at least one row must be labelled"),
    "a label nobody knows": (
        np.array([[0, NAN], [1, NAN]]),
        2,
        "label 1 is NaN in every row; drop its column",
    ),
}


@pytest.mark.parametrize(("y", "n", "sentence"), BAD_SETS.values(), ids=BAD_SETS)
def test_bad_label_sets(y, n, sentence):
    with pytest.raises(LabelError, match=sentence):
        read_label_sets(y, n)


@pytest.mark.parametrize(
    "y",
    [
        [1.5, NAN, -1],
        [1.5, None, -1],
        pd.Series([1.5, None, -1], dtype="Float64"),
        np.float32([1.5, NAN, -1]),
    ],
)
def test_values(y):
    labels = read_values(y, 3)
    np.testing.assert_array_equal(labels.values, [1.5, NAN, -1])
    assert labels.values.dtype == np.float64
    assert labels.labelled.tolist() == [True, False, True]
    assert labels.classes is None


BAD_VALUES = {
    "text": (["1.5", 2], 2, "values to regress on are numbers; row 0 of y is '1.5'"),
    "infinite": ([1, np.inf], 2, "labels are finite; y holds inf"),
    "nothing labelled": ([NAN, None], 2, "at least one row must be labelled"),
    "another length": ([1.0], 2, "X has 2 and y has 1"),
    "two columns": (np.zeros((2, 2)), 2, "y should be a 1d array"),
    "no y": (None, 2, "requires y to be passed"),
}


@pytest.mark.parametrize(("y", "n", "sentence"), BAD_VALUES.values(), ids=BAD_VALUES)
def test_bad_values(y, n, sentence):
    with pytest.raises(LabelError, match=sentence):
        read_values(y, n)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e9, 1e30])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_values_of_any_scale_are_taken(scale, offset):
    refuse_coarse(scale * np.array([offset, NAN, offset + 1]))
    refuse_coarse(scale * np.array([offset, NAN, offset]))  # a constant, rounded, is told as well as can be


@pytest.mark.parametrize(
    ("values", "came"),
    [
        ([1.7e9, 1.7e9 + 5], "from 1700000000.0 to 1700000005.0, are rounded by up to 5"),
        ([0.0, 1e50], "are rounded by up to inf"),
        ([1e50, 1e50], "are rounded by up to inf"),
        ([0.0, 1e-60], "from 0.0 to 1e-60, are rounded by up to 1e-60"),
    ],
)
def test_values_that_training_could_not_tell_apart_are_refused(values, came):
    with pytest.raises(LabelError, match=f"numbers of 32 bits; .*{came}; subtract their mean, or rescale"):
        refuse_coarse(np.array([*values, NAN]))
