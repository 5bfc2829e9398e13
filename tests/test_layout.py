"""The rules of the house: who may know what."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastbulk import _native

ROOT = Path(__file__).parent.parent
RUST = sorted((ROOT / "src").rglob("*.rs"))
PYTHON = sorted((ROOT / "python" / "fastbulk").rglob("*.py"))
#: The rooms and files that may import SQLAlchemy.
KNOW_SQLALCHEMY = {
    "accelerated",
    "orm",
    "carriers",
    "aio.py",
    "call.py",
    "errors.py",
    "keyed.py",
    "result.py",
    "returned.py",
    "retry.py",
    "several.py",
    "targets.py",
    "verbs.py",
}
BACKENDS = {"sqlite", "postgres", "mysql"}
#: The way to SQLite's handle, texts that SQLite borrows, rows that SQLite reads, the GIL that a
#: driver released, libraries that drivers have loaded, and rows that libpq holds.
MAY_BE_UNSAFE = {
    "src/sqlite/entry.rs",
    "src/sqlite/bind.rs",
    "src/sqlite/feed.rs",
    "src/gate.rs",
    "src/loaded.rs",
    "src/postgres/libpq.rs",
}
READS_PYTHON = re.compile(
    r"\.extract(\(|::)|\.try_iter\(|\bcast(_exact|_into|_into_exact)?::<Py|instance_of::<|"
    r"\.is_instance\(|\.get_item\(|\.call_method"
)


def code(path: Path) -> str:
    """A Rust file without its comments."""
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", path.read_text(), flags=re.DOTALL)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> set[str]:
    """The packages that a Python file imports."""
    packages = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            packages.add((node.module or "").partition(".")[0])
    return packages


def test_the_rules_look_at_something() -> None:
    assert len(RUST) > 15
    assert len(PYTHON) > 15
    assert any("sqlalchemy" in imported(path) for path in PYTHON)
    assert any(READS_PYTHON.search(code(path)) for path in RUST)
    assert any(re.search(r"\bunsafe\b", code(path)) for path in RUST)


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_sqlalchemy_is_known_in_few_rooms(path: Path) -> None:
    room = path.relative_to(ROOT / "python" / "fastbulk").parts[0]
    assert room in KNOW_SQLALCHEMY or "sqlalchemy" not in imported(path)


@pytest.mark.parametrize("path", RUST, ids=name)
def test_rust_does_not_know_sqlalchemy(path: Path) -> None:
    assert "sqlalchemy" not in code(path).lower()


@pytest.mark.parametrize("path", RUST, ids=name)
def test_a_backend_does_not_know_its_siblings(path: Path) -> None:
    room = path.relative_to(ROOT / "src").parts[0]
    if room in BACKENDS:
        siblings = BACKENDS - {room}
        assert not siblings & set(re.findall(r"\w+", code(path)))


@pytest.mark.parametrize("path", RUST, ids=name)
def test_only_the_input_reads_python_objects(path: Path) -> None:
    if path.relative_to(ROOT / "src").parts[0] != "input":
        assert not READS_PYTHON.search(code(path))


@pytest.mark.parametrize("path", RUST, ids=name)
def test_unsafe_code_stands_in_few_files(path: Path) -> None:
    if name(path) not in MAY_BE_UNSAFE:
        assert not re.search(r"\bunsafe\b|allow\(unsafe_code\)", code(path))


def test_the_native_module_is_described() -> None:
    stub = ast.parse((ROOT / "python" / "fastbulk" / "_native.pyi").read_text())
    described = {
        node.name for node in stub.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))
    }
    assert described == {name for name in dir(_native) if not name.startswith("_")}


def test_drivers_and_array_libraries_are_not_imported_before_they_are_needed() -> None:
    program = """
        import sys
        import fastbulk
        heavy = {"numpy", "pandas", "pyarrow", "polars", "duckdb", "tqdm", "psycopg", "psycopg2"}
        print(sorted(heavy & set(sys.modules)))
    """
    program = "\n".join(line.strip() for line in program.splitlines())
    command = [sys.executable, "-W", "error", "-c", program]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    assert ran.stdout == "[]\n"


def test_only_awaiting_needs_greenlet() -> None:
    program = "import sys; sys.modules['greenlet'] = None; import fastbulk; fastbulk.insert"
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
