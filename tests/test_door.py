"""The one door: every form of input, presence as a fact, and a sentence for everything that is refused."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from polymodal import schema
from polymodal.data.door import bind, n_rows, read, restrict, take
from polymodal.errors import CellTypeError, CheckpointError, DataError, SchemaError
from polymodal.schema import Series, Tabular, Vector

NAN = float("nan")


def through(X, modalities=None, **options):
    """X as a table, bound to itself."""
    return read(X, bind(X, modalities), **options)


def films():
    """A small frame with a column of every sort."""
    return pd.DataFrame(
        {
            "e_0": [1.0, NAN, 3.0],
            "e_1": [4.0, NAN, 6.0],
            "year": pd.array([1999, None, 2001], dtype="Int64"),
            "seen": pd.array([True, None, False], dtype="boolean"),
            "kind": ["war", None, ""],
            "code": pd.Categorical([1, None, 2]),
            "clip": [np.zeros((2, 3)), None, np.ones((4, 3))],
            "left": [[1.0, 2.0], NAN, [3.0]],
            "right": [[5.0, 6.0], None, [7.0]],
            "face": [np.array([1.0, 2.0]), None, np.array([3.0, 4.0])],
        }
    )


# ---- what is accepted --------------------------------------------------------------------------------

CUBE = np.arange(12.0).reshape(2, 3, 2)

# what X is, the declaration, presence of each modality
ACCEPTED = {
    "2-D array": (np.ones((2, 3)), None, {"x": [1, 1]}),
    "list of lists": ([[1, 2], [3, 4]], None, {"x": [1, 1]}),
    "integers": (np.ones((2, 3), dtype=int), None, {"x": [1, 1]}),
    "objects that are numbers": (np.array([[1, 2.5], [None, NAN]], dtype=object), None, {"x": [1, 0]}),
    "an absent row": (np.array([[1.0, 2], [NAN, NAN]]), None, {"x": [1, 0]}),
    "column groups": (
        np.array([[1.0, NAN, 3], [NAN, 5, 6]]),
        {"a": Vector(range(0, 1)), "b": Tabular([1, 2])},
        {"a": [1, 0], "b": [1, 1]},
    ),
    "mapping of 2-D": (
        {"a": np.ones((2, 3), "f"), "b": np.full((2, 1), NAN)},
        None,
        {"a": [1, 1], "b": [0, 0]},
    ),
    "mapping of 1-D numbers": ({"a": np.array([1.0, NAN])}, None, {"a": [1, 0]}),
    "mapping of 3-D": ({"a": CUBE}, None, {"a": [1, 1]}),
    "mapping of a tensor": ({"a": torch.ones(2, 3)}, None, {"a": [1, 1]}),
    "mapping of ragged": ({"a": [np.ones((2, 3)), None, np.ones((5, 3))]}, None, {"a": [1, 0, 1]}),
    "ragged 1-D": ({"a": [[1, 2], [3], []]}, None, {"a": [1, 1, 0]}),
    "vectors with holes": ({"a": [[1, 2], None, [3, 4]]}, None, {"a": [1, 0, 1]}),
    "mapping of a frame": (
        {"a": pd.DataFrame({"u": [1, None], "v": ["x", None]})},
        None,
        {"a": [1, 0]},
    ),
    "mapping with another key": ({"k": np.ones((2, 3))}, {"a": Vector("k")}, {"a": [1, 1]}),
    "a Series of 2-D": ({"a": np.ones((2, 3))}, {"a": Series()}, {"a": [1, 1]}),
    "a block all NaN": ({"a": np.stack([np.ones((2, 2)), np.full((2, 2), NAN)])}, None, {"a": [1, 0]}),
    "frame, undeclared": (pd.DataFrame({"u": [1, None], "v": ["x", None]}), None, {"table": [1, 0]}),
    "frame, columns": (films(), {"e": Vector(["e_0", "e_1"])}, {"e": [1, 0, 1]}),
    "frame, pattern": (films(), {"e": Vector("e_*")}, {"e": [1, 0, 1]}),
    "frame, positions": (films(), {"e": Vector([0, 1])}, {"e": [1, 0, 1]}),
    "frame, nullable": (
        films(),
        {"y": Vector("year"), "s": Vector("seen")},
        {"y": [1, 0, 1], "s": [1, 0, 1]},
    ),
    "frame, own name": (films(), {"year": Vector()}, {"year": [1, 0, 1]}),
    "frame, cells of arrays": (
        films(),
        {"f": Vector("face"), "c": Series("clip")},
        {"f": [1, 0, 1], "c": [1, 0, 1]},
    ),
    "frame, several series": (films(), {"ears": Series(["left", "right"])}, {"ears": [1, 0, 1]}),
    "frame, table": (films(), {"t": Tabular(["year", "seen", "kind", "code"])}, {"t": [1, 0, 1]}),
    "an empty text is present": (pd.DataFrame({"t": ["", None]}), {"t": Tabular()}, {"t": [1, 0]}),
    "integer column names": (pd.DataFrame({5: [1.0, 2], 7: [3.0, 4]}), {"a": Vector([7])}, {"a": [1, 1]}),
}


@pytest.mark.parametrize(("X", "modalities", "presence"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(X, modalities, presence):
    table = through(X, modalities)
    assert table.names == tuple(presence)
    assert {n: c.present.tolist() for n, c in table.cells.items()} == {
        name: [bool(there) for there in rows] for name, rows in presence.items()
    }
    assert table.presence.shape == (table.n_rows, len(presence))
    assert table.n_rows == n_rows(X)


INFERRED = {
    "2-D": ([[1.0, 2]], "Vector"),
    "1-D": ([1.0, 2.0], "Vector"),
    "3-D": (np.ones((1, 2, 3)), "Series"),
    "ragged": ([np.ones((2, 3)), np.ones((4, 3))], "Series"),
    "one long cell and a hole": ([np.ones((2, 3)), None], "Series"),
    "ragged 1-D": ([[1], [1, 2]], "Series"),
    "even 1-D with a hole": ([[1, 2], None], "Vector"),
    "frame": (pd.DataFrame({"a": [1]}), "Tabular"),
}


@pytest.mark.parametrize(("value", "kind"), INFERRED.values(), ids=INFERRED)
def test_inference(value, kind):
    bound = bind({"a": value}, None)
    assert type(bound["a"]).__name__ == kind


def test_values_of_a_frame():
    table = through(
        films(),
        {
            "t": Tabular(["year", "kind", "seen", "code"]),
            "ears": Series(["left", "right"]),
            "f": Vector("face"),
        },
    )
    facts, ears, face = table.cells.values()
    assert facts.modality.layout.categorical == ("kind", "code")
    np.testing.assert_array_equal(facts.numeric, [[1999, 1], [NAN, NAN], [2001, 0]])
    assert facts.categorical.tolist() == [["war", "1"], [None, None], ["", "2"]]
    np.testing.assert_array_equal(ears.series[0], [[1, 5], [2, 6]])
    np.testing.assert_array_equal(face.numeric[[0, 2]], [[1, 2], [3, 4]])


@pytest.mark.parametrize(
    "hole", [None, NAN, np.float32(NAN), pd.NA, pd.NaT, np.datetime64("NaT"), []], ids=repr
)
def test_every_way_to_leave_a_cell_empty(hole):
    frame = pd.DataFrame({"clip": [np.ones((2, 3)), hole], "left": [[1.0], None]}, dtype=object)
    table = through(frame, {"c": Series("clip"), "l": Series("left")})
    assert table.presence.tolist() == [[True, True], [False, False]]


def test_a_category_is_the_same_as_text_integer_or_whole_float():
    bound = bind(pd.DataFrame({"c": ["1", "2"]}), {"t": Tabular("c")})
    for column in ([1, None], [1.0, None], ["1", None]):
        cells = read(pd.DataFrame({"c": column}), bound).cells["t"]
        assert cells.categorical.tolist() == [["1"], [None]]
    assert read(pd.DataFrame({"c": [True, 1.5]}), bound).cells["t"].categorical.tolist() == [
        ["True"],
        ["1.5"],
    ]


def test_large_float_arrays_are_not_copied(tmp_path):
    X = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(100, 8))
    X[:] = 1.0
    for value in (X, {"x": X}):
        assert np.shares_memory(through(value).cells["x"].numeric, X)
    groups = through(X, {"a": Vector(range(0, 3)), "b": Vector(range(3, 8))})
    assert np.shares_memory(groups.cells["b"].numeric, X)
    assert np.shares_memory(take({"x": X}, slice(5, 9))["x"], X)


@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 6), st.integers(1, 4)),
        elements=st.sampled_from([NAN, 0.0, 1.0, -2.5, 1e17, np.inf, 1e30]),
    )
)
@settings(max_examples=300)
def test_presence_of_a_vector_is_that_of_a_loop(X):
    finite = bool((np.isnan(X) | (np.abs(X) <= 1e18)).all())
    partial = any(0 < sum(v != v for v in row) < len(row) for row in X)
    if partial or not finite:
        with pytest.raises(DataError, match=r"is NaN while|is -?inf|is 1e\+30"):
            through({"x": X})
        return
    assert through({"x": X}).presence[:, 0].tolist() == [not all(v != v for v in row) for row in X]


# ---- what is absent at prediction --------------------------------------------------------------------


def test_a_missing_key_is_absent():
    X = {
        "v": np.ones((2, 3)),
        "s": [np.ones((1, 2)), np.ones((4, 2))],
        "t": pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
    }
    bound = bind(X, None)
    for name in X:
        table = read({name: X[name]}, bound)
        assert table.presence.tolist() == [[other == name for other in X]] * 2
        assert read({name: X[name], **{o: None for o in X if o != name}}, bound).presence.sum() == 2
    table = read({"t": X["t"]}, bound)
    assert table.cells["v"].numeric.shape == (2, 3)
    assert [s.shape for s in table.cells["s"].series] == [(0, 2), (0, 2)]


def test_missing_columns_are_absent_and_further_ones_ignored():
    frame = films()
    bound = bind(frame, {"e": Vector("e_*"), "t": Tabular(["year", "kind"])})
    table = read(frame[["kind", "face", "year"]], bound)
    assert table.presence.tolist() == [[False, True], [False, False], [False, True]]
    assert table.cells["t"].categorical[0, 0] == "war"
    assert not read(frame[["face"]], bound).presence.any()


def test_columns_may_come_in_another_order():
    frame = pd.DataFrame({"a": [1.0], "b": [2.0], "c": ["x"]})
    bound = bind(frame, {"v": Vector(["a", "b"]), "t": Tabular(["c"])})
    np.testing.assert_array_equal(read(frame[["c", "b", "a"]], bound).cells["v"].numeric, [[1, 2]])
    tables = bind({"t": frame}, None)
    cells = read({"t": frame[["c", "b", "a"]].assign(more=1)}, tables).cells["t"]
    np.testing.assert_array_equal(cells.numeric, [[1, 2]])


# ---- rows and modalities of a raw input --------------------------------------------------------------

FORMS = {
    "array": (np.arange(12.0).reshape(4, 3), {"a": Vector([0, 1]), "b": Vector([2])}),
    "integers": (np.arange(12).reshape(4, 3), {"a": Vector([0, 1]), "b": Vector([2])}),
    "frame": (
        pd.DataFrame(np.arange(12.0).reshape(4, 3), columns=list("uvw"), index=[7, 7, 1, 0]),
        {"a": Vector(["u", "v"]), "b": Vector("w")},
    ),
    "mapping": (
        {"a": np.arange(8.0).reshape(4, 2), "b": [np.ones((i + 1, 2)) for i in range(4)]},
        {"a": Vector(), "b": Series()},
    ),
    "mapping of pandas": (
        {
            "a": pd.DataFrame({"u": range(4)}, index=[3, 3, 3, 3]),
            "b": pd.Series(range(4), index=[9, 8, 7, 6]),
        },
        {"a": Tabular(), "b": Vector()},
    ),
}


@pytest.mark.parametrize(("X", "modalities"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("rows", [slice(1, 3), [1, 2], np.array([False, True, True, False])], ids=str)
def test_take(X, modalities, rows):
    bound = bind(X, modalities)
    part = take(X, rows)
    assert type(part) is type(X)
    assert n_rows(part) == 2
    for whole, some in zip(read(X, bound).cells.values(), read(part, bound).cells.values(), strict=True):
        if whole.series is not None:
            assert [s.tolist() for s in some.series] == [s.tolist() for s in whole.series[1:3]]
        else:
            np.testing.assert_array_equal(some.numeric, whole.numeric[1:3])


@pytest.mark.parametrize(("X", "modalities"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("keep", [["a"], ["b"], ["a", "b"], []], ids=str)
def test_restrict(X, modalities, keep):
    bound = bind(X, modalities)
    table = read(restrict(X, bound, keep), bound)
    assert table.presence.tolist() == [["a" in keep, "b" in keep]] * 4
    assert read(X, bound).presence.all()  # X itself is left alone


# ---- what is refused ---------------------------------------------------------------------------------

DECLARATIONS = {
    "no mapping": ([Vector("a")], "modalities must map names to Vector, .*or Video; list came"),
    "nothing": ({}, "must name at least one modality; an empty mapping came"),
    "a plus in a name": ({"a+b": Vector("a")}, r"holds no '\+'.*'a\+b' came; rename it"),
    "a name that is no text": ({1: Vector("a")}, "name must be a text.*; 1 came"),
    "a class": ({"a": Vector}, r"'a' is <class '.*Vector'>; write Vector\(\)"),
    "a list": ({"a": ["a"]}, r"a modality is a Vector, .*or Video; 'a' is \['a'\]"),
    "no columns": ({"v": Vector([])}, "a modality needs at least one column; 'v' names none"),
    "a column twice": ({"v": Vector(["a", "a"])}, "names each column once; 'v' names 'a' twice"),
    "a column reached twice": ({"v": Vector(["a", "a*"])}, "'v' reaches 'a' twice"),
    "a column of no type": (
        {"v": Vector(1.5)},
        "names .text. or positions .integers.; modality 'v' names 1.5",
    ),
    "a boolean column": ({"v": Vector([True])}, "modality 'v' names True"),
    "a missing column": ({"v": Vector(["a", "z"])}, "'v' needs 'z' and the DataFrame has 'a', 'b'; add it"),
    "own name missing": ({"v": Vector()}, "'v' needs 'v' and the DataFrame has"),
    "a pattern without match": (
        {"v": Vector("q*")},
        r"a pattern must match a column; 'q\*' of 'v' matches none",
    ),
    "a position too far": ({"v": Vector([2])}, "'v' needs 2 and the DataFrame has"),
    "a shared column": (
        {"v": Vector("a"), "w": Tabular(["a", "b"])},
        "a column belongs to one modality; 'a' is in 'v' and 'w'",
    ),
}


@pytest.mark.parametrize(("modalities", "sentence"), DECLARATIONS.values(), ids=DECLARATIONS)
def test_bad_declarations(modalities, sentence):
    with pytest.raises(SchemaError, match=sentence):
        bind(pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 2.0]}), modalities)


DATES = pd.to_datetime(["2020-01-01", "2021-01-01"])

# X, the declaration, the sentence
REFUSED = {
    # forms
    "None": (None, None, "X is a DataFrame, a mapping of arrays or a 2-D array; None came"),
    "text": ("films.csv", None, "X is a DataFrame, .*; 'films.csv' came"),
    "an empty mapping": ({}, None, "an empty mapping came"),
    "a Series": (pd.Series([1.0, 2.0]), None, r"a Series came; a row of a frame is frame.iloc\[\[i\]\]"),
    "1-D": (np.ones(3), None, r"a bare X is a 2-D array; an array of shape \(3,\) came; Reshape your data"),
    "3-D": (CUBE, None, r"an array of shape \(2, 3, 2\) came; pass it as \{'series': X\}"),
    "ragged": ([[1], [1, 2]], None, "rows of different shapes came"),
    "sparse": (scipy.sparse.csr_array(np.eye(3)), None, "sparse data came for X; call .toarray"),
    "sparse in a mapping": (
        {"a": scipy.sparse.csr_array(np.eye(3))},
        None,
        "sparse data came for modality 'a'",
    ),
    "sparse columns": (
        pd.DataFrame({"a": pd.arrays.SparseArray([1.0, 2.0])}),
        {"v": Vector("a")},
        "sparse data came for column 'a' of Vector 'v'",
    ),
    "masked": ({"a": np.ma.ones((2, 2))}, None, r"a masked array came for modality 'a'; call .filled"),
    "no array": ({"a": 3.0}, None, "modality 'a' needs one entry a row; 3.0"),
    "zero rows": (
        np.ones((0, 3)),
        None,
        r"found 0 sample\(s\) \(shape=\(0, 3\)\) while a minimum of 1 is required",
    ),
    "zero columns": (
        np.ones((12, 0)),
        None,
        r"0 feature\(s\) \(shape=\(12, 0\)\) while a minimum of 1 is required",
    ),
    "a frame without columns": (pd.DataFrame(index=[1, 2]), None, r"0 feature\(s\) \(shape=\(2, 0\)\)"),
    "a frame without rows": (pd.DataFrame({"a": np.ones(0)}), None, r"found 0 sample\(s\)"),
    "a mapping without rows": ({"a": np.ones((0, 3))}, None, r"found 0 sample\(s\)"),
    "width 0": ({"a": np.ones((2, 0))}, None, "at least one number a row; 'a' has width 0"),
    # columns
    "duplicate columns": (
        pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]),
        {"v": Vector("a")},
        "column names must be unique; 'a' of modality 'v' is there 2 times",
    ),
    "duplicate columns, undeclared": (
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        None,
        "'a'.*twice|'a'.*2 times",
    ),
    "duplicate columns in a table": (
        {"t": pd.DataFrame([[1, 2]], columns=["a", "a"])},
        None,
        "'a' of modality 't' is there 2 times",
    ),
    "column names of no type": (
        pd.DataFrame({("a", "b"): [1]}),
        None,
        r"column names are texts or integers; a MultiIndex of 2 levels came; join them by X.columns = ",
    ),
    "no positions": (
        np.ones((2, 3)),
        {"v": Vector()},
        r"a modality names its positions; 'v' names none; .*range\(0, 3\)",
    ),
    "a name in an array": (np.ones((2, 3)), {"v": Vector("a")}, "run from 0 to 2; 'v' names 'a'"),
    "a position too far": (np.ones((2, 3)), {"v": Vector([3])}, "run from 0 to 2; 'v' names 3"),
    "several keys": (
        {"a": [[1.0]]},
        {"v": Vector(["a", "b"])},
        r"a modality is one key; 'v' names \['a', 'b'\]",
    ),
    "a missing key": ({"a": [[1.0]]}, {"v": Vector()}, "'v' needs the key 'v' and the mapping has 'a'"),
    "an unknown key": (
        {"a": [[1.0]], "b": [[1.0]]},
        {"a": Vector()},
        r"a mapping's keys are modalities; 'b' is none of \['a'\]; correct the key",
    ),
    # rows
    "unequal rows": (
        {"a": np.ones((2, 3)), "b": np.ones((3, 1))},
        None,
        "the same number of rows; 'b' has 3 and the first one has 2; align them",
    ),
    # cells of a Vector
    "a column of text": (
        pd.DataFrame({"a": ["x", "y"]}),
        {"v": Vector("a")},
        "column 'a' of Vector 'v' holds 'x'",
    ),
    "text among objects": (
        pd.DataFrame({"a": [1.0, "x"]}, dtype=object),
        {"v": Vector("a")},
        "row 1, column 'a' of Vector 'v' is 'x'; convert the column",
    ),
    "text in an array": (
        {"a": np.array([["x"]])},
        None,
        r"a Vector holds numbers; 'a' holds text \(<U1\); declare",
    ),
    "numbers written as text": (
        {"a": np.array([["1"]], dtype=object)},
        None,
        "row 0, column 0 of Vector 'a' is '1'",
    ),
    "dates": (
        pd.DataFrame({"a": DATES}),
        {"v": Vector("a")},
        "holds no datetime64.*column 'a' of Vector 'v'",
    ),
    "dates in an array": ({"a": DATES.to_numpy()}, None, "'a' holds dates"),
    "categories": (
        pd.DataFrame({"a": pd.Categorical([1, 2])}),
        {"v": Vector("a")},
        "no category cells; column 'a'",
    ),
    "complex": (np.ones((2, 1)) * 1j, None, "Complex data not supported; Vector 'x' is complex128"),
    "complex column": (
        pd.DataFrame({"a": [1j]}),
        {"v": Vector("a")},
        "Complex data not supported; column 'a'",
    ),
    "complex object": (
        np.array([[1j, 1]], dtype=object),
        None,
        "Complex data not supported; row 0, column 0",
    ),
    "a dict": (
        np.array([[{}, 1.0]], dtype=object),
        None,
        "row 0, column 0 of 'x' is dict .*argument must be a string or",
    ),
    "some NaN": (
        pd.DataFrame({"a": [1, 2.0], "b": [1, NAN]}),
        {"v": Vector(["a", "b"])},
        "present or absent as a whole; row 1, column 'b' of Vector 'v' is NaN while other",
    ),
    "infinite": (
        np.array([[1, 2], [3, -np.inf]]),
        None,
        "must be finite.*row 1, column 1 of Vector 'x' is -inf",
    ),
    "huge": (np.array([[1e19]]), None, r"within ±1e\+18; row 0, column 0 of Vector 'x' is 1e\+19"),
    "uneven vectors": (
        {"a": [[1, 2], [3]]},
        {"a": Vector()},
        "one width; row 1 of Vector 'a' has width 1 instead of 2",
    ),
    "a matrix in a cell": (
        {"a": [np.ones((2, 2)), None]},
        {"a": Vector()},
        r"1-D array; row 0 of Vector 'a' has shape \(2, 2\)",
    ),
    "a scalar among cells": (
        {"a": [[1, 2], 3]},
        {"a": Vector()},
        r"a cell of Vector 'a' is an array; row 1 holds 3 \(int\)",
    ),
    "3-D as a Vector": (
        {"a": CUBE},
        {"a": Vector()},
        r"Vector 'a' has an array of shape \(2, 3, 2\); declare it as Series",
    ),
    # cells of a Series
    "some NaN in a series": (
        {"a": [np.ones((2, 2)), np.array([[1, 2], [3, NAN]])]},
        {"a": Series()},
        "row 1, step 1, column 1 of Series 'a' is NaN",
    ),
    "padding with NaN": (
        {"a": np.array([[[1.0], [NAN]]])},
        None,
        "row 0, step 1, column 0 of Series 'a' is NaN",
    ),
    "infinite series": (
        {"a": [[[1.0]], [[1.0], [np.inf]]]},
        None,
        "row 1, step 1, column 0 of Series 'a' is inf",
    ),
    "another width": (
        {"a": [np.ones((2, 2)), np.ones((2, 3))]},
        None,
        "one width; row 1 of Series 'a' has width 3 instead of 2",
    ),
    "4-D cells": (
        {"a": np.ones((1, 2, 3, 4))},
        {"a": Series()},
        r"Series 'a' has an array of shape \(1, 2, 3, 4\)",
    ),
    "3-D in a cell": (
        {"a": [CUBE, None]},
        {"a": Series()},
        r"\(T, d\) or \(T,\); row 0 of Series 'a' has shape",
    ),
    "a number in a cell": (
        {"a": [1.0, None]},
        {"a": Series()},
        "a cell of Series 'a' is an array; row 0 holds 1.0",
    ),
    "text in a cell": ({"a": ["abc", None]}, {"a": Series()}, "row 0 holds 'abc'"),
    "one of several missing": (
        pd.DataFrame({"l": [[1.0], None], "r": [[1.0], [2.0]]}),
        {"a": Series(["l", "r"])},
        "as a whole; row 1, column 'l' of Series 'a' is missing while",
    ),
    "several of different lengths": (
        pd.DataFrame({"l": [[1.0]], "r": [[1.0, 2.0]]}),
        {"a": Series(["l", "r"])},
        r"cells of one length; row 0 of Series 'a' has shapes \[\(1,\), \(2,\)\]",
    ),
    # cells of a Tabular
    "dates in a table": (
        pd.DataFrame({"a": DATES}),
        None,
        "column 'a' of Tabular 'table' holds datetime.*turn dates",
    ),
    "a mixed column": (
        pd.DataFrame({"a": [1, "n/a"]}, dtype=object),
        None,
        "holds numbers, or texts; column 'a' of Tabular 'table' holds mixed-integer",
    ),
    "arrays in a table": (
        pd.DataFrame({"a": [[1.0], [2.0]]}),
        None,
        "column 'a'.*declare arrays as Vector or Series",
    ),
    "complex in a table": (pd.DataFrame({"a": [1j]}), None, "Complex data not supported"),
    "infinite in a table": (
        pd.DataFrame({"t": ["x", "y"], "a": [1, np.inf]}),
        None,
        "row 1, column 'a' of Tabular 'table' is inf; write NaN for a gap",
    ),
    "3-D as a table": ({"a": CUBE}, {"a": Tabular()}, "a Tabular has rows and columns"),
    # presence
    "never present": (
        {"a": np.ones((2, 3)), "b": np.full((2, 3), NAN)},
        None,
        "present in some training row; 'b' is absent in every row; drop it",
    ),
    "never present cells": ({"a": np.ones((2, 3)), "b": [None, None]}, None, "'b' is absent in every row"),
    "no row has anything": (
        {"a": np.full((2, 3), NAN), "b": np.full((2, 3), NAN)},
        None,
        r"some modality; all of \['a', 'b'\] are absent in every row",
    ),
}


@pytest.mark.parametrize(("X", "modalities", "sentence"), REFUSED.values(), ids=REFUSED)
def test_refused_in_training(X, modalities, sentence):
    with pytest.raises(DataError, match=sentence) as caught:
        through(X, modalities, fitting=True)
    assert "\n" not in str(caught.value)


TYPE_ERRORS = ["sparse", "masked", "text in an array", "dates", "a dict", "text in a cell", "a mixed column"]


@pytest.mark.parametrize("case", TYPE_ERRORS)
def test_cells_of_another_type_are_also_type_errors(case):
    X, modalities, _ = REFUSED[case]
    with pytest.raises(CellTypeError) as caught:
        through(X, modalities)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


TRAINED = {
    "v": np.ones((2, 3)),
    "s": [np.ones((1, 2)), np.ones((4, 2))],
    "t": pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
}

REFUSED_LATER = {
    "an unknown key": ({"w": np.ones((2, 3))}, r"'w' is none of \['v', 's', 't'\]"),
    "an unknown key beside a known one": ({"v": np.ones((2, 3)), "w": 1}, "'w' is none of"),
    "another form": (np.ones((2, 3)), "the form it had in training, a mapping of arrays; a 2-D array came"),
    "a frame": (TRAINED["t"], "a DataFrame came; pass a mapping of arrays"),
    "another width": ({"v": np.ones((2, 4))}, "Vector 'v' had 3 columns and now has 4; pass what"),
    "another width of cells": ({"v": [[1, 2], None]}, "row 0 of Vector 'v' has width 2 instead of 3"),
    "another width of steps": ({"s": np.ones((2, 5, 1))}, "Series 's' had 2 numbers a step and now has 1"),
    "another width of ragged steps": (
        {"s": [np.ones((5, 1)), None]},
        "row 0 of Series 's' has width 1 instead of 2",
    ),
    "a table that lacks a column": (
        {"t": TRAINED["t"][["a"]]},
        "a table keeps the columns.*; 't' lacks 'b'; add",
    ),
    "a table of another width": ({"t": np.ones((2, 1))}, "Tabular 't' had 2 columns and now has 1"),
    "text where numbers were": (
        {"t": pd.DataFrame({"a": ["1", "2"], "b": ["x", "y"]})},
        "a column of numbers holds no str cells; column 'a' of Tabular 't' holds '1'",
    ),
    "one text where numbers were": (
        {"t": pd.DataFrame({"a": ["1", None, "oops"], "b": ["x", "y", "x"]})},
        "a column of numbers holds no str cells; column 'a' of Tabular 't' holds 'oops'",
    ),
    "a list where a category was": (
        {"t": pd.DataFrame({"a": [1], "b": [[1]]})},
        "a category is a text, a number or a boolean; row 0, column 'b' of Tabular 't' holds list",
    ),
    "zero rows": ({"v": np.ones((0, 3))}, r"found 0 sample\(s\)"),
    "nothing at all": ({}, "an empty mapping came"),
    "Nones alone": ({"v": None}, "counts its rows by a modality that is there; none is; pass"),
    "1-D": ({"v": np.ones(3)}, "Vector 'v' had 3 columns and now has 1"),
}


@pytest.mark.parametrize(("X", "sentence"), REFUSED_LATER.values(), ids=REFUSED_LATER)
def test_refused_at_prediction(X, sentence):
    bound = bind(TRAINED, None)
    with pytest.raises(DataError, match=sentence):
        read(X, bound)


@pytest.mark.parametrize("row", [{"a": 1.5, "b": None}, {"a": None, "b": "a quiet night"}])
def test_one_row_as_a_mapping_of_cells_is_no_table(row):
    with pytest.raises(DataError, match=r"one row's cells came, such as .*; pass pandas.DataFrame\(\[X\]\)"):
        n_rows(row)


def test_refused_at_prediction_over_an_array():
    bound = bind(np.ones((3, 4)), None)
    with pytest.raises(DataError, match=r"X has 1 features, but \w+ is expecting 4 features as input"):
        read(np.ones((3, 1)), bound)
    with pytest.raises(DataError, match="Reshape your data"):
        read(np.ones(4), bound)


def test_refused_at_prediction_over_a_frame():
    frame = films()
    bound = bind(frame, {"e": Vector("e_*")})
    with pytest.raises(
        SchemaError, match="all its columns or none; 'e' lacks 'e_1'; add them, or drop the others"
    ):
        read(frame.drop(columns="e_1"), bound)
    with pytest.raises(SchemaError, match="'e_0' of modality 'e' is there 2 times"):
        read(pd.concat([frame, frame[["e_0"]]], axis=1), bound)
    with pytest.raises(
        SchemaError, match="the form it had in training, a DataFrame; a mapping of arrays came"
    ):
        read({"e": np.ones((3, 2))}, bound)


def test_rows_are_numbered_across_chunks():
    X = {"v": np.array([[1.0, 2], [NAN, 1]]), "s": [[1.0], [1.0, NAN]], "t": pd.DataFrame({"a": [1, np.inf]})}
    bound = bind({"v": X["v"][:1], "s": [[1.0], [2.0, 3.0]], "t": X["t"][:1]}, None)
    for name, sentence in {"v": "row 41, column 0", "s": "row 41, step 1", "t": "row 41, column 'a'"}.items():
        with pytest.raises(DataError, match=sentence):
            read({name: X[name]}, bound, first_row=40)


# ---- the schema on disk ------------------------------------------------------------------------------


@pytest.mark.parametrize(("X", "modalities", "presence"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_bound_schema_survives_json(X, modalities, presence):
    bound = bind(X, modalities)
    again = schema.from_json(json.loads(json.dumps(schema.to_json(bound))))
    assert again == bound
    assert read(X, again).presence.tolist() == read(X, bound).presence.tolist()


BROKEN = {
    "no list": 3,
    "no entry": [3],
    "an unknown kind": [
        {"name": "a", "kind": "Text", "columns": [0], "layout": {"source": "array", "width": 1}}
    ],
    "no layout": [{"name": "a", "kind": "Vector", "columns": [0]}],
    "another source": [
        {
            "name": "a",
            "kind": "Vector",
            "columns": [0],
            "layout": {"source": "disk", "width": 1, "columns": [], "categorical": [], "n_features": 1},
        }
    ],
    "columns of no type": [
        {
            "name": "a",
            "kind": "Vector",
            "columns": [None],
            "layout": {"source": "array", "width": 1, "columns": [], "categorical": [], "n_features": 1},
        }
    ],
}


@pytest.mark.parametrize("entries", BROKEN.values(), ids=BROKEN)
def test_a_broken_schema_on_disk_is_refused(entries):
    with pytest.raises(CheckpointError, match="a saved schema lists name, kind, columns and layout"):
        schema.from_json(entries)
