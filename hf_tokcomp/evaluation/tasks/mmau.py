"""MMAU (Sakshi et al., ICLR 2025): multiple choice questions about sound, music and speech."""

from __future__ import annotations

from ..task import Task

TASK = Task(
    name="mmau",
    title="MMAU test-mini",
    kind="multiple_choice",
    metrics=("accuracy",),
    prompts={
        "qwen2_audio": "{question}\nChoose one of the following options:\n{options}",
        "": "{question}\nChoose the correct option:\n{options}",
    },
    max_new_tokens=64,
    # lmms-lab-audio/mmau has audio, question, choices (JSON), answer and task; AudioLLMs/MMAU-mini context,
    # instruction, choices, answer and a struct with the task; MMAU's own JSON audio_id, question, choices, answer
    # and task.
    sources={"lmms-lab-audio/mmau": (None, "test_mini"), "AudioLLMs/MMAU-mini": (None, "test")},
    split="test_mini",
    columns={
        "audio": ("audio", "context", "audio_id"),
        "text": ("answer",),
        "question": ("question", "instruction"),
        "choices": ("choices", "options"),
        "subset": ("task", "other_attributes.task"),
        "id": ("id", "question_id"),
    },
    note="MMAU exists in an original version and in v05.15.25, with about a quarter of the questions revised; "
    "which one was measured is said by the data set's name and split.",
)
