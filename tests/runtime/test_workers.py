"""One codec, many workers: threads, forked and spawned processes, pickles and copies."""

import copy
import multiprocessing
import os
import pickle
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import mixcodec
from mixcodec.errors import BitstreamError, FileError, MixcodecError, NotCopyableError
from mixcodec.runtime import encode_file, load, write_mxc
from mixcodec.runtime.opened import SharedFile

HOP = 320
WAYS = [copy.copy, copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))]
ways = pytest.mark.parametrize("again", WAYS, ids=["copy", "deepcopy", "pickle"])


def all_at_once(count, work):
    """The results of `work(number)` on so many threads, which begin together."""
    ready, results = threading.Barrier(count), [None] * count

    def run(number):
        ready.wait()
        results[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture
def opened(tmp_path, tiny_codec, grid_wave):
    """A file of 20 s in 40 packets, opened."""
    wave = np.repeat(grid_wave(3200) / 2, 100)
    mixcodec.write_audio(tmp_path / "talk.wav", wave, 16000)
    encode_file(tiny_codec, tmp_path / "talk.wav", tmp_path / "talk.mxc", packet_seconds=0.5)
    with tiny_codec.open(tmp_path / "talk.mxc") as file:
        yield file


def misread(opened, expected, seed, reads=60):
    """How many of so many reads of parts give something else, or fail."""
    draws, wrong = random.Random(seed), 0
    for _ in range(reads):
        second = draws.randrange(19)
        try:
            wrong += not np.array_equal(opened.read(second, second + 0.3), expected[second])
        except MixcodecError:
            wrong += 1
    return wrong


def test_threads_read_one_file(opened):
    expected = [opened.read(second, second + 0.3) for second in range(19)]
    assert all_at_once(8, lambda number: misread(opened, expected, number)) == [0] * 8


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_read_one_file(opened, method):
    expected = [opened.read(second, second + 0.3) for second in range(19)]
    with multiprocessing.get_context(method).Pool(4) as pool:
        assert pool.starmap(misread, [(opened, expected, number) for number in range(4)]) == [0] * 4


def forked_misread(opened, expected, number, queue):
    queue.put(misread(opened, expected, number))


def test_forked_workers_share_the_open_file(opened):
    """As those of a data loader do: what they are given is not pickled."""
    expected = [opened.read(second, second + 0.3) for second in range(19)]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    workers = [context.Process(target=forked_misread, args=(opened, expected, number, queue)) for number in range(4)]
    for worker in workers:
        worker.start()
    assert [queue.get(timeout=60) for _ in workers] == [0] * 4
    for worker in workers:
        worker.join()


def test_a_shared_file_is_a_file(tmp_path):
    """Against Python's own, in every position that a thread may take."""
    data = np.random.default_rng(0).bytes(1000)
    (tmp_path / "x").write_bytes(data)
    shared, draws = SharedFile(tmp_path / "x", "x"), random.Random(0)
    with open(tmp_path / "x", "rb") as own:
        for _ in range(300):
            where = draws.choice([(draws.randrange(1100), 0), (draws.randrange(50), 1), (-draws.randrange(1000), 2)])
            count = draws.randrange(300)
            assert shared.seek(*where) == own.seek(*where)
            assert shared.read(count) == own.read(count)


@pytest.mark.parametrize("variant", [None, "int8"])
@pytest.mark.parametrize("used", [False, True])
@ways
def test_a_codec_goes_anywhere(make_model, tmp_path, grid_wave, again, used, variant):
    folder = make_model(tmp_path / "m")
    for direction in ("encoder", "decoder"):  # whatever they are made of, they are graphs of a name of their own
        (folder / f"{direction}.int8.onnx").write_bytes((folder / f"{direction}.onnx").read_bytes())
    codec, wave = load(folder, threads=2, variant=variant), grid_wave(5000)
    tokens = load(folder).wave_to_tokens(wave, 16000)
    sound = load(folder).tokens_to_wave(tokens)
    if used:
        assert codec.wave_to_tokens(wave, 16000) == tokens
        assert np.array_equal(codec.tokens_to_wave(tokens), sound)
    other = again(codec)
    assert (other.config, other.threads, other.variant) == (codec.config, 2, variant or "float32")
    assert other.wave_to_tokens(wave, 16000) == tokens
    assert np.array_equal(other.tokens_to_wave(tokens), sound)
    assert codec.wave_to_tokens(wave, 16000) == tokens
    assert len(pickle.dumps(codec)) < 10_000, "no graph is in it"


def test_a_codec_of_a_relative_folder_is_found_from_elsewhere(make_model, tmp_path, grid_wave, monkeypatch):
    make_model(tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    codec = load("m")
    monkeypatch.chdir("/")
    assert pickle.loads(pickle.dumps(codec)).wave_to_tokens(grid_wave(100), 16000) == codec.wave_to_tokens(grid_wave(100), 16000)


def test_a_shipped_codec_with_tables_goes_to_a_spawned_worker(grid_wave):
    codec = load("speech-16k")
    tokens = codec.wave_to_tokens(grid_wave(3000), 16000)
    assert codec.tables is not None
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(codec.wave_to_tokens, (grid_wave(3000), 16000)) == tokens


def test_sixteen_threads_share_a_codec(make_model, tmp_path, grid_wave):
    """From its very first use on; bit for bit."""
    folder = make_model(tmp_path / "m")
    waves = [grid_wave(3000 + 500 * number, number) for number in range(16)]
    expected = [load(folder).wave_to_tokens(wave, 16000) for wave in waves]
    sounds = [load(folder).tokens_to_wave(tokens) for tokens in expected]
    codec = load(folder)

    def work(number):
        tokens = [codec.wave_to_tokens(waves[number], 16000) for _ in range(5)]
        return all(one == expected[number] for one in tokens), np.array_equal(codec.tokens_to_wave(tokens[0]), sounds[number])

    assert all_at_once(16, work) == [(True, True)] * 16


def test_threads_load_a_graph_once(make_model, tmp_path, grid_wave, monkeypatch):
    from mixcodec.runtime.session import GraphSession

    loaded, usual = [], GraphSession._load
    monkeypatch.setattr(GraphSession, "_load", lambda self, options: loaded.append(self.path) or usual(self, options))
    codec = load(make_model(tmp_path / "m"))
    all_at_once(8, lambda number: codec.wave_to_tokens(grid_wave(100), 16000))
    assert len(loaded) == 1


FORKS = """
import os, signal, sys, threading
import numpy as np
import mixcodec

codec = mixcodec.load(sys.argv[1], threads=int(sys.argv[2]))
wave = np.random.default_rng(0).integers(-255, 256, 20000).astype(np.float32) / 256
tokens = codec.wave_to_tokens(wave, 16000)
sound = codec.tokens_to_wave(tokens)

def same():
    return codec.wave_to_tokens(wave, 16000) == tokens and np.array_equal(codec.tokens_to_wave(tokens), sound)

busy = threading.Event()
others = [threading.Thread(target=lambda: [same() for _ in iter(busy.is_set, True)]) for _ in range(int(sys.argv[3]))]
for other in others:
    other.start()
failed = 0
for what in ("use", "leave", "drop", "stream", "grandchild"):
    child = os.fork()
    if not child:
        signal.alarm(30)
        if what == "use" and not same():
            os._exit(1)
        if what == "drop":
            del codec
        if what == "stream":
            encoder = codec.stream_encoder()
            if not np.array_equal(np.concatenate([encoder.push(wave), encoder.finish()]), tokens.codes):
                os._exit(1)
        if what == "grandchild":
            if not same():
                os._exit(1)
            second = os.fork()
            if not second:
                sys.exit(not same())
            if os.waitpid(second, 0)[1]:
                os._exit(1)
        sys.exit(0)  # with all that Python does at its end
    failed += os.waitpid(child, 0)[1] != 0
busy.set()
for other in others:
    other.join()
assert same()
sys.exit(failed)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(("threads", "busy"), [(1, 0), (2, 0), (8, 0), (1, 2)])
def test_forked_children_work_and_end(tiny_model, threads, busy):
    """None hangs and none crashes, whether it uses the codec or not, with threads of onnxruntime in the parent or without."""
    environment = {**os.environ, "PYTHONPATH": str(Path(mixcodec.__file__).parents[1]), "ORT_DISABLE_TELEMETRY": "1"}
    call = [sys.executable, "-c", FORKS, str(tiny_model), str(threads), str(busy)]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@ways
def test_streams_go_on_where_they_were(tiny_codec, grid_wave, again):
    wave = grid_wave(12000)
    tokens = tiny_codec.wave_to_tokens(wave, 16000)
    encoder = tiny_codec.stream_encoder()
    first = encoder.push(wave[:5001])
    for stream in (again(encoder), again(encoder), encoder):
        rest = [stream.push(wave[5001:]), stream.finish()]
        assert np.array_equal(np.concatenate([first, *rest]), tokens.codes)
    sound = tiny_codec.tokens_to_wave(tokens)
    decoder = tiny_codec.stream_decoder(sample_count=12000)
    first = decoder.push(tokens.codes[:17])
    for stream in (again(decoder), again(decoder), decoder):
        rest = [stream.push(tokens.codes[17:]), stream.finish()]
        assert np.array_equal(np.concatenate([first, *rest]), sound)


@pytest.mark.parametrize("options", [{}, {"codebooks": 2}, {"kbps": 2.0}])
@pytest.mark.parametrize("model", ["tiny", "speech-16k"])  # without tables and with them
@ways
def test_packet_streams_go_on_where_they_were(tiny_codec, grid_wave, again, options, model):
    codec = tiny_codec if model == "tiny" else load(model)
    wave = np.repeat(grid_wave(300), 100)
    whole = codec.packet_encoder(packet_seconds=0.25, **options)
    packets = whole.push(wave) + whole.finish()
    encoder = codec.packet_encoder(packet_seconds=0.25, **options)
    first = encoder.push(wave[:13000])
    for stream in (again(encoder), again(encoder), encoder):
        assert first + stream.push(wave[13000:]) + stream.finish() == packets
        assert (stream.start, stream.end) == (whole.start, whole.end)
    decoder = codec.packet_decoder(whole.header)
    plain = codec.packet_decoder(whole.header)
    decoder.push(packets[0])
    plain.push(packets[0])
    rest = np.concatenate([*map(plain.push, packets[1:]), plain.finish()])
    for stream in (again(decoder), again(decoder), decoder):
        assert np.array_equal(np.concatenate([*map(stream.push, packets[1:]), stream.finish()]), rest)


@ways
def test_what_cannot_be_copied_says_so(tiny_codec, opened, again):
    for stream in (
        tiny_codec.stream_encoder(sample_rate=8000),
        tiny_codec.stream_decoder(sample_rate=8000),
        tiny_codec.packet_encoder(sample_rate=8000),
        opened._reader,
    ):
        with pytest.raises(NotCopyableError, match="can be neither pickled nor copied") as failure:
            again(stream)
        assert isinstance(failure.value, TypeError)
        assert "\n" not in str(failure.value)


@ways
def test_an_open_file_is_opened_anew(opened, again, monkeypatch):
    part = opened.read(3, 4)
    monkeypatch.chdir("/")
    with again(opened) as other:
        opened.close()
        assert np.array_equal(other.read(3, 4), part)
        assert (other.header, other.sample_count) == (opened.header, opened.sample_count)


@ways
def test_an_open_file_that_changed(tmp_path, tiny_codec, opened, again):
    path = tmp_path / "talk.mxc"
    data = path.read_bytes()
    flipped = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
    for other in (data[:-30], data + b"x", flipped, b""):
        path.write_bytes(other)
        with pytest.raises(FileError, match="has changed since it was opened; open it again"):
            again(opened)
    write_mxc(path, tiny_codec.wave_to_tokens(np.zeros(320000, np.float32), 16000))
    with pytest.raises(FileError, match="has changed since it was opened"):
        again(opened)
    path.unlink()
    with pytest.raises(FileError, match="no such file"):
        again(opened)
    opened.close()
    with pytest.raises(FileError, match="has been closed; open it again"):
        again(opened)
    with pytest.raises(FileError, match="has been closed; open it again"):
        opened.read(0, 1)


@pytest.mark.parametrize("name", ["/dev/null", "/dev/zero", ".", "-", "", "a\0b", "pipe"])
def test_what_cannot_be_opened(tiny_codec, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    if name == "pipe":
        os.mkfifo("pipe")  # nobody will ever write into it
    with pytest.raises((FileError, BitstreamError)) as failure:
        tiny_codec.open(name)
    assert "\n" not in str(failure.value)
