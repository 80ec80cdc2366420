"""What every method with weights promises: its slow version, its beginning, its gradients, and any budget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from drawn import DIM, LEARNED, batch, compressor, draw, trained, variants
from drawn import config as drawn_config
from oracle_resamplers import softmax
from oracles import LEARNED_ORACLES, Audio, budget

from hf_tokcomp import AudioTokenCompressor, AudioTokens, CompressionConfig, CompressionConfigError, methods
from hf_tokcomp.compressors.learned import softmax_per_slot

VARIANTS = [v for v in variants() if v[0] in LEARNED]
LENGTHS = [40, 7, 23, 2, 0, 12, 1]


def audios(lengths: list[int] = LENGTHS) -> list[Audio]:
    rng = np.random.default_rng(3)
    return [draw(rng, n) for n in lengths]


def compare(module: Any, drawn: list[Audio]) -> None:
    weights = {name: value.numpy() for name, value in module.state_dict().items()}
    result = module(batch(drawn, extra=1))
    for row, audio in enumerate(drawn):
        n = len(audio.features)
        k = budget(module.config, n)
        assert result.counts[row] == k
        wanted = audio.features
        if k < n:
            wanted = LEARNED_ORACLES[module.config.method](audio.features, k, module.config, weights)
        np.testing.assert_allclose(result.features[row, :k].detach(), wanted, rtol=2e-4, atol=2e-4)
        assert result.features[row, k:].eq(0).all()
        assert result.positions[row].tolist()[:k] == [int((slot + 0.5) * n / k) for slot in range(k)]
        members = [[i for i in range(n) if i * k // n == slot] for slot in range(k)]
        assert result.span[row, :k].tolist() == [[m[0], m[-1] + 1] for m in members]
        assert result.span[row, k:].eq(0).all()


def test_there_are_some() -> None:
    assert set(LEARNED) == set(LEARNED_ORACLES)


@pytest.mark.parametrize(
    "share",
    [{"max_tokens": 1}, {"max_tokens": 5}, {"retention_ratio": 0.15}, {"retention_ratio": 0.6}],
    ids=str,
)
@pytest.mark.parametrize(("method", "options"), VARIANTS)
def test_equals_oracle_in_ragged_batches(method: str, options: dict[str, Any], share: dict[str, Any]) -> None:
    compare(compressor(method, **options, **share), audios())


@pytest.mark.parametrize(("method", "options"), VARIANTS)
def test_equals_oracle_for_all_small_sizes(method: str, options: dict[str, Any]) -> None:
    for k in range(1, 9):
        compare(compressor(method, **options, max_tokens=k), audios(list(range(2, 10))))


@pytest.mark.parametrize("share", [{"max_tokens": 3}, {"retention_ratio": 0.3}, {"tokens_per_second": 11}], ids=str)
@pytest.mark.parametrize(("method", "options"), VARIANTS)
def test_before_training_it_is_average_pooling(method: str, options: dict[str, Any], share: dict[str, Any]) -> None:
    fresh = AudioTokenCompressor.from_config(CompressionConfig(method=method, **options, **share), DIM)
    tokens = batch(audios())
    result, mean = fresh(tokens), compressor("average_pooling", **share)(tokens)
    assert result.counts == mean.counts
    torch.testing.assert_close(result.features, mean.features, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", LEARNED)
def test_fresh_weights_follow_the_seed(method: str) -> None:
    def fresh(seed: int) -> dict[str, Any]:
        torch.manual_seed(seed)
        return AudioTokenCompressor.from_config(CompressionConfig(method=method), DIM).state_dict()

    first, same, other = fresh(1), fresh(1), fresh(2)
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(("method", "options"), VARIANTS)
def test_the_same_weights_serve_every_budget(method: str, options: dict[str, Any]) -> None:
    one = compressor(method, **options, retention_ratio=0.5)
    other = compressor(method, **options, max_tokens=3, positions="original")
    other.load_state_dict(one.state_dict())
    compare(other, audios())


@pytest.mark.parametrize(("method", "options"), VARIANTS)
def test_all_weights_and_all_tokens_get_a_gradient(method: str, options: dict[str, Any]) -> None:
    module = compressor(method, **options, retention_ratio=0.3)
    tokens = batch(audios())
    tokens.features.requires_grad_()
    result = module(tokens)
    upstream = torch.randn(result.features.shape, generator=torch.Generator().manual_seed(0))
    (result.features * upstream).sum().backward()
    for name, weight in module.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().max() > 1e-6, name
    assert tokens.features.grad is not None
    assert bool((tokens.features.grad.abs().amax(-1) > 0).eq(tokens.mask).all()), "every token, and no padding"


@pytest.mark.parametrize(("method", "options"), VARIANTS)
def test_gradients_are_those_of_small_steps(method: str, options: dict[str, Any]) -> None:
    module = compressor(method, **options, max_tokens=3).double()
    rng = np.random.default_rng(1)
    features = torch.from_numpy(rng.normal(size=(2, 7, DIM)))
    weights = dict(module.named_parameters())

    def run(features: Any, *values: Any) -> Any:
        given = dict(zip(weights, values, strict=True))
        return torch.func.functional_call(module, given, (AudioTokens(features, [7, 4]),)).features  # type: ignore[arg-type]

    inputs = (features.requires_grad_(), *(weight.detach().requires_grad_() for weight in weights.values()))
    assert torch.autograd.gradcheck(run, inputs, fast_mode=True)


@pytest.mark.parametrize("lengths", [[5, 3], [1, 1], [0], []])
@pytest.mark.parametrize("method", LEARNED)
def test_every_weight_has_a_gradient_where_nothing_gets_shorter(method: str, lengths: list[int]) -> None:
    """Or training in several processes waits for ever."""
    module = compressor(method, retention_ratio=1.0)
    tokens = batch(audios(lengths)) if lengths else AudioTokens(torch.zeros(0, 5, DIM), [])  # type: ignore[arg-type]
    result = module(tokens)
    for row, n in enumerate(lengths):
        assert torch.equal(result.features[row, :n], tokens.features[row, :n])
    result.features.sum().backward()
    assert all(weight.grad is not None and weight.grad.eq(0).all() for weight in module.parameters())


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("features", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", LEARNED)
def test_mixed_precision(method: str, features: torch.dtype, weights: torch.dtype) -> None:
    exact = compressor(method, retention_ratio=0.3)(batch(audios())).features
    module = compressor(method, retention_ratio=0.3).to(weights)
    result = module(batch(audios(), dtype=features)).features
    assert result.dtype == features
    torch.testing.assert_close(result.float(), exact, rtol=0.05, atol=0.15)


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("features", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", LEARNED)
def test_autocast(method: str, features: torch.dtype, weights: torch.dtype) -> None:
    exact = compressor(method, retention_ratio=0.3)(batch(audios())).features
    module = compressor(method, retention_ratio=0.3).to(weights)
    with torch.autocast("cpu", torch.bfloat16):
        cast = module(batch(audios(), dtype=features)).features
    assert cast.dtype == features
    torch.testing.assert_close(cast.float(), exact, rtol=0.05, atol=0.15)


@pytest.mark.parametrize("method", LEARNED)
def test_before_training_half_precision_loses_nothing(method: str) -> None:
    tokens = batch(audios(), dtype=torch.bfloat16)
    # Seven tokens a slot: their sum in bfloat16 would be rounded on the way.
    config = CompressionConfig(method=method, retention_ratio=0.15)
    fresh = AudioTokenCompressor.from_config(config, DIM).bfloat16()
    mean = compressor("average_pooling", retention_ratio=0.15)(tokens)
    torch.testing.assert_close(fresh(tokens).features, mean.features, rtol=0.005, atol=1e-6)
    assert (fresh(tokens).features == mean.features).float().mean() > 0.98


@pytest.mark.parametrize("method", LEARNED)
def test_no_weight_depends_on_the_budget(method: str) -> None:
    shapes = [
        {name: value.shape for name, value in compressor(method, **share).state_dict().items()}
        for share in ({"retention_ratio": 0.5}, {"retention_ratio": 0.01}, {"max_tokens": 99})
    ]
    assert shapes[0] == shapes[1] == shapes[2]


@pytest.mark.parametrize("method", LEARNED)
def test_memory_grows_with_the_tokens(method: str) -> None:
    from hf_tokcomp.benchmarks.measure import peak_bytes

    module = compressor(method, retention_ratio=0.5)
    peaks = []
    for n in (1000, 4000):
        tokens = AudioTokens(torch.randn(1, n, DIM), [n])  # type: ignore[arg-type]
        with torch.no_grad():
            peaks.append(peak_bytes(lambda tokens=tokens: module(tokens), torch.device("cpu")))  # type: ignore[misc]
    assert peaks[1] < 4.5 * peaks[0]


@pytest.mark.parametrize("method", LEARNED)
def test_one_graph_for_the_compiler(method: str) -> None:
    module = compressor(method, retention_ratio=0.3)
    torch._dynamo.reset()
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    for lengths in ([40, 7], [30, 11]):
        tokens = batch(audios(lengths), padding=0.0)
        torch.testing.assert_close(compiled(tokens).features, module(tokens).features)


def test_softmax_per_slot_of_large_and_lonely_scores() -> None:
    scores = [3.0, 1e4, 1e4 - 1, -1e4, 5.0, 7.0]
    slot = torch.tensor([[0, 1, 1, 1, 2, -1]])
    out = softmax_per_slot(torch.tensor(scores)[None, :, None], slot, 4)[0, :, 0]
    assert out.tolist() == pytest.approx([1.0, *softmax(scores[1:4]), 1.0, 0.0])


@pytest.mark.parametrize("method", LEARNED)
def test_the_width_must_be_known(method: str) -> None:
    with pytest.raises(ValueError, match=rf"'{method}' has weights as wide as the features; pass their width as dim="):
        AudioTokenCompressor.from_config(drawn_config(method))
    assert methods()[method].learns
    assert trained(AudioTokenCompressor.from_config(drawn_config(method), 12)).dim == 12


@pytest.mark.parametrize("method", LEARNED)
def test_neither_chunks_nor_stages(method: str) -> None:
    for chunks in ({"chunk_seconds": 1.0}, {"allocation": "content"}):
        with pytest.raises(CompressionConfigError, match=f"'{method}' cannot work in chunks"):
            CompressionConfig(method=method, **chunks)
    with pytest.raises(
        CompressionConfigError, match=rf"stages\[1\]: '{method}' does not map .*, so it cannot be chained"
    ):
        CompressionConfig(method="compose", stages=["stride", method])


def test_budgets_share_weights_and_sizes_do_not() -> None:
    base = CompressionConfig(method="conv_resampler")
    for changes in ({"max_tokens": 4}, {"retention_ratio": 0.1}, {"positions": "original"}):
        assert base.has_weights_of(base.replace(**changes))
        assert base.replace(**changes).has_weights_of(base)
    assert not base.has_weights_of(base.replace(layers=3))
    assert not base.has_weights_of(CompressionConfig(method="query_resampler"))
