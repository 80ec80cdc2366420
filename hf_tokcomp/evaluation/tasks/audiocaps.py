"""AudioCaps (Kim et al., NAACL 2019): captions of ten-second sound clips, several per recording."""

from __future__ import annotations

from ..grouping import one_item_per_recording
from ..task import Task

CAPTION_PROMPTS = {
    "qwen2_audio": "Generate the caption in English:",
    "": "Please describe the audio in detail.",
}
CAPTION_METRICS = ("cider", "rouge_l", "bleu_4")

TASK = Task(
    name="audiocaps",
    title="AudioCaps",
    kind="captioning",
    metrics=CAPTION_METRICS,
    prompts=CAPTION_PROMPTS,
    max_new_tokens=64,
    # AudioLLMs/audiocaps_test has context and answer, TwinkStart/AudioCaps audio and caption; the corpus's own
    # table has one row per caption, with the recording as youtube_id.
    sources={"AudioLLMs/audiocaps_test": (None, "test"), "TwinkStart/AudioCaps": (None, "test")},
    columns={"audio": ("audio", "context", "file_name"), "text": ("caption", "answer"), "id": ("youtube_id",)},
    merge=one_item_per_recording,
)
