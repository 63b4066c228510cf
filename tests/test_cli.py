"""The command line: every verb once on small data, the rules of tables, and errors in one line."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer

from polymodal import cli, demo
from polymodal.cli import asked
from polymodal.cli.tables import labels_of
from polymodal.cli.verbs import app
from polymodal.data import tables
from polymodal.encoders.filling import Filled
from polymodal.errors import ConfigError, DataError
from polymodal.evaluation import COLUMNS


@pytest.fixture
def command(capsys):
    """Run one command; gives (exit code, standard output, standard error)."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            cli.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return stopped.value.code, said.out, said.err

    return run


@pytest.fixture(scope="module")
def rows_csv(tmp_path_factory):
    """120 rows, two modalities with gaps, two classes of which a third of the rows have none."""
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 120)
    lines = ["age,site,e0,e1,note,label,points"]
    for i in range(120):
        age = f"{40 + 10 * y[i] + random.normal():.2f}" if i % 5 or i % 7 == 0 else ""
        site = ["NA", "None", "", "b"][i % 4]
        emb = ",".join(f"{v:.3f}" for v in random.normal(size=2) + 2 * y[i]) if i % 7 else ","
        label = ["no", "yes"][y[i]] if i % 3 else ""
        lines.append(f"{age},{site},{emb},free text,{label},{y[i] + random.normal() / 9:.3f}")
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


FACTS = ("--tabular", "facts=age,site", "--vector", "emb=e0,e1")
QUICK = ("--method", "robult", "--epochs", "2", "--set", "device=cpu", "--set", "d_latent=8")


@pytest.fixture(scope="module")
def model(rows_csv):
    path = rows_csv.parent / "model"
    with pytest.raises(SystemExit) as stopped:
        cli.main(["fit", str(rows_csv), "--target", "label", "--out", str(path), *FACTS, *QUICK])
    assert stopped.value.code == 0
    return path


# ---- the verbs -------------------------------------------------------------------------------------------


def test_info_says_what_is_in_a_model(command, model):
    code, out, _ = command("info", model)
    assert code == 0
    assert "Tabular age, site" in out
    assert "no, yes" in out
    assert "of its floors" in out
    assert "d_latent=8" in out


def test_a_row_without_any_input_is_one_line_of_warning(command, model, tmp_path):
    (tmp_path / "t.csv").write_text("age,site,e0,e1\n41,b,,\n,,,\n,,,\n")
    code, _, err = command("predict", model, tmp_path / "t.csv", "--out", tmp_path / "p.csv")
    assert code == 0
    assert err.startswith("warning: 2 of 3 rows have no modality at all")
    assert err.count("\n") == 1


def test_sequences_come_in_json_lines(command, tmp_path):
    random = np.random.default_rng(0)
    rows = [
        {
            "pulse": (random.normal(size=3 + i % 4) + i % 2).tolist() if i % 4 else None,
            "emb": (random.normal(size=3) + i % 2).tolist(),
            "y": i % 2 if i % 3 else None,
        }
        for i in range(60)
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    modalities = ("--series", "heart=pulse", "--vector", "emb=emb")
    code, out, _ = command(
        "fit", tmp_path / "t.jsonl", "--target", "y", "--out", tmp_path / "m", *modalities, *QUICK
    )
    assert code == 0
    assert "60 rows, 40 of them labelled" in out
    code, _, _ = command("predict", tmp_path / "m", tmp_path / "t.jsonl", "--out", tmp_path / "p.jsonl")
    assert code == 0
    assert set(tables.read(tmp_path / "p.jsonl")["prediction"]) <= {0, 1}


def test_without_a_method_it_is_the_default(command, rows_csv, tmp_path):
    small = ("--set", "n_trees=5", "--set", "n_trees_judged=5", "--set", "floors=false")
    fit = ("fit", rows_csv, "--target", "label", "--out", tmp_path / "m", *FACTS, *small)
    code, out, _ = command(*fit)
    assert code == 0
    assert f"{tmp_path / 'm'}: committee on 120 rows" in out
    _, out, _ = command("info", tmp_path / "m")
    assert re.search(r"training +\d generations?; ", out)


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_predict_writes_a_prediction_and_probabilities_a_row(command, model, rows_csv, tmp_path, suffix):
    code, _, _ = command("predict", model, rows_csv, "--out", tmp_path / f"p.{suffix}")
    found = tables.read(tmp_path / f"p.{suffix}")
    assert code == 0
    assert list(found.columns) == ["prediction", "probability:no", "probability:yes"]
    assert len(found) == 120
    assert set(found["prediction"]) <= {"no", "yes"}
    assert np.allclose(found[["probability:no", "probability:yes"]].sum(axis=1), 1.0)


def test_evaluate_prints_and_writes_every_combination(command, model, rows_csv, tmp_path):
    out_file = tmp_path / "e.json"
    code, out, _ = command("evaluate", model, rows_csv, "--target", "label", "--out", out_file)
    rows = json.loads(out_file.read_text())
    assert code == 0
    assert "worst" in out
    assert list(rows[0]) == ["dataset", "method", "seed", "labels", "subset", "metric", "value"]
    assert {"facts", "emb", "facts+emb"} <= {row["subset"] for row in rows}
    observed = {
        r["method"]: r["value"] for r in rows if r["subset"] == "observed" and r["metric"] == "n_rows"
    }
    assert observed == dict.fromkeys(observed, 80.0)  # rows without a label are left out
    assert {"robult", "late_fusion"} <= set(observed)


def test_a_config_file_says_the_same_as_flags_and_flags_win(command, rows_csv, tmp_path):
    config = tmp_path / "fit.toml"
    config.write_text(
        f'table = "{rows_csv}"\ntarget = "points"\nout = "{tmp_path / "a"}"\nepochs = 50\n'
        '[tabular]\nfacts = ["age", "site"]\n[vector]\nemb = "e*"\n[set]\ndevice = "cpu"\nd_latent = 64\n'
    )
    code, out, err = command("fit", "--config", config, "--out", tmp_path / "b", *QUICK)
    assert (code, err) == (0, "")
    assert "120 of them labelled" in out
    assert not (tmp_path / "a").exists()
    _, out, _ = command("info", tmp_path / "b")
    assert "MethodRegressor" in out  # the target has fractions
    assert "2 epochs" in out
    assert "d_latent=8" in out
    code, _, _ = command("predict", tmp_path / "b", rows_csv, "--out", tmp_path / "p.csv")
    assert list(tables.read(tmp_path / "p.csv").columns) == ["prediction"]


def test_explain_prints_shares_and_writes_pictures(command, rows_csv, tmp_path):
    small = ("--set", "d_latent=4", "--set", "chunk=2", "--set", "d_token=4", "--set", "n_iterations=1")
    quick = ("--epochs", "2", "--set", "device=cpu", "--set", "floors=false", "--method", "pgm")
    fitted = ("fit", rows_csv, "--target", "label", "--out", tmp_path / "m", *FACTS, *quick, *small)
    assert command(*fitted)[0] == 0
    code, said, err = command("explain", tmp_path / "m", rows_csv, "--out", tmp_path / "e")
    assert (code, err) == (0, "")
    assert all(
        word in said for word in ("facts", "emb", "unassigned", "uni cut", f"Written to {tmp_path}/e: ")
    )
    tables = json.loads((tmp_path / "e" / "partition.json").read_text())
    assert [row["modality"] for row in tables["partition"]] == ["facts", "emb"]
    pictures = {path.name for path in (tmp_path / "e").glob("*.png")}
    assert pictures == {
        f"{n}.png" for n in ("shares", "gates", "features", "shares_by_epoch", "cuts_by_epoch")
    }


def test_explain_refuses_a_method_without_a_partition(command, model, rows_csv, tmp_path):
    code, _, err = command("explain", model, rows_csv, "--out", tmp_path / "e")
    assert code == 2
    assert "a model of Robult came" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "e").exists()


def test_bench_prints_a_table_and_writes_rows(command, tmp_path):
    out_file = tmp_path / "b.json"
    floors = "majority,late_fusion"
    code, out, _ = command(
        "bench", "mfeat", "--methods", floors, "--labels", "0.05", "--seeds", "1", "--out", out_file
    )
    assert code == 0
    assert "mfeat, 5% of the labels: accuracy" in out
    assert {row["method"] for row in json.loads(out_file.read_text())} == {"majority", "late_fusion"}


def test_bench_reads_a_variant_with_the_encoders_that_are_named(command, monkeypatch):
    asked = {}
    monkeypatch.setattr("polymodal.bench.cells", lambda dataset, methods, **more: asked.update(more) or [])
    command("bench", "fashion", "--variant", "attributes", "--encoder", "image=efficientnet_lite0")
    assert asked["variant"] == "attributes"
    assert asked["encoders"] == {"image": "efficientnet_lite0"}


def test_options_lists_methods_floors_and_every_setting(command):
    code, out, _ = command("options")
    assert code == 0
    assert all(name in out for name in ("robult", "actionmae", "mmin", "soft_self_training"))
    for method in ("robult", "actionmae", "mmin"):
        code, out, _ = command("options", method)
        assert code == 0
        assert "learning_rate=" in out
        assert "validation_fraction=" in out
    code, out, _ = command("options", "committee")  # learns without the training loop
    assert code == 0
    assert "n_trees=" in out
    assert "floors=" in out
    assert "max_epochs=" not in out


def test_doctor_names_versions_and_devices(command):
    code, out, _ = command("doctor")
    assert code == 0
    assert all(word in out for word in ("polymodal", "torch", "cpu", "extra parquet"))


def test_demo_judges_by_its_figures():
    def table(floor):
        values = {demo.METHOD: 0.9, "late_fusion": floor}
        rows = [("d", m, 0, 1.0, s, "accuracy", v) for m, v in values.items() for s in ("a", "b", "a+b")]
        return pd.DataFrame(
            rows, columns=["dataset", "method", "seed", "labels", "subset", "metric", "value"]
        )

    assert demo.verdict(table(0.8))[0] == (
        f"Mean over 3 combinations: {demo.METHOD} 0.900, best floor late_fusion 0.800; "
        "no floor beats the method."
    )
    assert demo.verdict(table(0.95))[0].endswith("late_fusion 0.950; the floor beats the method.")


AS_JSON = {
    "demo": "--out {}/demo",
    "fit": "ROWS --target label --out {}/m --tabular age,site --method robult --epochs 1",
    "encode": "{}/texts.csv --text note --encoder text=words",
    "predict": "MODEL ROWS --out {}/p.csv",
    "evaluate": "MODEL ROWS --target label",
    "bench": "mfeat --methods majority --seeds 1",
    "explain": "MODEL ROWS --out {}/e",
    "info": "MODEL",
    "options": "robult",
    "doctor": "",
    "report": "MODEL ROWS --target label --out {}/r.html",
    "data list": "",
    "data info": "htad",
    "data check": "mmimdb {}",
}


def verbs(group):
    """Names of all verbs, those of groups with their group."""
    for name, verb in group.commands.items():
        below = getattr(verb, "commands", None)
        yield from [name] if below is None else (f"{name} {own}" for own in below)


def test_every_verb_has_a_call_for_json():
    assert set(AS_JSON) == set(verbs(typer.main.get_command(app)))


@pytest.mark.parametrize("verb", AS_JSON)
def test_every_verb_prints_json_and_nothing_else(command, model, rows_csv, tmp_path, monkeypatch, verb):
    figures = pd.DataFrame([("d", "m", 0, 1.0, "a", "accuracy", np.nan)], columns=COLUMNS)
    monkeypatch.setattr("polymodal.demo.run", lambda out, show: show("words") or figures)
    shares = pd.DataFrame({"modality": ["a"], "uni": [np.nan]})
    monkeypatch.setattr("polymodal.explanation.write", lambda *_, **__: (shares, ["x.png"]))
    monkeypatch.setattr("polymodal.encoders.filling.fill", lambda *_, **__: {"text": Filled("e", 1, 0, 2)})
    (tmp_path / "texts.csv").write_text("note\nsome words\n")
    words = AS_JSON[verb].replace("MODEL", str(model)).replace("ROWS", str(rows_csv)).format(tmp_path)
    code, out, _ = command(*verb.split(), *words.split(), "--json")
    assert code == (1 if verb == "data check" else 0)
    assert json.loads(out, parse_constant=pytest.fail)


@pytest.mark.slow
def test_demo_writes_a_model_figures_and_a_curve(command, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "N_SEEDS", 1)  # for time
    out = tmp_path / "demo"
    code, said, _ = command("demo", "--out", out)
    assert code == 0
    assert "soft_self_training" in said
    assert "Mean over 63 combinations: committee" in said
    assert (out / "robustness.png").read_bytes()[:4] == b"\x89PNG"
    rows = json.loads((out / "results.json").read_text())
    assert {row["seed"] for row in rows} == {0}
    code, said, _ = command("info", out / "model")
    assert code == 0
    assert "Vector" in said


# ---- errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "read"),
    [("False", False), ("true", True), ("None", None), ("0.5", 0.5), ("[1, 2]", [1, 2]), ("l2", "l2")],
)
def test_settings_are_read_as_json_or_as_options_shows_them(value, read):
    assert asked.settings_of([f"name={value}"]) == {"name": read}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit"], "fit needs table"),
        (["fit", "no.csv", "--target", "y", "--out", "m"], "no.csv: there is no such file"),
        (["fit", "rows.xlsx", "--target", "y", "--out", "m"], "rows.xlsx came"),
        (["fit", "ROWS", "--target", "lable", "--out", "m"], "did you mean 'label'"),
        (["fit", "ROWS", "--target", "zzz", "--out", "m"], "which has 'age', 'site', "),
        (
            ["fit", "ROWS", "--target", "label", "--out", "m", "--text", "x=note", "--encoder", "q=tfidf"],
            "here 'x'; 'q' came",
        ),
        (["fit", "ROWS", "--target", "label", "--out", "m", "--method", "robolt"], "did you mean 'robult'"),
        (["fit", "ROWS", "--target", "label", "--out", "m", "--epochs", "9"], "9 came for committee"),
        (["fit", "ROWS", "--target", "label", "--out", "m", "--set", "x"], "write --set x=VALUE"),
        (["fit", "ROWS", "--target", "label", "--out", "m", *QUICK, "--set", "weigthing=l2"], "'weighting'"),
        (["fit", "ROWS", "--target", "label", "--out", "m", "--task", "cluster"], "'cluster' came"),
        (
            ["fit", "ROWS", "--target", "label", "--out", "m", "--vector", "a", "--vector", "b"],
            "NAME=COLUMNS",
        ),
        (
            ["fit", "ROWS", "--target", "label", "--out", "m", "--tabular", "v=a", "--vector", "v=b"],
            "rename one",
        ),
        (["fit", "ROWS", "--target", "label", "--out", "m", "--set", "joint=no"], "got 'no'"),
        (["fit", "ROWS", "--target", "label", "--out", "m", "--seed", "-1"], "-1 came; take 0"),
        (["fit", "--config", "no.toml"], "no.toml"),
        (["predict", "nowhere", "ROWS", "--out", "p.csv"], "nowhere"),
        (["info", "nowhere"], "nowhere"),
        (["bench", "mfeet"], "'mfeet' came"),
        (["bench", "mfeat", "--labels", "few"], "'few' came"),
        (["bench", "mfeat", "--methods", ","], "one of them is empty"),
        (["bench", "mfeat", "--methods", "robolt"], "'robolt' came"),
        (["bench", "mfeat", "--variant", "half"], "'half' came"),
        (["bench", "mfeat", "--encoder", "pix=tfidf"], "encoders are named for raw modalities"),
        (["options", "robolt"], "did you mean 'robult'"),
        (["fit", "--nonsense"], "--nonsense"),
        (["nonsense"], "nonsense"),
    ],
)
def test_an_error_is_one_line_and_exit_code_two(command, rows_csv, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, _, err = command(*(rows_csv if a == "ROWS" else a for a in arguments))
    assert code == 2
    assert err.startswith("polymodal: ")
    assert err.count("\n") == 1
    assert words in err
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_trace():
    with pytest.raises(DataError, match=r"no\.csv: there is no such file"):
        cli.main(["fit", "no.csv", "--target", "y", "--out", "m", "--debug"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tabel = 1", "did you mean 'table'"),
        ("vector = 'e*'", "vector in a config file is a table"),
        ("= 1", "mend it"),
    ],
)
def test_a_wrong_config_file_is_refused(tmp_path, text, words):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        asked.read_config(path)


# ---- tables ----------------------------------------------------------------------------------------------


def read_csv(tmp_path, text):
    path = tmp_path / "t.csv"
    path.write_text(text, encoding="utf-8")
    return tables.read(path)


def test_only_an_unquoted_empty_field_is_absent(tmp_path):
    found = read_csv(tmp_path, 'a,b,c\n1,NA,""\n,None,x\n3,,nan\n4,"",\n')
    assert found["a"].isna().tolist() == [False, True, False, False]
    assert found["a"].dtype == np.float64
    assert found["b"].tolist()[:2] == ["NA", "None"]
    assert found["b"].isna().tolist() == [False, False, True, False]
    assert found["b"][3] == ""
    assert found["c"].tolist()[:3] == ["", "x", "nan"]
    assert found["c"].isna().tolist() == [False, False, False, True]


@pytest.mark.parametrize(
    "field",
    ['"he said, "",""."', '",,"""', '""","""', '"two\nlines,"",ok"', '5"" x', '"a"",""b"'],
)
def test_quotes_inside_fields_are_no_empty_fields(tmp_path, field):
    import csv

    text = f'a,b,c\n{field},"",\n'
    _, expected = csv.reader(text.splitlines(keepends=True))
    found = read_csv(tmp_path, text)
    assert found["a"].tolist() == expected[:1]
    assert found["b"].tolist() == [""]
    assert found["c"].isna().all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,a\n1,2\n", "two columns are called 'a'"),
        ("a,b\n1,2,3\n", "could not be read as csv"),
        ("", "the file is empty"),
        ('a,b\n"1,2\n', "could not be read as csv"),
    ],
)
def test_a_broken_csv_is_refused(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        read_csv(tmp_path, text)


def test_json_lines_hold_arrays_and_absent_cells(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": [1, 2], "b": ""}\n{"a": null, "b": "NA"}\n\n{"a": [[1, 2], [3, 4]]}\n')
    found = tables.read(path)
    assert [np.shape(cell) for cell in found["a"]] == [(2,), (), (2, 2)]
    assert found["b"].tolist()[:2] == ["", "NA"]
    assert found["b"].isna().tolist() == [False, False, True]
    path.write_text("[1]\n")
    with pytest.raises(DataError, match="line 1 is not an object"):
        tables.read(path)


def test_parquet_round_trip(tmp_path):
    pytest.importorskip("pyarrow")
    table = pd.DataFrame({"a": [1.0, np.nan], "b": ["", None]})
    tables.write(table, tmp_path / "t.parquet")
    found = tables.read(tmp_path / "t.parquet")
    assert found.isna().equals(table.isna())
    assert found["b"][0] == ""


@pytest.mark.parametrize(
    ("column", "regression", "labels"),
    [
        (pd.Series(["a", None, "NA"]), False, ["a", None, "NA"]),
        (pd.Series([-1.0, np.nan, 2.0]), False, [-1, None, 2]),
        (pd.Series([-1, 1, 1]), False, [-1, 1, 1]),
        (pd.Series([True, None, False], dtype=object), False, [True, None, False]),
        (pd.Series([0.0, np.nan, 2.0]), True, [0.0, np.nan, 2.0]),
    ],
)
def test_an_empty_target_is_unlabelled(column, regression, labels):
    found = labels_of(column, regression=regression).tolist()
    np.testing.assert_equal(found, labels)
    assert [type(label) for label in found] == [type(label) for label in labels]


# ---- what is loaded --------------------------------------------------------------------------------------


def test_help_loads_nothing_heavy():
    code = (
        "import sys, polymodal, polymodal.cli\n"
        "try: polymodal.cli.main(['fit', '--help'])\n"
        "except SystemExit as stopped: assert stopped.code == 0\n"
        "print(sorted({'torch', 'pandas', 'sklearn', 'numpy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--target" in found.stdout
    assert found.stdout.splitlines()[-1] == "[]"


# ---- words that run --------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[1] / "docs" / "cli.md").read_text()


def documented_commands():
    block = re.search(r"```bash\n(.*?)```", PAGE, re.DOTALL)[1]
    return [shlex.split(line, comments=True) for line in block.splitlines()]


@pytest.mark.parametrize("words", documented_commands(), ids=lambda words: words[1])
def test_documented_options_exist(command, words):
    code, out, _ = command(words[1], "--help")
    assert code == 0
    assert all(word in out for word in words if word.startswith("--"))


def test_the_documented_config_is_read(tmp_path):
    path = tmp_path / "fit.toml"
    path.write_text(re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)[1])
    assert asked.read_config(path)["set"] == {"weighting": "l2"}


# ---- encode ------------------------------------------------------------------------------------------


@pytest.fixture
def album(tmp_path, monkeypatch):
    """Five rows: three images, one absent, one that is none; titles."""
    import PIL.Image

    monkeypatch.setenv("POLYMODAL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "files").mkdir()
    for i in range(3):
        PIL.Image.new("RGB", (9, 9), (70 * i, 0, 0)).save(tmp_path / "files" / f"{i}.png")
    (tmp_path / "files" / "3.png").write_text("no image")
    rows = ["poster,title", *(f"files/{i}.png,film {i}" for i in range(4)), ",film 4"]
    (tmp_path / "album.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "album.csv"


def test_encode_fills_the_cache_once(command, album, monkeypatch):
    from polymodal.encoders.image import Descriptors

    code, out, err = command("encode", album, "--image", "look=poster")
    assert (code, out) == (0, "look: 3 cells by descriptors, width 832, 1 cannot be read\n")
    assert "row 3" in err
    monkeypatch.setattr(Descriptors, "encode", None)  # nothing is left to encode
    assert command("encode", album, "--image", "look=poster")[0] == 0


def test_encode_refuses_what_cannot_be_cached(command, album, monkeypatch):
    assert "needs a column" in command("encode", album)[2]
    assert "'text' has 'tfidf'" in command("encode", album, "--text", "title")[2]
    assert "an encoder of Text is" in command("encode", album, "--text", "t=title", "--encoder", "t=bert")[2]
    assert (
        "did you mean 'look'" in command("encode", album, "--image", "look=poster", "--encoder", "lok=x")[2]
    )
    assert "write --encoder look=VALUE" in command("encode", album, "--encoder", "look")[2]
    monkeypatch.setenv("POLYMODAL_CACHE", "off")
    assert "POLYMODAL_CACHE switches it off" in command("encode", album, "--image", "poster")[2]
