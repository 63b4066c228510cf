"""Preprocessing: learnt on present training rows alone, row by row, and the same after a trip to disk."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polymodal.data.door import Table, bind, read, take
from polymodal.data.preprocessing import MAX_CATEGORIES, Preprocessor
from polymodal.errors import CheckpointError, DataError
from polymodal.schema import Tabular, Vector

NAN = float("nan")


def mixed(n, seed=0, absent=0.4):
    """N rows of a Vector, a ragged and an even Series, and a Tabular, each absent in some rows."""
    rng = np.random.default_rng(seed)
    here = rng.random((n, 4)) >= absent
    here[:2] = True
    vector = rng.normal(3, 2, (n, 5)).astype(np.float32)
    vector[~here[:, 0]] = NAN
    ragged = [rng.normal(1, 4, (rng.integers(1, 6), 2)) if there else None for there in here[:, 1]]
    even = rng.normal(0, 1, (n, 3, 2))
    even[~here[:, 2]] = NAN
    table = pd.DataFrame(
        {
            "age": rng.normal(40, 10, n),
            "flag": rng.random(n) < 0.1,
            "town": rng.choice(["Ulm", "Bonn", "Kiel"], n),
        }
    ).astype({"flag": "boolean", "town": object})
    table.loc[rng.random(n) < 0.3, "age"] = NAN
    table.loc[rng.random(n) < 0.3, "town"] = None
    table.loc[~here[:, 3], :] = None
    return {"vector": vector, "ragged": ragged, "even": even, "table": table}


def table_of(X, fitted_on=None):
    return read(X, bind(X if fitted_on is None else fitted_on, None))


def same(one, other):
    """Whether two Inputs are equal to the bit."""
    return (
        all(np.array_equal(one.values[name], other.values[name]) for name in one.names)
        and all(np.array_equal(one.lengths[name], other.lengths[name]) for name in one.lengths)
        and np.array_equal(one.presence, other.presence)
    )


def with_garbage(table, garbage):
    """The table with something else in its absent rows."""

    def spoil(own):
        there = own.present
        numeric, texts, sequences = own.numeric, own.categorical, own.series
        if numeric is not None:
            numeric = np.where(there[:, None], numeric, garbage).astype(numeric.dtype)
        if texts is not None:
            texts = np.where(there[:, None], texts, "garbage")
        if isinstance(sequences, list):
            junk = np.full((9, 7), garbage)
            sequences = [s if here else junk for s, here in zip(sequences, there, strict=True)]
        elif sequences is not None:
            sequences = np.where(there[:, None, None], sequences, garbage)
        return replace(own, numeric=numeric, categorical=texts, series=sequences)

    return Table({name: spoil(own) for name, own in table.cells.items()})


# ---- properties --------------------------------------------------------------------------------------


@given(st.integers(0, 50), st.sampled_from([NAN, np.inf, -np.inf, 1e30, 7.0]))
@settings(max_examples=40, deadline=None)
def test_absent_bytes_cannot_matter(seed, garbage):
    table = table_of(mixed(12, seed))
    spoilt = with_garbage(table, garbage)
    clean = Preprocessor().fit(table)
    assert same(clean.transform(table), clean.transform(spoilt))
    assert same(clean.transform(table), Preprocessor().fit(spoilt).transform(spoilt))


@given(st.integers(0, 50), st.lists(st.integers(0, 11), min_size=1, max_size=12))
@settings(max_examples=40, deadline=None)
def test_no_row_depends_on_another(seed, rows):
    X = mixed(12, seed)
    bound = bind(X, None)
    whole = Preprocessor().fit(read(X, bound))
    everything = whole.transform(read(X, bound))
    part = whole.transform(read(take(X, rows), bound))
    for name in ("vector", "table"):
        np.testing.assert_array_equal(part.values[name], everything.values[name][rows])
    for name in ("ragged", "even"):
        n_steps = part.values[name].shape[1]
        np.testing.assert_array_equal(part.lengths[name], everything.lengths[name][rows])
        np.testing.assert_array_equal(part.values[name], everything.values[name][rows, :n_steps])
        assert n_steps == max(1, part.lengths[name].max())


@given(st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_values_are_float32_and_zero_where_nothing_is(seed):
    table = table_of(mixed(12, seed))
    inputs = Preprocessor().fit(table).transform(table)
    np.testing.assert_array_equal(inputs.presence, table.presence)
    for m, name in enumerate(inputs.names):
        values = inputs.values[name]
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert not values[~table.presence[:, m]].any()
    for name, lengths in inputs.lengths.items():
        assert lengths.dtype == np.int64
        assert not lengths[~table.presence[:, inputs.names.index(name)]].any()
        padding = np.arange(inputs.values[name].shape[1]) >= lengths[:, None]
        assert not inputs.values[name][padding].any()


@given(st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_the_state_survives_json(seed):
    table = table_of(mixed(12, seed))
    fitted = Preprocessor().fit(table)
    state, arrays = fitted.state()
    again = Preprocessor.from_state(json.loads(json.dumps(state)), arrays)
    assert again.inputs == fitted.inputs
    assert same(again.transform(table), fitted.transform(table))
    assert json.dumps(again.state()[0]) == json.dumps(state)


# ---- against dull twins ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_vector_is_standardised_by_its_present_rows(dtype):
    rng = np.random.default_rng(0)
    X = rng.normal([5, -300, 0], [2, 10, 1e-3], (5000, 3)).astype(dtype)
    X[::3] = NAN
    table = table_of({"v": X})
    values = Preprocessor().fit(table).transform(table).values["v"]
    there = np.delete(X, np.s_[::3], axis=0).astype(np.float64)
    expected = (there - there.mean(axis=0)) / there.std(axis=0)
    np.testing.assert_allclose(
        np.delete(values, np.s_[::3], axis=0), expected, atol=1e-4 if dtype == np.float32 else 1e-6
    )


def test_a_large_mean_keeps_its_last_digits():
    times = 1.7e9 + np.arange(100.0)[:, None]
    table = table_of({"v": times})
    values = Preprocessor().fit(table).transform(table).values["v"]
    np.testing.assert_allclose(values, (times - times.mean()) / times.std(), rtol=1e-5)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e9 / 3, -1e-30])
def test_a_constant_column_becomes_zero(constant):
    X = np.full((1000, 2), constant)
    table = table_of({"v": X})
    fitted = Preprocessor().fit(table)
    np.testing.assert_allclose(fitted.transform(table).values["v"], 0, atol=1e-6)
    assert np.isfinite(fitted.transform(table_of({"v": np.full((1, 2), 1e18)})).values["v"]).all()


def test_series_are_standardised_by_all_their_steps():
    X = {"s": [np.array([[1.0], [2.0]]), None, np.array([[6.0]])]}
    table = table_of(X)
    inputs = Preprocessor().fit(table).transform(table)
    scale = np.std([1, 2, 6])
    np.testing.assert_allclose(
        inputs.values["s"][..., 0], [[-2 / scale, -1 / scale], [0, 0], [3 / scale, 0]], rtol=1e-6
    )
    assert inputs.lengths["s"].tolist() == [2, 0, 1]


def test_even_and_ragged_series_agree():
    cube = np.random.default_rng(0).normal(size=(6, 4, 2))
    cube[2] = NAN
    even = table_of({"s": cube})
    ragged = table_of({"s": [None if np.isnan(row).all() else row for row in cube]}, fitted_on={"s": cube})
    fitted = Preprocessor().fit(even)
    assert same(fitted.transform(even), fitted.transform(ragged))
    assert same(fitted.transform(even), Preprocessor().fit(ragged).transform(ragged))


def test_series_without_any_row_have_one_step():
    X = mixed(12)
    bound = bind(X, None)
    fitted = Preprocessor().fit(read(X, bound))
    inputs = fitted.transform(read({"vector": X["vector"]}, bound))
    for name in ("ragged", "even"):
        assert inputs.values[name].shape == (12, 1, 2)
        assert not inputs.lengths[name].any()


def test_a_table_by_hand():
    frame = pd.DataFrame(
        {"x": [1.0, 2.0, NAN, 6.0, NAN], "c": ["u", None, "v", "u", None], "f": [0, 1, 0, 1, NAN]}
    )
    table = table_of({"t": frame})
    fitted = Preprocessor().fit(table)
    values = fitted.transform(table).values["t"]
    known = np.array([1.0, 2.0, 6.0])
    low, high = np.percentile(known, [0.5, 99.5])
    x = np.array([low, 2, 2, high])  # the gap takes the median, 2
    f = np.array([0, 1, 0, 1.0])
    expected = np.stack(
        [
            (x - x.mean()) / x.std(),
            (f - f.mean()) / f.std(),
            [0, 0, 1, 0],  # x was missing
            [0, 1, 0, 0],  # c was missing; f never was, where the row is there
            [1, 0, 0, 1],  # u
            [0, 0, 1, 0],  # v
            [0, 0, 0, 0],  # unseen
        ],
        axis=1,
    )
    np.testing.assert_allclose(values[:4], expected, atol=1e-6)
    assert not values[4].any()
    assert fitted.inputs[0].width == 7
    new = read({"t": pd.DataFrame({"x": [1e9], "c": ["w"], "f": [NAN]})}, bind({"t": frame}, None))
    unseen = fitted.transform(new).values["t"][0]
    np.testing.assert_allclose(unseen, [expected[3, 0], 0, 0, 0, 0, 0, 1], atol=1e-6)


def test_a_rare_flag_is_no_outlier():
    flag = (np.arange(1000) == 7).astype(float)
    table = table_of({"t": pd.DataFrame({"flag": flag})})
    values = Preprocessor().fit(table).transform(table).values["t"][:, 0]
    assert values[7] > 10


def test_a_column_that_training_never_saw_stays_at_zero():
    frame = pd.DataFrame({"x": [1.0, 2.0], "never": [NAN, NAN]})
    bound = bind({"t": frame}, None)
    fitted = Preprocessor().fit(read({"t": frame}, bound))
    inputs = fitted.transform(read({"t": pd.DataFrame({"x": [1.0], "never": [5.0]})}, bound))
    assert inputs.values["t"][0, 1] == 0


def test_too_many_categories():
    frame = pd.DataFrame({"name": [f"n{i}" for i in range(MAX_CATEGORIES + 1)]})
    with pytest.raises(
        DataError, match="at most 1000 different texts; column 'name' of Tabular 't' has 1001; group"
    ):
        Preprocessor().fit(table_of({"t": frame}))


def test_tables_of_numbers_alone_and_texts_alone():
    X = pd.DataFrame({"a": [1.0, 2.0], "b": ["u", "v"]})
    table = read(X, bind(X, {"numbers": Tabular("a"), "texts": Tabular("b")}))
    inputs = Preprocessor().fit(table).transform(table)
    assert inputs.values["numbers"].tolist() == [[-1], [1]]
    assert inputs.values["texts"].tolist() == [[1, 0, 0], [0, 1, 0]]


# ---- rows, memory, disk ------------------------------------------------------------------------------


def test_rows_of_inputs():
    table = table_of(mixed(12))
    inputs = Preprocessor().fit(table).transform(table)
    part = inputs.rows(np.array([3, 1]))
    assert part.n_rows == 2
    assert part.names == inputs.names
    np.testing.assert_array_equal(part.values["ragged"], inputs.values["ragged"][[3, 1]])
    np.testing.assert_array_equal(part.lengths["ragged"], inputs.lengths["ragged"][[3, 1]])
    assert np.shares_memory(inputs.rows(slice(2, 5)).values["vector"], inputs.values["vector"])


def test_fitting_needs_little_memory(tmp_path):
    X = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.float32, shape=(40_000, 200))
    X[:] = np.random.default_rng(0).normal(size=(40_000, 200))
    X[::2] = NAN
    bound = bind(X, {"a": Vector(range(0, 150)), "b": Vector(range(150, 200))})
    tracemalloc.start()
    try:
        Preprocessor().fit(read(X, bound))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40e6, f"{peak / 1e6:.0f} MB"  # a float64 copy of the larger group alone would be 48 MB


BROKEN = {
    "nothing": ({}, {}),
    "no mapping": ([], {}),
    "an unknown kind": ({"modalities": [{"name": "a", "kind": "Text"}]}, {}),
    "no arrays": ({"modalities": [{"name": "a", "kind": "Vector"}]}, {}),
    "text": ({"modalities": [{"name": "a", "kind": "Vector"}]}, {"a.mean": "x", "a.std": "y"}),
}


@pytest.mark.parametrize(("state", "arrays"), BROKEN.values(), ids=BROKEN)
def test_a_broken_state_is_refused(state, arrays):
    with pytest.raises(
        CheckpointError, match="saved preprocessing holds the settings and arrays of each modality"
    ):
        Preprocessor.from_state(state, arrays)
