"""What a codec costs: speed, memory and arithmetic, side by side with peers in one run."""

from mixcodec.evaluate.bench.results import BenchResults
from mixcodec.evaluate.bench.run import BenchSettings, run_bench
from mixcodec.evaluate.bench.table import report

__all__ = ["BenchResults", "BenchSettings", "report", "run_bench"]
