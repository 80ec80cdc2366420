"""The exceptions of hf_tokcomp. All derive from built-in exceptions, and their messages say what to do."""


class CompressionConfigError(ValueError):
    """A compression config is unknown, incomplete, inconsistent or out of range.

    Example:
        >>> try:
        ...     hf_tokcomp.CompressionConfig(method="ltbm", retention_ratio=2)
        ... except hf_tokcomp.CompressionConfigError as error:
        ...     print(error)
        retention_ratio=2 must be a finite number > 0 and at most 1.
    """


class UnsupportedModelError(TypeError):
    """No patch exists for this model or processor.

    Example:
        >>> try:
        ...     hf_tokcomp.patch(torch.nn.Linear(2, 2), "ltbm")
        ... except hf_tokcomp.UnsupportedModelError:
        ...     print(f"Use one of {', '.join(list(hf_tokcomp.supported_models())[:2])} and so on.")
        Use one of qwen2_audio, audioflamingo3 and so on.
    """


class UnsupportedVersionError(RuntimeError):
    """The installed transformers cannot be patched.

    Example:
        >>> try:
        ...     model = hf_tokcomp.patch(model, "ltbm")
        ... except hf_tokcomp.UnsupportedVersionError as error:
        ...     print(f"Running without compression: {error}")
    """


class PlaceholderMismatchError(ValueError):
    """The audio placeholders of a prompt do not fit the audio that came with it.

    Example:
        >>> model = hf_tokcomp.patch(model, "ltbm")
        >>> truncated = {name: inputs[name][:, :50] for name in ("input_ids", "attention_mask")}
        >>> try:
        ...     answer = model.generate(**inputs | truncated)
        ... except hf_tokcomp.PlaceholderMismatchError:
        ...     print("The prompt was truncated.")
        The prompt was truncated.
    """


class CacheContinuationError(ValueError):
    """A call continues on a key-value cache in a way that cannot be mapped onto the compressed prompt.

    Example:
        >>> model = hf_tokcomp.patch(model, "ltbm")
        >>> cache = model(**inputs, use_cache=True).past_key_values
        >>> try:
        ...     output = model(**inputs, past_key_values=cache)
        ... except hf_tokcomp.CacheContinuationError:
        ...     print("Start again without the cache.")
        Start again without the cache.
    """


class CompressorOutputError(RuntimeError):
    """A compressor's output does not match the count its config gives.

    Example:
        >>> class TooFew(hf_tokcomp.Stride):
        ...     def assign_slots(self, tokens, counts):
        ...         return super().assign_slots(tokens, [count - 1 for count in counts])
        >>> try:
        ...     TooFew(hf_tokcomp.StrideConfig())(hf_tokcomp.AudioTokens(torch.randn(1, 100, 64), lengths=[100]))
        ... except hf_tokcomp.CompressorOutputError:
        ...     print("TooFew keeps fewer tokens than its config says.")
        TooFew keeps fewer tokens than its config says.
    """


class CompressorWeightsError(ValueError):
    """Stored weights of an audio compressor do not fit the model's compressor, or the model has none.

    Example:
        >>> hf_tokcomp.patch(model, hf_tokcomp.ConvResamplerConfig(layers=2)).save_pretrained("trained")
        >>> try:
        ...     type(model).from_pretrained("trained", compression=hf_tokcomp.ConvResamplerConfig(layers=1))
        ... except hf_tokcomp.CompressorWeightsError:
        ...     print("The weights belong to another compressor.")
        The weights belong to another compressor.
    """
