"""One file per layout of data sets. Each has

- `NAME` and `LOOKED_FOR`: what it is called and what counts as evidence of it, for messages;
- `find(tree)`: split name -> a function without arguments that reads it into `Annotations`; empty
  without evidence. The name is None if the set is not split.
"""
