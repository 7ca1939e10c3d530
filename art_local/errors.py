"""The exceptions that are meant for people: their text is the sentence they read."""


class UserError(Exception):
    """Exit code 1: what was asked for could not be done."""


class UsageError(UserError):
    """Exit code 2: what was typed makes no sense."""
