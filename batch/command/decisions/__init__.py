"""The subcommands of ``larder decisions``."""
