"""Peak memory of `mixcodec encode` and `decode`: a file of a minute beside one of an hour.

    python benchmarks/memory.py [--model speech-16k] [--seconds 60 3600]

The peak is VmHWM of a process of its own for each run (Linux), which is what it ever held of physical memory.
"""

import argparse
import os
import re
import subprocess
import tempfile
from pathlib import Path

from clips import COMMAND, write_looped_speech

MEASURED = "import atexit, sys; atexit.register(lambda: sys.stderr.write(open('/proc/self/status').read())); "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="speech-16k", help="name or folder")
    parser.add_argument("--seconds", type=int, nargs=2, default=[60, 3600], help="lengths of the two files")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for seconds in options.seconds:
            source = write_looped_speech(Path(folder) / "speech.wav", seconds)
            coded, decoded = Path(folder) / "speech.mxc", Path(folder) / "decoded.wav"
            peaks["encode", seconds] = peak_megabytes("encode", source, "-o", coded, "--model", options.model)
            peaks["decode", seconds] = peak_megabytes("decode", coded, "-o", decoded, "--model", options.model)
    short, long = options.seconds
    print(f"| | {short} s file, MB | {long} s file, MB | difference, MB |\n| --- | ---: | ---: | ---: |")
    for name in ("encode", "decode"):
        low, high = peaks[name, short], peaks[name, long]
        print(f"| {name} | {low:.1f} | {high:.1f} | {high - low:+.1f} |")


def peak_megabytes(*arguments: object) -> float:
    """The most physical memory that one `mixcodec` command held, in MB (10^6 bytes)."""
    python, option, program = COMMAND
    command = [python, option, MEASURED + program, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    found = re.search(r"VmHWM:\s*(\d+) kB", done.stderr)
    if done.returncode or found is None:
        raise SystemExit(f"mixcodec {' '.join(map(str, arguments))} failed: {done.stderr.strip()}")
    return int(found[1]) * 1024 / 1e6


if __name__ == "__main__":
    main()
