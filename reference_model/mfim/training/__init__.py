"""Training of the reference model: stage one (``gan``), stage two (``swap``), and what both share."""
