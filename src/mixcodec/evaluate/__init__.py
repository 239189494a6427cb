"""How good is a codec, and what does it cost: metrics, baselines, rate-distortion sweeps, the report, the benchmark."""
