"""Published networks as archs: one function per family, shared by the spaces that search it."""
