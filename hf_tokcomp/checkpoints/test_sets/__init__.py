"""The test sets of the shipped model: the corpora, the prompt format, and the items of its three test sets.

`hf-tokcomp eval` makes the same items from the same recordings for the tasks digits, sound_captions and sound_choices.
"""
