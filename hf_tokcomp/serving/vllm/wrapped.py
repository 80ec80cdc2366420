"""The two methods of vLLM that are wrapped, each until upstream does it itself; nothing else of vLLM is touched."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ...loading.adapter_files import read_adapter
from .positions import OriginalPositions
from .served import Served

_MARK = "_hf_tokcomp"


def wrap_vllm() -> None:
    """Wrap them, once per process."""
    from vllm.lora.worker_manager import WorkerLoRAManager
    from vllm.v1.worker.cpu_model_runner import CPUModelRunner

    _wrap(CPUModelRunner, "load_model", _load_and_note)
    _wrap(WorkerLoRAManager, "_load_adapter", _check_and_load_adapter)


def _wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    own = getattr(owner, name)
    if hasattr(own, _MARK):
        return

    @functools.wraps(own)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        return around(own, self, *args, **kwargs)

    setattr(wrapper, _MARK, True)
    setattr(owner, name, wrapper)


def _load_and_note(own: Callable[..., Any], self: Any, *args: Any, **kwargs: Any) -> None:
    """Have the CPU runner note, as the GPU runner does, that positions are corrected after the encoder."""
    from vllm.model_executor.models.interfaces import supports_multimodal_pruning

    own(self, *args, **kwargs)
    multimodal = self.model_config.multimodal_config
    self.is_multimodal_pruning_enabled = (
        isinstance(self.get_model(), OriginalPositions)
        and supports_multimodal_pruning(self.get_model())
        and multimodal is not None
        and multimodal.is_multimodal_pruning_enabled()
    )


def _check_and_load_adapter(own: Callable[..., Any], self: Any, lora_request: Any) -> Any:
    """Refuse an adapter that was trained under another compression: the model itself never sees its files."""
    from vllm.lora.utils import get_adapter_absolute_path

    served = getattr(self._adapter_manager.model, "served", None)
    if isinstance(served, Served):
        stored = read_adapter(get_adapter_absolute_path(lora_request.lora_path), {})
        if stored is not None:
            served.check_adapter(lora_request.lora_name, stored.compression)
    return own(self, lora_request)
