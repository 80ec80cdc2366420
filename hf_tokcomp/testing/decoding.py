"""Checks of decoding: `generate`, beams, and continuing on a cache."""

from __future__ import annotations

import torch

from ..models.cache_names import CACHE, cache_of
from ..patching.patch import patch, unpatch
from .calls import config
from .oracle import SELECTION, greedy, prompts
from .subject import ConformanceError, Subject, same

NEW = 4
"""Number of tokens to generate."""


def generate_is_the_oracles(subject: Subject) -> None:
    """Greedy answers match those computed without a cache from the whole text, and follow the user's own prompt."""
    inputs, model = subject.inputs(subject.plain), subject.model()
    width = inputs["input_ids"].shape[1]
    for method in (SELECTION, "average_pooling"):
        for positions in ("contiguous", "original"):
            compression = config(method, positions=positions)
            wanted = [greedy(model, prompt, NEW)[1] for prompt in prompts(subject, model, inputs, compression)]
            patch(model, compression)
            ids = model.generate(**inputs, max_new_tokens=NEW, do_sample=False)
            unpatch(model)
            same("prompt in what `generate` returns", ids[:, :width], inputs["input_ids"])
            same(f"answers under {method} with {positions} positions", ids[:, width:].tolist(), wanted)


def answers_depend_on_the_audio(subject: Subject) -> None:
    """Different audio gives different answers; otherwise the subject could not reveal errors."""
    inputs, model = subject.upstream(subject.inputs(subject.plain)), subject.model()
    said = model.generate(**inputs, max_new_tokens=NEW, do_sample=False)
    name = subject.patch.features
    other = model.generate(**inputs | {name: inputs[name].flip(0).neg()}, max_new_tokens=NEW, do_sample=False)
    if torch.equal(said, other):
        raise ConformanceError("This model says the same about any audio: give it larger weights.")


def all_tokens_kept_say_what_upstream_says(subject: Subject) -> None:
    """At a retention ratio of 1.0, `generate` gives upstream's answers."""
    inputs, model = subject.inputs(subject.plain), subject.model()
    wanted = model.generate(**subject.upstream(inputs), max_new_tokens=NEW, do_sample=False)
    patch(model, config(SELECTION, 1.0))
    same("answers with all tokens kept", model.generate(**inputs, max_new_tokens=NEW, do_sample=False), wanted)


def beams_of_a_batch_are_those_alone(subject: Subject) -> None:
    """Beam search with two beams on a batch gives what upstream's `generate` gives for the oracle's embeddings."""
    inputs, model = subject.inputs(subject.plain), subject.model()
    compression = config("average_pooling")
    options = {"max_new_tokens": NEW, "do_sample": False, "num_beams": 2}
    wanted = []
    for prompt in prompts(subject, model, inputs, compression):
        ones = torch.ones_like(prompt.positions)
        wanted.append(model.generate(inputs_embeds=prompt.embeds, attention_mask=ones, **options)[0].tolist())
    patch(model, compression)
    ids = model.generate(**inputs, **options)[:, inputs["input_ids"].shape[1] :]
    same("answers of two beams", ids.tolist(), wanted)


def a_cache_is_gone_on_with(subject: Subject) -> None:
    """Prefill with a cache, then one id at a time, gives what `generate` gives; so does `generate` on the cache."""
    inputs = subject.inputs(subject.plain)
    for positions in ("contiguous", "original"):
        model = patch(subject.model(), config("average_pooling", positions=positions))
        width = inputs["input_ids"].shape[1]
        wanted = model.generate(**inputs, max_new_tokens=NEW, do_sample=False)[:, width:]
        outputs = model(**inputs, use_cache=True)
        cache, said = cache_of(outputs), [outputs.logits[:, -1].argmax(-1)]
        while len(said) < NEW:
            outputs = model(input_ids=said[-1][:, None], **{CACHE: cache})
            said.append(outputs.logits[:, -1].argmax(-1))
        same(f"a loop on a cache with {positions} positions", torch.stack(said, 1), wanted)
        outputs = model(**inputs, use_cache=True)
        ids = torch.cat([inputs["input_ids"], wanted[:, :1]], 1)
        mask = torch.cat([inputs["attention_mask"], torch.ones_like(wanted[:, :1])], 1)
        more = model.generate(
            ids, attention_mask=mask, **{CACHE: cache_of(outputs)}, max_new_tokens=NEW - 1, do_sample=False
        )
        same(f"`generate` on a cache with {positions} positions", more[:, width:], wanted)


CHECKS = (
    answers_depend_on_the_audio,
    generate_is_the_oracles,
    all_tokens_kept_say_what_upstream_says,
    beams_of_a_batch_are_those_alone,
    a_cache_is_gone_on_with,
)
