"""What can be wrong with a data set as a whole."""


class DatasetError(ValueError):
    """A data set that cannot be used at all: missing, empty or malformed."""


class PicturesNotFound(DatasetError):
    """Annotations whose picture files are not where they were looked for."""
