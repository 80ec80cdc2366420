"""The methods on the real attention of pretrained Whisper models: how many words compression costs."""
