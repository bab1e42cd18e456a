"""The subcommands of ``bench``: they parse, call and print, and import what they need when they run."""
