"""One file per layout of data sets. Each has

- `NAME` and `LOOKED_FOR`, what it is called and what is evidence of it, for messages;
- `find(tree)`: split name -> a function without arguments that reads it into `Annotations`; empty
  where there is no evidence. None is the name of the only part of a set that is not split.
"""
