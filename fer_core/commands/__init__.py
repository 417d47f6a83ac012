"""The commands of `python -m fer_core`, a file each; `fer_core/__main__.py` lists them."""
