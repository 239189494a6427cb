"""`mixcodec`: finds the command, parses its arguments, and turns a user's mistake into one line and exit status 2.

Only the module of the command that is asked for is imported, so that a cold command costs what it uses.
"""

from __future__ import annotations

import errno
import functools
import inspect
import os
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from mixcodec import __version__
from mixcodec.errors import FileError, MixcodecError, MixcodecWarning, UsageError
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
OLDER = {"encode": {"--quality": "--codebooks"}, "roundtrip": {"--quality": "--codebooks"}}
"""Former names of options, which are still understood."""
EXTRAS = {"train": "train", "export": "train", "variant": "train", "eval": "eval", "compare": "train,eval"}
"""Commands that need more than the runtime, and the extra that brings it."""

CHANGEABLE = ("train", "compare")
"""Commands that take changes of a recipe's fields."""
CHANGE = re.compile(r"[A-Za-z_][\w.]*=")

PLAIN = {"str": str, "str | None": str, "float | None": float, "int | None": int}
"""The kinds of options that are read without tyro, and how."""

MAY_BE_EMPTY = ("--kind", "--split", "--metadata")
"""Options whose value may be the empty string."""

FAILURE = 2
INTERRUPTED = 130
BROKEN_PIPE = 141
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ENDING = ("HUP", "QUIT", "TERM", "XCPU", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PWR", "STKFLT")
"""The signals that end a process and can be heard, besides that of Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (without the program's name); return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _fill_standard_streams()
    try:
        with _tidy_when_ended(), _warnings_said():
            status = _dispatch(arguments)
            _flush()
    except MixcodecError as error:
        _complain(str(error))
        return FAILURE
    except KeyboardInterrupt:
        _remove_temporary()
        _complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        _drop_output()
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in FULL:
            raise
        _drop_output()
        _complain(f"{error.filename or 'standard output'}: cannot be written ({_reason(error)}); make room")
        return FAILURE
    return status


def _fill_standard_streams() -> None:
    """Put what holds nothing in the place of standard streams that are closed, or a file that is opened would become one."""
    for number, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:
            try:
                os.fstat(number)
            except OSError:
                os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - it stays open
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - likewise


def _flush() -> None:
    """Let what was printed reach standard output now, where a failure can still be told.

    Raises:
        FileError: it cannot be written, because the disk is full, say.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _drop_output()
        raise FileError(f"standard output: cannot be written ({_reason(error)})") from None


def _drop_output() -> None:
    """Send what still waits for standard output nowhere, or the interpreter tries again, and complains, when it ends."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _remove_temporary() -> None:
    """Remove the temporary files whose `with` was left before it could."""
    if "mixcodec.temporary" in sys.modules:
        from mixcodec.temporary import remove_ours

        remove_ours()


@contextmanager
def _warnings_said() -> Iterator[None]:
    """Print each of our warnings as one line, once."""
    said: set[str] = set()

    def show(message: Warning | str, category: type[Warning], *rest: Any, **options: Any) -> None:
        if not issubclass(category, MixcodecWarning):
            before(message, category, *rest, **options)
        elif str(message) not in said:
            said.add(str(message))
            _complain(str(message))

    with warnings.catch_warnings():
        before = warnings.showwarning
        warnings.simplefilter("always", MixcodecWarning)
        warnings.showwarning = show
        yield


@contextmanager
def _tidy_when_ended() -> Iterator[None]:
    """Let the signals that end a process unwind the stack, so that temporary files are removed, as Ctrl-C does.

    A signal that is ignored, as by nohup, stays so; a second one does not disturb the tidying.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    told = 0

    def end(number: int, _: object) -> None:
        nonlocal told
        if not told:
            told = number
            sys.exit(128 + number)

    numbers = [getattr(signal, f"SIG{name}") for name in ENDING if hasattr(signal, f"SIG{name}")]
    heard = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]
    for number in heard:
        signal.signal(number, end)
    try:
        yield
    except Exception:
        if told:  # a library that was just being imported may make an error of its own of it
            sys.exit(128 + told)
        raise
    finally:
        if told:
            _remove_temporary()
            _drop_output()  # whoever should read it may never do so
        for number in heard:
            signal.signal(number, signal.SIG_DFL)


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
    _check_words(arguments[1:])
    if name not in EXTRAS:
        # The runtime uses numpy for copying, not for algebra: a pool of BLAS threads would only cost start-up time.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        command = getattr(import_module(f"mixcodec.cli.{name}"), name)
        words = [_newest(name, word) for word in arguments[1:]]
        call = _plain(command, words) or _parse(command, name, words)
        if call is not None:
            call()
    except ModuleNotFoundError as error:
        if name not in EXTRAS or (error.name or "").startswith("mixcodec"):
            raise
        raise UsageError(f"mixcodec {name} needs pip install 'mixcodec[{EXTRAS[name]}]' ({error.name} is missing)") from None
    return 0


def _check_words(words: Sequence[str]) -> None:
    """Raise UsageError for an empty word, such as that of a variable which was not set, or an option that is given one."""
    for before, word in zip(["", *words], words, strict=False):
        option, equals, value = word.partition("=") if word.startswith("-") else (before, "=", word)
        if equals and not value and option not in MAY_BE_EMPTY:
            what = f"{option} is given" if option.startswith("-") else "a name is"
            raise UsageError(f"{what} the empty string; was a variable not set?")


def _newest(command: str, word: str) -> str:
    """An argument of a command, by its present name where it is an option that had another."""
    option, equals, value = word.partition("=")
    return OLDER.get(command, {}).get(option, option) + equals + value


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
            named[option.name] = PLAIN[option.annotation](value)
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
