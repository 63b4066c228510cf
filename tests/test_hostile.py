"""Hostile inputs, from cells to the command line: one sentence, an absence where asked, or read."""

import os
import struct
import wave
import zlib

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from polymodal import Audio, Image, Series, Tabular, Text, Vector, Video, cli
from polymodal.data import door, raw, tables
from polymodal.encoders.table import Encoders
from polymodal.errors import CellTypeError, DataError, PresenceWarning, SchemaError


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch):
    monkeypatch.setenv("POLYMODAL_CACHE", "off")


def encoded(X, modalities):
    """From the door to numbers."""
    return Encoders().fit_transform(door.read(X, door.bind(X, modalities)))


def command(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return stopped.value.code, said.out, said.err


# ---- files -----------------------------------------------------------------------------------------------


def jpeg(path, size=(64, 64)):
    pixels = np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    PIL.Image.fromarray(pixels).save(path, "JPEG")
    return path


def truncated(path):
    content = jpeg(path).read_bytes()
    path.write_bytes(content[: len(content) // 2])


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def bomb(path):
    """100 bytes that say they are 20,000 x 20,000 pixels."""
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def sound(path, n_samples):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((9000 * np.sin(np.arange(n_samples))).astype("<i2").tobytes())
    return path


def half_animation(path):
    frames = [PIL.Image.effect_noise((40, 40), 50 + i) for i in range(4)]
    frames[0].save(path, "GIF", save_all=True, append_images=frames[1:])
    path.write_bytes(path.read_bytes()[:-900])


def locked(path):
    jpeg(path)
    path.chmod(0)


FILES = {  # what writes it, and why it cannot be read
    "truncated jpeg": (Image, truncated, "truncated"),
    "bomb": (Image, bomb, "more than 89478485 pixels, the value of PIL.Image.MAX_IMAGE_PIXELS"),
    "words": (Image, lambda path: path.write_text("no image"), "no known image format"),
    "directory": (Image, lambda path: path.mkdir(), "it is a directory"),
    "nothing there": (Image, lambda path: None, "there is no such file"),
    "empty file": (Image, lambda path: path.touch(), "the file is empty"),
    "no permission": (Image, locked, "it may not be read, permission denied"),
    "sound without samples": (Audio, lambda path: sound(path, 0), "a sound without samples"),
    "empty sound": (Audio, lambda path: path.touch(), "the file is empty"),
    "image as sound": (Audio, jpeg, "no sound that soundfile reads"),
    "sound as video": (Video, lambda path: sound(path, 99), "a file without a picture track"),
    "half a video": (Video, half_animation, "truncated"),
}


NEEDS = {"image as sound": "soundfile", "sound as video": "av"}


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """Writes a good file and a bad one; gives the kind, both paths and the reason."""
    real = os.access
    monkeypatch.setattr(  # the superuser may read everything
        raw.os, "access", lambda path, mode: real(path, mode) and os.stat(path).st_mode & 0o400 != 0
    )

    def write(case):
        kind, bad, reason = FILES[case]
        if case in NEEDS:
            pytest.importorskip(NEEDS[case])
        bad(tmp_path / "bad file")
        good = sound(tmp_path / "good", 999) if kind is Audio else tmp_path / "good"
        if kind is not Audio:
            PIL.Image.new("RGB", (9, 9)).save(good, "GIF")
        return kind, good, tmp_path / "bad file", reason

    return write


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_cannot_be_read_is_named_with_its_row_or_absent(case, hostile):
    kind, good, bad, reason = hostile(case)
    X = pd.DataFrame({"file": [str(good), str(bad), None], "x": 1.0})
    with pytest.raises(
        DataError, match=rf"1 of 3 rows of {kind.__name__} 'file' cannot: row 1 \({bad}: .*{reason}"
    ) as refused:
        encoded(X, {"file": kind(), "x": Vector()})
    assert "0x" not in str(refused.value)  # no name of an object in memory
    with pytest.warns(PresenceWarning, match=reason):
        table = encoded(X, {"file": kind(on_corrupt="absent"), "x": Vector()})
    assert table.presence.tolist() == [[True, True], [False, True], [False, True]]


@pytest.mark.parametrize("case", ["truncated jpeg", "bomb", "directory", "sound without samples"])
def test_the_command_line_says_so_in_one_line_or_goes_on_where_asked(case, hostile, tmp_path, capsys):
    kind, good, bad, reason = hostile(case)
    cells = [good.name, bad.name, ""] * 6
    lines = ["file,x,label", *(f"{cell},{i},{i % 2}" for i, cell in enumerate(cells))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    flags = [f"--{kind.__name__.lower()}", "file=file", "--vector", "x=x"]
    flags += ["--method", "robult", "--epochs", "1"]
    asked = ["fit", tmp_path / "t.csv", "--target", "label", "--out", tmp_path / "m", *flags]
    code, _, err = command(capsys, *asked)
    assert code == 2
    assert err.splitlines()[-1].startswith("polymodal: what a cell points to can be read; 6 of 18 rows")
    assert reason in err
    assert not (tmp_path / "m").exists()
    code, _, err = command(capsys, *asked, "--on-corrupt", "absent", "--set", "device=cpu")
    assert code == 0
    assert "6 of 18 rows" in err
    code, _, err = command(capsys, "predict", tmp_path / "m", tmp_path / "t.csv", "--out", tmp_path / "p.csv")
    assert code == 0
    assert len(tables.read(tmp_path / "p.csv")) == 18


def test_what_becomes_of_them_is_error_or_absent(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("p,label\na,0\nb,1\n")
    fit = ["fit", tmp_path / "t.csv", "--target", "label", "--out", tmp_path / "m", "--image", "p"]
    code, _, err = command(capsys, *fit, "--on-corrupt", "skip")
    assert code == 2
    assert "'skip'; choose one of them" in err


def test_a_very_wide_image_and_a_very_long_text_are_read(tmp_path):
    path = jpeg(tmp_path / "wide.jpg", (20_000, 8))
    texts = ["x" * 100_000, "word " * 20_000, "a", ""]
    table = encoded({"look": [path, None, None, None], "words": texts}, {"look": Image(), "words": Text()})
    assert np.isfinite(table.cells["look"].numeric[0]).all()
    assert np.isfinite(table.cells["words"].numeric).all()
    long = ["t,p", *(f'"{text}",{path.name}' for text in texts)]
    (tmp_path / "t.csv").write_text("\n".join(long))
    assert tables.read(tmp_path / "t.csv", texts=["t"])["t"].tolist() == texts


# ---- paths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["with space.png", "ünïcødé-图.png", "100%.png", "a'b\"c.png", "[1].png", "#1.png", "-o.png"]
)
def test_names_of_files_are_taken_as_they_are(name, tmp_path, capsys, monkeypatch):
    PIL.Image.new("RGB", (9, 9)).save(tmp_path / name)
    frame = pd.DataFrame({"p": [name, None]})
    tables.write(frame, tmp_path / "t.csv")
    read = tables.read(tmp_path / "t.csv", texts=["p"])
    assert encoded(read, {"p": Image()}).presence.tolist() == [[True], [False]]


@pytest.mark.parametrize(
    "url",
    ["http://a.org/1.png", "https://a.org/1.png?x=1", "s3://bucket/1.png", "file:///tmp/1.png", "HF://a"],
)
@pytest.mark.parametrize("kind", [Image, Audio, Video])
def test_a_url_is_not_fetched_and_the_sentence_says_so(url, kind):
    with pytest.raises(DataError, match=r"row 0 \(\S+: a URL, which is not fetched\)") as refused:
        encoded({"p": [url]}, {"p": kind()})
    assert url in str(refused.value)


def test_a_url_as_a_text_is_a_text_and_as_a_table_is_refused(capsys):
    assert encoded({"t": ["http://a.org", "b"]}, {"t": Text()}).presence.all()
    with pytest.raises(DataError, match=r"the URL https://a\.org/t\.csv came, which is not fetched; save it"):
        tables.read("https://a.org/t.csv")
    code, _, err = command(capsys, "encode", "https://a.org/t.csv", "--image", "p")
    assert code == 2
    assert "not fetched" in err


def test_a_tilde_is_the_users_own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    PIL.Image.new("RGB", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("p\n~/a.png\n")
    assert encoded(tables.read("~/t.csv", texts=["p"]), {"p": Image()}).presence.all()


def test_white_space_around_a_path_and_foreign_separators_are_shown(tmp_path):
    frame = pd.DataFrame({"p": ["a.png ", "b\\a.png"]})
    with pytest.raises(DataError, match=r"row 0 \('[^']*a\.png ': there is no such file\)"):
        encoded(frame, {"p": Image()})
    with pytest.raises(
        DataError, match=r"row 1 .*there is no such file, and \\ parts no folders here: write /"
    ):
        encoded(frame, {"p": Image()})


@pytest.mark.parametrize("kind", [Image, Audio, Video])
@pytest.mark.parametrize("cells", [[1, 2], [1.0, np.nan]])
def test_a_path_column_that_was_read_as_numbers_is_explained(kind, cells):
    with pytest.raises(CellTypeError, match=r"row 0, column 'p' .* read their column as text: tables.read"):
        encoded(pd.DataFrame({"p": cells}), {"p": kind()})


def test_paths_of_digits_are_kept_as_they_are_written(tmp_path, capsys):
    PIL.Image.new("RGB", (9, 9)).save(tmp_path / "007", "PNG")
    (tmp_path / "t.csv").write_text("p,title\n007,1984\n,2001\n")
    read = tables.read(tmp_path / "t.csv", texts=["p", "t*"])
    assert read["title"].tolist() == ["1984", "2001"]
    assert encoded(read, {"p": Image()}).presence.tolist() == [[True], [False]]
    assert command(capsys, "encode", tmp_path / "t.csv", "--image", "p")[0] == 2  # no cache here
    assert tables.read(tmp_path / "t.csv")["p"].tolist()[0] == 7.0


def test_rows_by_name_are_a_frame_to_be():
    rows = [{"t": "a"}, {"t": "b"}]
    with pytest.raises(DataError, match=r"a list of rows by name came; pass pandas\.DataFrame\(X\)"):
        door.bind(rows, {"t": Text()})
    assert encoded(pd.DataFrame(rows), {"t": Text()}).presence.all()


def test_a_set_has_no_order():
    with pytest.raises(DataError, match="Text 't' needs one cell a row; set came"):
        encoded({"t": {"a", "b"}}, {"t": Text()})


# ---- columns of any type ---------------------------------------------------------------------------------


def test_any_word_for_missing_is_absent(tmp_path):
    path = str(jpeg(tmp_path / "a.jpg"))
    missing = [None, np.nan, pd.NA, pd.NaT, float("nan"), np.datetime64("NaT")]
    frame = pd.DataFrame({"p": pd.Series([path, *missing], dtype=object)})
    frame["t"] = pd.Series(["", *missing], dtype=object)
    table = encoded(frame, {"p": Image(), "t": Text()})
    assert table.presence.tolist() == [[True, True]] + [[False, False]] * 6


def arrow(name):
    pyarrow = pytest.importorskip("pyarrow")
    types = {
        "string": pyarrow.string(),
        "large string": pyarrow.large_string(),
        "dictionary": pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
        "double": pyarrow.float64(),
        "list": pyarrow.list_(pyarrow.float64()),
        "lists": pyarrow.list_(pyarrow.list_(pyarrow.float64())),
        "binary": pyarrow.binary(),
        "date": pyarrow.date32(),
    }
    return pd.ArrowDtype(types[name])


TEXT_TYPES = ["str", "string", "string[python]", "string[pyarrow]", "category", "object", "arrow string"]


@pytest.mark.parametrize("dtype", [*TEXT_TYPES, "arrow large string", "arrow dictionary"])
def test_texts_paths_and_categories_of_any_dtype(dtype, tmp_path):
    if "pyarrow" in dtype:
        pytest.importorskip("pyarrow")
    path = str(jpeg(tmp_path / "a.jpg"))
    dtype = arrow(dtype.removeprefix("arrow ")) if dtype.startswith("arrow") else dtype
    frame = pd.DataFrame({c: pd.Series([path, None, path], dtype=dtype) for c in ("t", "p", "c")})
    table = encoded(frame, {"t": Text(), "p": Image(), "c": Tabular()})
    assert table.presence.tolist() == [[True] * 3, [False] * 3, [True] * 3]
    assert table.cells["c"].categorical.tolist() == [[path], [None], [path]]


def test_numbers_lists_and_bytes_that_pyarrow_holds(tmp_path):
    frame = pd.DataFrame(
        {
            "v": pd.Series([1.0, None], dtype=arrow("double")),
            "e": pd.Series([[1.0, 2.0], None], dtype=arrow("list")),
            "s": pd.Series([[1.0, 2.0, 3.0], None], dtype=arrow("list")),
            "m": pd.Series([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], None], dtype=arrow("lists")),
            "p": pd.Series([jpeg(tmp_path / "a.jpg").read_bytes(), None], dtype=arrow("binary")),
        }
    )
    table = encoded(frame, {"v": Vector(), "e": Vector(), "s": Series(), "m": Series(), "p": Image()})
    assert table.presence.tolist() == [[True] * 5, [False] * 5]
    assert table.cells["e"].numeric[0].tolist() == [1, 2]
    assert table.cells["s"].series[0].tolist() == [[1], [2], [3]]
    assert table.cells["m"].series[0].tolist() == [[1, 2], [3, 4], [5, 6]]
    dates = pd.DataFrame({"d": pd.Series([pd.Timestamp("2020").date()], dtype=arrow("date"))})
    with pytest.raises(CellTypeError, match=r"holds date .*turn dates into numbers"):
        encoded(dates, {"d": Tabular()})


def test_rows_count_by_position_whatever_the_index(tmp_path):
    path = str(jpeg(tmp_path / "a.jpg"))
    frame = pd.DataFrame({"t": ["a", None, "c"], "p": [None, path, path]})
    expected = encoded(frame, {"t": Text(), "p": Image()})
    for index in ([0, 0, 0], ["x", None, "x"], pd.MultiIndex.from_tuples([(0, 1), (0, 1), (2, 3)])):
        found = encoded(frame.set_axis(index), {"t": Text(), "p": Image()})
        np.testing.assert_array_equal(found.presence, expected.presence)
        np.testing.assert_array_equal(found.cells["t"].numeric, expected.cells["t"].numeric)


def test_columns_of_several_levels_are_refused_with_a_way_out():
    columns = pd.MultiIndex.from_tuples([("x", "t"), ("x", "n")])
    frame = pd.DataFrame([["a", 1.0], ["b", 2.0]], columns=columns)
    for declared in (None, {"t": Text("t")}, {"t": Text(0)}, {"x": Tabular("x")}):
        with pytest.raises(SchemaError, match=r"a MultiIndex of 2 levels came; join them by X\.columns ="):
            door.bind(frame, declared)
    frame.columns = ["_".join(map(str, names)) for names in frame.columns]
    assert encoded(frame, {"t": Text("x_t")}).presence.all()


@pytest.mark.parametrize("name", [1.5, None, pd.Timestamp("2020-01-01"), ("a",)])
def test_a_column_name_that_cannot_be_written_down_is_refused(name):
    frame = pd.DataFrame([["a", "b"]], columns=pd.Index([name, "t"], dtype=object))
    assert encoded(frame, {"t": Text("t")}).presence.all()
    with pytest.raises(SchemaError, match=r"column names are texts or integers; .* rename the columns"):
        door.bind(frame, {"q": Text(0)})


# ---- tables of files -------------------------------------------------------------------------------------


def read(tmp_path, content, name="t.csv", **options):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tables.read(path, **options)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_a_byte_order_mark_change_nothing(end, mark, tmp_path):
    found = read(tmp_path, mark + end.join(["t,p,n", 'a,"",1', ",x,2", '"b, c",y,', ""]))
    assert list(found.columns) == ["t", "p", "n"]
    assert found["t"].fillna("-").tolist() == ["a", "-", "b, c"]
    assert found["p"].tolist() == ["", "x", "y"]
    assert found["n"].fillna(0).tolist() == [1, 2, 0]


def test_line_ends_inside_a_text_stay(tmp_path):
    assert read(tmp_path, 't,n\r\n"a\r\nb",1\r\n')["t"].tolist() == ["a\r\nb"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_an_empty_line_of_a_single_column_is_absent(end, tmp_path):
    assert read(tmp_path, end.join(["t", "a", "", "b", ""]))["t"].isna().tolist() == [False, True, False]


def test_json_lines_from_windows_and_with_rare_line_ends_inside_texts(tmp_path):
    found = read(tmp_path, '\ufeff{"t": "a\u2028b\x85"}\r\n\r\n{"t": null}\r\n', "t.jsonl")
    assert found["t"].tolist()[0] == "a\u2028b\x85"
    assert found["t"].isna().tolist() == [False, True]


def test_lists_that_are_no_numbers_stay_as_they_are(tmp_path):
    lines = '{"tags": ["war", "drama"], "odd": [[1], [2, 3]], "x": [1, null], "m": {"a": 1}}\n{"tags": []}\n'
    found = read(tmp_path, lines, "t.jsonl")
    assert found["tags"][0] == ["war", "drama"]
    assert found["odd"][0] == [[1], [2, 3]]
    np.testing.assert_array_equal(found["x"][0], [1, np.nan])
    assert found["m"][0] == {"a": 1}
    with pytest.raises(DataError, match=r"row 0 of Series 'odd' have 1, 2; give every step"):
        encoded(found, {"odd": Series()})


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_what_is_written_is_read_again(suffix, tmp_path):
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    texts = ["x\u2028y", "a\r\nb", "", None, ' "q", ', "NA", "\ue000"]
    table = pd.DataFrame({"t": texts, "n": [1.5, None, 2, 3, 4, 5, 6]})
    tables.write(table, tmp_path / f"t.{suffix}")
    pd.testing.assert_frame_equal(tables.read(tmp_path / f"t.{suffix}"), table)


BAD_TABLES = {
    "folder.csv": (None, "it is a directory"),
    "empty.csv": (b"", "the file is empty"),
    "empty.jsonl": (b"", "the file is empty"),
    "latin.csv": (
        "t\ncaf\u00e9\n".encode("cp1252"),
        r"is written in UTF-8; .*latin\.csv is not .*; save it so",
    ),
    "wide.csv": ("t\ncaf\u00e9\n".encode("utf-16"), "is written in UTF-8"),
    "no.parquet": (b"hello", "could not be read as parquet"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_a_table_that_cannot_be_read_is_one_sentence(name, tmp_path, capsys):
    content, words = BAD_TABLES[name]
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(DataError, match=words):
        tables.read(path)
    code, _, err = command(capsys, "fit", path, "--target", "y", "--out", tmp_path / "m")
    assert code == 2
    assert err.count("\n") == 1


# ---- sequences in a CSV file -----------------------------------------------------------------------------


def test_lists_in_a_csv_are_sequences_where_they_are_said_to_be(tmp_path):
    text = 'pulse,move,y\n"[1, 2.5, 3]","[[1, 2], [3, 4]]",0\n,,1\n[4],"[[5, 6]]",0\n[],[],1\n'
    found = read(tmp_path, text, series=["pulse", "mo*"])
    table = encoded(found, {"pulse": Series(), "move": Series()})
    assert table.presence.tolist() == [[True, True], [False, False], [True, True], [False, False]]
    assert [s.tolist() for s in table.cells["pulse"].series] == [[[1], [2.5], [3]], [], [[4]], []]
    assert table.cells["move"].series[0].tolist() == [[1, 2], [3, 4]]
    unsaid = tables.read(tmp_path / "t.csv")
    assert unsaid["pulse"][0] == "[1, 2.5, 3]"
    with pytest.raises(
        CellTypeError, match=r"row 0 holds '\[1, 2.5, 3\]' \(str\); .* tables.read\(path, series="
    ):
        encoded(unsaid, {"pulse": Series()})


@pytest.mark.parametrize(
    "cell", ["1 2 3", "[1", '"[1, ""a""]"', '"[[1], [2, 3]]"', '"{""a"": 1}"', '""', "5x"]
)
def test_another_text_is_no_list(cell, tmp_path):
    with pytest.raises(DataError, match=r"a JSON list of numbers; row 1, column 's', holds .*; write"):
        read(tmp_path, f"s,y\n[1],0\n{cell},1\n", series=["s"])


def test_columns_of_numbers_are_steps(tmp_path):
    found = read(tmp_path, "t1,t2,t10,y\n1,2,3,0\n,,,1\n4,5,6,0\n", series=["t*"])
    table = encoded(found, {"s": Series("t*")})
    assert table.cells["s"].series[[0, 2]].tolist() == [[[1], [2], [3]], [[4], [5], [6]]]
    assert table.presence.tolist() == [[True], [False], [True]]
    schema = door.bind(found, {"s": Series("t*")})
    assert door.read(found[1:2], schema).presence.tolist() == [[False]]
    with pytest.raises(DataError, match="a Series is present or absent as a whole; row 1, column 't2' of"):
        door.read(found.assign(t1=1.0, t10=1.0), schema)
    lists = pd.DataFrame({"t1": [[1.0]], "t2": [[1.0]], "t10": [[1.0]]})
    with pytest.raises(DataError, match="row 0 of Series 's' has width 3 instead of 1"):
        door.read(lists, schema)


def test_the_command_line_reads_sequences_from_a_csv(tmp_path, capsys):
    random = np.random.default_rng(0)
    lines = ["pulse,s1,s2,y"]
    for i in range(60):
        steps = ", ".join(f"{v:.2f}" for v in random.normal(size=3 + i % 4) + i % 2)
        pulse = f'"[{steps}]"' if i % 5 else ""
        lines.append(f"{pulse},{i % 2},{random.normal():.2f},{i % 2}")
    (tmp_path / "t.csv").write_text("\r\n".join(lines))
    series = ["--series", "heart=pulse", "--series", "step=s*"]
    quick = ["--method", "robult", "--epochs", "1", "--set", "d_latent=8", "--set", "device=cpu"]
    out = tmp_path / "m"
    code, _, err = command(capsys, "fit", tmp_path / "t.csv", "--target", "y", "--out", out, *series, *quick)
    assert (code, err.count("polymodal:")) == (0, 0)
    assert command(capsys, "predict", out, tmp_path / "t.csv", "--out", tmp_path / "p.csv")[0] == 0
    (tmp_path / "t.csv").write_text("pulse,y\n1 2 3,0\n")
    code, _, err = command(capsys, "predict", out, tmp_path / "t.csv", "--out", tmp_path / "p.csv")
    assert code == 2
    assert "row 0, column 'pulse', holds '1 2 3'" in err
