"""The layers of CONTRACTS.md, and what no module may do, read from the source of every module."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("nightshift", "flows", "tasks", "deployments")
MAX_LINES = 400

#: From the bottom up; a module imports its own part and lower ranks only.
RANKS: tuple[tuple[str, ...], ...] = (
    ("settings", "errors", "progress", "findings", "files", "validation", "family"),
    ("data", "problems", "edge"),
    ("nets",),
    ("graphs", "simulate", "driving", "trainer"),
    ("families",),
    ("plan", "tracking"),
    ("stages",),
    ("cli", "dashboard"),
)
RANK = {part: rank for rank, parts in enumerate(RANKS) for part in parts}
#: The bottom files and plan/tracking may use each other; parts of the other ranks may not.
OPEN_RANKS = {0, RANK["plan"]}
#: One reader makes rows of CAN frames in training and on the device: it lies in edge, and these alone use it from data.
SHARED_READER, READS_FRAMES = "nightshift.edge.can", "nightshift.data.importers.can."
EDGE_MAY_IMPORT = {"numpy", "onnxruntime", "nightshift"} | set(sys.stdlib_module_names)
MAY_IMPORT_PREFECT = ("flows", "tasks", "deployments", "nightshift.cli", "nightshift.dashboard")
#: What joblib has beside its reader of files, which runs what they hold.
RUNS_JOBS = {"Parallel", "delayed", "parallel_config", "cpu_count"}
#: The one module that reads such a file: only one whose hash this home wrote down when it saved it.
READS_JOBLIB = "nightshift.trainer.keep.joblib_file"


@dataclass(frozen=True)
class Module:
    name: str
    path: Path

    @cached_property
    def tree(self) -> ast.Module:
        """Its source, read when it is asked for: every process of the suite loads this file, and one runs it."""
        return ast.parse(self.path.read_text(encoding="utf-8"))

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All that its source holds."""
        return tuple(ast.walk(self.tree))

    @property
    def part(self) -> str:
        """Its part of `nightshift`, "" for the package itself."""
        pieces = self.name.split(".")
        return pieces[1] if len(pieces) > 1 else ""


@cache
def modules() -> tuple[Module, ...]:
    found = []
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            pieces = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(pieces[:-1] if pieces[-1] == "__init__" else pieces)
            found.append(Module(name, path))
    return tuple(found)


def imports(module: Module, *, typing_too: bool = True) -> Iterator[str]:
    """Yield every imported module, wherever the import stands."""
    skipped = set() if typing_too else _under_type_checking(module)
    for node in module.nodes:
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name}: relative import; every module has one spelling"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _under_type_checking(module: Module) -> set[ast.AST]:
    found: set[ast.AST] = set()
    for node in module.nodes:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            found.update(ast.walk(node))
    return found


def parts_imported(module: Module) -> set[str]:
    """Parts of `nightshift` that a module imports; family.py names upper types for the type checker alone."""
    names = imports(module, typing_too=module.name != "nightshift.family")
    return {n.split(".")[1] for n in names if n.startswith("nightshift.") and n.split(".")[1] in RANK}


def test_every_part_has_its_rank() -> None:
    unknown = {m.part for m in modules() if m.name.startswith("nightshift.")} - set(RANK)
    assert not unknown


def test_no_module_imports_a_higher_layer() -> None:
    wrong = [
        f"{m.name} -> nightshift.{part}"
        for m in modules()
        if m.part in RANK and m.name.startswith("nightshift.")
        for part in parts_imported(m)
        if RANK[part] > RANK[m.part]
    ]
    assert not wrong


def test_parts_of_one_brace_do_not_import_each_other() -> None:
    wrong = [
        f"{m.name} -> nightshift.{part}"
        for m in modules()
        if m.part in RANK and m.name.startswith("nightshift.") and RANK[m.part] not in OPEN_RANKS
        for part in parts_imported(m)
        if RANK[part] == RANK[m.part] and part != m.part and not (part == "edge" and _only_reads_frames(m))
    ]
    assert not wrong


def _only_reads_frames(module: Module) -> bool:
    of_edge = {n for n in imports(module) if n.startswith("nightshift.edge")}
    return module.name.startswith(READS_FRAMES) and all(n.startswith(SHARED_READER) for n in of_edge)


def test_only_the_composition_root_imports_flows_tasks_and_deployments() -> None:
    wrong = [
        f"{m.name} -> {name}"
        for m in modules()
        if m.name.startswith("nightshift") and m.part != "cli"
        for name in imports(m)
        if name.split(".")[0] in {"flows", "tasks", "deployments"}
    ]
    assert not wrong


def test_only_flows_tasks_deployments_and_the_command_import_prefect() -> None:
    wrong = [
        f"{m.name} -> {name}"
        for m in modules()
        if not m.name.startswith(MAY_IMPORT_PREFECT)
        for name in imports(m)
        if name.split(".")[0] == "prefect"
    ]
    assert not wrong


def test_the_edge_needs_the_base_install_and_nothing_of_the_rest() -> None:
    edge = [m for m in modules() if m.part == "edge"]
    foreign = {f"{m.name} -> {n}" for m in edge for n in imports(m) if n.split(".")[0] not in EDGE_MAY_IMPORT}
    upward = {
        f"{m.name} -> {n}"
        for m in edge
        for n in imports(m)
        if n.startswith("nightshift.") and not n.startswith(("nightshift.edge", "nightshift.errors"))
    }
    assert edge
    assert not foreign
    assert not upward


@pytest.mark.parametrize("module", [m for m in modules() if m.name != "nightshift.findings"], ids=lambda m: m.name)
def test_a_module_is_no_longer_than_a_reader_can_hold(module: Module) -> None:
    lines = len(module.path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{module.name} has {lines} lines"


def _forbidden(node: ast.AST) -> str:
    if isinstance(node, ast.Import | ast.ImportFrom):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        if names == ["joblib"] and isinstance(node, ast.ImportFrom) and {a.name for a in node.names} <= RUNS_JOBS:
            return ""
        return next((n for n in names if n.split(".")[0] in {"pickle", "joblib", "dill", "cloudpickle", "marshal"}), "")
    if not isinstance(node, ast.Call):
        return ""
    called = ast.unparse(node.func)
    keywords = {k.arg: k.value for k in node.keywords}
    if called in {"eval", "exec", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load"}:
        return called
    if called == "torch.load" and ast.unparse(keywords.get("weights_only", ast.Constant(False))) != "True":
        return "torch.load without weights_only=True"
    if "shell" in keywords and ast.unparse(keywords["shell"]) != "False":
        return f"{called}(shell=…)"
    return ""


def test_nothing_evaluates_text_or_loads_objects_from_files() -> None:
    wrong = [
        f"{m.name}:{getattr(node, 'lineno', 0)} {what}"
        for m in modules()
        for node in m.nodes
        if (what := _forbidden(node)) and (m.name, what) != (READS_JOBLIB, "joblib")
    ]
    assert not wrong


def test_the_checks_see_what_they_forbid() -> None:
    bad = [
        "import pickle",
        "import joblib",
        "from joblib import Parallel, load",
        "eval('1')",
        "subprocess.run('x', shell=True)",
        "torch.load(f)",
        "yaml.load(f)",
    ]
    assert all(any(_forbidden(n) for n in ast.walk(ast.parse(line))) for line in bad)
    assert not any(_forbidden(n) for n in ast.walk(ast.parse("torch.load(f, weights_only=True); yaml.safe_load(f)")))
