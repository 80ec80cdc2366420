"""What the shipped model is asked: the corpora, how a request is written, and the items of its three test sets.

`hf-tokcomp eval` makes the same items of the same recordings for the tasks digits, sound_captions and sound_choices.
"""
