"""The house keeps its shape: imports go one way, the public face is small, nothing heavy loads unasked."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import polymodal

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "polymodal"

# Rooms from left to right: a room imports from its own place or from further left.
ROOMS = [
    {"errors", "progress"},
    {"batch", "schema"},
    {"data"},
    {"encoders"},
    {"blocks", "losses"},
    {"partition"},
    {"partitioned"},
    {"methods"},
    {"metrics", "checkpoint"},
    {"training"},
    {"prediction"},
    {"evaluation", "ranking", "retrieval"},
    {"calibration", "conformal", "attribution", "information"},
    {"acquisition"},
    {"plots"},
    {"estimators"},
    {"health"},
    {"bench"},
    {"suite"},
    {"explanation"},
    {"report"},
    {"demo"},
    {"doctor"},
    {"cli"},
]
PLACE = {room: place for place, rooms in enumerate(ROOMS) for room in rooms}
FILES = sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "polymodal":
            names = [f"polymodal.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module or ""]
        rooms |= {name.split(".")[1] for name in names if name.startswith("polymodal.")}
    return rooms & set(PLACE)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_only_point_left(path):
    room = room_of(path)
    if room == "__init__":
        return
    assert room in PLACE, f"{room} has no place in the line of rooms"
    wrong = {other for other in imported_rooms(path) if PLACE[other] > PLACE[room]}
    assert not wrong, f"{room} imports from its right: {sorted(wrong)}"


def test_public_face_is_sorted_and_complete():
    assert polymodal.__all__ == sorted(polymodal.__all__)
    for name in polymodal.__all__:
        assert getattr(polymodal, name) is not None
    assert set(polymodal.__all__) == set(polymodal._HOMES)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Robolt'"):
        _ = polymodal.Robolt


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, polymodal, polymodal.cli\n"
        "print(sorted({'torch', 'pandas', 'sklearn', 'matplotlib', 'numpy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_importing_the_estimators_loads_no_extra():
    code = (
        "import sys, polymodal.estimators, polymodal.bench\n"
        "extras = {'pyarrow', 'tensorboard', 'lightning', 'skorch', 'matplotlib'}\n"
        "print(sorted(extras & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() in ("[]", "['pyarrow']")  # pandas itself loads pyarrow where it is installed


UNPICKLER = SOURCE / "data" / "public" / "unpickle.py"


def test_nothing_in_the_source_unpickles():
    """But for one file, which reads pickles by an interpreter of its own that admits arrays alone."""
    pattern = re.compile(r"import pickle|pickle\.load|joblib\.load|torch\.load\(|allow_pickle=True")
    guilty = [path for path in FILES if pattern.search(path.read_text())]
    assert guilty == [UNPICKLER]
    text = UNPICKLER.read_text()
    assert pattern.findall(text) == ["import pickle"]
    assert re.findall(r"pickle\.\w*[Uu]npickler\b", text) == ["pickle._Unpickler"] * 2
    assert "super().find_class" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]], ids=" ".join
)
def test_the_linter_and_the_type_checker_are_content(command):
    found = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
