"""Commands of the application: click in, a call, a print; one file a command or a group."""
