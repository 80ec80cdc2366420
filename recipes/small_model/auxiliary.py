"""Auxiliary losses on hidden states, used in training and then discarded."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from hf_tokcomp.checkpoints.test_sets.prompts import NAMES
from hf_tokcomp.checkpoints.test_sets.sources import DIGITS, SAMPLES_PER_TOKEN, SOUNDS

from .data import Example


class AuxiliaryHeads(nn.Module):
    """Heads for training only.

    On the encoder: CTC over digits, and the class of sound at every token. Without them it learns nothing until the
    language model has learned to use its output. In the language model, for questions with options: whether each option
    is in the clip and whether it comes first, and that the answer attends to the correct one. Comparing options with
    the audio takes two steps, and the answer gives no signal for the first: a model that names any sound it heard, or
    did not hear, regardless of the options, already has a fair loss and gets stuck there.
    """

    def __init__(self, width: int, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self.digits = nn.Linear(width, len(DIGITS) + 1)
        self.sounds = nn.Linear(width, len(SOUNDS))
        self.options = nn.Linear(width, 2)
        self.classes = {tokenizer.convert_tokens_to_ids(NAMES[sound]): i for i, sound in enumerate(SOUNDS)}

    def forward(self, states: Tensor, counts: Tensor, examples: list[Example]) -> Tensor:
        """The loss of the encoder's `states` `(audios, tokens, width)`, of which `counts` `(audios,)` are real."""
        loss = states.new_zeros(())
        targets = [torch.tensor(d, dtype=torch.long) + 1 for e in examples for d in e.digits]
        speech = [i for i, target in enumerate(targets) if len(target)]
        if speech:
            log_probabilities = self.digits(states[speech]).float().log_softmax(-1).transpose(0, 1)
            wanted = [targets[i] for i in speech]
            lengths = torch.tensor([len(t) for t in wanted])
            loss = loss + len(speech) / len(targets) * nn.functional.ctc_loss(
                log_probabilities, torch.cat(wanted), counts[speech], lengths, zero_infinity=True
            )
        classes = self._classes(states.shape[:2], examples)
        if (classes >= 0).any():
            logits = self.sounds(states[classes >= 0]).float()
            loss = loss + nn.functional.cross_entropy(logits, classes[classes >= 0])
        return loss

    @staticmethod
    def _classes(shape: torch.Size, examples: list[Example]) -> Tensor:
        """The class of sound at each token `(audios, tokens)`, -1 for none."""
        classes = torch.full(shape, -1)
        owners = [e for e in examples for _ in e.audios]
        for row, owner in zip(classes, owners, strict=True):
            for number, start, end in owner.sounds:
                row[start // SAMPLES_PER_TOKEN : end // SAMPLES_PER_TOKEN] = number
        return classes

    def of_options(
        self, hidden: Tensor, attention: Tensor, ids: Tensor, asked: Tensor, examples: list[Example]
    ) -> Tensor:
        """The loss of the language model's states where `ids` name an option, and of its attention from the answer.

        `asked` `(texts, length)` is true in prompts, where the only names of sounds are options. `hidden`
        `(texts, length, width)` is the input of the last layer, and `attention` `(texts, heads, length, length)` its
        attention.
        """
        where, wanted, looks = [], [], []
        ends = asked.sum(1) - 1
        for text, token in asked.nonzero().tolist():
            number = self.classes.get(int(ids[text, token]))
            if number is not None:
                heard = [sound for sound, _, _ in examples[text].sounds]
                where.append((text, token))
                wanted.append([float(number in heard), float(number == heard[0])])
                if NAMES[SOUNDS[number]] == examples[text].answer:
                    looks.append(attention[text, 0, ends[text], token])  # one head suffices to copy a word
        if not where:
            return hidden.new_zeros(())
        texts, tokens = torch.tensor(where).T
        logits = self.options(hidden[texts, tokens]).float()
        flags = nn.functional.binary_cross_entropy_with_logits(logits, torch.tensor(wanted))
        return flags - torch.stack(looks).float().clamp(min=1e-6).log().mean()
