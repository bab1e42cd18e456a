"""The subcommands of ``bench``, a file each: they parse, call and print, and import what they need when they run."""
