"""The door between the two wings: names, bytes and schemas. Standard library only, no I/O."""
