"""The command line, one file per noun: parses arguments, calls a use case and prints the result.

`app` runs the commands and maps classes of errors to exit codes, `context` reads the settings once,
and `output` prints tables and JSON. No package below this one prints.
"""
