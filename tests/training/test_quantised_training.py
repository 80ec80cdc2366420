"""LoRA on a 4-bit and an 8-bit base model (QLoRA), by bitsandbytes on the CPU."""

from __future__ import annotations

import pytest
import tiny
import torch
import transformers
from training_tools import POOLING, PROMPT, arguments, plain_processor, rows, small_lora

import hf_tokcomp
from hf_tokcomp.training import make_trainer

bitsandbytes = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")


@pytest.fixture(params=[4, 8], ids=["4-bit", "8-bit"])
def bits(request):
    return request.param


def quantised(kind, folder, bits):
    """Wide enough that the weights fill whole blocks of 64."""
    tiny.model(kind, hidden=64).save_pretrained(folder)
    config = transformers.BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8)
    name = hf_tokcomp.supported_models()[kind].model_classes[0]
    model = getattr(transformers, name).from_pretrained(folder, quantization_config=config, dtype=torch.bfloat16)
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            # On processors with AVX512-BF16 bitsandbytes rearranges the weights of a model that is not training, which
            # needs every layer of it, the encoder's too, to be whole blocks of 64 wide.
            module.support_avx512bf16_for_cpu = False
    return model


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
def test_a_quantised_model_trains(kind, tmp_path, bits, checkpointing):
    """Answers are generated before the first step and after it, as the command does; only the adapter moves."""
    model = quantised(kind, tmp_path / "base", bits)
    projection = model.model.language_model.layers[0].self_attn.q_proj
    assert type(projection) is (bitsandbytes.nn.Linear4bit if bits == 4 else bitsandbytes.nn.Linear8bitLt)
    run = make_trainer(
        model,
        rows(4),
        arguments(tmp_path, gradient_checkpointing=checkpointing),
        processor=plain_processor(kind),
        compression=POOLING,
        prompt=PROMPT,
        lora=small_lora(model),
        task="asr",
        eval_dataset=rows(2),
        max_new_tokens=2,
    )
    # What is not quantised is in full precision, as PEFT's preparation for such models has it.
    assert {value.dtype for value in run.model.parameters() if value.is_floating_point()} == {torch.float32}
    before = {name: value.detach().clone() for name, value in run.model.named_parameters()}
    assert 0 <= run.evaluate()["eval_wer"] < 10_000
    run.train()
    assert 0 <= run.evaluate()["eval_wer"] < 10_000
    moved = {name for name, value in run.model.named_parameters() if not torch.equal(value, before[name])}
    adapter = {name for name in before if "lora_" in name}
    assert moved == adapter
    assert all(entry["loss"] < 20 for entry in run.state.log_history if "loss" in entry)
    run.save_model(str(tmp_path / "adapter"))
    assert (tmp_path / "adapter" / "compression_config.json").is_file()
