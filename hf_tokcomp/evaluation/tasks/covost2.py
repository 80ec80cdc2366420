"""CoVoST 2 (Wang et al., 2020): speech translation; English to Chinese by default."""

from __future__ import annotations

from ..task import Task

TASK = Task(
    name="covost2",
    title="CoVoST 2, English to Chinese",
    kind="translation",
    metrics=("bleu",),
    metric_options={"bleu": {"tokenize": "zh"}},
    prompts={
        "qwen2_audio": "Detect the language and translate the speech into Mandarin: <|en|>",
        "": "Translate the speech into Chinese.",
    },
    max_new_tokens=200,
    sources={"lmms-lab-audio/covost2_en-zh": ("en_zh", "test")},
    columns={"audio": ("audio", "context", "path"), "text": ("translation", "gt", "answer")},
)
