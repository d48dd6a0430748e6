"""The subcommands that make lists, rule them, and read them back."""
