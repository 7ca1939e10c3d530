"""The one exception that is meant for people: its text is the sentence they read."""


class UserError(Exception):
    pass
