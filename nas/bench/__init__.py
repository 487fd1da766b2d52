"""`nas bench`: published networks and blocks on this machine, and searches against their peers.

Commands: `command`, `search_command`. Searches are compared by `search`, on `grounds`: `synthetic`,
or `tabular` with a `world`, which is `table_world` or `live_world`; `judge` says what they were
worth. Opponents: `morea`, `primo`, `qlognehvi`, `ray_asha`; `ablations` of our own. Nothing outside
this package imports it but the command line.
"""
