"""Train facial-expression classifiers on FER2013-style faces, run them, and explain them."""

__version__ = "0.1.0"
