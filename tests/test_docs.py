"""Words that run: every Python block of the README and of each page of documentation is executed."""

import importlib.util
import io
import json
import re
import runpy
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PHOTOS_AND_NOTES = ROOT / "examples" / "photos_and_notes.py"
EXAMPLES = sorted(set((ROOT / "examples").glob("*.py")) - {PHOTOS_AND_NOTES})
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    for number, block in enumerate(BLOCK.findall(page.read_text())):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target, heading in re.findall(r"\]\(([^)#:]*)#?([^):]*)\)", page.read_text()):
        there = page.parent / target if target else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not heading or heading in headings(there), f"{page.name} links to {target}#{heading}"


def headings(page):
    """Names by which links know the headings of a page: lower case, hyphens for spaces, no other marks."""
    lines = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in lines}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_examples_run(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")
    assert len(example.read_text().splitlines()) < 60


def write_thing(folder, kind, i, random):
    """A photo and a note of a cat or a boat; now and then one of them is missing, or the photo is damaged."""
    is_boat = kind == "boat"
    pixels = random.integers(0, 90, (24, 32, 3)) + np.array(
        [[[20, 60, 160]]] if is_boat else [[[160, 90, 20]]]
    )
    content = io.BytesIO()
    PIL.Image.fromarray(pixels.astype(np.uint8)).save(content, "JPEG")
    if i % 4:
        (folder / f"{i}.JPG").write_bytes(content.getvalue()[: 99 if i == 5 else None])
    if i % 4 != 1:
        words = ["sail", "harbour", "wave", "mast"] if is_boat else ["paw", "purr", "sofa", "whiskers"]
        (folder / f"{i}.txt").write_text(" ".join(random.choice(words, 4)))


@pytest.mark.filterwarnings("ignore::polymodal.errors.PresenceWarning")
def test_photos_and_notes_become_predictions(tmp_path, monkeypatch, capsys):
    random = np.random.default_rng(0)
    for i, kind in enumerate(["cat", "boat"] * 30):
        for folder in (tmp_path / kind, tmp_path / "unsorted"):
            folder.mkdir(exist_ok=True)
        write_thing(tmp_path / (kind if i < 48 else "unsorted"), kind, i, random)
    monkeypatch.setattr(sys, "argv", [str(PHOTOS_AND_NOTES), str(tmp_path)])
    runpy.run_path(str(PHOTOS_AND_NOTES), run_name="__main__")
    found = pd.read_csv(tmp_path / "predictions.csv", index_col=0)
    expected = ["boat" if int(name.split("/")[1]) % 2 else "cat" for name in found.index]
    assert found["prediction"].tolist() == expected
    assert len(found) == 12
    assert "12 predictions are in" in capsys.readouterr().out
    assert len(PHOTOS_AND_NOTES.read_text().splitlines()) < 40


def test_the_numbered_differences_of_pgm_are_those_of_the_code():
    source = ROOT / "src" / "polymodal"
    files = [source / "partition.py", source / "partitioned.py", source / "methods" / "pgm.py"]
    code = [int(n) for file in files for n in re.findall(r"NOTE\[DIFF (\d+)\]", file.read_text())]
    page = re.findall(r"^(\d+)\. ", (ROOT / "docs" / "pgm.md").read_text(), re.MULTILINE)
    assert sorted(code) == [int(n) for n in page] == list(range(1, len(page) + 1))


def test_the_page_of_pgm_has_every_setting():
    from polymodal.methods.pgm import PgMConfig

    page = (ROOT / "docs" / "pgm.md").read_text()
    assert [f.name for f in fields(PgMConfig) if f"`{f.name}`" not in page] == []


def test_the_gallery_has_every_picture_with_its_command():
    page = (ROOT / "docs" / "gallery.md").read_text()
    tool = (ROOT / "tools" / "gallery.py").read_text()
    shown = re.findall(r"\]\(gallery/(\w+)\.png\)", page)
    assert sorted(shown) == sorted(path.stem for path in (ROOT / "docs" / "gallery").iterdir())
    for name in shown:
        assert re.search(rf"^python tools/gallery\.py {name}\b", page, re.MULTILINE), name
        assert f"def {name}() -> Figure" in tool or f'REPORT = "{name}"' in tool
        assert (ROOT / "docs" / "gallery" / f"{name}.png").stat().st_size < 150_000


def test_the_readme_has_both_commands():
    text = (ROOT / "README.md").read_text()
    assert "<!-- demo command -->" in text
    assert "<!-- test command -->" in text


def test_the_readmes_table_of_speed_is_the_one_in_the_results():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import readme_table
    finally:
        sys.path.pop(0)
    assert readme_table.table() in (ROOT / "README.md").read_text()


@pytest.mark.parametrize(
    ("name", "first"), [("pgm", "main"), ("robult", "main"), ("raw", "mosi"), ("trust", "coverage")]
)
def test_the_tables_of_experiments_are_those_of_their_json(name, first):
    folder = ROOT / "experiments" / name
    if not (folder / f"{first}.json").exists():
        pytest.skip(f"experiments/{name} has not been run")
    spec = importlib.util.spec_from_file_location(f"{name}_tables", folder / "tables.py")
    tables = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = tables
    spec.loader.exec_module(tables)
    assert tables.text() == (folder / "TABLES.md").read_text()


def test_the_table_of_expected_worth_is_that_of_its_json():
    runs = json.loads((ROOT / "experiments" / "trust" / "acquisition.json").read_text())["runs"]
    figures = [
        *("expected", "observed", "correlation", "variance explained beyond each input's mean"),
        *("by row", "by pattern", "at random", "in hindsight"),
    ]
    page = (ROOT / "docs" / "worth.md").read_text()
    shown = re.findall(r"^\| [^|]+ \|((?: *(?:\.\d+)? *\|){3})$", page, re.MULTILINE)
    assert len(shown) == len(figures)
    for figure, cells in zip(figures, shown, strict=True):
        for own, cell in zip(runs.values(), cells.split("|"), strict=False):
            digits = len(cell.strip()) - 1
            if digits < 0:
                assert figure not in own[0]
                continue
            mean = np.mean([run[figure] for run in own])
            assert abs(float(cell) - mean) <= 0.5 * 10.0**-digits + 5e-5, (figure, cell, mean)


def test_the_table_of_the_default_retriever_is_that_of_its_json(monkeypatch):
    folder = ROOT / "experiments" / "default"
    monkeypatch.syspath_prepend(str(folder))
    spec = importlib.util.spec_from_file_location("default_retrieval", folder / "retrieval.py")
    retrieval = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(retrieval)
    assert retrieval.table() == (folder / "RETRIEVAL.md").read_text()


def test_the_tables_inside_pages_are_those_of_their_json():
    folder = ROOT / "experiments" / "pgm"
    if not all((folder / f"{name}.json").exists() for name in ("main", "fusion", "ablations", "stages")):
        pytest.skip("experiments/pgm has not been run")
    sys.path.insert(0, str(folder))
    try:
        import pages
    finally:
        sys.path.pop(0)
    assert [page.name for page in pages.PAGES] == ["pgm-fusion.md", "pgm-sensors.md", "pgm-stages.md"]
    for page in pages.PAGES:
        text = page.read_text()
        assert pages.MARKED.search(text)
        assert pages.filled(text) == text, f"{page.name}: python experiments/pgm/pages.py writes it anew"
