"""Finding what the user means by ``file.py:name``.

Only files that the user names on the command line are ever imported. A run folder may come from a stranger: nothing
in it is code, and no field of a receipt says what to import.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tallystick.errors import JobError

if TYPE_CHECKING:
    from tallystick.job import GenerationJob, Job, PreprocessingJob, TrainingJob

    AnyJob = TrainingJob | GenerationJob | PreprocessingJob | Job

USER_FILES: set[str] = set()
"""Files imported for the user: an exception that ends in one of them is the user's, not ours."""


def split_reference(reference: str) -> tuple[Path, str]:
    """The file and the name in ``file.py:name``.

    Raises: JobError if a part is missing or there is no such file.
    """
    file, colon, name = reference.rpartition(":")
    if not colon or not file or not name.isidentifier():
        hint = f"{reference.rstrip(':')}:job" if reference.rstrip(":").endswith(".py") else "examples/digits.py:job"
        raise JobError(f"'{reference}' does not say what to load: write FILE.py:NAME, for example {hint}")
    path = Path(file)
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob("*.py")], 1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else f" (looked in {Path.cwd()})"
        raise JobError(f"there is no file {path}{hint}")
    if path.suffix != ".py":
        raise JobError(f"{path} is not a Python file: write FILE.py:NAME")
    return path, name


def import_file(path: Path) -> ModuleType:
    """Import the user's own file, with its folder on the path as if it were run as a script."""
    path = path.resolve()
    module_name = f"tally_user_{path.stem}"
    loaded = sys.modules.get(module_name)
    if loaded is not None and loaded.__file__ == str(path):
        return loaded
    USER_FILES.add(str(path))
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None and spec.loader is not None, "a .py file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def load_object(reference: str) -> Any:
    """What ``file.py:name`` names.

    Raises: JobError if the file has no such name; whatever the file itself raises.
    """
    path, name = split_reference(reference)
    module = import_file(path)
    if not hasattr(module, name):
        own = [n for n, v in vars(module).items() if getattr(v, "__module__", None) == module.__name__]
        near = difflib.get_close_matches(name, own, 1) or [n for n in own if n == "job"]
        hint = f"; did you mean {path}:{near[0]}?" if near else ""
        raise JobError(f"{path} defines no '{name}'{hint}")
    return getattr(module, name)


def load_job(reference: str) -> AnyJob:
    """The job that ``file.py:name`` is, or that the function of this name returns.

    Raises: JobError if it is something else.
    """
    from tallystick.job import GenerationJob, Job, PreprocessingJob, TrainingJob

    found = load_object(reference)
    if inspect.isfunction(found):
        if needed := required_parameters(found):
            raise JobError(f"{reference} needs arguments ({', '.join(needed)}): a job function takes none")
        made = found()
        if isinstance(made, TrainingJob | GenerationJob | PreprocessingJob | Job):
            return made
        raise JobError(f"{reference} returned {describe(made)}, not a tallystick.TrainingJob")
    if isinstance(found, TrainingJob | GenerationJob | PreprocessingJob | Job):
        return found
    raise JobError(f"{reference} is {describe(found)}; give a tallystick.TrainingJob or a function that returns one")


def load_model(reference: str) -> Any:
    """The torch module of the training job that ``reference`` names.

    Raises: JobError if the job is no training job.
    """
    from tallystick.job import TrainingJob

    job = load_job(reference)
    if not isinstance(job, TrainingJob):
        raise JobError(f"{reference} trains no torch module: give a tallystick.TrainingJob")
    return job.model


def load_function(reference: str) -> Callable[..., Any]:
    """The function that ``file.py:name`` names.

    Raises: JobError if it is something else.
    """
    found = load_object(reference)
    if not inspect.isfunction(found):
        raise JobError(f"{reference} is {describe(found)}; give a function that takes the trained model")
    return found


def required_parameters(function: Callable[..., Any]) -> list[str]:
    """Names of the parameters that a call has to give."""
    parameters = inspect.signature(function).parameters.values()
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in variable]


def describe(value: object) -> str:
    """What a value is, in words that fit an error message."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return f"an {name}" if name[0] in "AEIOaeio" else f"a {name}"


def keyword_arguments(function: Callable[..., Any], given: list[str]) -> dict[str, Any]:
    """Arguments written ``NAME=VALUE``, each read as the type of the parameter's default.

    Raises: JobError for a name the function does not have, or a value that does not fit.
    """
    parameters = dict(list(inspect.signature(function).parameters.items())[1:])
    arguments: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        known = ", ".join(parameters) or "no arguments"
        if not equals:
            raise JobError(f"'{text}' is not an argument: write NAME=VALUE; {function.__name__} takes {known}")
        if name not in parameters:
            raise JobError(f"{function.__name__} has no argument '{name}'; it takes {known}")
        arguments[name] = read_as(type(parameters[name].default), name, value)
    return arguments


def read_as(kind: type, name: str, value: str) -> Any:
    """A command-line word as a bool, int or float where the default is one; text otherwise."""
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise JobError(f"{name}={value}: write {name}=true or {name}=false")
        return value.lower() == "true"
    if kind not in (int, float):
        return value
    try:
        return kind(value)
    except ValueError:
        article = "a whole number" if kind is int else "a number"
        raise JobError(f"{name}={value}: {name} is {article}") from None
