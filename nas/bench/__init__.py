"""`nas bench`: published networks and blocks on this machine, and searches against their peers.

Commands: `command`, `search_command`. What searches are compared on: `grounds`, `synthetic`,
`tabular` with `table_world` or `live_world`. Opponents: `morea`, `primo`, `qlognehvi`, `ray_asha`;
`ablations` of our own. Nothing outside this package imports it but the command line.
"""
