"""Every figure of speed, memory and size that the documentation quotes.

``python -m bench`` measures all of them in one run, each beside its
alternative; ``python -m bench pipeline http`` only some. Nothing here asserts
a time. Run it on a machine that does nothing else.
"""
