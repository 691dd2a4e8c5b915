"""Networks whose weights others publish: one file a family, plain torch, each with a strict ``load(path)``."""
