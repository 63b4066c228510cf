"""polymodal data: list, info and check, in words and as JSON."""

import json
from dataclasses import replace

import pytest

from pictures import write_picture
from polymodal import cli
from polymodal.data import public, readers
from polymodal.data.public import mmimdb


@pytest.fixture
def command(capsys, monkeypatch):
    """Run one command with no data at hand; gives (exit code, standard output, standard error)."""
    monkeypatch.delenv("POLYMODAL_DATA", raising=False)

    def run(*arguments):
        with pytest.raises(SystemExit) as stopped:
            cli.main(["data", *(str(argument) for argument in arguments)])
        said = capsys.readouterr()
        return stopped.value.code, said.out, said.err

    return run


@pytest.fixture
def films(tmp_path, monkeypatch):
    """MM-IMDb with one film in each part, as if it had been published so."""
    monkeypatch.setattr(mmimdb, "MMIMDB", replace(mmimdb.MMIMDB, n_rows={"train": 1, "valid": 1, "test": 1}))
    parts = {"train": ["0000001"], "dev": ["0000002"], "test": ["0000003"]}
    (tmp_path / "split.json").write_text(json.dumps(parts))
    for (film,) in parts.values():
        write_picture(tmp_path / f"dataset/{film}.jpeg")
        (tmp_path / f"dataset/{film}.json").write_text('{"plot": ["A plot."], "genres": ["Drama"]}')
    return tmp_path


def test_list_names_every_set_with_what_is_known(command):
    code, out, _ = command("list")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0
    assert set(readers.available()) <= set(lines)
    assert lines["mfeat"].split()[1] == "multiclass"
    assert "25,959" in lines["mmimdb"]
    assert lines["wiki"].split()[1:] == ["-"] * 4


def test_list_as_json_has_the_same_facts_of_each_set(command):
    code, out, _ = command("list", "--json")
    facts = json.loads(out)
    assert code == 0
    assert [fact["name"] for fact in facts] == list(readers.available())
    assert len({tuple(fact) for fact in facts}) == 1
    (films,) = (fact for fact in facts if fact["name"] == "mmimdb")
    assert films["n_rows"] == 25959
    assert films["modalities"] == ["text: Text", "image: Image"]


@pytest.mark.parametrize("name", public.names())
def test_info_tells_of_every_published_set_without_its_files(command, name):
    code, out, _ = command("info", name, "--json")
    fact = json.loads(out)
    known = public.get(name)
    assert code == 0
    assert (fact["source"], fact["licence"], fact["citation"]) == (
        known.source,
        known.licence,
        known.citation,
    )
    assert fact["parts"] == dict(known.n_rows)
    assert all(
        isinstance(fact[text], str) and fact[text] for text in ("title", "source", "licence", "citation")
    )


def test_info_in_words_says_where_to_get_a_set_and_its_traps(command):
    code, out, _ = command("info", "meld")
    words = " ".join(out.split())
    assert code == 0
    for told in (
        "github.com/declare-lab/MELD",
        "train: 9,989; valid: 1,109; test: 2,610",
        "weighted_f1",
        "U+0092",
    ):
        assert told in words


def test_info_of_a_bundled_set_is_read_from_it(command):
    code, out, _ = command("info", "htad", "--json")
    fact = json.loads(out)
    assert code == 0
    assert (fact["n_rows"], fact["task"], fact["parts"]) == (1386, "multiclass", {})
    assert fact["modalities"] == ["audio: Vector", "accelerometer: Vector"]


def test_info_of_a_set_that_lies_nowhere_is_one_line(command):
    code, out, err = command("info", "wiki")
    assert (code, out) == (2, "")
    assert err.startswith("polymodal: wiki is not bundled and is read from a folder; none was given;")


@pytest.mark.parametrize("verb", [("info", "mmimd"), ("check", "mmimd", ".")])
def test_an_unknown_name_is_one_line(command, verb):
    code, out, err = command(*verb)
    assert (code, out) == (2, "")
    assert "'mmimd' came" in err


def test_check_finds_a_published_folder_right(command, films):
    code, out, _ = command("check", "mmimdb", films)
    assert code == 0
    assert out.splitlines() == [
        "right  split.json is there",
        "right  dataset/ is there",
        *(f"right  {part}: 1 rows, 1 published" for part in ("train", "valid", "test")),
    ]


def test_check_tells_what_is_wrong_one_line_each_and_exits_1(command, films):
    (films / "dataset/0000002.jpeg").unlink()
    code, out, _ = command("check", "mmimdb", films)
    assert code == 1
    assert out.splitlines()[2].startswith(
        "WRONG  mmimdb names files that lie in its folder; 1 of 3 are not there"
    )
    code, out, _ = command("check", "mmimdb", films / "nowhere", "--json")
    assert code == 1
    assert json.loads(out) == {
        "name": "mmimdb",
        "folder": str(films / "nowhere"),
        "is_right": False,
        "findings": [{"is_right": False, "what": f"{films / 'nowhere'} is no folder"}],
    }


def test_check_takes_a_variant_and_refuses_one_that_is_none(command, tmp_path):
    assert command("check", "food101", tmp_path, "--variant", "pages")[0] == 1
    code, _, err = command("check", "food101", tmp_path, "--variant", "tweets")
    assert code == 2
    assert "food101 has the variants titles, pages; 'tweets' came" in err


def test_check_of_another_set_reads_it(command, tmp_path):
    code, out, _ = command("check", "mfeat", tmp_path)
    assert code == 1
    assert out.startswith("WRONG  mfeat is read from the file")
    (tmp_path / "mfeat").mkdir()
    (tmp_path / "mfeat/mfeat.npz").symlink_to(readers.BUNDLED / "mfeat.npz")
    assert command("check", "mfeat", tmp_path)[:2] == (0, "right  2,000 rows\n")
