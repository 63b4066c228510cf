"""Raw cells through the door: what is absent, what is refused, where relative paths begin."""

import json
import os
import warnings

import numpy as np
import pandas as pd
import PIL.Image
import pytest

import polymodal
from polymodal import Audio, Image, Tabular, Text, Vector, Video
from polymodal.data import door, missingness, raw, tables
from polymodal.data.cells import Place
from polymodal.errors import CellTypeError, CheckpointError, DataError, PresenceWarning, SchemaError
from polymodal.schema import from_json, to_json


def photo(path, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path)
    return path


def table(X, modalities, **options):
    return door.read(X, door.bind(X, modalities), **options)


def cells(values, modality, **options):
    read = table({"x": values}, {"x": modality}, **options).cells["x"]
    return read.raw, read.present.tolist()


# ---- what is present, and as what ----------------------------------------------------------------------


def test_an_empty_text_is_present_and_nothing_is_changed():
    found = cells(["a", "", None, np.nan, pd.NA, pd.NaT, "NA", "None", " x\n"], Text())
    assert found[0] == ["a", "", None, None, None, None, "NA", "None", " x\n"]
    assert found[1] == [True, True, False, False, False, False, True, True, True]


@pytest.mark.parametrize("dtype", [object, "str", "string", "category"])
def test_texts_of_any_dtype(dtype):
    frame = pd.DataFrame({"t": pd.Series(["a", None, ""], dtype=dtype)})
    read = table(frame, {"t": Text()}).cells["t"]
    assert read.raw == ["a", None, ""]
    assert read.present.tolist() == [True, False, True]


def test_an_image_is_a_path_bytes_an_array_or_an_image(tmp_path):
    path = photo(tmp_path / "a.png")
    content, opened, array = path.read_bytes(), PIL.Image.new("L", (4, 5)), np.zeros((4, 5), np.uint8)
    values = [path, str(path), content, bytearray(content), opened, array, None]
    found, present = cells(values, Image())
    assert found[:4] == [path, path, content, content]
    assert found[4] is opened
    assert found[5] is array
    assert present == [True] * 6 + [False]


def test_images_stacked_in_an_array_are_one_a_row():
    found, present = cells(np.zeros((3, 4, 5, 3), np.uint8), Image())
    assert [cell.shape for cell in found] == [(4, 5, 3)] * 3
    assert present == [True] * 3


def test_cells_as_hugging_face_holds_them(tmp_path):
    path = photo(tmp_path / "a.png")
    values = [
        {"bytes": b"x", "path": "a.png"},
        {"bytes": None, "path": str(path)},
        {"bytes": None, "path": None},
    ]
    assert cells(values, Image()) == ([b"x", path, None], [True, True, False])
    samples = np.zeros(4, np.float32)
    found, _ = cells([{"path": None, "array": samples, "sampling_rate": 8000}], Audio())
    assert found[0][0] is samples
    assert found[0][1] == 8000


def test_an_array_of_sound_has_the_declared_rate_or_its_own():
    samples = np.zeros(4, np.float32)
    found, present = cells([samples, (samples, 8000), None, np.full(4, np.nan)], Audio(rate=16_000))
    assert [cell and cell[1] for cell in found] == [16_000, 8000, None, None]
    assert present == [True, True, False, False]


def test_a_column_of_a_2_d_array():
    X = np.array([["a", 1.0], [None, 2.0], ["", 3.0]], dtype=object)
    schema = door.bind(X, {"t": Text(0), "v": Vector(1)})
    assert door.read(X, schema).cells["t"].raw == ["a", None, ""]
    hidden = door.restrict(X, schema, ["v"])
    assert door.read(hidden, schema).cells["t"].present.tolist() == [False] * 3


def test_a_2_d_array_of_texts_can_be_restricted():
    X = np.array([["a", "b"], ["c", "d"]])
    schema = door.bind(X, {"t": Text(0), "u": Text(1)})
    read = door.read(door.restrict(X, schema, ["u"]), schema)
    assert read.presence.tolist() == [[False, True], [False, True]]


# ---- an absent cell is never looked at -------------------------------------------------------------------


def test_absent_cells_are_not_asked_for_their_status(tmp_path, monkeypatch):
    frame = pd.DataFrame({"p": [str(photo(tmp_path / "a.png")), None], "n": [1.0, 2.0]})
    schema = door.bind(frame, {"p": Image(), "n": Vector()})
    asked = []
    real = os.stat
    monkeypatch.setattr(raw.os, "stat", lambda path, **k: asked.append(str(path)) or real(path, **k))
    door.read(frame, schema)
    assert [path for path in asked if path.endswith(".png")] == [frame.p[0]]
    asked.clear()
    door.read(door.restrict(frame, schema, ["n"]), schema)
    assert not [path for path in asked if path.endswith(".png")]


def test_nothing_is_opened_at_the_door(tmp_path, monkeypatch):
    path = tmp_path / "no image.png"
    path.write_bytes(b"no image")

    def refuse(*_, **__):
        raise AssertionError("the door opens nothing")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("io.open", refuse)
    assert cells([path], Image()) == ([path], [True])


def test_a_modality_whose_column_is_gone_is_absent(tmp_path):
    frame = pd.DataFrame({"t": ["a", "b"], "n": [1.0, 2.0]})
    schema = door.bind(frame, {"t": Text(), "n": Vector()})
    read = door.read(frame[["n"]], schema)
    assert read.cells["t"].raw == [None, None]
    assert read.presence.tolist() == [[False, True]] * 2


# ---- a table passes the door again -----------------------------------------------------------------------


def test_a_table_is_taken_restricted_and_read_again(tmp_path):
    X = {
        "t": ["a", None, "c"],
        "v": np.arange(6.0).reshape(3, 2),
        "s": [np.ones((2, 1)), None, np.ones((1, 1))],
        "f": pd.DataFrame({"n": [1.0, np.nan, 3.0], "c": ["x", "y", None]}),
    }
    schema = door.bind(X, {"t": Text(), "v": Vector(), "s": polymodal.Series(), "f": Tabular()})
    read = door.read(X, schema)
    assert door.read(read, schema) is read
    assert door.n_rows(read) == 3
    assert door.bind(read, None) == schema

    for rows in (slice(1, 3), np.array([2, 0]), np.array([True, False, True])):
        once, again = door.read(door.take(X, rows), schema), door.take(read, rows)
        for name in schema:
            for part in ("present", "numeric", "raw"):
                left, right = getattr(once.cells[name], part), getattr(again.cells[name], part)
                np.testing.assert_array_equal(left, right)
        assert again.cells["f"].categorical.tolist() == once.cells["f"].categorical.tolist()
        assert [len(s) for s in again.cells["s"].series] == [len(s) for s in once.cells["s"].series]
    kept = door.restrict(read, schema, ["v", "t"])
    np.testing.assert_array_equal(kept.presence, read.presence & [True, True, False, False])


def test_a_table_that_lacks_a_modality_throughout_is_refused_for_fitting():
    X = {"t": ["a", "b"], "v": np.ones((2, 1))}
    schema = door.bind(X, {"t": Text(), "v": Vector()})
    read = door.restrict(door.read(X, schema), schema, ["v"])
    with pytest.raises(DataError, match="'t' is absent in every row"):
        door.read(read, schema, fitting=True)


# ---- one sentence for each bad input ---------------------------------------------------------------------

SOUND = np.zeros(4, np.float32)
BAD_CELLS = {
    "a number as text": (["a", 5], Text(), r"a Text is a text; row 1 of Text 'x' holds 5 \(int\); turn it"),
    "bytes as text": ([b"a"], Text(), r"holds b'a' \(bytes\)"),
    "a list as text": ([["a", "b"]], Text(), r"holds \['a', 'b'\] \(list\)"),
    "a number as image": ([3], Image(), r"an Image is a path, bytes, .*; row 0 of Image 'x' holds 3 \(int\)"),
    "floats as image": ([np.zeros((2, 2))], Image(), r"an array \(2, 2\) of float64; convert it to 0..255"),
    "five channels": ([np.zeros((2, 2, 5), np.uint8)], Image(), r"an array \(2, 2, 5\) of uint8"),
    "no pixels": ([np.zeros((0, 2), np.uint8)], Image(), r"an array \(0, 2\) of uint8"),
    "no rate": (
        [SOUND],
        Audio(),
        r"an array of rate None; pass \(array, rate\), or declare Audio\(rate=...\)",
    ),
    "a rate of words": ([(SOUND, "fast")], Audio(), "an array of rate fast"),
    "stereo": ([np.zeros((2, 4))], Audio(rate=8), r"an array \(2, 4\) of float64; average its channels"),
    "whole numbers as sound": ([np.zeros(4, np.int16)], Audio(rate=8), "of int16; .* divide integers"),
    "half a sound": (
        [np.array([0.0, np.nan])],
        Audio(rate=8),
        "finite throughout; .* nan at sample 1; fill it",
    ),
    "an array as video": ([np.zeros((2, 2))], Video(), "a Video is a path or bytes; row 0 of Video 'x'"),
}


@pytest.mark.parametrize("case", BAD_CELLS)
def test_cells_of_another_type_are_refused(case):
    values, modality, words = BAD_CELLS[case]
    with pytest.raises(CellTypeError, match=words):
        cells(values, modality)


def test_an_error_names_row_and_column_and_counts_from_the_first_row():
    frame = pd.DataFrame({"title": ["a", 1984]})
    schema = door.bind(frame, {"t": Text("title")})
    with pytest.raises(CellTypeError, match="row 101, column 'title' of Text 't' holds 1984"):
        door.read(frame, schema, first_row=100)


BAD_VALUES = {
    "one text": ("hello", "str came"),
    "a mapping": ({"a": 1}, "dict came"),
    "a number": (5, "int came"),
}


@pytest.mark.parametrize("case", BAD_VALUES)
def test_a_value_that_is_no_column_is_refused(case):
    value, words = BAD_VALUES[case]
    with pytest.raises(DataError, match=f"Text 'x' needs one cell a row; {words}"):
        raw.read(value, Place("x", "Text"), Text())


def bad_file(kind, folder, monkeypatch):
    """A path at which there is no file that could be read."""
    path = folder / "bad.png"
    if kind == "directory":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "below a file":
        path = photo(path) / "a.png"
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "forbidden":
        photo(path)
        monkeypatch.setattr(raw.os, "access", lambda p, mode: p != path)
    elif kind == "null":
        path = folder / "a\0b"
    elif kind == "no path":
        path = ""
    return path


FAULTS = {
    "missing": "there is no such file",
    "directory": "it is a directory",
    "empty": "the file is empty",
    "pipe": "it is no regular file",
    "below a file": "there is no such file",
    "loop": "it cannot be reached, Too many levels of symbolic links",
    "forbidden": "it may not be read, permission denied",
    "null": "it cannot be reached, embedded null byte",
    "no path": "'': an empty path",
}


@pytest.mark.parametrize("modality", [Image, Audio, Video])
@pytest.mark.parametrize("kind", FAULTS)
def test_a_file_that_cannot_be_read_is_refused_or_absent(kind, modality, tmp_path, monkeypatch):
    good, bad = photo(tmp_path / "good.png"), bad_file(kind, tmp_path, monkeypatch)
    values = [None, good, bad]
    name = modality.__name__
    with pytest.raises(
        DataError, match=rf"1 of 3 rows of {name} 'x' cannot: row 2 .*{FAULTS[kind]}\); correct"
    ):
        cells(values, modality())
    with pytest.warns(
        PresenceWarning, match=rf"1 of 3 rows of {name} 'x' cannot be read and count as absent"
    ):
        found = cells(values, modality(on_corrupt="absent"))
    assert found == ([None, good, None], [False, True, False])


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission(tmp_path):
    path = photo(tmp_path / "a.png")
    path.chmod(0)
    with pytest.raises(DataError, match="permission denied"):
        cells([path], Image())


def test_bytes_and_arrays_of_nothing_are_unreadable():
    with pytest.raises(DataError, match=r"row 0 \(0 bytes: there is nothing in it\)"):
        cells([b""], Image())
    with pytest.raises(DataError, match=r"row 0 \(tuple: it has no samples\)"):
        cells([np.zeros(0)], Audio(rate=8))


def test_five_rows_are_named_and_the_others_counted(tmp_path):
    values = [str(tmp_path / f"{i}.png") for i in range(12)]
    with pytest.raises(DataError) as refused:
        cells(values, Image())
    said = str(refused.value)
    assert "12 of 12 rows" in said
    assert [f"row {i} ({values[i]}: " in said for i in range(12)] == [True] * 5 + [False] * 7
    assert "and 7 more; correct them" in said


def test_a_text_among_paths_is_shown_in_part():
    with pytest.raises(DataError, match=r"once upon\\n.*\.\.\..*a time\\n") as refused:
        cells(["once upon\n" * 50 + "a time\n" * 50], Image())
    assert len(str(refused.value)) < 500


def test_readable_files_warn_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cells([photo(tmp_path / "a.png"), None], Image(on_corrupt="absent"))


# ---- declarations ----------------------------------------------------------------------------------------

BAD_DECLARATIONS = {
    "two columns": (Text(["t", "u"]), r"a raw modality is one column; Text 'x' names 't', 'u'"),
    "a pattern of two": (Text("*"), "a raw modality is one column"),
    "no encoder": (Text("t", encoder=None), "an encoder is a name, .*; Text 'x' has None"),
    "an empty name": (Text("t", encoder=""), "Text 'x' has ''"),
    "an encoder's class": (Text("t", encoder=dict), "Text 'x' has <class 'dict'>"),
    "on_corrupt": (Image("t", on_corrupt="skip"), "on_corrupt is .*; Image 'x' has 'skip'"),
    "rate": (Audio("t", rate=0), "rate is samples a second, 1 or more; Audio 'x' has 0"),
    "frames": (Video("t", n_frames=2.5), "n_frames is 1 or more; Video 'x' has 2.5"),
    "a class": (Text, "'x' is <class .*; write Text()"),
}


@pytest.mark.parametrize("case", BAD_DECLARATIONS)
def test_bad_declarations_are_refused(case):
    modality, words = BAD_DECLARATIONS[case]
    with pytest.raises(SchemaError, match=words):
        door.bind(pd.DataFrame({"t": ["a"], "u": ["b"]}), {"x": modality})


def test_a_column_of_texts_is_never_taken_for_raw_unasked():
    with pytest.raises(CellTypeError, match="declare it as"):
        table({"x": ["a", "b"]}, None)


def test_a_schema_comes_back_from_json():
    frame = pd.DataFrame({name: ["a"] for name in "tiav"})
    declared = {
        "t": Text(encoder="minilm"),
        "i": Image(on_corrupt="absent"),
        "a": Audio(encoder="log_mel_series", rate=np.int64(8000)),
        "v": Video(n_frames=3),
    }
    schema = door.bind(frame, declared)
    assert from_json(to_json(schema)) == schema


def test_an_encoder_of_the_users_is_given_to_the_reader():
    schema = door.bind(pd.DataFrame({"t": ["a"]}), {"t": Text(encoder=len)})
    written = json.loads(json.dumps(to_json(schema)))
    assert from_json(written, {"t": len}) == schema
    with pytest.raises(CheckpointError, match="'t' needs its len and nothing came; call polymodal"):
        from_json(written)


@pytest.mark.parametrize("setting", [{"rate": "x"}, {"encoder": 5}, {"on_corrupt": "skip"}, {"unknown": 1}])
def test_a_damaged_schema_is_refused(setting):
    entry = to_json(door.bind(pd.DataFrame({"a": ["x"]}), {"a": Audio()}))[0]
    with pytest.raises(CheckpointError, match="could not be read"):
        from_json([{**entry, "settings": {**entry["settings"], **setting}}])


# ---- files of rows ---------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with images in one of its own; the working directory is elsewhere."""
    (tmp_path / "rows" / "img").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for i in range(2):
        photo(tmp_path / "rows" / "img" / f"{i}.png", i)
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "rows"


def table_file(folder, form):
    path = folder / f"rows.{form}"
    if form == "csv":
        path.write_text('title,poster\n1984,img/0.png\n,\n"",img/../img/1.png\n007,\n')
    else:
        titles, posters = ["1984", None, "", "007"], ["img/0.png", None, "img/../img/1.png", None]
        tables.write(pd.DataFrame({"title": titles, "poster": posters}), path)
    return path


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_paths_begin_at_the_tables_file(folder, form, relative):
    path = table_file(folder, form)
    frame = tables.read(os.path.relpath(path) if relative else path, texts=["title", "poster"])
    read = table(frame, {"t": Text("title"), "p": Image("poster")})
    images = [folder / "img" / "0.png", None, folder / "img" / "1.png", None]
    assert read.cells["t"].raw == ["1984", None, "", "007"]
    assert read.cells["p"].raw == images


def test_paths_of_another_frame_begin_at_the_working_directory(folder, monkeypatch):
    frame = pd.DataFrame({"p": ["img/0.png"]})
    with pytest.raises(DataError, match=r"elsewhere/img/0\.png: there is no such file"):
        table(frame, {"p": Image()})
    monkeypatch.chdir(folder)
    assert table(frame, {"p": Image()}).cells["p"].raw == [folder / "img" / "0.png"]


EVERYTHING = missingness.PresenceMask(("poster",), np.ones((4, 1), dtype=bool), {"kind": "natural"})


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame[frame.title.notna()],
        lambda frame: frame.drop(columns=["title"]),
        lambda frame: frame.sample(frac=1, random_state=0).reset_index(drop=True),
        lambda frame: door.take(frame, np.array([0, 2])),
        lambda frame: {"poster": frame["poster"]},
        lambda frame: missingness.apply({"poster": frame["poster"]}, EVERYTHING),
    ],
)
def test_the_folder_stays_with_the_rows(folder, change):
    frame = change(tables.read(table_file(folder, "csv"), texts=["title", "poster"]))
    read = table(frame, {"p": Image("poster")}).cells["p"]
    assert {path for path in read.raw if path} == {folder / "img" / f"{i}.png" for i in range(2)}


def test_a_folder_can_be_named_by_hand(folder):
    frame = pd.DataFrame({"p": ["0.png"]})
    frame.attrs["folder"] = folder / "img"
    assert table(frame, {"p": Image()}).cells["p"].raw == [folder / "img" / "0.png"]


def test_a_text_column_of_a_csv_file_keeps_its_spelling(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n007,007\n,\n1e3,1\n")
    frame = tables.read(path, texts=["a", "not there"])
    assert frame.a.tolist()[::2] == ["007", "1e3"]
    assert pd.isna(frame.a[1])
    assert frame.b.tolist()[::2] == [7.0, 1.0]


def test_the_public_face_names_every_kind():
    for name in ("Text", "Image", "Audio", "Video"):
        assert name in polymodal.__all__
