"""Errors about a data set as a whole."""


class DatasetError(ValueError):
    """A data set that cannot be used at all: missing, empty or malformed."""


class PicturesNotFound(DatasetError):
    """The annotations are there, but none of their picture files was found."""
