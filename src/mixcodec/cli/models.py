"""mixcodec models: what is shipped."""

from __future__ import annotations


def models() -> None:
    """List the models that come with this installation."""
    from mixcodec.cli.table import columns
    from mixcodec.models import shipped_models, variant_folders
    from mixcodec.runtime import load

    rows = [("model", "sample rate", "frames", "bitrate per channel", "variants", "size", "fingerprint")]
    for name in shipped_models():
        codec = load(name)
        size = sum(entry.stat().st_size for entry in codec.config.folder.iterdir() if entry.is_file())
        rates = f"{codec.min_kbps():g} to {codec.max_kbps():g} kbps"
        variants = ", ".join(variant_folders(codec.config.folder))
        row = (f"{codec.sample_rate} Hz", f"{codec.frame_rate:g} Hz", rates, variants, f"{size / 1e6:.1f} MB", codec.fingerprint)
        rows.append((name, *row))
    print(columns(rows) if len(rows) > 1 else "no model is shipped with this installation")
