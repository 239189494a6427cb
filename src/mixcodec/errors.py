"""The mistakes of a user, as exceptions.

A message says what is wrong, where (which file, which value) and what to do. The command line prints it as one line
and exits with status 2; in the library every one of them is a `MixcodecError`. Anything else that is raised is a bug.
"""

from __future__ import annotations


class MixcodecError(Exception):
    """The base of every error that a user can mend."""


class AudioError(MixcodecError):
    """Audio that cannot be read: not there, not audio, damaged, or with samples that are no finite numbers."""


class TokensError(MixcodecError):
    """Tokens that contradict themselves or the codec that is to decode them."""


class BitstreamError(MixcodecError):
    """A `.mxc` file that is not one, is damaged or is cut short."""


class NewerVersionError(BitstreamError):
    """A `.mxc` file of a format version that this mixcodec does not know yet."""


class ModelError(MixcodecError):
    """A model that is not there, or a model folder that cannot be used."""


class RateError(MixcodecError):
    """A bitrate that the codec cannot reach."""


class FileError(MixcodecError):
    """A file that cannot be opened, or a target that cannot be written."""


class UsageError(MixcodecError):
    """A command line that makes no sense."""


class ConfigError(MixcodecError):
    """A recipe that names a part or an option that is not there, or a value out of range."""


class PartError(MixcodecError):
    """A part from outside that is not there, cannot be imported, or has the kind of another."""


class DataError(MixcodecError):
    """A corpus that cannot be listed, packed or drawn from."""


class NotCopyableError(MixcodecError, TypeError):
    """An object in the middle of its work, which can be neither pickled nor copied."""


class MixcodecWarning(UserWarning):
    """Something that is done as asked, and is hardly what was meant."""


class AudioWarning(MixcodecWarning):
    """Sound that is not all read as its file declares it: some is missing, or there is more, or samples were clipped.

    The command line prints it as one line on standard error; in the library `warnings` says it, and can turn it into an error.
    """
