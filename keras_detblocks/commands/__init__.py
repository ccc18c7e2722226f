"""The verbs of the command `detblocks`: one file each, with `HELP`, `add_options(parser)` and
`run(options)`."""
