"""Without an optional package, the command line says which extra brings it, and nothing of a bug."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from e2e.story import ROOT, TIMEOUT_S, User
from tallystick.cli.extras import EXTRAS

BLOCKED = """
import sys

class Missing:
    def find_spec(name, path=None, target=None):
        if name in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing)
sys.argv = ["tally", *sys.argv[1:]]
from tallystick.cli import main
main()
"""
OWN_JOB = """
import numpy as np
import tallystick as ts

def job():
    {job}
"""
TRAINING = (
    "return ts.TrainingJob(model=object(), loss=lambda model, x: x, optimizer=ts.optim.SGD(lr=0.1), "
    "data={'x': np.zeros((4, 1), np.float32)}, batch_size=2, steps=2)"
)
PREPARING = "return ts.PreprocessingJob(prepare=lambda x: {'x': x}, data={'x': np.zeros((4, 1))}, chunk_rows=2)"


def run_without(user: User, names: list[str], text: str, *words: str) -> subprocess.CompletedProcess[str]:
    """``tally run`` of a file in a process that has no such packages."""
    (user.home / "mine.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-c", BLOCKED.format(names=names), "run", "mine.py:job", *words],
        cwd=user.home,
        env=user.environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


FORMS = ["import {}", "from {} import something", "import {}.part"]


@pytest.mark.parametrize(
    ("name", "form"), [*((name, FORMS[0]) for name in sorted(EXTRAS)), *(("torch", form) for form in FORMS[1:])]
)
def test_a_file_that_imports_it_is_told_what_to_install(user: User, name: str, form: str) -> None:
    done = run_without(user, [name], f"# mine\n{form.format(name)}\n")
    assert done.returncode == 2, done.stderr
    advice = f"{name} is not installed: pip install 'tallystick[{EXTRAS[name]}]'"
    assert f"mine.py line 2 in <module>: {advice}" in done.stderr
    assert "Traceback" not in done.stderr and "bug" not in done.stderr


@pytest.mark.parametrize("job", [TRAINING, PREPARING])
def test_a_file_that_leaves_it_to_us_is_told_as_well(user: User, job: str) -> None:
    """PyTorch is first missed while the job is captured, in code that is ours."""
    done = run_without(user, ["torch"], OWN_JOB.format(job=job), "--json")
    assert done.returncode == 2, done.stderr
    assert "pip install 'tallystick[torch]'" in json.loads(done.stdout)["error"]["message"]
    assert "Traceback" not in done.stderr and "bug" not in done.stderr


def test_other_packages_are_the_users_own_matter(user: User) -> None:
    done = run_without(user, [], "import a_package_nobody_has\n")
    assert done.returncode == 2
    assert "in your code" in done.stderr and "a_package_nobody_has" in done.stderr
    assert "tallystick[" not in done.stderr


def test_the_extras_bring_what_they_are_said_to_bring() -> None:
    project = tomllib.loads(Path(ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {"sklearn": "scikit-learn"}
    for name, extra in EXTRAS.items():
        wanted = project["optional-dependencies"][extra]
        assert any(line.startswith(named.get(name, name)) for line in wanted), f"{extra} does not bring {name}"
