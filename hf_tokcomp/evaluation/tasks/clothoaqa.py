"""ClothoAQA (Lipping et al., EUSIPCO 2022): questions about Clotho's recordings, answered by three people each."""

from __future__ import annotations

from collections.abc import Sequence

from ..grouping import gathered
from ..task import Row, Task

UNANIMOUS = "unanimous"
NON_BINARY = "non-binary"
DIVIDED = "yes or no, divided"


def by_question(rows: Sequence[Row]) -> list[Row]:
    """Merge rows into one item per recording and question, with its part of the benchmark.

    Unanimous questions are yes/no questions on which all annotators agree; non-binary questions have no yes or no among
    their answers (our reading of the public harnesses). The rest, yes/no questions with divided answers, belong to
    neither. An answer to a non-binary question is right if any annotator gave it (our reading).
    """
    found = gathered(rows, "recording", "question")
    for row in found:
        answers = [text.strip().strip(".").lower() for text in row["text"]]
        if not set(answers) & {"yes", "no"}:
            row["subset"] = NON_BINARY
        else:
            row["subset"] = UNANIMOUS if len(set(answers)) == 1 else DIVIDED
    return found


TASK = Task(
    name="clothoaqa",
    title="ClothoAQA",
    kind="question_answering",
    metrics=("exact_match",),
    prompts={
        # Without the last sentence, Qwen2-Audio answers in a full sentence, which matches no annotator's word.
        "qwen2_audio": "Listen to the given audio carefully and answer this question: {question}\n"
        "Answer the question using a single word only.",
        "": "{question}\nAnswer the question using a single word only.",
    },
    max_new_tokens=16,
    # lmms-lab-audio/ClothoAQA has audio, question and answer, AudioLLMs/clotho_aqa_test context, instruction and
    # answer; the corpus's own table has file_name, QuestionText and answer, with a row per annotator.
    sources={
        "lmms-lab-audio/ClothoAQA": ("clotho_aqa", "clotho_aqa_test_filtered"),
        "AudioLLMs/clotho_aqa_test": (None, "test"),
    },
    columns={
        "audio": ("audio", "context", "file_name"),
        "text": ("answer",),
        "question": ("question", "instruction", "QuestionText"),
    },
    merge=by_question,
    subsets=(UNANIMOUS, NON_BINARY),
    note="A table with a single answer per question counts every yes/no question as unanimous.",
)
