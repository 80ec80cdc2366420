"""What the model is asked, how a request is written down, and every word the model knows."""

import numpy as np

from .sources import DIGITS, SOUNDS

DIGITS_PROMPT = "Transcribe the digits."
SOUNDS_PROMPT = "What do you hear?"
# Other ways to ask for the same thing, seen in training now and then so that the model does not hang on one wording.
DIGITS_PARAPHRASES = (
    "Transcribe the speech.",
    "Transcribe the audio.",
    "Transcribe the input speech.",
    "Which digits are spoken?",
    "Write down the digits.",
    "Please transcribe this audio.",
)
SOUNDS_PARAPHRASES = (
    "What is this sound?",
    "Name the sound.",
    "Which sound is this?",
    "What sound do you hear?",
    "Please describe the audio.",
)

AUDIO_TOKEN = "<|AUDIO|>"
AUDIO = f"<|audio_bos|>{AUDIO_TOKEN}<|audio_eos|>"
END_OF_TEXT = "<|endoftext|>"
END_OF_TURN = "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, "<|im_start|>", END_OF_TURN, "<|audio_bos|>", AUDIO_TOKEN, "<|audio_eos|>", "<unk>")
SYSTEM = "You are a helpful assistant."

# Written with expressions for every newline: transformers renders with trim_blocks, which would eat literal ones.
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
    """A request as the chat template renders it: the recordings, then the text, then the start of the answer."""
    return f"<|im_start|>user\n{AUDIO * audios}{prompt}<|im_end|>\n<|im_start|>assistant\n"


def random_request(rng: np.random.Generator, prompt: str, paraphrases: tuple[str, ...], audios: int = 1) -> str:
    """A request for training: mostly `prompt` in the chat template's main form, sometimes another wording or form."""
    if rng.random() < 0.35:
        prompt = str(rng.choice(paraphrases))
    form = rng.random()
    if form < 0.05:  # no chat at all, like a base model
        return f"{AUDIO * audios}{prompt}"
    if form < 0.10:  # the text before the recordings
        return f"<|im_start|>user\n{prompt}{AUDIO * audios}<|im_end|>\n<|im_start|>assistant\n"
    if form < 0.15:
        return f"<|im_start|>system\n{SYSTEM}<|im_end|>\n" + chat(prompt, audios)
    return chat(prompt, audios)


def vocabulary() -> list[str]:
    """Every token, special ones first: words in lower case, punctuation marks, and the newline."""
    texts = (DIGITS_PROMPT, SOUNDS_PROMPT, *DIGITS_PARAPHRASES, *SOUNDS_PARAPHRASES, SYSTEM, *DIGITS, *SOUNDS)
    words = {word.strip(".?").lower() for text in texts for word in text.split()}
    words |= {"user", "system", "assistant", "speech", "sounds", "a", "and", "hear", "listen", "to"}
    return [*SPECIAL_TOKENS, "\n", ".", ",", "?", "!", ":", *sorted(words)]
