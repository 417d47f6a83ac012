"""What a person is told on `python -m fer_core data PATH`."""

from __future__ import annotations

from fer_core.data.dataset import FaceDataset


def describe(dataset: FaceDataset) -> str:
    """Several lines of text: name, form, files, counts by split and emotion, conversions, rows left out, warnings."""
    summary = dataset.summary
    lines = [
        f"{dataset.name}: {len(dataset):,} faces{' (rendered, not photographed)' if dataset.is_demo else ''}",
        f"Form: {summary.form}",
        f"Read: {', '.join(summary.files) or 'nothing'} in {summary.seconds:.2f} s"
        f"{' (from the cache)' if summary.from_cache else ''}",
        f"Fingerprint: {dataset.fingerprint}; without test faces, as runs note it: {dataset.fingerprint_without_test}",
        "",
        _counts(dataset),
        "",
    ]
    if summary.resized:
        lines.append(f"Converted to 48x48: {summary.resized:,}")
    if summary.recoloured:
        lines.append(f"Converted to gray: {summary.recoloured:,}")
    lines += [f"Left alone: {note}" for note in summary.left_alone]
    lines += summary.notes
    return "\n".join(lines).rstrip()


def _counts(dataset: FaceDataset) -> str:
    """Faces by emotion (rows) and split (columns), with sums."""
    table = dataset.counts().T
    table = table[table.sum(axis=1) > 0]
    table.insert(len(table.columns), "all", table.sum(axis=1))
    table.loc["All"] = table.sum()
    table.index.name = table.columns.name = None
    return str(table.to_string(formatters=[f"{{:{8},}}".format] * len(table.columns)))
