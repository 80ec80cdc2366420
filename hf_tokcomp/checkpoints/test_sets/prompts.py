"""The prompts of the shipped model, its chat template and its vocabulary."""

from collections.abc import Sequence

import numpy as np

from .sources import DIGITS

DIGITS_PROMPT = "Transcribe the digits."
CAPTION_PROMPT = "What do you hear?"
# Questions about a clip by which of the offered sounds is the answer, as built by clips.py.
QUESTIONS = {
    "first": "Which sound comes first?",
    "there": "Which sound is there?",
    "not there": "Which sound is not there?",
}
NAMES = {
    "baby cry": "baby",
    "chainsaw": "chainsaw",
    "clock tick": "clock",
    "dog bark": "dog",
    "fire crackling": "fire",
    "helicopter": "helicopter",
    "person sneeze": "person",
    "rain": "rain",
    "rooster": "rooster",
    "sea waves": "waves",
}
"""The source of each class of sound in one word, as used in the options of a question."""
PHRASES = {
    "baby cry": "a baby cries",
    "chainsaw": "a chainsaw runs",
    "clock tick": "a clock ticks",
    "dog bark": "a dog barks",
    "fire crackling": "a fire crackles",
    "helicopter": "a helicopter flies",
    "person sneeze": "a person sneezes",
    "rain": "rain falls",
    "rooster": "a rooster crows",
    "sea waves": "waves break",
}
"""The description of each class of sound in a caption."""
# Paraphrases used occasionally in training, so that the model does not depend on one wording.
DIGITS_PARAPHRASES = (
    "Transcribe the speech.",
    "Transcribe the audio.",
    "Transcribe the input speech.",
    "Which digits are spoken?",
    "Write down the digits.",
    "Please transcribe this audio.",
)
CAPTION_PARAPHRASES = (
    "What is this sound?",
    "Name the sounds.",
    "Which sounds are these?",
    "What sounds do you hear?",
    "Describe the sounds.",
    "Please describe the audio.",
)

AUDIO_TOKEN = "<|AUDIO|>"
AUDIO = f"<|audio_bos|>{AUDIO_TOKEN}<|audio_eos|>"
END_OF_TEXT = "<|endoftext|>"
END_OF_TURN = "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, "<|im_start|>", END_OF_TURN, "<|audio_bos|>", AUDIO_TOKEN, "<|audio_eos|>", "<unk>")
SYSTEM = "You are a helpful assistant."

# Every newline is an expression: transformers renders with trim_blocks, which would remove literal ones.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' -}}"
    "{%- if message['content'] is string -%}"
    "{{- message['content'] -}}"
    "{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'audio' or 'audio' in part or 'audio_url' in part -%}"
    "{{- '<|audio_bos|><|AUDIO|><|audio_eos|>' -}}"
    "{%- elif 'text' in part -%}"
    "{{- part['text'] -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- endif -%}"
    "{{- '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}"
    "{{- '<|im_start|>assistant\\n' -}}"
    "{%- endif -%}"
)


def chat(prompt: str, audios: int = 1) -> str:
    """A prompt as rendered by the chat template: the recordings, then the text, then the start of the answer."""
    return f"<|im_start|>user\n{AUDIO * audios}{prompt}<|im_end|>\n<|im_start|>assistant\n"


def caption(sounds: Sequence[str]) -> str:
    """A sentence that names the sounds in order: "a dog barks, then rain falls"."""
    return ", then ".join(PHRASES[sound] for sound in sounds)


def choice(question: str, options: Sequence[str]) -> str:
    """A question followed by its lettered options: "Which sound is there?\\n(A) dog\\n(B) rain"."""
    lettered = [f"({letter}) {option}" for letter, option in zip("ABCD", options, strict=False)]
    return "\n".join([question, *lettered])


def random_request(rng: np.random.Generator, prompt: str, paraphrases: tuple[str, ...] = (), audios: int = 1) -> str:
    """A prompt for training: mostly `prompt` in the chat template's main form, sometimes another wording or form."""
    if paraphrases and rng.random() < 0.35:
        prompt = str(rng.choice(paraphrases))
    form = rng.random()
    if form < 0.05:  # no chat format, as for a base model
        return f"{AUDIO * audios}{prompt}"
    if form < 0.10:  # the text before the recordings
        return f"<|im_start|>user\n{prompt}{AUDIO * audios}<|im_end|>\n<|im_start|>assistant\n"
    if form < 0.15:
        return f"<|im_start|>system\n{SYSTEM}<|im_end|>\n" + chat(prompt, audios)
    return chat(prompt, audios)


def vocabulary() -> list[str]:
    """All tokens, special ones first: lower-case words, punctuation marks, and the newline."""
    texts = (DIGITS_PROMPT, CAPTION_PROMPT, *DIGITS_PARAPHRASES, *CAPTION_PARAPHRASES, *QUESTIONS.values(), SYSTEM)
    words = {word.strip(".?").lower() for text in texts for word in text.split()}
    words |= {*DIGITS, *NAMES.values(), *(word for phrase in PHRASES.values() for word in phrase.split())}
    words |= {"user", "system", "assistant", "speech", "sound", "a", "b", "c", "d", "and", "listen", "then", "to"}
    return [*SPECIAL_TOKENS, "\n", ".", ",", "?", "!", ":", "(", ")", *sorted(words)]
