"""The tasks: benchmarks and tasks for the user's own recordings. A new one needs its own file and an entry here."""

from __future__ import annotations

from ...messages import did_you_mean
from ..kinds import ALIASES, kind_named
from ..task import Task
from . import audiocaps, clotho, clothoaqa, covost2, librispeech, mmau, own, s2st, small_model, speech

_TASKS: dict[str, Task] = {}


def register_task(task: Task) -> Task:
    """Register a task under its name.

    Raises:
        ValueError: the name is taken, or the task has no prompt for models that it does not list.
    """
    if task.name in _TASKS:
        raise ValueError(f"There is a task {task.name!r} already; choose another name.")
    if "" not in task.prompts:
        raise ValueError(f"The task {task.name!r} needs a prompt for models that it does not name, under ''.")
    _TASKS[task.name] = task
    return task


for _task in (
    audiocaps.TASK,
    clotho.TASK,
    clothoaqa.TASK,
    covost2.TASK,
    librispeech.TASK,
    mmau.TASK,
    s2st.TASK,
    small_model.DIGITS,
    small_model.SOUND_CAPTIONS,
    small_model.SOUND_CHOICES,
    speech.TASK,
    *own.TASKS,
):
    register_task(_task)


def tasks() -> dict[str, Task]:
    """All tasks by name."""
    return dict(_TASKS)


def get_task(name: str) -> Task:
    """The task with this name; earlier names work too, with a hint about the current one.

    Raises:
        ValueError: there is no such task; the message names the closest.
    """
    if name in ALIASES and name not in _TASKS:
        name = kind_named(name)
    if name not in _TASKS:
        raise ValueError(
            f"There is no task {name!r}{did_you_mean(name, _TASKS)} There are {', '.join(sorted(_TASKS))}."
        )
    return _TASKS[name]
