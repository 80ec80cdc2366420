"""The examples below every command's `--help`; a test runs them."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": (
        "hf-tokcomp run",
        "hf-tokcomp run question.wav --compression ltbm:window=4 --retention-ratio 1/4",
        "hf-tokcomp run --dataset recordings.jsonl --compression ltbm+top_k --positions original --json",
    ),
    "compare": (
        "hf-tokcomp compare --compression ltbm --compression top_k --retention-ratio 1/2,1/4",
        "hf-tokcomp compare question.wav --compression ltbm:window=4 --positions original",
        "hf-tokcomp compare --dataset recordings.jsonl --compression all --retention-ratio 1/4 --output all.json",
    ),
    "eval": (
        "hf-tokcomp eval asr --dataset recordings.jsonl --compression ltbm --retention-ratio 1/2,1/4 --output mine",
        "hf-tokcomp eval asr --dataset recordings.jsonl --items 100 --compression ltbm:window=4+top_k --output theirs",
        "hf-tokcomp eval --config eval.yaml --batch-size 4",
    ),
    "bench": (
        "hf-tokcomp bench --compression ltbm --retention-ratio 1/4 --audio-seconds 5 --rounds 1 --seconds 0",
        "hf-tokcomp bench --random-weights audio-flamingo-3 --audio-seconds 30,600 --batch-size 1,8",
        "hf-tokcomp bench --config bench.yaml --output bench.json",
    ),
    "plot": (
        "hf-tokcomp plot --output picture.png",
        "hf-tokcomp plot question.wav --compression ltbm --retention-ratio 1/2,1/4 --no-text --output ltbm.svg",
        "hf-tokcomp plot --dataset recordings.jsonl --compression stride --attention --output stride.pdf",
    ),
    "demo": (
        "hf-tokcomp demo",
        "hf-tokcomp demo --compression segmentwise_top_k --positions contiguous",
    ),
    "push": (
        "hf-tokcomp push you/ltbm-quarter --compression ltbm --retention-ratio 1/4 --dry-run",
        "hf-tokcomp push you/my-adapter --folder my_adapter --base-model Qwen/Qwen2-Audio-7B-Instruct --dry-run",
    ),
    "card": (
        "hf-tokcomp card you/ltbm-quarter --compression ltbm --retention-ratio 1/4",
        "hf-tokcomp card you/my-adapter --folder my_adapter --base-model Qwen/Qwen2-Audio-7B-Instruct -o README.md",
    ),
    "methods": (
        "hf-tokcomp methods",
        "hf-tokcomp methods ltbm",
        "hf-tokcomp methods --import my_methods.py",
    ),
    "models": (
        "hf-tokcomp models",
        "hf-tokcomp models --json",
    ),
    "finetune": (
        "hf-tokcomp finetune --dataset recordings.jsonl --compression ltbm --retention-ratio 1/4 --max-steps 2 "
        "--output-dir my_adapter",
        "hf-tokcomp finetune --config finetune.yaml --learning-rate 1e-4",
    ),
    "export-vllm": (
        "hf-tokcomp export-vllm my_model served --compression ltbm --retention-ratio 1/4",
        "hf-tokcomp export-vllm my_model served --compression ltbm+top_k --positions original",
    ),
    "serve": (
        "hf-tokcomp serve --compression segmentwise_top_k --retention-ratio 1/2 --dry-run",
        "hf-tokcomp serve my_model --compression ltbm --retention-ratio 1/4 --dry-run -- --port 8001 --dtype float32",
    ),
}
