"""mixcodec models: what is shipped."""

from __future__ import annotations


def models() -> None:
    """List the models that come with this installation."""
    from mixcodec.cli.table import columns
    from mixcodec.models import shipped_models
    from mixcodec.runtime import load

    rows = [("model", "sample rate", "frames", "bitrate per channel", "size", "fingerprint")]
    for codec in map(load, shipped_models()):
        size = sum(entry.stat().st_size for entry in codec.config.folder.iterdir() if entry.is_file())
        rates = f"{codec.min_kbps():g} to {codec.max_kbps():g} kbps"
        row = (f"{codec.sample_rate} Hz", f"{codec.frame_rate:g} Hz", rates, f"{size / 1e6:.1f} MB", codec.fingerprint)
        rows.append((codec.name, *row))
    print(columns(rows) if len(rows) > 1 else "no model is shipped with this installation")
