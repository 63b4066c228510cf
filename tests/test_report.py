"""The report: what it holds, that words from data stay words, and how it behaves in a browser."""

import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from polymodal import (
    MethodClassifier,
    MethodRegressor,
    MultimodalClassifier,
    PgMClassifier,
    RobultClassifier,
    report,
)
from polymodal.cli import main
from polymodal.errors import DataError
from polymodal.estimators import shapley_table
from polymodal.metrics import accuracy
from polymodal.report import charts, svg, words
from polymodal.report.headline import subset_in_words

QUICK = {"max_epochs": 3, "random_state": 0, "device": "cpu"}
NAMES = ["<script>alert(1)</script>", 'b & "c"', "d"]
EVIL = "</style><b>x"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VOID = {"meta", "link", "br", "img", "input", "path", "rect", "circle"}


def rows(n=420, names=("a", EVIL, "c"), seed=0):
    random = np.random.default_rng(seed)
    codes = random.integers(0, 3, n)
    X = {}
    for i, name in enumerate(names):
        values = random.normal(size=(n, 4)) + (0.6 + 0.4 * i) * np.eye(4)[codes]
        values[(random.random(n) < 0.25) & (np.arange(n) % len(names) != i)] = np.nan
        X[name] = values
    return X, codes


def part(X, start, stop):
    return {name: values[start:stop] for name, values in X.items()}


@pytest.fixture(scope="module")
def data():
    X, codes = rows()
    return X, np.array(NAMES, dtype=object)[codes]


@pytest.fixture(scope="module")
def model(data):
    X, y = data
    fitted = RobultClassifier(**QUICK).fit(part(X, 0, 180), y[:180])
    return fitted.calibrate(part(X, 180, 300), y[180:300])


@pytest.fixture(scope="module")
def held(data):
    X, y = data
    return part(X, 300, 420), y[300:]


@pytest.fixture(scope="module")
def page(model, held, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    facts = model.report(*held, path, dataset="<i>set</i>")
    return facts, path


class Outline(HTMLParser):
    """Tags with their attributes; every one that opens must close."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


# ---- figures -------------------------------------------------------------------------------------


def test_figures_are_those_of_the_model(page, model, held):
    facts, _ = page
    X, y = held
    first = facts.table("headline", "methods").iloc[0]
    assert first["method"] == "robult"
    assert first["accuracy"] == pytest.approx(model.score(X, y))
    table = facts.table("combinations", "combinations")
    assert len(table) == 7
    expected = model.subset_report(X, y, metrics=["accuracy"])
    own = expected[(expected["metric"] == "accuracy") & (expected["method"] == "robult")]
    by_subset = dict(zip(own["subset"], own["value"], strict=True))
    assert dict(zip(table["subset"], table["value"], strict=True)) == pytest.approx(
        {subset: value for subset, value in by_subset.items() if subset != "observed"}
    )
    floor = expected[(expected["metric"] == "accuracy") & (expected["method"] == "late_fusion")]
    by_floor = dict(zip(floor["subset"], floor["value"], strict=True))
    assert table["floor:late_fusion"].tolist() == pytest.approx([by_floor[s] for s in table["subset"]])


def test_shapley_values_are_those_of_the_table(page, model, held):
    facts, _ = page
    expected = shapley_table(model, *held)
    assert facts.table("worth", "shapley")["value"].tolist() == pytest.approx(expected["value"].tolist())


def test_the_headline_agrees_with_its_figures(page):
    facts, _ = page
    methods = facts.table("headline", "methods")
    own, floors = methods.iloc[0], methods.iloc[1:]
    best = floors.loc[floors["accuracy"].idxmax()]
    sentence = facts.topics["headline"].sentences[0]
    assert words.share(own["accuracy"]) in sentence
    assert best["method"] in sentence
    gap = own["accuracy"] - best["accuracy"]
    if abs(gap) <= 2 * best["behind_error"]:
        assert "level with" in sentence
    else:
        assert ("above" if gap > 0 else "below") in sentence


def test_each_combination_is_predicted_once(model, held, monkeypatch):
    X, y = held
    other = MethodClassifier("umt", **QUICK).fit(X, y)
    seen = []
    prediction = MethodClassifier.prediction

    def counted(self, rows):
        seen.append(tuple(name for name, values in rows.items() if not np.isnan(values).all()))
        return prediction(self, rows)

    monkeypatch.setattr(MethodClassifier, "prediction", counted)
    monkeypatch.setattr("polymodal.report.facts.health.examine", lambda *_: [])
    report.gather(other, X, y)
    assert sorted(seen) == sorted(set(seen))
    assert len(seen) == 7


def test_of_many_rows_some_are_measured_and_the_page_says_so(data, held, monkeypatch):
    X, y = data
    other = MethodClassifier("umt", **QUICK).fit(part(X, 0, 300), y[:300])
    monkeypatch.setattr("polymodal.report.seen.MAX_PASSED_ROWS", 7 * 50)
    facts = report.gather(other, *held)
    assert facts.topics["data"].sentences[-1] == (
        "50 of the labelled rows were drawn for the figures of this page"
    )
    assert facts.table("combinations", "combinations")["n_rows"].max() <= 50


def test_unlabelled_rows_are_counted_and_no_more(model, held):
    X, y = held
    y = y.copy()
    y[:40] = None
    facts = report.gather(model, X, y)
    assert facts.topics["data"].sentences[0] == "120 rows, 80 of them with a label"
    assert facts.table("data", "patterns")["n_rows"].sum() == 120
    some = report.gather(model, part(X, 40, 120), y[40:])
    pd.testing.assert_frame_equal(
        facts.table("combinations", "combinations"), some.table("combinations", "combinations")
    )


def test_no_label_at_all_is_refused(model, held):
    X, y = held
    with pytest.raises(DataError, match="at least one row must be labelled"):
        report.gather(model, X, np.full(len(y), None, dtype=object))


def test_what_does_not_apply_is_left_out_with_a_reason(data, held, tmp_path):
    X, y = data
    plain = RobultClassifier(floors=False, **QUICK).fit({"a": np.nan_to_num(X["a"])}, y)
    path = tmp_path / "r.html"
    facts = plain.report({"a": np.nan_to_num(X["a"])}, y, path)
    assert set(facts.left_out) == {"missing", "worth", "coverage", "information", "partition"}
    text = path.read_text(encoding="utf-8")
    assert 'id="coverage"' not in text
    assert "calibrate(X, y)" in text
    assert "floor" not in facts.topics["headline"].sentences[0]


def test_a_partition_shows_its_gates(data, held, tmp_path):
    X, y = data
    facts = PgMClassifier(**QUICK).fit(part(X, 0, 300), y[:300]).report(*held, tmp_path / "r.html")
    assert facts.table("partition", "shares")["modality"].tolist() == list(X)
    assert "How the model divides its inputs" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_the_default_shows_its_generations(held, data, tmp_path):
    X, y = data
    few = y[:180].copy()
    few[::2] = None
    model = MultimodalClassifier(random_state=0, device="cpu").fit(part(X, 0, 180), few)
    facts = model.report(*held, tmp_path / "r.html")
    history = facts.table("training", "history")
    assert history["generation"].tolist() == list(range(len(model.history_)))
    assert history["validation_loss"].tolist() == [entry["validation_loss"] for entry in model.history_]
    assert model.stopping_rule_ in facts.topics["training"].sentences[0]
    assert set(facts.left_out) == {"coverage", "partition"}
    assert "Losses by generation" in (tmp_path / "r.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("calibrate", [False, True])
def test_a_regression_has_intervals_once_calibrated(calibrate, tmp_path):
    X, codes = rows(names=("a", "b"))
    y = codes + 0.1
    model = MethodRegressor("robult", **QUICK).fit(part(X, 0, 180), y[:180])
    if calibrate:
        model.calibrate(part(X, 180, 300), y[180:300])
    facts = model.report(part(X, 300, 420), y[300:], tmp_path / "r.html")
    assert facts.metric == "mae"
    assert ("coverage" in facts.topics) == calibrate
    assert ("calibration" in facts.left_out) != calibrate
    assert "mean absolute error" in facts.topics["headline"].sentences[0]


def test_label_sets(tmp_path):
    X, codes = rows(names=("a", "b"))
    y = np.stack([codes > 0, codes > 1], axis=1).astype(int)
    model = MethodClassifier("robult", **QUICK).fit(part(X, 0, 180), y[:180])
    model.calibrate(part(X, 180, 300), y[180:300])
    facts = model.report(part(X, 300, 420), y[300:], tmp_path / "r.html")
    assert facts.metric == "macro_f1"
    assert set(facts.table("map", "points")["group"]) == {"0 labels", "1 label", "2 labels"}


@pytest.mark.filterwarnings("ignore::polymodal.errors.CalibrationWarning")
def test_many_modalities_show_a_sample_of_combinations(tmp_path, monkeypatch):
    monkeypatch.setattr("polymodal.report.facts.N_SHAPLEY_SAMPLES", 2)
    X, codes = rows(names=[f"m{i}" for i in range(9)])
    model = RobultClassifier(max_epochs=1, random_state=0, device="cpu").fit(part(X, 0, 200), codes[:200])
    facts = model.report(part(X, 200, 420), codes[200:], tmp_path / "r.html")
    assert len(facts.table("combinations", "combinations")) == 256
    assert "a sample of 256 of the 511" in (tmp_path / "r.html").read_text(encoding="utf-8")
    assert len(facts.table("information", "pairs")) <= 15


# ---- the file ------------------------------------------------------------------------------------


def test_the_page_needs_nothing_else(page):
    text = page[1].read_text(encoding="utf-8")
    assert len(text) < 3_000_000
    assert re.findall(r"https?:|@import|url\(|src=", text) == []
    assert "default-src 'none'" in text
    assert page[1].parent.joinpath("report.html.part").exists() is False


def test_words_from_data_stay_words(page):
    text = page[1].read_text(encoding="utf-8")
    outline = Outline(text)
    assert outline.open == []
    assert sum(tag == "script" for tag, _ in outline.tags) == 1
    assert sum(tag == "style" for tag, _ in outline.tags) == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<i>set</i>" not in text
    assert not [attrs for _, attrs in outline.tags if any(name.startswith("on") for name in attrs)]


def test_pictures_have_words_and_headings_are_in_order(page):
    tags = Outline(page[1].read_text(encoding="utf-8")).tags
    pictures = [attrs for tag, attrs in tags if tag == "svg"]
    assert len(pictures) > 20
    assert all(attrs["role"] == "img" and attrs["aria-label"].strip() for attrs in pictures)
    headings = [tag for tag, _ in tags if re.fullmatch(r"h\d", tag)]
    assert headings[0] == "h1"
    assert set(headings[1:]) == {"h2"}
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {attrs["href"].removeprefix("#") for tag, attrs in tags if tag == "a"}
    assert targets <= set(ids)


def test_facts_as_json_hold_no_number_that_json_lacks(page):
    text = json.dumps(page[0].as_json(), allow_nan=False)
    assert json.loads(text)["topics"]["combinations"]["tables"]["combinations"][0]["size"] == 3


# ---- shapes and words ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (69.3, 100.4), (-3.2, 0.4), (1e-6, 3e-6), (5.0, 5.0), (0.0, 123456.0)]
)
def test_ticks_are_round_and_inside(low, high):
    ticks = svg.Scale(low, high, 0.0, 100.0).ticks()
    assert 1 <= len(ticks) <= 8
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)


def test_a_line_breaks_where_a_number_is_missing():
    path = svg.polyline([(0, 0), (1, 1), (2, np.nan), (3, 3), (4, 4)], "x")
    assert path.count("M") == 2
    assert "nan" not in path


def test_names_on_a_map_do_not_cover_each_other():
    names = [(50.0, 20.0, "sweep"), (55.0, 22.0, "mop"), (52.0, 40.0, "eat"), (400.0, 21.0, "far away")]
    placed = {words: (x, y) for x, y, words in charts._apart(names)}
    assert placed["sweep"] == (50.0, 20.0)
    assert placed["far away"] == (400.0, 21.0)
    heights = sorted(placed[name][1] for name in ("sweep", "mop", "eat"))
    assert min(np.diff(heights)) >= 13.0


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1234.5, "1,234"),
        (0.12345, "0.123"),
        (-2.0, "\N{MINUS SIGN}2.00"),
        (np.nan, words.ABSENT),
        (np.inf, "∞"),
        (999.7, "1,000"),
        (100.0, "100"),
        (0.0, "0"),
        (-8.6e-5, "\N{MINUS SIGN}0.0001"),
    ],
)
def test_numbers_in_words(value, expected):
    assert words.number(value) == expected


@pytest.mark.parametrize(
    ("subset", "expected"),
    [("a+b+c+d", "all 4 together"), ("a+c+d", "all but b"), ("b", "b alone"), ("a+b", "a + b")],
)
def test_subsets_in_words(subset, expected):
    assert subset_in_words(subset, "abcd") == expected


# ---- notebooks and terminals ---------------------------------------------------------------------


def test_a_fitted_estimator_shows_a_card(model):
    card = model._repr_html_()
    assert model._repr_mimebundle_()["text/html"] == card
    assert "calibrated" in card
    assert "&lt;/style&gt;" in card
    assert "<script>" not in card
    for name in ("a", "c"):
        assert f">{name}</td>" in card
    assert "RobultClassifier" in RobultClassifier()._repr_html_()


def test_the_verb_writes_the_page_and_says_the_same_in_short(tmp_path, capsys):
    X, codes = rows(names=("x", "y"))
    frame = pd.DataFrame({f"{name}_{i}": values[:, i] for name, values in X.items() for i in range(4)})
    frame["label"] = np.array(["p", "q", "r"])[codes]
    frame[:300].to_csv(tmp_path / "train.csv", index=False)
    frame[300:].to_csv(tmp_path / "test.csv", index=False)
    fit = ["fit", f"{tmp_path}/train.csv", "--target", "label", "--out", f"{tmp_path}/model"]
    fit += ["--method", "robult", "--epochs", "3"]
    fit += ["--vector", "x=x_*", "--vector", "y=y_*"]
    verb = ["report", f"{tmp_path}/model", f"{tmp_path}/test.csv", "--target", "label", "-o"]
    for command in (fit, [*verb, f"{tmp_path}/r.html"]):
        with pytest.raises(SystemExit) as stopped:
            main(command)
        assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert "robult reaches" in shown
    assert "\x1b[" not in shown
    assert "<title>test: robult</title>" in (tmp_path / "r.html").read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        main([*verb, f"{tmp_path}/r.html", "--json"])
    facts = json.loads(capsys.readouterr().out)
    assert facts["method"] == "robult"
    assert " ".join(facts["topics"]["headline"]["sentences"][0].split()) in " ".join(shown.split())


def test_words_from_data_are_not_markup_in_a_terminal(page):
    from rich.console import Console

    console = Console(width=160, record=True, file=io.StringIO())
    console.print(report.show(page[0]))
    assert EVIL in console.export_text()


# ---- a browser -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as play:
        opened = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser, page):
    def visit(**settings):
        context = browser.new_context(**settings)
        tab = context.new_page()
        tab.said = []
        tab.on("console", lambda message: tab.said.append(message.text))
        tab.on("pageerror", lambda error: tab.said.append(str(error)))
        tab.on("request", lambda request: tab.said.append(request.url) if request.url[:4] == "http" else None)
        tab.goto(page[1].as_uri())
        return tab

    return visit


def column(tab, place):
    """What the cells of a column of the first sortable table of combinations are sorted by."""
    return tab.eval_on_selector_all(
        "#combinations tbody tr", f"rows => rows.map(r => r.cells[{place}].dataset.v)"
    )


def test_nothing_is_said_on_the_console_and_nothing_is_asked_of_a_network(opened):
    tab = opened()
    assert tab.said == []
    assert tab.evaluate("document.styleSheets.length") == 1  # the policy lets it in


@pytest.mark.parametrize("how", ["click", "keyboard"])
def test_tables_sort(opened, how):
    tab = opened()
    button = tab.locator("#combinations thead th:nth-child(2) button")

    def press():
        if how == "click":
            button.click()
        else:
            button.focus()
            tab.keyboard.press("Enter")

    for direction in ("descending", "ascending"):
        press()
        assert button.locator("xpath=..").get_attribute("aria-sort") == direction
        values = [float(value) for value in column(tab, 1)]
        assert values == sorted(values, reverse=direction == "descending")
    tab.locator("#combinations thead th:nth-child(1) button").click()
    assert tab.locator("#combinations th[aria-sort]").count() == 1
    names = column(tab, 0)
    assert len(set(names)) == 7


def test_tables_copy_as_tab_separated_values(opened):
    tab = opened(permissions=["clipboard-read", "clipboard-write"])
    tab.locator("#combinations .copy").first.click()
    tab.wait_for_function("document.querySelector('#combinations .copy').textContent === 'Copied'")
    lines = tab.evaluate("navigator.clipboard.readText()").split("\n")
    assert len(lines) == 8
    assert lines[0].split("\t")[:2] == ["inputs", "accuracy [%]"]
    assert f"a+{EVIL}+c" in {line.split("\t")[0] for line in lines[1:]}


@pytest.mark.parametrize("width", [320, 375, 768, 1280])
def test_the_page_does_not_scroll_sideways(opened, width):
    tab = opened(viewport={"width": width, "height": 800})
    tab.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_light_and_dark(opened):
    def darkness(scheme):
        colour = opened(color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3

    assert darkness("light") > 240
    assert darkness("dark") < 40


def test_on_paper_everything_is_open(opened):
    tab = opened()
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("details:not([open])").count() == 0


def test_no_accuracy_of_a_report_is_made_up(page, model, held):
    """The share right from one input alone, counted by hand."""
    facts, _ = page
    X, y = held
    there = ~np.isnan(X["c"][:, 0])
    alone = {name: (v if name == "c" else np.full_like(v, np.nan))[there] for name, v in X.items()}
    codes = np.searchsorted(model.classes_.astype(str), y[there].astype(str))
    expected = accuracy(codes, model.predict_proba(alone))
    shown = facts.table("worth", "shapley").set_index("modality")["alone"]["c"]
    assert shown == pytest.approx(expected)
