"""The audit of judges: what each measure responds to when one factor of a face changes. See ``docs/audit.md``.

Imports point down: `factors` says what changes, `pictures` renders it, `looks` asks the judges, `figures` does the
arithmetic, `report` shows it, `commands` is ``mfim-bench audit``.
"""
