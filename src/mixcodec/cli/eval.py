"""mixcodec eval: see honestly how good a codec is."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro


def eval(
    codecs: tuple[str, ...],
    data: Path,
    out: Path,
    listed: Annotated[Path | None, tyro.conf.arg(name="list")] = None,
    kind: str = "",
    split: str = "",
    metrics: tuple[str, ...] = ("default",),
    sample_rate: int = 16000,
    stereo: bool = False,
    limit: int | None = None,
    jobs: int = os.cpu_count() or 1,
    gates: bool = True,
    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import", metavar="FILE"), tyro.conf.UseAppendAction] = (),
) -> None:
    """Code every clip by every codec, count the bits of the real files, score what comes back, and write a report.

    For example: mixcodec eval --codecs mixcodec:speech-16k@1.5,3 opus@6,12 identity --data recordings --out report

    The folder OUT gets results.parquet (a row for each clip and operating point), summary.md and report.html; a run that was
    stopped goes on where it was. Before it begins, the harness proves itself on two clips.

    Args:
        codecs: What to compare, each as kind[:model][@setting,...]: mixcodec:speech-16k@0.5,1.5,3 opus@6,12 codec2@1.2
            identity lowpass@3500. Kinds: mixcodec opus codec2 speex mp3 aac g722 identity lowpass encodec dac mimi. A model's
            variant is mixcodec:speech-16k:int8@3, one's encoder with another's decoder mixcodec:speech-16k:float32:int8@3.
        data: Folder with audio.
        out: Folder for the report.
        listed: Text file with the clips to take, one path below the data folder a line.
        kind: Only clips of this kind (speech, music), as the folder's manifest.tsv says.
        split: Only clips of this split, as the folder's manifest.tsv says.
        metrics: default (pesq_wb stoi mel stft si_sdr lsd pesq_nb estoi; with --kind music those that are not for speech alone),
            judges (those that no loss of the codecs here follows: distillmos dnsmos harmonicity modulation pitch), all (these
            and speaker_similarity words visqol_speech visqol_audio), or kinds; many need further extras.
        sample_rate: Hz of what the codecs are given and scored at.
        stereo: Keep the channels instead of averaging them to one.
        limit: Only so many clips, the first ones.
        jobs: Processes.
        gates: Prove the harness on two clips before the run.
        imports: Python file, or name of a module, that registers parts of your own; may be given several times.
    """
    from mixcodec.cli.progress import progress_bar
    from mixcodec.errors import DataError, UsageError
    from mixcodec.evaluate.baselines import parse_points
    from mixcodec.evaluate.clips import find_clips
    from mixcodec.evaluate.measure import Conditions
    from mixcodec.evaluate.metrics import chosen_metrics
    from mixcodec.evaluate.run import OUTPUTS, Plan, evaluate, write_outputs
    from mixcodec.files import check_distinct
    from mixcodec.outside import import_parts

    import_parts(imports)
    if jobs < 1 or (limit is not None and limit < 1):
        raise UsageError("--jobs and --limit are at least 1")
    if not 4000 <= sample_rate <= 192000:
        raise UsageError(f"--sample-rate {sample_rate} is not between 4000 and 192000 Hz")
    clips = find_clips(data, listed, kind, split, limit)
    if not clips:
        raise DataError(f"{data}: no clip to evaluate")
    for name in OUTPUTS:
        check_distinct(out / name, listed, *(data / clip.name for clip in clips))
    conditions = Conditions(data, chosen_metrics(metrics, speech=kind != "music"), sample_rate, mono=not stereo)
    command = shlex.join(["mixcodec", *sys.argv[1:]])
    plan = Plan(tuple(clips), tuple(parse_points(codecs)), conditions, jobs, gates, command)
    with progress_bar("evaluating") as progress:
        results = evaluate(plan, out, progress)
    write_outputs(plan, results, out)
    failed = sum(bool(row.problems) for row in results.rows)
    print(f"{len(clips)} clips, {len(results.points)} operating points, {failed} of {len(results.rows)} rows with a problem")
    print(f"{out / 'summary.md'}\n{out / 'report.html'}\n{out / 'results.parquet'}")
