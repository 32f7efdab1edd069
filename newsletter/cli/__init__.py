"""The command line: a door. One file a noun; it parses, calls a use case and prints the result.

`app` joins the commands and maps error families to exit codes, `context` reads the settings once,
`output` prints tables and JSON. Nothing below this room prints.
"""
