"""`mixcodec`: finds the command, parses its arguments, and turns a user's mistake into one line and exit status 2.

Only the module of the command that is asked for is imported, so that a cold command costs what it uses.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from mixcodec import __version__
from mixcodec.errors import MixcodecError, UsageError
from mixcodec.usage import parse

COMMANDS = {
    "encode": "audio file -> .mxc file",
    "decode": ".mxc file -> wav file",
    "roundtrip": "encode and decode, and say what it cost and what it did to the sound",
    "info": "what is inside a .mxc file or a model",
    "bench": "speed and memory, side by side with other codecs",
    "eval": "code clips by several codecs, score them, write a report (needs the extra: eval)",
    "compare": "train one codec with every quantizer, token mixer or recipe in turn (needs the extras: train, eval)",
    "models": "the models that come with this installation",
    "train": "train a codec from a recipe (needs the extra: train)",
    "export": "checkpoint -> model folder (needs the extra: train)",
    "variant": "model folder -> its graphs in int8 or bf16 (needs the extra: train)",
}
ALIASES = {"-o": "--output"}
EXTRAS = {"train": "train", "export": "train", "variant": "train", "eval": "eval", "compare": "train,eval"}
"""Commands that need more than the runtime, and the extra that brings it."""

CHANGEABLE = ("train", "compare")
"""Commands that take changes of a recipe's fields."""
CHANGE = re.compile(r"[A-Za-z_][\w.]*=")

PLAIN = ("str", "str | None", "float | None")
"""The kinds of options that are read without tyro."""

FAILURE = 2
INTERRUPTED = 130
TERMINATED = 128 + signal.SIGTERM
BROKEN_PIPE = 141


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name); return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        with _tidy_when_terminated():
            status = _dispatch(arguments)
            sys.stdout.flush()
    except MixcodecError as error:
        _complain(str(error))
        return FAILURE
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        with suppress(OSError, ValueError):  # or the interpreter complains when it flushes at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    return status


@contextmanager
def _tidy_when_terminated() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that temporary files are removed, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told = False

    def end(*_: object) -> None:
        nonlocal told
        told = True
        sys.exit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except Exception:
        if told:  # a library that was just being imported may make an error of its own of it
            sys.exit(TERMINATED)
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _complain(message: str) -> None:
    print("mixcodec: " + " ".join(message.split()), file=sys.stderr)


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        print(f"mixcodec {__version__}")
        return 0
    name = arguments[0]
    if name not in COMMANDS:
        raise UsageError(_unknown(name))
    with suppress(AttributeError):  # a file name may hold what the terminal's encoding cannot
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    if name not in EXTRAS:
        # The runtime uses numpy for copying, not for algebra: a pool of BLAS threads would only cost start-up time.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        command = getattr(import_module(f"mixcodec.cli.{name}"), name)
        call = _plain(command, arguments[1:]) or _parse(command, name, arguments[1:])
        if call is not None:
            call()
    except ModuleNotFoundError as error:
        if name not in EXTRAS or (error.name or "").startswith("mixcodec"):
            raise
        raise UsageError(f"mixcodec {name} needs pip install 'mixcodec[{EXTRAS[name]}]' ({error.name} is missing)") from None
    return 0


def _plain(command: Callable[..., None], arguments: list[str]) -> Callable[[], None] | None:
    """The command with its arguments where these are plain words and pairs of `--option value`; None otherwise.

    tyro reads whatever is not plain: help, abbreviations, mistakes, the workshop's commands. To import it is a fifth of
    the CPU time of a cold `mixcodec encode`.
    """
    parameters = inspect.signature(command).parameters
    words, positional, named = iter(arguments), [], {}
    for word in words:
        if word == "-" or not word.startswith("-"):
            positional.append(word)
            continue
        option = parameters.get(ALIASES.get(word, word).removeprefix("--"))
        value = next(words, "--")
        if option is None or option.kind is not option.KEYWORD_ONLY or option.name in named:
            return None
        if option.annotation not in PLAIN:
            return None
        if value.startswith("-") and value != "-":
            return None
        try:
            named[option.name] = float(value) if option.annotation == "float | None" else value
        except ValueError:
            return None
    if any(option.kind not in (option.KEYWORD_ONLY, option.POSITIONAL_ONLY) for option in parameters.values()):
        return None
    if len(positional) != sum(option.kind is option.POSITIONAL_ONLY for option in parameters.values()):
        return None
    return functools.partial(command, *positional, **named)


def _parse(command: Callable[..., None], name: str, arguments: list[str]) -> Callable[[], None] | None:
    """The command with its arguments, yet to be called; None where help was printed instead.

    Raises:
        UsageError: the arguments cannot be parsed.
    """

    @functools.wraps(command)
    def bind(*positional: Any, **named: Any) -> Callable[[], None]:
        return functools.partial(command, *positional, **named)

    words = [ALIASES.get(word, word) for word in arguments]
    try:
        return parse(bind, f"mixcodec {name}", _changes_first(words) if name in CHANGEABLE else words)
    except SystemExit:
        return None


def _changes_first(words: list[str]) -> list[str]:
    """The words with every field=value before the options, where alone the parser takes them; a value of an option stays."""
    first = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
    moved = {p for p in range(first + 1, len(words)) if CHANGE.match(words[p]) and not words[p - 1].startswith("-")}
    return words[:first] + [words[p] for p in sorted(moved)] + [words[p] for p in range(first, len(words)) if p not in moved]


def _unknown(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    advice = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}"
    return f"unknown command {name!r}; {advice}"


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: mixcodec COMMAND ...",
            "",
            "A neural audio codec: audio to discrete tokens and back.",
            "",
            *lines,
            "",
            "mixcodec COMMAND --help explains one; --version prints the version.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
