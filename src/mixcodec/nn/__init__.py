"""The torch side: the parts of a codec, the codec made of them, and its export."""
