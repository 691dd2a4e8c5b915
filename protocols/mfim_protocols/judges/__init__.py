"""Training of the open judges on virtual faces; nothing here is needed to judge."""
