"""libsndfile, read from front to back."""

from __future__ import annotations

import soundfile


class SequentialSoundFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file that is read without seeking.

    soundfile seeks to where it already is after each read of a seekable file. For mp3 that restarts the decoder in the
    middle of its bit reservoir, and the samples around every block boundary come out wrong.
    """

    def seekable(self) -> bool:
        """Never, so that reads only go on."""
        return False
